//! `docs/dialects.md` against the code: each row of its tables of requests is tried.

use std::fs;
use std::path::Path;

use everstream_core::dialect::{ClientDialect, ProviderDialect, Target};
use everstream_core::error::ErrorCode;
use everstream_core::provider;
use serde_json::{Value, json};

const GOOGLE: &str = "generativelanguage.googleapis.com";

/// Field, example and verdict of each row under a heading.
fn rows(text: &str, heading: &str) -> Vec<(String, Value, String)> {
    let (_, section) = text.split_once(heading).unwrap();
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let rows = rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let [field, example, verdict] = cells[..] else {
            panic!("a row of {} cells: {row}", cells.len());
        };
        let example = example.trim_matches('`');
        let example = serde_json::from_str(example).unwrap_or_else(|_| panic!("{row}"));
        (
            field.trim_start_matches("| ").to_owned(),
            example,
            verdict.to_owned(),
        )
    });
    rows.collect()
}

fn request(client: ClientDialect, field: &str, example: Value) -> Value {
    let mut request = match client {
        ClientDialect::OpenAiResponses => json!({"model": "m", "input": "x"}),
        ClientDialect::Gemini => json!({"contents": [{"parts": [{"text": "x"}]}]}),
        _ => {
            json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "x"}]})
        }
    };
    let members = match field
        .strip_prefix('`')
        .and_then(|field| field.strip_suffix('`'))
    {
        Some(name) => json!({ name: example }),
        None => example,
    };
    request
        .as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    request
}

#[test]
fn the_documented_verdicts_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dialects.md");
    let text = fs::read_to_string(path).unwrap();
    for (heading, client, provider, host, model) in [
        (
            "### Chat completions to Anthropic",
            ClientDialect::OpenAiChat,
            ProviderDialect::Anthropic,
            "api.anthropic.com",
            "m",
        ),
        (
            "### Messages to OpenAI-compatible upstreams",
            ClientDialect::Anthropic,
            ProviderDialect::OpenAiChat,
            "127.0.0.1",
            "m",
        ),
        (
            "### Chat completions to Bedrock",
            ClientDialect::OpenAiChat,
            ProviderDialect::Bedrock,
            "bedrock-runtime.us-east-1.amazonaws.com",
            "eu.anthropic.claude-sonnet-4-6",
        ),
        (
            "### Chat completions to Cohere",
            ClientDialect::OpenAiChat,
            ProviderDialect::Cohere,
            "api.cohere.com",
            "command-a-03-2025",
        ),
        (
            "### Responses to OpenAI-compatible upstreams",
            ClientDialect::OpenAiResponses,
            ProviderDialect::OpenAiChat,
            "127.0.0.1",
            "m",
        ),
        (
            "### Chat completions to Google",
            ClientDialect::OpenAiChat,
            ProviderDialect::Gemini,
            GOOGLE,
            "m",
        ),
        (
            "### Messages to Google",
            ClientDialect::Anthropic,
            ProviderDialect::Gemini,
            GOOGLE,
            "m",
        ),
        (
            "### Google's API to OpenAI-compatible upstreams",
            ClientDialect::Gemini,
            ProviderDialect::OpenAiChat,
            "127.0.0.1",
            "m",
        ),
        (
            "### Responses to Anthropic",
            ClientDialect::OpenAiResponses,
            ProviderDialect::Anthropic,
            "api.anthropic.com",
            "m",
        ),
        (
            "### Chat completions to Responses upstreams",
            ClientDialect::OpenAiChat,
            ProviderDialect::OpenAiResponses,
            "api.openai.com",
            "m",
        ),
        (
            "### Messages to Responses upstreams",
            ClientDialect::Anthropic,
            ProviderDialect::OpenAiResponses,
            "api.openai.com",
            "m",
        ),
        (
            "### Google's API to Anthropic",
            ClientDialect::Gemini,
            ProviderDialect::Anthropic,
            "api.anthropic.com",
            "m",
        ),
    ] {
        let rows = rows(&text, heading);
        assert!(rows.len() > 9, "{heading} has few rows");
        for (field, example, verdict) in rows {
            let body = request(client, &field, example).to_string();
            let target = Target {
                model,
                stream: true,
                traits: &provider::traits(provider::at(host), provider, model),
            };
            let sent = client
                .read_request(body.as_bytes())
                .and_then(|ask| provider.write_request(&ask, &target));
            match sent {
                Ok(_) => assert!(!verdict.starts_with("refused"), "{field}: {body} is taken"),
                Err(error) => {
                    assert!(verdict.starts_with("refused"), "{field}: {body}: {error}");
                    assert_eq!(error.code, ErrorCode::Untranslatable, "{field}: {error}");
                }
            }
        }
    }
}
