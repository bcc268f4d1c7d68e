use std::collections::BTreeSet;

use super::*;
use crate::ask::Field;
use crate::dialect::{ThinkingWords, ToolChoices};

fn chat(host: &str) -> Traits {
    traits(at(host), ProviderDialect::OpenAiChat, "m")
}

#[test]
fn a_host_is_known_by_its_domain() {
    assert!(!chat("api.openai.com").max_tokens);
    assert!(!chat("mine.openai.azure.com").max_tokens);
    assert!(chat("notopenai.com").max_tokens);
    assert!(chat("127.0.0.1").lacks.is_empty() && !chat("127.0.0.1").hints);
    assert!(chat("openrouter.ai").reasoning_details);
    assert_eq!(
        chat("api.deepseek.com").reasoning_member,
        Some("reasoning_content")
    );
    for host in [
        "dashscope.aliyuncs.com",
        "dashscope-us.aliyuncs.com",
        "w1.ap-southeast-1.maas.aliyuncs.com",
    ] {
        assert_eq!(chat(host).thinking, ThinkingWords::Budget, "{host}");
    }
    assert_eq!(chat("open.bigmodel.cn").tool_choices, ToolChoices::Auto);
    assert!(chat("api.mistral.ai").lacks.contains(&Field::TopK));
}

#[test]
fn a_model_says_how_it_thinks() {
    let of = |model| traits(find("anthropic"), ProviderDialect::Anthropic, model);
    for model in [
        "claude-sonnet-4-20250514",
        "claude-opus-4-5-20251101",
        "claude-3-7-sonnet-latest",
    ] {
        assert!(!of(model).adaptive_thinking, "{model}");
    }
    assert!(of("claude-opus-4-6").adaptive_thinking && of("m").adaptive_thinking);
    assert_eq!(of("claude-3-haiku-20240307").default_max_tokens, 4_096);
    let of = |model| traits(find("moonshot"), ProviderDialect::OpenAiChat, model).thinking;
    assert_eq!(of("kimi-k2.5"), ThinkingWords::Switch);
    assert_eq!(of("kimi-k3"), ThinkingWords::Effort);
    let of = |model| traits(None, ProviderDialect::Gemini, model).gemini_3;
    assert!(of("gemini-3-pro") && !of("gemini-2.5-flash"));
}

#[test]
fn each_row_can_be_told_from_the_others() {
    let names: BTreeSet<_> = PROVIDERS.iter().map(|provider| provider.name).collect();
    assert_eq!(names.len(), PROVIDERS.len());
    let ports: Vec<_> = PROVIDERS.iter().filter_map(|row| row.port).collect();
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
    for row in PROVIDERS {
        assert_eq!(find(row.name), Some(row));
        // Our own page is beside the one that lists them all, and each of us has its own address.
        let ours = row.name == "everstream";
        assert_eq!(
            row.documentation.starts_with("https://"),
            !ours,
            "{}",
            row.name
        );
        let host = row.base_url.and_then(|url| url.split('/').nth(2));
        if let Some(host) = host.filter(|_| row.port.is_none()) {
            assert!(row.is_at(host), "{}", row.name);
            assert_eq!(at(host).unwrap().traits, row.traits, "{}", row.name);
        }
        assert_eq!(row.base_url.is_none(), ours || row.shape != Shape::Plain);
    }
    assert_eq!(find("nobody"), None);
}

#[test]
fn an_address_has_what_is_the_customers_own() {
    let of = |name: &str, place: Place<'_>| find(name).unwrap().base_url(&place);
    let own = |url| Place {
        base_url: Some(url),
        ..Place::default()
    };
    assert_eq!(
        of("deepseek", Place::default()).unwrap(),
        "https://api.deepseek.com"
    );
    assert_eq!(
        of("deepseek", own("http://proxy/")).unwrap(),
        "http://proxy"
    );
    for copied in [
        "https://r.openai.azure.com",
        "https://r.openai.azure.com/openai",
        "https://r.openai.azure.com/openai/v1/",
    ] {
        let v1 = of("azure", own(copied)).unwrap();
        assert_eq!(v1, "https://r.openai.azure.com/openai/v1");
        let place = Place {
            api_version: Some("2024-10-21"),
            ..own(copied)
        };
        let classic = of("azure", place).unwrap();
        assert_eq!(classic, "https://r.openai.azure.com/openai");
    }
    let chat = |version| path("/chat/completions".into(), "gpt 4/o", version);
    assert_eq!(chat(None), "/chat/completions");
    assert_eq!(
        chat(Some("2024-10-21")),
        "/deployments/gpt%204%2Fo/chat/completions?api-version=2024-10-21"
    );
    assert_eq!(
        path("/responses".into(), "gpt-4o", Some("2025-03-01-preview")),
        "/responses?api-version=2025-03-01-preview"
    );
    assert_eq!(of("azure", Place::default()), Err(Unplaced("base_url")));

    assert_eq!(of("vertex", Place::default()), Err(Unplaced("project")));
    let place = Place {
        project: Some("p"),
        ..Place::default()
    };
    assert_eq!(
        of("vertex", place).unwrap(),
        "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google"
    );
    let place = Place {
        location: Some("us-central1"),
        ..place
    };
    assert_eq!(
        of("vertex", place).unwrap(),
        "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/\
         publishers/google"
    );
    assert!(find("vertex").unwrap().is_at("aiplatform.googleapis.com"));
}
