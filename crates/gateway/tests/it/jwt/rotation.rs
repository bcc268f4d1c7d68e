//! Keys that come and go, and issuers that do.

use std::time::Duration;

use everstream_testkit::provider::{Cut, FakeProvider, Gate, Script};
use serde_json::{Value, json};

use super::issuer::{Issuer, Signer, encode};
use super::{asked, claims, trusting};
use crate::harness::{Gateway, StillTime, within};
use crate::talk::{answer_to, get};

const REFUSED: (u16, &str) = (401, "invalid_api_key");
const UNAVAILABLE: (u16, &str) = (503, "access_unavailable");

async fn expect(gateway: &Gateway, token: &str, expected: (u16, &str)) {
    let (status, code) = asked(gateway, token).await;
    assert_eq!((status, code.as_str()), expected);
}

/// Gives what runs the time to do it, while no time passes.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_met_and_an_old_one_ends_with_its_set() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    issuer.cache_control("public, max-age=120");
    let gateway = trusting(&provider, &issuer, "").await;
    let time = StillTime::begin();
    let day = gateway.app.clock.now().0 / 1000 + 86_400;
    let long = json!({"exp": day});
    let (one, two, three) = (Signer::fresh("1"), Signer::fresh("2"), Signer::fresh("3"));
    let token = |signer: &Signer| signer.token(&claims(&gateway, &issuer, long.clone()));
    let tokens = [token(&one), token(&two), token(&three)];
    expect(&gateway, &token(&Signer::eddsa("ed")), (200, "")).await;
    issuer.rotate(&[&one]);
    expect(&gateway, &tokens[0], (200, "")).await;
    assert_eq!(
        issuer.calls(),
        4,
        "those of the start, and those of the unknown key"
    );
    issuer.rotate(&[&one, &two]);
    // It was just looked: not again so soon.
    expect(&gateway, &tokens[1], REFUSED).await;
    assert_eq!(issuer.calls(), 4);
    time.pass(Duration::from_secs(10)).await;
    expect(&gateway, &tokens[1], (200, "")).await;
    expect(&gateway, &tokens[0], (200, "")).await;
    assert_eq!(issuer.calls(), 6);
    // The first one leaves the set: with the next look, two minutes later, its tokens end.
    issuer.rotate(&[&two, &three]);
    expect(&gateway, &tokens[0], (200, "")).await;
    time.pass(Duration::from_secs(121)).await;
    issuer.wait_for_calls(8).await;
    until_refused(&gateway, &tokens[0]).await;
    for good in &tokens[1..] {
        expect(&gateway, good, (200, "")).await;
    }
    assert_eq!(issuer.calls(), 10, "and once more for the key that is gone");
}

/// Asks until it is let in. When an issuer is asked again is a matter of chance.
async fn until_good(gateway: &Gateway, token: &str, time: &StillTime) {
    let asking = async {
        while asked(gateway, token).await.0 != 200 {
            time.pass(Duration::from_secs(1)).await;
        }
    };
    within(asking).await;
}

async fn until_refused(gateway: &Gateway, token: &str) {
    within(async { while asked(gateway, token).await.0 != 401 {} }).await;
}

#[tokio::test]
async fn a_token_ends_with_its_time_though_it_was_found_good_before() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gateway = trusting(&provider, &issuer, "leeway = \"0ms\"").await;
    let time = StillTime::begin();
    let now = gateway.app.clock.now().0 / 1000;
    let token = Signer::eddsa("ed").token(&claims(&gateway, &issuer, json!({"exp": now + 60})));
    expect(&gateway, &token, (200, "")).await;
    time.pass(Duration::from_secs(50)).await;
    expect(&gateway, &token, (200, "")).await;
    time.pass(Duration::from_secs(11)).await;
    expect(&gateway, &token, REFUSED).await;
}

#[tokio::test]
async fn a_flood_of_made_up_keys_is_one_question() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    // All of it comes from one address.
    let gateway = trusting(
        &provider,
        &issuer,
        "\n[limits]\nfailed_authentications = 1000",
    )
    .await;
    let time = StillTime::begin();
    let good = claims(&gateway, &issuer, json!({}));
    let signer = Signer::eddsa("ed");
    expect(&gateway, &signer.token(&good), (200, "")).await;
    let flood = (0..100).map(|n| {
        let header = json!({"alg": "EdDSA", "kid": format!("made-up-{n}")}).to_string();
        let token = signer.token_with(&header, &good.to_string());
        let gateway = &gateway;
        async move { expect(gateway, &token, REFUSED).await }
    });
    futures_util::future::join_all(flood).await;
    assert_eq!(issuer.calls(), 4);
    // Neither do those ask that are of other issuers, or no tokens.
    for odd in [
        signer.token(&claims(
            &gateway,
            &issuer,
            json!({"iss": "https://else.example"}),
        )),
        format!("eyJ.{}.", encode("{}")),
    ] {
        expect(&gateway, &odd, REFUSED).await;
    }
    expect(&gateway, &signer.token(&good), (200, "")).await;
    time.pass(Duration::from_secs(11)).await;
    assert_eq!(issuer.calls(), 4);
}

