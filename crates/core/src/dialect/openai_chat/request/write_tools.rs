use serde::Serialize;

use super::out::CacheOut;
use crate::ask::{Ask, Field, Tool, ToolChoice};
use crate::content::Json;
use crate::dialect::traits::{ToolChoices, Traits};
use crate::error::Error;

#[derive(Serialize)]
pub(super) struct ToolOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheOut<'a>>,
}

#[derive(Serialize)]
struct FunctionOut<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ChoiceOut<'a> {
    Mode(&'static str),
    Tool(NamedOut<'a>),
    Allowed {
        #[serde(rename = "type")]
        kind: &'static str,
        allowed_tools: AllowedOut<'a>,
    },
}

#[derive(Serialize)]
pub(super) struct NamedOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: NameOut<'a>,
}

#[derive(Serialize)]
struct NameOut<'a> {
    name: &'a str,
}

#[derive(Serialize)]
pub(super) struct AllowedOut<'a> {
    mode: &'static str,
    tools: Vec<NamedOut<'a>>,
}

/// The tools, and which of them the model calls.
pub(super) fn tools<'a>(
    ask: &'a Ask<'_>,
    traits: &Traits,
) -> Result<(Vec<ToolOut<'a>>, Option<ChoiceOut<'a>>), Error> {
    let choice = ask.tool_choice.as_ref();
    // Who cannot be told to call only some gets only these.
    let only = match choice {
        Some(ToolChoice::Allowed { names, .. }) if !traits.allowed_tools => Some(names),
        _ => None,
    };
    let shown = ask
        .tools
        .iter()
        .filter(|tool| only.is_none_or(|names| names.contains(&tool.name)));
    let tools = shown.map(|tool| tool_out(tool, traits)).collect();
    let choice = choice.map(|choice| choice_out(choice, only.is_some()));
    let fits = match (traits.tool_choices, &choice) {
        (ToolChoices::All, _) | (_, None | Some(ChoiceOut::Mode("auto"))) => true,
        (ToolChoices::NotRequired, Some(choice)) => {
            matches!(choice, ChoiceOut::Mode("none") | ChoiceOut::Tool(_))
        }
        (ToolChoices::Auto, Some(_)) => false,
    };
    if fits {
        Ok((tools, choice))
    } else {
        let why = "the provider leaves more to its model than this";
        Err(ask.refuse(Field::ToolChoice, why))
    }
}

fn tool_out<'a>(tool: &'a Tool<'_>, traits: &Traits) -> ToolOut<'a> {
    let cache = tool.cache.as_ref();
    ToolOut {
        kind: "function",
        function: FunctionOut {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: tool.schema.as_ref(),
            strict: tool.strict,
        },
        cache_control: cache.filter(|_| traits.cache_control).map(CacheOut::from),
    }
}

fn choice_out<'a>(choice: &'a ToolChoice<'_>, others_left_out: bool) -> ChoiceOut<'a> {
    let named = |name| NamedOut {
        kind: "function",
        function: NameOut { name },
    };
    let mode = |required: bool| if required { "required" } else { "auto" };
    match choice {
        ToolChoice::Auto => ChoiceOut::Mode("auto"),
        ToolChoice::None => ChoiceOut::Mode("none"),
        ToolChoice::Required => ChoiceOut::Mode("required"),
        ToolChoice::Tool(name) => ChoiceOut::Tool(named(name)),
        ToolChoice::Allowed { required, .. } if others_left_out => ChoiceOut::Mode(mode(*required)),
        ToolChoice::Allowed { names, required } => ChoiceOut::Allowed {
            kind: "allowed_tools",
            allowed_tools: AllowedOut {
                mode: mode(*required),
                tools: names.iter().map(|name| named(name)).collect(),
            },
        },
    }
}
