//! A killed gateway's slots: they are free again when its leases are over, for those that share them.

use std::time::{Duration, Instant};

use everstream_testkit::provider::{FakeProvider, Gate, Script};
use serde_json::json;
use tokio::time::sleep;

use crate::client::answer;
use crate::harness::{PATIENCE, Process, Site};

const KEY: &str = "es-a-key-of-this-test";

async fn status(gateway: &Process, stream: bool) -> u16 {
    let mut client = gateway.client().await;
    let body = json!({"model": "m", "stream": stream, "messages": []});
    let key = format!("Bearer {KEY}");
    let headers = [("authorization", &*key)];
    let head = client
        .post_json("/v1/chat/completions", &body, &headers)
        .await
        .unwrap();
    if stream {
        // Its client stays.
        std::mem::forget(client);
    }
    head.status
}

#[tokio::test]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn slots_of_a_killed_gateway_are_free_when_its_leases_are_over() {
    let database = std::env::var("EVERSTREAM_TEST_POSTGRES").unwrap();
    let gate = Gate::new("held");
    let held_by = gate.clone();
    let provider = FakeProvider::start(move |request| {
        if request.wants_stream() {
            Script::chat_stream(&answer("x", 4)).gate_before_event(3, &held_by)
        } else {
            Script::chat_json(&answer("x", 4))
        }
    })
    .await;
    let hash = everstream_core::config::key_hash(KEY);
    let hash = everstream_core::config::show_key_hash(hash);
    let config = format!(
        "[database]\nurl = \"{database}?sslmode=disable\"\n[[rate_limits]]\nper = \"project\"\n\
         bounds = [\"concurrency=1\"]\n[[keys]]\nproject = \"leases-{}\"\nhash = \"{hash}\"\n",
        std::process::id()
    );
    let (mut first, mut second) = (Site::new(&provider, &config), Site::new(&provider, &config));
    let (one, two) = (first.start().await, second.start().await);
    assert_eq!(status(&one, true).await, 200);
    // For longer than one lease, as it is renewed.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(35) {
        assert_eq!(status(&two, false).await, 429);
        sleep(Duration::from_millis(500)).await;
    }
    one.kill();
    let killed = Instant::now();
    assert_eq!(status(&two, false).await, 429);
    while status(&two, false).await == 429 {
        assert!(killed.elapsed() < PATIENCE, "the slot is lost");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(
        killed.elapsed() < Duration::from_secs(45),
        "{:?}",
        killed.elapsed()
    );
    gate.open();
}
