//! Failed authentications, limited by address.

use everstream_testkit::client::ResponseHead;
use everstream_testkit::provider::FakeProvider;

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup, within};
use crate::signer::{Key, Wish, borrowed};
use crate::talk::answer_to;

const MODELS: &str = "/v1/models";

async fn ask(gateway: &Gateway, key: &str, from: Option<&str>) -> ResponseHead {
    let bearer = format!("Bearer {key}");
    let mut headers = vec![("authorization", &*bearer)];
    headers.extend(from.map(|from| ("x-forwarded-for", from)));
    let mut client = gateway.client().await;
    within(client.get(MODELS, &headers)).await.unwrap()
}

async fn status(gateway: &Gateway, key: &str, from: Option<&str>) -> u16 {
    ask(gateway, key, from).await.status
}

#[tokio::test]
async fn an_address_that_failed_too_often_is_not_listened_to_but_for_who_was_good() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider)
        .with_keys()
        .config("[limits]\nfailed_authentications = 3")
        .start()
        .await;
    assert_eq!(status(&gateway, KEY_ONE, None).await, 200);
    for _ in 0..3 {
        assert_eq!(status(&gateway, "guess", None).await, 401);
    }
    let refused = ask(&gateway, "guess", None).await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    // Nobody learns by a right guess.
    assert_eq!(status(&gateway, KEY_TWO, None).await, 429);
    assert_eq!(status(&gateway, KEY_ONE, None).await, 200);
    // A request without a key guesses nothing, and is told what it lacks.
    let mut client = gateway.client().await;
    assert_eq!(within(client.get(MODELS, &[])).await.unwrap().status, 401);
    // What a stranger says of its address is not believed.
    assert_eq!(status(&gateway, "guess", Some("192.0.2.1")).await, 429);
}

#[tokio::test]
async fn behind_a_proxy_it_is_the_clients_address_that_counts() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider)
        .config("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n[limits]\nfailed_authentications = 2")
        .start()
        .await;
    let key = Key::new(&gateway, 1).await;
    let bad = Some("192.0.2.1, 203.0.113.9, 10.0.0.7");
    for expected in [401, 401, 429] {
        assert_eq!(status(&gateway, "guess", bad).await, expected);
    }
    // Whatever it claims before.
    let lie = Some("198.51.100.1, 203.0.113.9");
    assert_eq!(status(&gateway, "guess", lie).await, 429);
    assert_eq!(status(&gateway, "guess", Some("203.0.113.8")).await, 401);
    // The proxy's client signs what it addressed.
    let public = key.at("gateway.example");
    for (host, expected) in [
        (Some("Gateway.Example:80"), 200),
        (Some("other"), 401),
        (None, 401),
    ] {
        let headers = public.sign(&gateway, Wish::get(MODELS));
        let mut headers = borrowed(&headers);
        headers.push(("x-forwarded-for", "203.0.113.7"));
        headers.extend(host.map(|host| ("x-forwarded-host", host)));
        let mut client = gateway.client().await;
        let head = within(client.get(MODELS, &headers)).await.unwrap();
        assert_eq!(head.status, expected, "{host:?}");
    }
    // A scheme's own port is left out, whichever the client spoke.
    let headers = public.sign(&gateway, Wish::get(MODELS));
    let mut headers = borrowed(&headers);
    headers.push(("x-forwarded-host", "gateway.example:443"));
    headers.push(("x-forwarded-proto", "https"));
    let mut client = gateway.client().await;
    assert_eq!(
        within(client.get(MODELS, &headers)).await.unwrap().status,
        200
    );
}
