//! `docs/providers.md`, written from the table of providers.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use everstream_core::dialect::{
    ClientDialect, ProviderDialect, ThinkingWords, ToolChoices, Traits,
};
use everstream_core::provider::{self, Auth, PROVIDERS, Provider, Shape};

const BEGIN: &str = "<!-- written by the tests, UPDATE=1 -->\n";
const END: &str = "<!-- end -->";

fn address(provider: &Provider) -> String {
    match (provider.base_url, provider.shape) {
        (Some(url), _) => format!("`{url}`"),
        (None, Shape::Aws) => "of an `aws_region`".to_owned(),
        (None, Shape::Vertex) => "of a `project` and a `location`".to_owned(),
        (None, Shape::Plain) => "`base_url`, up to `/v1`".to_owned(),
        (None, Shape::Azure) => "`base_url = \"https://{resource}.openai.azure.com\"`".to_owned(),
    }
}

fn auth(provider: &Provider) -> String {
    let how = match provider.auth {
        Auth::Bearer => "`Authorization: Bearer`".to_owned(),
        Auth::Google => "tokens for a service account".to_owned(),
        Auth::None => "none".to_owned(),
        header => format!("`{}`", header.as_str()),
    };
    let variables = provider.keys.iter().chain(&provider.address);
    let variables: Vec<String> = variables.map(|name| format!("`{name}`")).collect();
    match variables.as_slice() {
        [] => how,
        names => format!("{how}; {}", names.join(", ")),
    }
}

/// How a provider differs from others of its kind, in words.
fn differences(traits: &Traits, usual: &Traits) -> Vec<String> {
    let mut found = Vec::new();
    if traits.max_tokens != usual.max_tokens {
        found.push("`max_completion_tokens`".to_owned());
    }
    if !traits.lacks.is_empty() && traits.lacks != usual.lacks {
        let names = traits.lacks.iter();
        let names = names.map(|&field| format!("`{}`", ClientDialect::OpenAiChat.path(field)));
        found.push(format!("no {}", names.collect::<Vec<_>>().join(", ")));
    }
    found.extend(
        match traits.thinking {
            ThinkingWords::Effort => None,
            ThinkingWords::SwitchAndEffort => Some("`thinking.type` beside `reasoning_effort`"),
            ThinkingWords::Switch => {
                Some("`thinking.type` for `reasoning_effort`, which is on or off")
            }
            ThinkingWords::Budget => {
                Some("`enable_thinking` and `thinking_budget` for `reasoning_effort`")
            }
        }
        .map(str::to_owned),
    );
    found.extend(
        match traits.tool_choices {
            ToolChoices::All => None,
            ToolChoices::NotRequired => Some("no `tool_choice: required`"),
            ToolChoices::Auto => Some("no `tool_choice` but `auto`"),
        }
        .map(str::to_owned),
    );
    let flags = [
        (!traits.json_schema, "no `json_schema`, only `json_object`"),
        (!traits.usage_in_streams, "usage in streams comes unasked"),
        (traits.random_seed, "`random_seed` for `seed`"),
        (!traits.speakers, "no `name` in messages"),
        (
            traits.short_call_ids,
            "ids of calls are made nine characters long",
        ),
        (!traits.call_ids, "no ids of calls"),
        (
            traits.keyed,
            "runs a request under the same `Idempotency-Key` once; what is cut is read on",
        ),
        (
            traits.background,
            "what runs in the background and is cut is read on",
        ),
        (traits.cache_control, "takes `cache_control`"),
        (
            traits.reasoning_details,
            "reasoning goes back as `reasoning_details`, with its seals",
        ),
    ];
    let flags = flags.into_iter().filter(|(holds, _)| *holds);
    found.extend(flags.map(|(_, words)| words.to_owned()));
    found.extend(
        (traits.reasoning_member).map(|member| format!("reasoning goes back as `{member}`")),
    );
    found.extend(
        (traits.prefill_mark).map(|mark| format!("goes on from a last message, with `{mark}`")),
    );
    found
}

fn table() -> String {
    let mut table = "| `provider` | who | address | key | differs in | documentation |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    for row in PROVIDERS {
        let usual = if row.traits.max_tokens || !row.traits.hints {
            provider::traits(None, ProviderDialect::OpenAiChat, "m")
        } else {
            Traits::default()
        };
        let mut differs = differences(&row.traits, &usual);
        match row.shape {
            Shape::Plain => {}
            Shape::Azure => differs.push("a model is a deployment".to_owned()),
            Shape::Vertex => differs.push("the project is in the path".to_owned()),
            Shape::Aws => differs.push(
                "a host for each region; requests are signed, unless there is an API key"
                    .to_owned(),
            ),
        }
        if row.dialect != ProviderDialect::OpenAiChat {
            differs.insert(0, row.dialect.title().to_owned());
        }
        let (name, title) = (row.name, row.title);
        let (address, auth, differs) = (address(row), auth(row), differs.join("; "));
        let page = row.documentation;
        let _infallible = writeln!(
            table,
            "| `{name}` | {title} | {address} | {auth} | {differs} | [page]({page}) |"
        );
    }
    table
}

/// `UPDATE=1` writes the table anew.
#[test]
fn the_table_of_providers_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        let text = [before, BEGIN, &table(), END, after].concat();
        fs::write(&path, text).unwrap();
    } else {
        assert!(
            written == table(),
            "docs/providers.md is stale: run the tests once with UPDATE=1"
        );
    }
}
