use std::net::SocketAddr;

use futures_util::FutureExt;

use super::*;
use crate::upstream::tests::{answer, json, listen};

fn env(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    |name| {
        let found = pairs.iter().find(|(key, _)| *key == name)?;
        Some(found.1.to_owned())
    }
}

fn summary(found: &Discovery) -> Vec<(&str, &str, Option<&str>, &str)> {
    let upstreams = found.upstreams.iter();
    upstreams
        .map(|u| {
            let key = u.api_key.as_ref().map(Secret::expose);
            (u.name.as_str(), u.base_url.as_str(), key, u.source.as_str())
        })
        .collect()
}

#[test]
fn keys_in_the_environment_become_upstreams() {
    let found = from_environment(
        env(&[
            ("OPENAI_API_KEY", " k1\n"),
            ("GROQ_API_KEY", "k2"),
            ("XAI_API_KEY", " "),
        ]),
        &[],
    );
    assert_eq!(
        summary(&found),
        [
            (
                "openai",
                "https://api.openai.com/v1",
                Some("k1"),
                "OPENAI_API_KEY"
            ),
            (
                "groq",
                "https://api.groq.com/openai/v1",
                Some("k2"),
                "GROQ_API_KEY"
            ),
        ]
    );
    assert!(!format!("{found:?}").contains("k1"));
    let found = from_environment(env(&[("OPENAI_BASE_URL", "http://gpu:8000/v1")]), &[8000]);
    assert_eq!(
        summary(&found),
        [("openai", "http://gpu:8000/v1", None, "OPENAI_BASE_URL")]
    );
    assert!(found.warnings.is_empty());
}

#[test]
fn the_gateway_is_not_its_own_upstream() {
    for url in [
        "http://localhost:8080/v1",
        "http://127.0.0.1:8080",
        "http://[::1]:8080/v1",
    ] {
        let env = |name: &str| (name == "OPENAI_BASE_URL").then(|| url.to_owned());
        let found = from_environment(env, &[8080, 8081]);
        assert!(found.upstreams.is_empty(), "{url}");
        assert!(
            found.warnings[0].contains("OPENAI_BASE_URL"),
            "{:?}",
            found.warnings
        );
        assert_eq!(from_environment(env, &[9090]).upstreams.len(), 1);
    }
}

#[test]
fn anthropic_is_found_by_its_key_and_its_address() {
    let found = from_environment(env(&[("ANTHROPIC_API_KEY", "k")]), &[]);
    let anthropic = &found.upstreams[0];
    assert_eq!(anthropic.dialect, ProviderDialect::Anthropic);
    assert_eq!(anthropic.base_url, "https://api.anthropic.com/v1");
    let found = from_environment(env(&[("ANTHROPIC_BASE_URL", "http://localhost:9")]), &[]);
    let upstream = Upstream::new(found.upstreams[0].clone().into()).unwrap();
    assert_eq!(upstream.base_url().to_string(), "http://localhost:9/v1");
    let found = from_environment(env(&[("ANTHROPIC_BASE_URL", "http://localhost:9")]), &[9]);
    assert!(found.upstreams.is_empty() && found.warnings[0].contains("ANTHROPIC_BASE_URL"));
}

#[test]
fn a_provider_of_each_kind_is_found_by_its_key() {
    let found = from_environment(
        env(&[
            ("GOOGLE_API_KEY", "g"),
            ("DASHSCOPE_API_KEY", "d"),
            ("AZURE_OPENAI_API_KEY", "a"),
            ("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/"),
        ]),
        &[],
    );
    let dashscope = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1";
    let gemini = "https://generativelanguage.googleapis.com/v1beta";
    let azure = "https://r.openai.azure.com/openai/v1";
    assert_eq!(
        summary(&found),
        [
            ("azure", azure, Some("a"), "AZURE_OPENAI_API_KEY"),
            ("gemini", gemini, Some("g"), "GOOGLE_API_KEY"),
            ("dashscope", dashscope, Some("d"), "DASHSCOPE_API_KEY"),
        ]
    );
    for upstream in found.upstreams {
        let name = upstream.name.clone();
        let upstream = Upstream::new(upstream.into()).unwrap();
        assert_eq!(upstream.provider().unwrap().name, name);
    }
    let found = from_environment(env(&[("AZURE_OPENAI_API_KEY", "a")]), &[]);
    assert!(found.upstreams.is_empty());
    assert_eq!(
        found.warnings,
        ["AZURE_OPENAI_API_KEY cannot be used without AZURE_OPENAI_ENDPOINT"]
    );
}

