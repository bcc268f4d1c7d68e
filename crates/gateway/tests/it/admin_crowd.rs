//! What operators see when there is too much at once, and what they can do about it.

use everstream_testkit::provider::{FakeProvider, Gate, Script};
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::harness::{Setup, until};
use crate::talk::{CHAT, answer_to, chat, held, post, soon, unary_chat};

async fn admission(admin: &Admin) -> Value {
    let reply = admin.ask("GET", "/admin/admission", &[]).await;
    reply.json(200).await
}

async fn drain(admin: &Admin, verb: &str) {
    let path = format!("/admin/upstreams/two/{verb}");
    admin.ask("POST", &path, &[]).await.json(200).await;
}

#[tokio::test]
async fn who_waits_is_let_in_when_an_upstream_is_taken_back_in() {
    let gate = Gate::new("held");
    let at = gate.clone();
    let one = FakeProvider::start(move |_| held(4, &at)).await;
    let other = FakeProvider::start(answer_to).await;
    let setup = Setup::default()
        .config("[limits]\nqueue = 1")
        .upstream("one", &one.base_url(), "max_concurrency = 1")
        .upstream("two", &other.base_url(), "");
    let route =
        "[[routes]]\nmodel = \"m\"\ndeployments = [{upstream = \"one\"}, {upstream = \"two\"}]";
    let gateway = setup.upstream_fields(route).start().await;
    let admin = Admin::of(&gateway);
    drain(&admin, "drain").await;
    let mut running = post(&gateway, CHAT, &chat("x"), &[]).await;
    running.event().await;
    let body = unary_chat("y");
    let (second, ()) = tokio::join!(post(&gateway, CHAT, &body, &[]), async {
        until(|| gateway.app.admission.sight().waiting == 1).await;
        // There is one place in the queue.
        let third = post(&gateway, CHAT, &unary_chat("z"), &[]).await;
        assert_eq!(third.error(429).await, "too_many_waiting");
        let seen = json!({
            "running": 1, "max_concurrency": null, "waiting": 1,
            "refused": {"share": 1, "full": 0, "late": 0},
        });
        assert_eq!(admission(&admin).await, seen);
        soon(drain(&admin, "undrain")).await;
    });
    assert_eq!(second.header("everstream-upstream"), "two");
    second.json(200).await;
    gate.open();
    running.frames().await;
    until(|| gateway.app.admission.sight().running == 0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn keys_that_rest_are_counted() {
    let provider = FakeProvider::start(|request| {
        if request.header("authorization") == Some("Bearer sk-first-0001") {
            Script::openai_error(429, "rate_limit_error", "rate_limited", "Later.")
                .header("retry-after", "60")
        } else {
            answer_to(request)
        }
    });
    let provider = provider.await;
    let keys = format!(
        "[[upstreams]]\nname = \"one\"\nbase_url = \"{}\"\n\
         api_keys = [\"sk-first-0001\", \"sk-second-002\"]\n",
        provider.base_url()
    );
    let gateway = Setup::default().upstream_fields(&keys);
    let gateway = gateway.start().await;
    let admin = Admin::of(&gateway);
    let reply = post(&gateway, CHAT, &unary_chat("x"), &[]).await;
    reply.json(200).await;
    let seen = admin.deployment("one").await;
    assert_eq!(seen["keys"], json!({"all": 2, "resting": 1}));
    let keys = "everstream_upstream_keys{upstream=\"one\",model=\"m\",state=";
    let expected = [
        format!("{keys}\"awake\"}} 1"),
        format!("{keys}\"resting\"}} 1"),
    ];
    assert_eq!(admin.metrics(keys).await, expected);
    gateway.stop().await;
}