/// What an issuer says at a path; `None` for what it usually does.
type Answer = Box<dyn Fn(&str) -> Option<Script> + Send>;

#[tokio::test]
async fn an_issuer_that_says_nothing_of_use_is_asked_again() {
    let good = |issuer: &Issuer, uri: String| json!({"issuer": issuer.name(), "jwks_uri": uri});
    let provider = FakeProvider::start(answer_to).await;
    let elsewhere = Issuer::start().await;
    let issuer = Issuer::start().await;
    let keys = elsewhere.keys_url();
    let large = json!({"keys": [{"kty": "x".repeat(300_000)}]});
    let own = issuer.keys_url();
    let at = |place: &'static str, script: fn() -> Script| -> Answer {
        Box::new(move |path| path.ends_with(place).then(script))
    };
    let configured = |configuration: Value| -> Answer {
        Box::new(move |path| {
            path.ends_with("configuration")
                .then(|| Script::json(200, &configuration))
        })
    };
    let answers: Vec<Answer> = vec![
        at("", || Script::hang_up(Cut::Close)),
        at("", || Script::json(500, &json!({}))),
        at("configuration", || Script::status(200, &[], "<html>")),
        at("keys", || Script::status(200, &[], "<html>")),
        at("keys", || Script::json(200, &json!({"keys": []}))),
        at("keys", || {
            Script::json(200, &json!({"keys": [{"kty": "oct", "k": "AAAA"}]}))
        }),
        Box::new(move |path| path.ends_with("keys").then(|| Script::json(200, &large))),
        Box::new(move |_| Some(Script::status(302, &[("location", &keys)], ""))),
        configured(json!({"issuer": "https://else.example", "jwks_uri": own})),
        configured(json!({"issuer": format!("{}/", issuer.name()), "jwks_uri": own})),
        configured(good(&issuer, "file:///etc/passwd".to_owned())),
        configured(good(&issuer, "http://169.254.169.254/keys".to_owned())),
        configured(good(&issuer, "http://10.0.0.1/keys".to_owned())),
        configured(good(&issuer, "http://localhost:1/keys".to_owned())),
        configured(json!({"issuer": issuer.name()})),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        issuer.says(answer);
        let gateway = trusting(&provider, &issuer, "").await;
        let time = StillTime::begin();
        let token = Signer::eddsa("ed").token(&claims(&gateway, &issuer, json!({})));
        let bearer = format!("Bearer {token}");
        let reply = get(&gateway, "/v1/models", &[("authorization", &bearer)]).await;
        assert_eq!(reply.header("retry-after"), "1", "{number}");
        assert_eq!(reply.error(503).await, UNAVAILABLE.1, "{number}");
        assert_eq!(elsewhere.calls(), 0, "{number}");
        issuer.says(|_| None);
        time.pass(Duration::from_secs(9)).await;
        until_good(&gateway, &token, &time).await;
        drop(time);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_slow_issuer_holds_nobody_up_for_long() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gate = Gate::new("the keys");
    let held = gate.clone();
    let keys = issuer.jwks();
    issuer.says(move |path| {
        let script = Script::json(200, &keys).gate_before_head(&held);
        (path == "/keys").then_some(script)
    });
    let gateway = trusting(&provider, &issuer, "").await;
    let time = StillTime::begin();
    let token = Signer::rs256("rsa").token(&claims(&gateway, &issuer, json!({})));
    gate.reached_by(1).await;
    let ((), ()) = tokio::join!(expect(&gateway, &token, UNAVAILABLE), async {
        settle().await;
        time.pass(Duration::from_secs(3)).await;
    });
    let ((), ()) = tokio::join!(expect(&gateway, &token, (200, "")), async {
        settle().await;
        gate.open();
    });
    assert_eq!(issuer.calls(), 2);
}

#[tokio::test]
async fn keys_are_used_on_for_a_day_while_their_issuer_is_gone() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gateway = trusting(&provider, &issuer, "").await;
    let time = StillTime::begin();
    let now = gateway.app.clock.now().0 / 1000;
    let later = json!({"exp": now + 7 * 86_400});
    let token = Signer::eddsa("ed").token(&claims(&gateway, &issuer, later.clone()));
    expect(&gateway, &token, (200, "")).await;
    issuer.says(|_| Some(Script::hang_up(Cut::Close)));
    for hour in 1..=23 {
        tokio::time::advance(Duration::from_hours(1)).await;
        expect(&gateway, &token, (200, "")).await;
        let fresh = json!({"exp": now + 7 * 86_400, "jti": hour});
        let fresh = Signer::rs256("rsa").token(&claims(&gateway, &issuer, fresh));
        expect(&gateway, &fresh, (200, "")).await;
    }
    assert!(issuer.calls() > 2, "it is asked again");
    tokio::time::advance(Duration::from_hours(2)).await;
    expect(&gateway, &token, UNAVAILABLE).await;
    issuer.says(|_| None);
    tokio::time::advance(Duration::from_secs(9)).await;
    until_good(&gateway, &token, &time).await;
}
