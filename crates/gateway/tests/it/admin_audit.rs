//! Who may what, and what is written of it.

use everstream_testkit::provider::FakeProvider;
use serde_json::{Value, json};

use crate::admin::{Admin, KEY};
use crate::admin_keys::{made, office, office_of};
use crate::certs::{Authority, Files};
use crate::harness::Setup;
use crate::talk::answer_to;

#[tokio::test]
async fn everything_that_changes_something_is_in_the_audit_log_with_a_name() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    let key = made(&admin, json!({})).await;
    let (id, secret) = (key["id"].as_str().unwrap(), key["secret"].as_str().unwrap());
    let at = |rest: &str| format!("/admin/keys/{id}{rest}");
    let budget = json!({"project": "demo", "period": "day", "limit": "1"});
    let mut secrets = vec![secret.to_owned()];
    for (method, path, body) in [
        ("PATCH", at(""), json!({"models": ["m"]})),
        ("POST", at("/rotate"), json!({})),
        ("PUT", "/admin/budgets/b".to_owned(), budget),
        ("DELETE", "/admin/budgets/b".to_owned(), Value::Null),
        (
            "POST",
            "/admin/upstreams/fake/drain".to_owned(),
            Value::Null,
        ),
        (
            "POST",
            "/admin/upstreams/fake/undrain?model=m".to_owned(),
            Value::Null,
        ),
        (
            "POST",
            "/admin/projects/demo/suspend".to_owned(),
            Value::Null,
        ),
        (
            "POST",
            "/admin/organisations/default/suspend".to_owned(),
            Value::Null,
        ),
        ("POST", at("/revoke"), Value::Null),
    ] {
        if path.contains("undrain") {
            // A model is known once it was asked.
            gateway.app.models.drain("fake", Some("m"), true);
        }
        let reply = admin.tell("alice-key", method, &path, &body).await;
        let status = reply.head.status;
        let text = String::from_utf8(reply.body().await.to_vec()).unwrap();
        if path.contains("undrain") && status == 404 {
            continue;
        }
        assert!((200..300).contains(&status), "{method} {path}: {text}");
        if let Some(secret) =
            serde_json::from_str::<Value>(&text).unwrap_or_default()["secret"].as_str()
        {
            secrets.push(secret.to_owned());
        }
    }
    assert_eq!(secrets.len(), 2);
    let log = admin
        .tell(KEY, "GET", "/admin/audit?limit=100", &Value::Null)
        .await;
    let log = log.json(200).await;
    assert_eq!(log["next"], Value::Null);
    let rows = log["data"].as_array().unwrap();
    let did = |who: &str| {
        let rows = rows.iter().rev().filter(|row| row["who"] == who);
        rows.map(|row| row["action"].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        did("operator"),
        ["organisation.create", "project.create", "key.create"]
    );
    assert_eq!(
        did("alice"),
        [
            "key.change",
            "key.rotate",
            "budget.put",
            "budget.delete",
            "upstream.drain",
            "project.suspend",
            "organisation.suspend",
            "key.revoke",
        ]
    );
    for secret in &secrets {
        let (_, hidden) = secret.rsplit_once('-').unwrap();
        assert!(!log.to_string().contains(hidden));
    }
    let of = |query: &str| format!("/admin/audit?{query}");
    let found = admin
        .tell(KEY, "GET", &of("who=alice&target=fake"), &Value::Null)
        .await;
    let found = found.json(200).await;
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    assert_eq!(found["data"][0]["target"], "fake");
    gateway.stop().await;
}

#[tokio::test]
async fn who_may_look_changes_nothing() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    let paths = everstream::http::admin::openapi()["paths"].clone();
    let mut refused = 0;
    for (path, methods) in paths.as_object().unwrap() {
        let path = path.replace("{id}", "00000000").replace("{name}", "fake");
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_ascii_uppercase();
            let nobody = admin.tell("wrong", &method, &path, &Value::Null).await;
            assert_eq!(
                nobody.problem(401).await,
                "invalid_api_key",
                "{method} {path}"
            );
            let reply = admin.tell("bob-key", &method, &path, &Value::Null).await;
            if method == "GET" {
                assert_ne!(reply.head.status, 403, "{path}");
            } else {
                assert_eq!(reply.problem(403).await, "forbidden", "{method} {path}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused} paths change something");
    let log = admin
        .tell("bob-key", "GET", "/admin/audit", &Value::Null)
        .await;
    assert_eq!(log.json(200).await["data"], json!([]));
    gateway.stop().await;
}

#[tokio::test]
async fn who_guesses_keys_is_not_listened_to() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let setup = Setup::new(&provider).config("limits.failed_authentications = 3");
    let (gateway, admin) = office_of(setup, database.path()).await;
    let asked = async |key: &str| {
        let path = "/admin/admission";
        admin.tell(key, "GET", path, &Value::Null).await
    };
    asked(KEY).await.json(200).await;
    for guess in ["a", "b", "c"] {
        assert_eq!(asked(guess).await.problem(401).await, "invalid_api_key");
    }
    // It is not told whether a guess is right, and who was right before goes on.
    for guess in ["d", "alice-key"] {
        let refused = asked(guess).await;
        assert!(!refused.header("retry-after").is_empty());
        assert_eq!(refused.head.status, 429);
        refused.body().await;
    }
    asked(KEY).await.json(200).await;
    gateway.stop().await;
}

#[tokio::test]
async fn with_tls_browsers_are_told_to_stay_with_it() {
    let provider = FakeProvider::start(answer_to).await;
    let files = Files::new(&Authority::new().issue());
    let setup = Setup::new(&provider).config(&files.toml(""));
    let setup = setup.config("[admin]\nkey = \"k\"\ntls = true");
    let gateway = setup.start().await;
    let admin = Admin::of(&gateway);
    let reply = admin
        .tell("k", "GET", "/admin/openapi.json", &Value::Null)
        .await;
    for (name, beginning) in [
        ("strict-transport-security", "max-age="),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert!(reply.header(name).starts_with(beginning), "{name}");
    }
    assert_eq!(reply.json(200).await, everstream::http::admin::openapi());
    gateway.stop().await;
}
