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
fn keys_that_cannot_be_used_yet_are_named_when_there_is_nothing_else() {
    let found = from_environment(env(&[("GEMINI_API_KEY", "k")]), &[]);
    assert!(found.upstreams.is_empty());
    assert!(found.warnings[0].starts_with("GEMINI_API_KEY cannot"));
    let found = from_environment(env(&[("GEMINI_API_KEY", "k"), ("XAI_API_KEY", "k")]), &[]);
    assert!(found.warnings.is_empty());
}

#[test]
fn every_address_in_the_tables_is_a_base_url() {
    for provider in PROVIDERS
        .iter()
        .chain(MOVABLE.iter().map(|movable| &movable.provider))
    {
        let spec = UpstreamSpec::new(provider.name, provider.base_url);
        assert!(Upstream::new(spec).is_ok(), "{}", provider.name);
    }
}

/// Long enough for a machine under load; nothing here waits for it to pass.
const AMPLE: Duration = Duration::from_mins(1);

fn server(name: &'static str, address: SocketAddr) -> LocalServer {
    LocalServer {
        name,
        title: "T",
        port: address.port(),
    }
}

#[tokio::test]
async fn only_servers_with_a_list_of_models_count_as_found() {
    let (real, real_address) = listen().await;
    let (other, other_address) = listen().await;
    let (own, own_address) = listen().await;
    let servers = [
        server("real", real_address),
        server("other", other_address),
        server("own", own_address),
    ];
    let list = json(r#"{"object":"list","data":[{"id":"m"}]}"#);
    let not_a_list = json(r#"{"data":[{"id":"not tagged as a list"}]}"#);
    let own_ports = [own_address.port()];
    let (found, _, _) = tokio::join!(
        discover_among(&servers, AMPLE, env(&[]), &own_ports),
        answer(&real, &list),
        answer(&other, &not_a_list),
    );
    let source = format!("T on port {}", real_address.port());
    let base_url = format!("http://{real_address}/v1");
    assert_eq!(
        summary(&found),
        [("real", base_url.as_str(), None, source.as_str())]
    );
    assert!(
        own.accept().now_or_never().is_none(),
        "our own port was asked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_no_more_than_the_budget() {
    let (_listener, address) = listen().await;
    let servers = [server("silent", address)];
    let started = tokio::time::Instant::now();
    let found = discover_among(&servers, DISCOVERY_TIMEOUT, env(&[]), &[]).await;
    assert!(found.upstreams.is_empty());
    assert!(started.elapsed() < DISCOVERY_TIMEOUT * 2);
}

#[tokio::test]
async fn a_server_that_the_environment_names_is_not_found_twice() {
    let (listener, address) = listen().await;
    let servers = [server("local", address)];
    let env = |name: &str| (name == "OPENAI_BASE_URL").then(|| format!("http://{address}/v1"));
    let found = discover_among(&servers, AMPLE, env, &[]).await;
    assert_eq!(found.upstreams.len(), 1);
    assert_eq!(found.upstreams[0].name, "openai");
    assert!(
        listener.accept().now_or_never().is_none(),
        "it was asked all the same"
    );
}
