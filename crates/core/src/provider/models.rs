//! What the models of a provider differ in, by their names.

use crate::dialect::bedrock::Family;
use crate::dialect::{ProviderDialect, ThinkingWords, Traits};

/// `traits`, as they are for this model.
pub(super) fn of_model(traits: Traits, dialect: ProviderDialect, model: &str) -> Traits {
    match dialect {
        // It always thinks, and is told only how much.
        ProviderDialect::OpenAiChat if model.starts_with("kimi-k3") => Traits {
            thinking: ThinkingWords::Effort,
            ..traits
        },
        ProviderDialect::OpenAiChat | ProviderDialect::Cohere => traits,
        ProviderDialect::Anthropic => anthropic(traits, model),
        ProviderDialect::Bedrock => Traits {
            bedrock_family: Family::of(model),
            ..anthropic(traits, model)
        },
        ProviderDialect::Gemini => Traits {
            gemini_3: !before_gemini_3(model),
            ..traits
        },
        ProviderDialect::OpenAiResponses => Traits {
            sealed_reasoning: openai_reasons(model),
            ..traits
        },
    }
}

fn anthropic(traits: Traits, model: &str) -> Traits {
    // Models before 4.6 think with a budget, and the first of the third generation write 4096
    // tokens at most.
    let before = [
        "claude-2",
        "claude-3",
        "opus-4-0",
        "opus-4-1",
        "opus-4-2",
        "opus-4-5",
        "sonnet-4-0",
        "sonnet-4-2",
        "sonnet-4-5",
        "haiku-4-5",
    ];
    let is = |part: &&str| model.contains(*part);
    let small = [
        "claude-2",
        "claude-3-opus",
        "claude-3-sonnet",
        "claude-3-haiku",
    ];
    Traits {
        adaptive_thinking: !before.iter().any(&is),
        default_max_tokens: if small.iter().any(is) { 4_096 } else { 8_192 },
        ..traits
    }
}

/// Google's models before Gemini 3 think with a budget.
fn before_gemini_3(model: &str) -> bool {
    ["gemini-1", "gemini-2", "gemma"]
        .iter()
        .any(|part| model.contains(part))
}

/// OpenAI's models that do not reason refuse to be asked for the seals of reasoning.
fn openai_reasons(model: &str) -> bool {
    let plain = ["gpt-3", "gpt-4", "chatgpt-4", "gpt-5-chat"];
    !plain.iter().any(|part| model.contains(part))
}
