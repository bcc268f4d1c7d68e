//! The life of a key, by way of the listener for operators, with calls made with it.

use std::path::Path;
use std::time::{Duration, Instant};

use everstream_testkit::provider::FakeProvider;
use serde_json::{Value, json};

use crate::admin::{Admin, KEY};
use crate::harness::{Gateway, Setup};
use crate::talk::{CHAT, answer_to, post, unary_chat};

/// What is promised is a second, of which processes let half pass (`CATALOG_POLL`); a machine that has much
/// else to do may need longer.
const SOON: Duration = Duration::from_secs(20);

/// A gateway with a database, which others may share, and its listener for operators.
pub(crate) async fn office(provider: &FakeProvider, database: &Path) -> (Gateway, Admin) {
    office_of(Setup::new(provider), database).await
}

/// The same of a gateway with more.
pub(crate) async fn office_of(setup: Setup, database: &Path) -> (Gateway, Admin) {
    let url = format!("sqlite:{}", database.join("shared.db").display());
    let config = format!(
        "master_secret = \"0123456789abcdef0123456789abcdef\"\n[database]\nurl = \"{url}\"\n\
         [admin]\nkey = \"{KEY}\"\n[[admin.operators]]\nname = \"alice\"\nkey = \"alice-key\"\n\
         [[admin.operators]]\nname = \"bob\"\nkey = \"bob-key\"\nrole = \"read\""
    );
    let gateway = setup.config(&config).start().await;
    let admin = Admin::of(&gateway);
    (gateway, admin)
}

