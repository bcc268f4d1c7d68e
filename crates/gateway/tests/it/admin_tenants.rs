//! Organisations, projects, budgets and streams of all, by way of the listener for operators; pages of
//! lists; who may what.

use everstream_testkit::provider::{FakeProvider, Gate};
use serde_json::{Value, json};

use crate::admin::{Admin, KEY};
use crate::admin_keys::{made, office, office_of};
use crate::harness::{KEY_ONE, KEY_TWO, Setup};
use crate::talk::{CHAT, answer_to, chat, held, post};

/// All entries of a list, two a page.
async fn all(admin: &Admin, path: &str) -> Vec<Value> {
    let mut entries = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("{path}limit=2{after}");
        let page = admin.tell(KEY, "GET", &path, &Value::Null).await;
        let page = page.json(200).await;
        let data = page["data"].as_array().unwrap();
        assert!((1..=2).contains(&data.len()), "{page}");
        entries.extend(data.iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return entries,
        }
    }
}

fn ids(entries: &[Value]) -> Vec<&str> {
    entries
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    for id in ["acme", "beta", "gamma"] {
        let wish = json!({"id": id, "name": format!("The {id}")});
        let made = admin.tell(KEY, "POST", "/admin/organisations", &wish).await;
        let made = made.json(201).await;
        assert_eq!(
            (&made["id"], &made["suspended"]),
            (&json!(id), &json!(false))
        );
        for n in 0..3 {
            let wish = json!({"id": format!("{id}-{n}"), "organisation": id});
            let made = admin.tell(KEY, "POST", "/admin/projects", &wish).await;
            assert_eq!(made.json(201).await["name"], format!("{id}-{n}"));
        }
    }
    let found = all(&admin, "/admin/organisations?").await;
    assert_eq!(ids(&found), ["acme", "beta", "gamma"]);
    assert_eq!(all(&admin, "/admin/projects?").await.len(), 9);
    let found = all(&admin, "/admin/projects?organisation=beta&").await;
    assert_eq!(ids(&found), ["beta-0", "beta-1", "beta-2"]);
    for project in ["acme-0", "acme-0", "acme-0", "beta-0"] {
        made(&admin, json!({"project": project})).await;
    }
    assert_eq!(all(&admin, "/admin/keys?").await.len(), 4);
    assert_eq!(all(&admin, "/admin/keys?project=acme-0&").await.len(), 3);
    let rows = all(&admin, "/admin/audit?").await;
    let numbers: Vec<u64> = rows
        .iter()
        .map(|row| row["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=16).rev().collect::<Vec<_>>());

    let taken = json!({"id": "acme"});
    let reply = admin
        .tell(KEY, "POST", "/admin/organisations", &taken)
        .await;
    assert_eq!(reply.problem(409).await, "already_exists");
    let taken = json!({"id": "acme-0", "organisation": "beta"});
    let reply = admin.tell(KEY, "POST", "/admin/projects", &taken).await;
    assert_eq!(reply.problem(409).await, "already_exists");
    let nobodys = json!({"id": "new", "organisation": "nobody"});
    let reply = admin.tell(KEY, "POST", "/admin/projects", &nobodys).await;
    assert_eq!(reply.problem(404).await, "not_found");
    let reply = admin
        .tell(KEY, "POST", "/admin/projects/nobody/suspend", &Value::Null)
        .await;
    assert_eq!(reply.problem(404).await, "not_found");
    for wrong in [
        "limit=0",
        "limit=501",
        "limit=x",
        "after=a%20b",
        "x=1",
        "after=a&after=b",
    ] {
        let path = format!("/admin/projects?{wrong}");
        let reply = admin.tell(KEY, "GET", &path, &Value::Null).await;
        assert_eq!(reply.problem(400).await, "invalid_value", "{wrong}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn budgets_are_put_shown_and_removed() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    let key = made(&admin, json!({})).await;
    let put = async |id: &str, wish: Value| {
        let path = format!("/admin/budgets/{id}");
        admin.tell(KEY, "PUT", &path, &wish).await
    };
    let wish =
        json!({"project": "demo", "period": "month", "limit": "25.00", "alert_at": [50, 80]});
    let budget = put("team", wish.clone()).await.json(200).await;
    let expected = json!({"id": "team", "scope": "project", "of": "demo", "period": "month",
        "limit": "25", "alert_at": [50, 80]});
    assert_eq!(budget, expected);
    let wish = json!({"key": key["id"], "period": "day", "limit": "0.5"});
    assert_eq!(put("a.key", wish).await.json(200).await["scope"], "key");
    let wish = json!({"organisation": "default", "period": "day", "limit": "7"});
    put("whole", wish).await.json(200).await;
    let found = all(&admin, "/admin/budgets?").await;
    assert_eq!(ids(&found), ["a.key", "team", "whole"]);
    let state = &found[1];
    assert_eq!(
        (&state["spent"], &state["reserved"]),
        (&json!("0"), &json!("0"))
    );
    let now = gateway.app.clock.now().0;
    assert!(state["since"].as_u64().unwrap() <= now && now < state["until"].as_u64().unwrap());

    for (wish, status, code) in [
        (json!({"period": "day", "limit": "1"}), 400, "invalid_value"),
        (
            json!({"project": "a", "key": "00000000", "period": "day", "limit": "1"}),
            400,
            "invalid_value",
        ),
        (
            json!({"project": "demo", "period": "week", "limit": "1"}),
            400,
            "invalid_value",
        ),
        (
            json!({"project": "demo", "period": "month", "limit": "1e9"}),
            400,
            "invalid_value",
        ),
        (
            json!({"project": "demo", "period": "month", "limit": 1}),
            400,
            "invalid_value",
        ),
        (
            json!({"project": "demo", "period": "month", "limit": "1", "alert_at": [0]}),
            422,
            "unprocessable",
        ),
        (
            json!({"project": "demo", "period": "day", "limit": "1"}),
            422,
            "unprocessable",
        ),
        (
            json!({"key": "00000000", "period": "day", "limit": "1"}),
            404,
            "not_found",
        ),
    ] {
        let reply = put("team", wish.clone()).await;
        assert_eq!(reply.problem(status).await, code, "{wish}");
    }
    let gone = admin
        .tell(KEY, "DELETE", "/admin/budgets/team", &Value::Null)
        .await;
    assert_eq!(gone.head.status, 204);
    let gone = admin
        .tell(KEY, "DELETE", "/admin/budgets/team", &Value::Null)
        .await;
    assert_eq!(gone.problem(404).await, "not_found");
    assert_eq!(all(&admin, "/admin/budgets?").await.len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn streams_of_all_projects_are_listed_and_cancelled_and_say_nothing() {
    let gate = Gate::new("in the middle");
    let at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &at)).await;
    let database = tempfile::tempdir().unwrap();
    let setup = Setup::new(&provider).with_keys();
    let (gateway, admin) = office_of(setup, database.path()).await;
    let mut running = Vec::new();
    for (key, text) in [(KEY_ONE, "prompt-canary"), (KEY_ONE, "y"), (KEY_TWO, "z")] {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", &*bearer)];
        let mut reply = post(&gateway, CHAT, &chat(text), &headers).await;
        reply.event().await;
        running.push(reply);
    }
    let list = async |query: &str| {
        let path = format!("/admin/streams{query}");
        let list = admin.tell(KEY, "GET", &path, &Value::Null).await;
        list.json(200).await
    };
    assert_eq!(list("").await["total"], 3);
    let list_of_one = list("?project=one&size=1&sort=created_at:asc").await;
    assert_eq!(
        (&list_of_one["total"], &list_of_one["has_more"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(list("?project=nobody").await["total"], 0);
    assert_eq!(list("?query=status:running%20model:m").await["total"], 3);
    let stream = running[0].stream();
    let path = format!("/admin/streams/{stream}");
    let shown = admin.tell(KEY, "GET", &path, &Value::Null).await;
    let shown = shown.json(200).await;
    assert_eq!(
        (&shown["project"], &shown["status"]),
        (&json!("one"), &json!("running"))
    );
    assert!(!shown.to_string().contains("canary") && !shown.to_string().contains("Wind"));

    let cancelled = admin.tell("alice-key", "DELETE", &path, &Value::Null).await;
    assert_eq!(cancelled.json(200).await["status"], "cancelled");
    let again = admin.tell("alice-key", "DELETE", &path, &Value::Null).await;
    assert_eq!(again.json(200).await["status"], "cancelled");
    let audit = format!("/admin/audit?target={stream}");
    let audit = admin
        .tell(KEY, "GET", &audit, &Value::Null)
        .await
        .json(200)
        .await;
    let rows = audit["data"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{audit}");
    assert_eq!(
        (&rows[0]["who"], &rows[0]["action"]),
        (&json!("alice"), &json!("stream.cancel"))
    );
    for (path, status) in [
        ("/admin/streams/0000000000000", 404),
        ("/admin/streams/x", 404),
    ] {
        let reply = admin.tell(KEY, "GET", path, &Value::Null).await;
        assert_eq!(reply.problem(status).await, "stream_not_found");
    }
    let reply = admin
        .tell(KEY, "GET", "/admin/streams?sort=modle", &Value::Null)
        .await;
    assert_eq!(reply.problem(400).await, "invalid_value");
    gate.open();
    drop(running);
    gateway.stop().await;
}
