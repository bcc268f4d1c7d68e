//! Tokens of other issuers in place of keys: who is let in, as whom, and what they may do.

mod attacks;
mod issuer;
mod rotation;

use everstream::access::Directory;
use everstream_core::id::ProjectId;
use everstream_store::sql::values::{Actor, OrganisationId, Tenant};
use everstream_testkit::provider::FakeProvider;
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, Setup, within};
use crate::talk::{CHAT, answer_to, chat, get, post};
use issuer::{Issuer, Signer};

/// A gateway that trusts `issuer`; `more` is TOML for its table.
async fn trusting(provider: &FakeProvider, issuer: &Issuer, more: &str) -> Gateway {
    Setup::new(provider)
        .upstream_fields(&format!("{}{more}\n", issuer.trusted()))
        .start()
        .await
}

/// The status that a token is answered with, and the code of its error.
async fn asked(gateway: &Gateway, token: &str) -> (u16, String) {
    let bearer = format!("Bearer {token}");
    let reply = get(gateway, "/v1/models", &[("authorization", &bearer)]).await;
    let status = reply.head.status;
    let body = reply.json(status).await;
    let code = body["error"]["code"].as_str().unwrap_or_default();
    (status, code.to_owned())
}

/// What a token that is refused is told.
async fn told(gateway: &Gateway, token: &str) -> String {
    let bearer = format!("Bearer {token}");
    let reply = get(gateway, "/v1/models", &[("authorization", &bearer)]).await;
    assert_eq!(reply.header("www-authenticate"), "Bearer");
    let body = reply.json(401).await;
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// Claims that are good now, with some changed; those that become null are left out.
fn claims(gateway: &Gateway, issuer: &Issuer, changes: Value) -> Value {
    let now = gateway.app.clock.now().0 / 1000;
    let mut claims = json!({
        "iss": issuer.name(), "sub": "alice", "aud": "everstream", "iat": now,
        "exp": now + 3_600, "team": "web",
    });
    let Value::Object(changes) = changes else {
        panic!("an object");
    };
    for (name, value) in changes {
        claims[name] = value;
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims
}

#[tokio::test]
async fn all_three_algorithms_let_in_whom_their_issuer_names() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gateway = trusting(&provider, &issuer, "").await;
    let good = claims(&gateway, &issuer, json!({}));
    let ours = Signer::eddsa("ed").token(&good);
    let bearer = format!("Bearer {ours}");
    let reply = post(&gateway, CHAT, &chat("x"), &[("authorization", &bearer)]).await;
    let stream = reply.stream();
    reply.frames().await;
    let path = format!("/v1/streams/{stream}");
    for signer in [
        Signer::rs256("rsa"),
        Signer::es256("ec"),
        Signer::eddsa("ed"),
    ] {
        let same = signer.token(&good);
        for header in ["x-api-key", "api-key", "x-goog-api-key"] {
            let read = get(&gateway, &path, &[(header, &same)]).await;
            assert_eq!(read.head.status, 200);
        }
        // Another project's: to it the stream does not exist.
        let other = signer.token(&claims(&gateway, &issuer, json!({"team": "ops"})));
        let bearer = format!("Bearer {other}");
        let read = get(&gateway, &path, &[("authorization", &bearer)]).await;
        assert_eq!(read.head.status, 404);
    }
    // The keys of one issuer were fetched once, and what it says of itself as well.
    assert_eq!(issuer.calls(), 2);
}

#[tokio::test]
async fn with_an_issuer_nobody_is_let_in_without_a_key_or_a_token() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gateway = trusting(&provider, &issuer, "").await;
    assert_eq!(
        get(&gateway, "/v1/models", &[]).await.error(401).await,
        "invalid_api_key"
    );
    assert_eq!(asked(&gateway, "es-anything").await.0, 401);
    // Keys and tokens stand side by side.
    let setup = Setup::new(&provider).with_keys();
    let both = setup.upstream_fields(&issuer.trusted()).start().await;
    let token = Signer::eddsa("ed").token(&claims(&both, &issuer, json!({})));
    assert_eq!(asked(&both, KEY_ONE).await.0, 200);
    assert_eq!(asked(&both, &token).await.0, 200);
}

