use serde_json::{Value, json};

use super::*;
use crate::dialect::Traits;
use crate::event::Surface;

fn envelope(surface: Surface, body: &Value) -> Envelope {
    Envelope::parse(&Bytes::from(body.to_string()), surface).unwrap()
}

fn target(traits: &Traits) -> Target<'_> {
    Target {
        model: "there",
        stream: true,
        traits,
    }
}

fn prefix(text: &str, tokens: u64) -> Prefix {
    Prefix {
        text: text.into(),
        tokens,
    }
}

fn chat(more: &Value) -> Value {
    let mut body =
        json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Tell."}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn written(
    surface: Surface,
    body: &Value,
    provider: ProviderDialect,
    traits: &Traits,
) -> Result<Value, Error> {
    let envelope = envelope(surface, body);
    let prefix = prefix("Once upon", 30);
    let body = continuation_body(&envelope, provider, &target(traits), &prefix)?;
    Ok(serde_json::from_slice(&body).unwrap())
}

const MARKED: Traits = Traits {
    max_tokens: true,
    prefill: true,
    prefill_mark: Some("prefix"),
    ..Traits::MAKERS
};
const CLAUDE_4_5: Traits = Traits {
    adaptive_thinking: false,
    ..Traits::MAKERS
};

#[test]
fn the_beginning_is_the_last_message_in_the_providers_words() {
    let body = chat(&json!({"max_tokens": 100, "stop": ["END"]}));
    let surface = Surface::ChatCompletions;
    let sent = written(surface, &body, ProviderDialect::OpenAiChat, &MARKED).unwrap();
    assert_eq!(
        sent["messages"][1],
        json!({"role": "assistant", "content": "Once upon", "prefix": true})
    );
    assert_eq!(sent["model"], "there");
    assert_eq!(sent["max_tokens"], 70);
    assert_eq!(sent["stop"], json!(["END"]));
    assert_eq!(sent["stream"], true);

    let vllm = Traits {
        prefill_mark: Some("continue_final_message"),
        ..MARKED
    };
    let sent = written(surface, &body, ProviderDialect::OpenAiChat, &vllm).unwrap();
    assert_eq!(sent["continue_final_message"], true);
    assert_eq!(sent["add_generation_prompt"], false);
    assert_eq!(sent["messages"][1]["content"], "Once upon");

    let sent = written(surface, &body, ProviderDialect::Anthropic, &CLAUDE_4_5).unwrap();
    assert_eq!(sent["messages"][1]["role"], "assistant");
    assert!(
        sent["messages"][1]["content"]
            .to_string()
            .contains("Once upon")
    );
    assert_eq!(sent["max_tokens"], 70);
    assert_eq!(sent["stop_sequences"], json!(["END"]));

    let sent = written(surface, &body, ProviderDialect::Bedrock, &CLAUDE_4_5).unwrap();
    assert_eq!(sent["messages"][1]["content"][0]["text"], "Once upon");
}

#[test]
fn every_client_can_ask_for_it() {
    let messages = json!({"model": "m", "max_tokens": 100, "stream": true,
        "messages": [{"role": "user", "content": "Tell."}]});
    let responses = json!({"model": "m", "stream": true, "input": "Tell."});
    for (surface, body) in [
        (Surface::Messages, messages),
        (Surface::Responses, responses),
    ] {
        let sent = written(surface, &body, ProviderDialect::OpenAiChat, &MARKED).unwrap();
        let last = sent["messages"].as_array().unwrap().last().unwrap();
        assert_eq!(last["content"], "Once upon", "{surface:?}");
    }
}

#[test]
fn a_beginning_of_the_clients_own_comes_first() {
    let body = json!({"model": "m", "max_tokens": 100, "messages": [
        {"role": "user", "content": "Tell."}, {"role": "assistant", "content": "So: "}]});
    let provider = ProviderDialect::Anthropic;
    let sent = written(Surface::Messages, &body, provider, &CLAUDE_4_5).unwrap();
    assert_eq!(sent["messages"].as_array().unwrap().len(), 2);
    assert!(
        sent["messages"][1].to_string().contains("So: Once upon"),
        "{sent}"
    );
}

#[test]
fn what_cannot_go_on_is_refused_by_name() {
    for (more, param) in [
        (json!({"n": 2}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (
            json!({"response_format": {"type": "json_object"}}),
            "response_format",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}),
            "response_format",
        ),
        (json!({"reasoning_effort": "high"}), "reasoning_effort"),
        (json!({"max_tokens": 30}), "max_completion_tokens"),
        (json!({"nobody_knows": 1}), "nobody_knows"),
    ] {
        let surface = Surface::ChatCompletions;
        let refused = written(surface, &chat(&more), ProviderDialect::OpenAiChat, &MARKED);
        let error = refused.unwrap_err();
        assert_eq!(error.code, ErrorCode::Untranslatable, "{more}: {error}");
        assert_eq!(error.param.as_deref(), Some(param), "{error}");
    }
}

#[test]
fn only_who_takes_a_beginning_is_asked() {
    for (provider, traits, able) in [
        (ProviderDialect::OpenAiChat, MARKED, true),
        (ProviderDialect::OpenAiChat, Traits::MAKERS, false),
        (ProviderDialect::Anthropic, CLAUDE_4_5, true),
        (ProviderDialect::Anthropic, Traits::MAKERS, false),
        (ProviderDialect::Bedrock, CLAUDE_4_5, true),
        (ProviderDialect::Bedrock, Traits::MAKERS, false),
        (ProviderDialect::Gemini, CLAUDE_4_5, false),
        (ProviderDialect::OpenAiResponses, CLAUDE_4_5, false),
        (ProviderDialect::Cohere, CLAUDE_4_5, false),
    ] {
        let envelope = envelope(Surface::ChatCompletions, &chat(&json!({})));
        let all = Abilities {
            continues: true,
            repeats: false,
            deterministic: true,
        };
        let found = abilities(&envelope, provider, &target(&traits), all);
        assert_eq!(found.continues, able, "{provider:?}");
        let unmarked = abilities(&envelope, provider, &target(&traits), Abilities::default());
        assert_eq!(unmarked, Abilities::default());
    }
}

#[test]
fn what_leaves_nothing_to_chance_can_run_again() {
    for (more, same) in [
        (json!({"temperature": 0, "seed": 1}), true),
        (json!({"temperature": 0.0, "seed": 0}), true),
        (json!({"temperature": 0}), false),
        (json!({"temperature": 0.1, "seed": 1}), false),
        (json!({"seed": 1}), false),
    ] {
        let envelope = envelope(Surface::ChatCompletions, &chat(&more));
        let marked = Abilities {
            deterministic: true,
            ..Abilities::default()
        };
        let traits = Traits {
            prefill_repeats: true,
            ..MARKED
        };
        let found = abilities(
            &envelope,
            ProviderDialect::OpenAiChat,
            &target(&traits),
            marked,
        );
        assert_eq!((found.deterministic, found.repeats), (same, true), "{more}");
    }
}