#[test]
fn whoever_is_at_another_address_has_no_traits_of_a_provider() {
    let found = from_environment(env(&[("OPENAI_BASE_URL", "http://gpu:8000/v1")]), &[]);
    assert_eq!(found.upstreams[0].provider, None);
    let upstream = Upstream::new(found.upstreams[0].clone().into()).unwrap();
    assert!(upstream.traits("m").max_tokens);
    let found = from_environment(
        env(&[("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")]),
        &[],
    );
    assert_eq!(found.upstreams[0].provider.unwrap().name, "openai");
}

#[test]
fn every_address_in_the_table_is_a_base_url() {
    for provider in PROVIDERS {
        if let Some(base_url) = provider.base_url {
            let spec = UpstreamSpec::new(provider.name, base_url);
            assert!(Upstream::new(spec).is_ok(), "{}", provider.name);
        }
    }
}

/// Long enough for a machine under load; nothing here waits for it to pass.
const AMPLE: Duration = Duration::from_mins(1);

fn server(name: &'static str, address: SocketAddr) -> LocalServer {
    LocalServer {
        provider: everstream_core::provider::find(name).unwrap(),
        port: address.port(),
    }
}

#[tokio::test]
async fn only_servers_with_a_list_of_models_count_as_found() {
    let (real, real_address) = listen().await;
    let (other, other_address) = listen().await;
    let (own, own_address) = listen().await;
    let servers = [
        server("vllm", real_address),
        server("ollama", other_address),
        server("sglang", own_address),
    ];
    let list = json(r#"{"object":"list","data":[{"id":"m"}]}"#);
    let not_a_list = json(r#"{"data":[{"id":"not tagged as a list"}]}"#);
    let own_ports = [own_address.port()];
    let (found, _, _) = tokio::join!(
        discover_among(&servers, AMPLE, env(&[]), &own_ports),
        answer(&real, &list),
        answer(&other, &not_a_list),
    );
    let source = format!("vLLM on port {}", real_address.port());
    let base_url = format!("http://{real_address}/v1");
    assert_eq!(
        summary(&found),
        [("vllm", base_url.as_str(), None, source.as_str())]
    );
    assert!(
        own.accept().now_or_never().is_none(),
        "our own port was asked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_no_more_than_the_budget() {
    let (_listener, address) = listen().await;
    let servers = [server("vllm", address)];
    let started = tokio::time::Instant::now();
    let found = discover_among(&servers, DISCOVERY_TIMEOUT, env(&[]), &[]).await;
    assert!(found.upstreams.is_empty());
    assert!(started.elapsed() < DISCOVERY_TIMEOUT * 2);
}

#[tokio::test]
async fn a_server_that_the_environment_names_is_not_found_twice() {
    let (listener, address) = listen().await;
    let servers = [server("vllm", address)];
    let env = |name: &str| (name == "OPENAI_BASE_URL").then(|| format!("http://{address}/v1"));
    let found = discover_among(&servers, AMPLE, env, &[]).await;
    assert_eq!(found.upstreams.len(), 1);
    assert_eq!(found.upstreams[0].name, "openai");
    assert!(
        listener.accept().now_or_never().is_none(),
        "it was asked all the same"
    );
}