/// Makes a key of project `demo`, which is made as well; `more` are further fields.
pub(crate) async fn made(admin: &Admin, more: Value) -> Value {
    let mut wish = json!({"project": "demo", "name": "laptop", "create_project": true});
    let more = more.as_object().unwrap().clone();
    wish.as_object_mut().unwrap().extend(more);
    let reply = admin.tell(KEY, "POST", "/admin/keys", &wish).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    reply.json(201).await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

/// The status of a call with a key.
async fn called(gateway: &Gateway, secret: &str) -> u16 {
    let bearer = format!("Bearer {secret}");
    let headers = [("authorization", &*bearer)];
    let reply = post(gateway, CHAT, &unary_chat("x"), &headers).await;
    let status = reply.head.status;
    reply.body().await;
    status
}

/// Calls until the status is this one.
async fn soon_called(gateway: &Gateway, secret: &str, status: u16) {
    let began = Instant::now();
    while called(gateway, secret).await != status {
        assert!(began.elapsed() < SOON, "{status} is never known");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_key_lives_the_same_in_two_processes() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (one, admin) = office(&provider, database.path()).await;
    let (two, other) = office(&provider, database.path()).await;
    let key = made(&admin, json!({})).await;
    let (id, first) = (text(&key, "id"), text(&key, "secret"));
    assert!(first.starts_with(&format!("es-{id}-")), "{key}");
    assert_eq!(key["organisation"], "default");
    // Where it was made it is known at once, elsewhere within a second.
    assert_eq!(called(&one, first).await, 200);
    soon_called(&two, first, 200).await;

    let path = format!("/admin/keys/{id}");
    let shown = other.tell(KEY, "GET", &path, &Value::Null).await;
    let shown = shown.json(200).await;
    assert_eq!(
        (&shown["state"], &shown["name"]),
        (&"active".into(), &"laptop".into())
    );
    assert!(
        shown.get("secret").is_none() && !shown.to_string().contains(first),
        "{shown}"
    );

    let rotate = format!("{path}/rotate");
    let wish = json!({"overlap": "700ms"});
    let rotated = admin.tell(KEY, "POST", &rotate, &wish).await;
    assert_eq!(rotated.header("cache-control"), "no-store");
    let rotated = rotated.json(200).await;
    let (second, ends) = (
        text(&rotated, "secret"),
        &rotated["secrets"][1]["expires_at"],
    );
    assert_ne!(first, second);
    assert_eq!(rotated["secrets"][0]["number"], 2);
    assert_eq!(called(&one, second).await, 200);
    assert_eq!(called(&one, first).await, 200, "both work for a while");
    soon_called(&two, second, 200).await;
    for gateway in [&one, &two] {
        soon_called(gateway, first, 401).await;
        assert!(gateway.app.clock.now().0 >= ends.as_u64().unwrap());
        assert_eq!(called(gateway, second).await, 200);
    }

    let revoke = format!("{path}/revoke");
    let revoked = admin.tell(KEY, "POST", &revoke, &Value::Null).await;
    assert_eq!(revoked.json(200).await["state"], "revoked");
    assert_eq!(
        called(&one, second).await,
        401,
        "at once in the same process"
    );
    soon_called(&two, second, 401).await;
    for path in [&rotate, &path] {
        let method = if path == &rotate { "POST" } else { "PATCH" };
        let refused = admin.tell(KEY, method, path, &json!({})).await;
        assert_eq!(refused.problem(422).await, "unprocessable");
    }
    // Repeated, it changes nothing.
    let again = admin.tell(KEY, "POST", &revoke, &Value::Null).await;
    assert_eq!(again.json(200).await["state"], "revoked");
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn what_a_key_may_do_is_changed_while_it_is_used() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    let wish = json!({"models": ["other*"], "limits": ["requests=1000/60s"]});
    let key = made(&admin, wish).await;
    let (secret, path) = (
        text(&key, "secret"),
        format!("/admin/keys/{}", text(&key, "id")),
    );
    assert_eq!(called(&gateway, secret).await, 403);
    let change = async |wish: Value| {
        let changed = admin.tell(KEY, "PATCH", &path, &wish).await;
        changed.json(200).await
    };
    let changed = change(json!({"models": ["m", "n"]})).await;
    assert_eq!(changed["models"], json!(["m", "n"]));
    assert_eq!(
        changed["limits"],
        json!(["requests=1000/60s"]),
        "it stays as it is"
    );
    assert_eq!(called(&gateway, secret).await, 200);
    let changed = change(json!({"models": null, "limits": ["concurrency=7"]})).await;
    assert_eq!(
        (&changed["models"], &changed["limits"]),
        (&Value::Null, &json!(["concurrency=7"]))
    );
    let changed = change(json!({"models": []})).await;
    assert_eq!(changed["models"], json!([]));
    assert_eq!(
        called(&gateway, secret).await,
        403,
        "an empty list is nothing"
    );
    change(json!({"models": null})).await;

    let end = gateway.app.clock.now().plus(Duration::from_millis(300)).0;
    let changed = change(json!({"expires_at": end})).await;
    assert_eq!(
        (&changed["expires_at"], &changed["state"]),
        (&end.into(), &"active".into())
    );
    soon_called(&gateway, secret, 401).await;
    let shown = admin.tell(KEY, "GET", &path, &Value::Null).await;
    assert_eq!(shown.json(200).await["state"], "expired");
    let changed = change(json!({"expires_at": null})).await;
    assert_eq!(changed["expires_at"], Value::Null);
    assert_eq!(called(&gateway, secret).await, 200);

    for (path, expected) in [
        ("/admin/projects/demo", "suspended"),
        ("/admin/organisations/default", "suspended"),
    ] {
        let asked = |verb: &str| format!("{path}/{verb}");
        let done = admin
            .tell(KEY, "POST", &asked("suspend"), &Value::Null)
            .await;
        assert_eq!(done.head.status, 204);
        assert_eq!(called(&gateway, secret).await, 401, "{path} at once");
        let shown = format!("/admin/keys/{}", text(&key, "id"));
        let shown = admin.tell(KEY, "GET", &shown, &Value::Null).await;
        assert_eq!(shown.json(200).await["state"], expected);
        let done = admin
            .tell(KEY, "POST", &asked("resume"), &Value::Null)
            .await;
        assert_eq!(done.head.status, 204);
        assert_eq!(called(&gateway, secret).await, 200, "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn wishes_that_cannot_be_are_refused_and_say_why() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    let key = made(&admin, json!({})).await;
    let path = format!("/admin/keys/{}", text(&key, "id"));
    let keys = "/admin/keys";
    let wish = |field: &str, value: Value| {
        let mut wish = json!({"project": "demo", "name": "x"});
        wish[field] = value;
        wish.to_string()
    };
    let rotate = format!("{path}/rotate");
    let long: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let cases: [(&str, &str, String, u16, &str, &str); 21] = [
        (
            "POST",
            keys,
            "{".to_owned(),
            400,
            "invalid_json",
            "no JSON object",
        ),
        (
            "POST",
            keys,
            "[]".to_owned(),
            400,
            "invalid_json",
            "no JSON object",
        ),
        ("POST", keys, String::new(), 400, "missing_field", "no `"),
        (
            "POST",
            keys,
            "{\"project\":\"demo\"}".to_owned(),
            400,
            "missing_field",
            "no `name`",
        ),
        (
            "POST",
            keys,
            wish("modles", json!(["m"])),
            400,
            "invalid_value",
            "did you mean `models`?",
        ),
        (
            "POST",
            keys,
            wish("project", json!("a b")),
            400,
            "invalid_value",
            "1 to 64 characters",
        ),
        (
            "POST",
            keys,
            wish("name", json!(7)),
            400,
            "invalid_value",
            "`name` is wrong",
        ),
        (
            "POST",
            keys,
            wish("name", json!("x".repeat(201))),
            422,
            "unprocessable",
            "name",
        ),
        (
            "POST",
            keys,
            wish("limits", json!(["requests=60"])),
            400,
            "invalid_value",
            "60/1m",
        ),
        (
            "POST",
            keys,
            wish("surfaces", json!(["chat_completion"])),
            400,
            "invalid_value",
            "did you mean `chat_completions`?",
        ),
        (
            "POST",
            keys,
            wish("surfaces", json!(["=x"])),
            400,
            "invalid_value",
            "there are chat_completions, ",
        ),
        (
            "POST",
            keys,
            wish("models", json!(["a\nb"])),
            400,
            "invalid_value",
            "control",
        ),
        (
            "POST",
            keys,
            wish("models", json!(long)),
            400,
            "invalid_value",
            "at most 100",
        ),
        (
            "POST",
            keys,
            wish("expires_at", json!(1000)),
            422,
            "unprocessable",
            "is past",
        ),
        (
            "POST",
            keys,
            wish("project", json!("none")),
            404,
            "not_found",
            "everstream projects create none",
        ),
        (
            "POST",
            keys,
            "{\"name\":\"x\",\"name\":\"y\",\"project\":\"demo\"}".to_owned(),
            400,
            "invalid_value",
            "duplicate",
        ),
        (
            "POST",
            &rotate,
            "{\"overlap\":\"100d\"}".to_owned(),
            400,
            "invalid_value",
            "to `90d`",
        ),
        (
            "GET",
            "/admin/keys/00000000",
            String::new(),
            404,
            "not_found",
            "no key",
        ),
        (
            "GET",
            "/admin/keys/NONE",
            String::new(),
            400,
            "invalid_value",
            "8 to 32",
        ),
        (
            "POST",
            "/admin/keys/00000000/revoke",
            String::new(),
            404,
            "not_found",
            "no key",
        ),
        (
            "GET",
            "/admin/keys?projct=demo",
            String::new(),
            400,
            "invalid_value",
            "did you mean `project`?",
        ),
    ];
    for (method, path, body, status, code, part) in cases {
        let reply = admin.send(KEY, method, path, body.as_bytes()).await;
        let problem = reply.json(status).await;
        assert_eq!(problem["code"], code, "{method} {path} {body}: {problem}");
        let detail = text(&problem, "detail");
        assert!(detail.contains(part), "{method} {path} {body}: {detail}");
    }
    let large = wish("models", json!(vec!["x".repeat(100); 700]));
    let reply = admin.send(KEY, "POST", keys, large.as_bytes()).await;
    assert_eq!(reply.problem(413).await, "body_too_large");
    let reply = admin.tell(KEY, "PUT", keys, &json!({})).await;
    assert_eq!(reply.problem(405).await, "method_not_allowed");
    gateway.stop().await;
}

#[tokio::test]
async fn without_a_database_it_says_what_to_do() {
    let provider = FakeProvider::start(answer_to).await;
    let setup = Setup::new(&provider).config("[log]\nbackend = \"memory\"");
    let gateway = setup.start().await;
    let admin = Admin::of(&gateway);
    let reply = admin.ask("GET", "/admin/keys", &[]).await;
    let problem = reply.json(503).await;
    assert_eq!(problem["code"], "catalog_unavailable");
    assert!(text(&problem, "detail").contains("[database]"), "{problem}");
    // What needs none goes on.
    let drained = admin.ask("POST", "/admin/upstreams/fake/drain", &[]).await;
    assert_eq!(drained.json(200).await["drained"], true);
    gateway.stop().await;
}
