//! Asking upstreams whether they are there, beside what the traffic shows.

use std::sync::atomic::Ordering;
use std::time::Duration;

use everstream_testkit::provider::{FakeProvider, Script};

use crate::admin::{Admin, switched};
use crate::harness::{Setup, StillTime};
use crate::talk::answer_to;

const PATH: &str = "/v1/ready";

/// `one` is probed every 10 s, `two` is not.
fn probed(one: &str, other: &str) -> Setup {
    let probes = "models = [\"m\"]\nprobe_interval = \"10s\"\nprobe_path = \"/ready\"";
    Setup::default()
        .upstream("one", one, probes)
        .upstream("two", other, "models = [\"m\"]")
        .upstream_fields(
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\n\
             [[routes.deployments]]\nupstream = \"two\"\n",
        )
}

/// Passes the time until the breaker of `one` is in this state; how many probes that took in all.
async fn probes_until(
    still: &StillTime,
    admin: &Admin,
    one: &FakeProvider,
    is_there: impl Fn(&str) -> bool,
) -> u64 {
    for _ in 0..300 {
        let seen = admin.deployment("one").await;
        if is_there(seen["breaker"].as_str().unwrap()) {
            return one.call_count(PATH);
        }
        still.pass(Duration::from_secs(1)).await;
    }
    panic!("{} probes changed nothing", one.call_count(PATH));
}

#[tokio::test]
async fn probes_find_an_upstream_that_fails_and_one_that_is_back() {
    let (one, fails) = switched().await;
    let (other, _) = switched().await;
    let gateway = probed(&one.base_url(), &other.base_url()).start().await;
    let admin = Admin::of(&gateway);
    let still = StillTime::begin();
    fails.store(true, Ordering::SeqCst);
    let down = probes_until(&still, &admin, &one, |state| state == "open").await;
    assert!((5..=6).contains(&down), "after {down} probes");
    let seen = admin.deployment("one").await;
    assert_eq!(seen["outcomes"]["failed"], serde_json::json!({}));
    fails.store(false, Ordering::SeqCst);
    let up = probes_until(&still, &admin, &one, |state| state == "closed").await;
    assert!(up - down <= 3, "after {up} probes");
    assert_eq!(other.call_count(PATH), 0);
    drop(still);
    gateway.stop().await;
}

#[tokio::test]
async fn an_upstream_that_does_not_know_the_path_is_there() {
    let one = FakeProvider::start(|_| Script::status(404, &[], "no")).await;
    let other = FakeProvider::start(answer_to).await;
    let gateway = probed(&one.base_url(), &other.base_url()).start().await;
    let admin = Admin::of(&gateway);
    let still = StillTime::begin();
    let many = |_: &str| one.call_count(PATH) >= 8;
    probes_until(&still, &admin, &one, many).await;
    assert_eq!(admin.deployment("one").await["breaker"], "closed");
    drop(still);
    gateway.stop().await;
}
