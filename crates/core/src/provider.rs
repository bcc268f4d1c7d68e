//! How providers differ from the ones that their dialects come from.

use crate::dialect::bedrock::Family;
use crate::dialect::{ProviderDialect, Traits};

/// The traits of the provider at `host` for requests to `model`, as its documentation has them
/// (looked up on 2026-11-22). A server that is not known gets what nearly all of its kind take.
pub fn traits(dialect: ProviderDialect, host: &str, model: &str) -> Traits {
    match dialect {
        ProviderDialect::OpenAiChat => openai_chat(host),
        ProviderDialect::Anthropic => anthropic(model),
        ProviderDialect::Gemini => Traits {
            gemini_3: !before_gemini_3(model),
            ..Traits::default()
        },
        ProviderDialect::Bedrock => Traits {
            bedrock_family: Family::of(model),
            ..anthropic(model)
        },
        ProviderDialect::Cohere => Traits::default(),
        ProviderDialect::OpenAiResponses => Traits {
            sealed_reasoning: openai_reasons(model),
            ..Traits::default()
        },
    }
}

fn openai_chat(host: &str) -> Traits {
    let at = |domain: &str| {
        let prefix = host.strip_suffix(domain);
        prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    };
    if at("openai.com") || at("openai.azure.com") {
        return Traits::default();
    }
    let compatible = Traits {
        max_tokens: true,
        top_k: true,
        hints: false,
        ..Traits::default()
    };
    if at("openrouter.ai") {
        return Traits {
            reasoning_details: true,
            cache_control: true,
            ..compatible
        };
    }
    if at("deepseek.com") {
        return Traits {
            top_k: false,
            reasoning_member: Some("reasoning_content"),
            ..compatible
        };
    }
    if at("groq.com") || at("mistral.ai") || at("x.ai") {
        return Traits {
            top_k: false,
            ..compatible
        };
    }
    compatible
}

fn anthropic(model: &str) -> Traits {
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
        ..Traits::default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_by_its_domain() {
        let of = |host| traits(ProviderDialect::OpenAiChat, host, "m");
        assert!(!of("api.openai.com").max_tokens);
        assert!(of("notopenai.com").max_tokens);
        assert!(of("127.0.0.1").top_k && !of("127.0.0.1").hints);
        assert!(of("openrouter.ai").reasoning_details);
        assert_eq!(
            of("api.deepseek.com").reasoning_member,
            Some("reasoning_content")
        );
    }

    #[test]
    fn a_model_says_how_it_thinks() {
        let of = |model| traits(ProviderDialect::Anthropic, "api.anthropic.com", model);
        for model in [
            "claude-sonnet-4-20250514",
            "claude-opus-4-5-20251101",
            "claude-3-7-sonnet-latest",
        ] {
            assert!(!of(model).adaptive_thinking, "{model}");
        }
        assert!(of("claude-opus-4-6").adaptive_thinking && of("m").adaptive_thinking);
        assert_eq!(of("claude-3-haiku-20240307").default_max_tokens, 4_096);
    }
}
