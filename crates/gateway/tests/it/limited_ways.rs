//! Limits of a key's own, and of what is no generation.

use everstream_core::policy::limit::bound::Bound;
use everstream_store::sql::values::Scopes;
use everstream_testkit::provider::{FakeProvider, Script};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Setup, until, within};
use crate::raw::RawUpstream;
use crate::realtime::Realtime;
use crate::scopes::scoped_key;
use crate::socket::Socket;
use crate::talk::{CHAT, answer_to, chat, post, unary_chat};

fn limits(bounds: &[&str]) -> Vec<Bound> {
    bounds.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_key_has_limits_of_its_own_and_the_stricter_one_counts() {
    let provider = FakeProvider::start(answer_to).await;
    let rules =
        "[[rate_limits]]\nper = \"key\"\nbounds = [\"requests=4/1h\", \"requests=100/24h\"]";
    let gateway = Setup::new(&provider).config(rules).start().await;
    for (n, bounds, least) in [
        (1, vec!["requests=2/60m"], 2),
        (2, vec!["requests=9/1h", "requests=3/1d"], 3),
        (3, vec!["requests=9/1h"], 4),
        (4, vec![], 4),
    ] {
        let scopes = Scopes {
            limits: limits(&bounds),
            ..Scopes::default()
        };
        let key = scoped_key(&gateway, n, scopes).await;
        let key = format!("Bearer {key}");
        let key = [("authorization", &*key)];
        for left in (0..least).rev() {
            let reply = post(&gateway, CHAT, &unary_chat("x"), &key).await;
            let told = reply.header("x-ratelimit-remaining-requests").to_owned();
            assert_eq!((reply.head.status, told), (200, left.to_string()), "{n}");
        }
        let refused = post(&gateway, CHAT, &unary_chat("x"), &key).await;
        assert_eq!(refused.error(429).await, "rate_limit_exceeded");
    }
}

#[tokio::test]
async fn what_passes_through_is_limited_and_its_tokens_count_at_the_end() {
    let upstream = RawUpstream::start();
    let rules = "[[rate_limits]]\nper = \"model\"\n\
                 bounds = [\"requests=9/31d\", \"input-tokens=100/31d\", \"concurrency=1\"]";
    let gateway = upstream.setup().config(rules).start().await;
    let body = json!({"model": "raw/tts", "query": "q", "documents": ["d"]});
    let ask = || post(&gateway, "/v1/rerank", &body, &[]);
    for (left, requests) in [("100", "8"), ("10", "7")] {
        let server = async {
            let mut exchange = upstream.accept().await;
            exchange.body().await;
            // There is one slot.
            let second = ask().await;
            assert_eq!(second.header("retry-after"), "1");
            assert_eq!(second.error(429).await, "rate_limit_exceeded");
            let usage = "{\"usage\":{\"prompt_tokens\":90,\"total_tokens\":90}}";
            let kind = "content-type: application/json\r\n";
            exchange.answer(200, kind, usage).await;
        };
        let (reply, ()) = within(async { tokio::join!(ask(), server) }).await;
        assert_eq!(reply.header("x-ratelimit-remaining-tokens"), left);
        assert_eq!(reply.header("x-ratelimit-remaining-requests"), requests);
        reply.json(200).await;
    }
    // 180 of 100 are used: that has to be paid for first.
    let refused = ask().await;
    assert_eq!(refused.header("x-ratelimit-remaining-tokens"), "0");
    assert_eq!(refused.error(429).await, "rate_limit_exceeded");
    // Another model has its own.
    let other = json!({"model": "raw/whisper", "query": "q", "documents": ["d"]});
    let leaves = async {
        let exchange = upstream.accept().await;
        drop(exchange);
    };
    let asked = post(&gateway, "/v1/rerank", &other, &[]);
    let (reply, ()) = within(async { tokio::join!(asked, leaves) }).await;
    assert_eq!(reply.head.status, 502);
    drop(reply);
    let answers = async {
        let mut exchange = upstream.accept().await;
        exchange.body().await;
        exchange.answer(200, "", "{}").await;
    };
    let asked = post(&gateway, "/v1/rerank", &other, &[]);
    let (reply, ()) = within(async { tokio::join!(asked, answers) }).await;
    assert_eq!(reply.head.status, 200);
}

#[tokio::test]
async fn a_realtime_session_holds_its_slot_until_it_is_over() {
    const PATH: &str = "/v1/realtime?model=gpt-realtime";
    let upstream = Realtime::start().await;
    let rules = "[[rate_limits]]\nper = \"address\"\nbounds = [\"concurrency=1\", \"output-tokens=50/31d\"]";
    let gateway = upstream.setup().config(rules).start().await;
    for round in 0..2 {
        let opened = async { tokio::join!(Socket::open(&gateway, PATH, &[]), upstream.accept()) };
        let (client, mut session) = within(opened).await;
        let mut client = client.unwrap();
        let (status, body) = Socket::open(&gateway, PATH, &[]).await.err().unwrap();
        assert_eq!(
            (status, &body["error"]["code"]),
            (429, &json!("rate_limit_exceeded"))
        );
        let usage = json!({"input_tokens": 1, "output_tokens": 30});
        let done = json!({"type": "response.done", "response": {"usage": usage}});
        session.say(Message::text(done.to_string())).await;
        client.message().await;
        session.say(Message::Close(None)).await;
        client.message().await;
        drop(client);
        // Its place is free when it is over, which is a moment after the goodbye.
        within(async {
            while !gateway_is_free(&gateway).await && round == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    // Sixty were used, of fifty.
    let (status, body) = Socket::open(&gateway, PATH, &[]).await.err().unwrap();
    assert_eq!(status, 429);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("50 output tokens in 31d"), "{message}");
}

/// Whether a session could begin: the upstream is not there for one more, which is another error.
async fn gateway_is_free(gateway: &crate::harness::Gateway) -> bool {
    let tokens = || everstream::limits::Tokens {
        input: 0,
        output: Some(0),
    };
    let caller = everstream::access::Caller {
        project: "default".parse().unwrap(),
        organisation: None,
        key: None,
        scopes: std::sync::Arc::default(),
        on_disconnect: gateway.app.config.streams.on_disconnect,
    };
    let asks = everstream::limits::Asks {
        caller: &caller,
        address: Some("127.0.0.1".parse().unwrap()),
        model: &String::new,
        tokens: &tokens,
    };
    gateway.app.limits.enter(&asks).await.is_ok()
}

#[tokio::test]
async fn counting_tokens_is_a_request() {
    let provider = FakeProvider::start(|_| Script::json(200, &json!({"input_tokens": 3}))).await;
    let rules = "[[rate_limits]]\nper = \"address\"\nbounds = [\"requests=1/1h\"]";
    let gateway = Setup::default()
        .config(rules)
        .upstream("claude", &provider.base_url(), "dialect = \"anthropic\"")
        .start()
        .await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    let path = "/v1/messages/count_tokens";
    let counted = post(&gateway, path, &body, &[]).await;
    assert_eq!(counted.header("x-ratelimit-remaining-requests"), "0");
    counted.json(200).await;
    let refused = post(&gateway, path, &body, &[]).await.json(429).await;
    assert_eq!(refused["error"]["type"], "rate_limit_error");
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn where_there_are_no_limits_nothing_is_told_of_any() {
    let provider = FakeProvider::start(answer_to).await;
    let rules =
        "[[rate_limits]]\nper = \"model\"\nonly = [\"other\"]\nbounds = [\"requests=1/1h\"]";
    let gateway = Setup::new(&provider).config(rules).start().await;
    for _ in 0..3 {
        let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
        for field in [
            "ratelimit",
            "ratelimit-policy",
            "x-ratelimit-limit-requests",
        ] {
            assert_eq!(reply.header(field), "", "{field}");
        }
        reply.frames().await;
    }
    until(|| gateway.app.generator.registry.is_empty()).await;
    assert_eq!(gateway.app.limits.is_shared(), None);
}