#[tokio::test]
async fn claims_are_mapped_to_projects_and_scopes() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let more = "scope_claim = \"/realm/roles\"\nproject_map = { g-1 = \"web\", g-2 = \"ops\" }\n\
                scope_map = { user = \"everstream:surface:* everstream:model:small*\" }";
    let gateway = trusting(&provider, &issuer, more).await;
    let ask = async |team: Value, roles: Value, model: &str| {
        let claims = claims(
            &gateway,
            &issuer,
            json!({"team": team, "realm": {"roles": roles}}),
        );
        let bearer = format!("Bearer {}", Signer::es256("ec").token(&claims));
        let mut body = chat("x");
        (body["model"], body["stream"]) = (json!(model), json!(false));
        let reply = post(&gateway, CHAT, &body, &[("authorization", &bearer)]).await;
        reply.head.status
    };
    let user = json!(["user", "else"]);
    assert_eq!(ask(json!("g-1"), user.clone(), "small-1").await, 200);
    assert_eq!(ask(json!(["x", "g-2"]), user.clone(), "small-2").await, 200);
    assert_eq!(ask(json!("g-1"), user.clone(), "large").await, 403);
    assert_eq!(
        ask(json!("g-1"), json!(["everstream:*"]), "small-1").await,
        403
    );
    assert_eq!(ask(json!("g-1"), json!(null), "small-1").await, 403);
    for nobody in [json!("web"), json!(["g-1", "g-2"]), json!(null)] {
        assert_eq!(ask(nobody, user.clone(), "small-1").await, 401);
    }
}

#[tokio::test]
async fn an_issuer_with_a_file_needs_no_network() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwks.json");
    std::fs::write(&file, issuer.jwks().to_string()).unwrap();
    let more = format!("jwks = \"file:{}\"", file.display());
    let gateway = trusting(&provider, &issuer, &more).await;
    let token = Signer::rs256("rsa").token(&claims(&gateway, &issuer, json!({})));
    assert_eq!(asked(&gateway, &token).await.0, 200);
    assert_eq!(issuer.calls(), 0);
    // A key that the file has lost is not good any more, for tokens that were, too.
    std::fs::write(
        &file,
        json!({"keys": [Signer::eddsa("ed").jwk()]}).to_string(),
    )
    .unwrap();
    within(async {
        while asked(&gateway, &token).await.0 != 401 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_project_that_is_suspended_is_nobodys_whoever_names_it() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gateway = trusting(&provider, &issuer, "").await;
    let directory = gateway.app.access.directory().unwrap();
    let catalog = directory.catalog();
    let by = Actor {
        who: "test".to_owned(),
        at: gateway.app.clock.now(),
    };
    let (acme, web) = ("acme".parse().unwrap(), "web".parse().unwrap());
    let token = Signer::eddsa("ed").token(&claims(&gateway, &issuer, json!({})));
    assert_eq!(asked(&gateway, &token).await.0, 200);
    assert_eq!(directory.payer(&web).await.unwrap(), None);
    let until = async |status: u16| {
        within(async { while asked(&gateway, &token).await.0 != status {} }).await;
    };
    let made = catalog.create_organisation(&by, &acme, "Acme").await;
    made.unwrap();
    catalog
        .create_project(&by, &acme, &web, "Web")
        .await
        .unwrap();
    paid_by(directory, &web, &acme).await;
    catalog
        .suspend(&by, &Tenant::Organisation(acme.clone()), true)
        .await
        .unwrap();
    until(403).await;
    catalog
        .suspend(&by, &Tenant::Organisation(acme.clone()), false)
        .await
        .unwrap();
    until(200).await;
    catalog
        .suspend(&by, &Tenant::Project(web.clone()), true)
        .await
        .unwrap();
    until(403).await;
    let other = Signer::eddsa("ed").token(&claims(&gateway, &issuer, json!({"team": "ops"})));
    assert_eq!(asked(&gateway, &other).await.0, 200);
    // Changes are seen in order: with this one, all are.
    let ops = "ops".parse().unwrap();
    let made = catalog.create_project(&by, &acme, &ops, "Ops").await;
    made.unwrap();
    paid_by(directory, &ops, &acme).await;
    assert_eq!(asked(&gateway, &token).await.0, 403);
    // Without the database, what is known goes on.
    catalog.close().await;
    assert_eq!(asked(&gateway, &other).await.0, 200);
    assert_eq!(asked(&gateway, &token).await.0, 403);
    let unseen = Signer::eddsa("ed").token(&claims(&gateway, &issuer, json!({"team": "new"})));
    assert_eq!(
        asked(&gateway, &unseen).await,
        (503, "access_unavailable".to_owned())
    );
}

/// Waits until it is known who pays for a project.
async fn paid_by(directory: &Directory, project: &ProjectId, organisation: &OrganisationId) {
    let known = async {
        while directory.payer(project).await.unwrap().as_ref() != Some(organisation) {
            tokio::task::yield_now().await;
        }
    };
    within(known).await;
}
