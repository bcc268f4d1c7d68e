//! What was used and what it cost, as JSON and as CSV.

use everstream_core::event::Usage;
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::money::Money;
use everstream_store::sql::values::{LedgerEntry, Payer};
use everstream_testkit::provider::FakeProvider;
use serde_json::{Value, json};

use crate::admin::{Admin, KEY};
use crate::admin_keys::office;
use crate::harness::Gateway;
use crate::talk::answer_to;

/// 2026-11-01, in milliseconds.
const NOVEMBER: u64 = 1_793_491_200_000;
const HOUR: u64 = 3_600_000;

async fn settle(gateway: &Gateway, entries: &[(u64, &str, &str, u64)]) {
    let entries = entries
        .iter()
        .enumerate()
        .map(|(n, (at, project, model, cost))| LedgerEntry {
            stream: StreamId::from_bits(n as u64 + 1),
            payer: Payer {
                organisation: Some("acme".parse().unwrap()),
                project: project.parse().unwrap(),
                key: None,
            },
            model: (*model).to_owned(),
            upstream: "fake".to_owned(),
            at: UnixMillis(*at),
            usage: Usage {
                input_tokens: 10,
                output_tokens: 5,
                ..Usage::default()
            },
            cost: Money(*cost),
        });
    let entries: Vec<_> = entries.collect();
    let catalog = gateway.app.access.directory().unwrap().catalog();
    assert_eq!(
        catalog.settle(&entries).await.unwrap().settled,
        entries.len()
    );
}

async fn usage(admin: &Admin, query: &str) -> Value {
    let path = format!("/admin/usage?{query}");
    admin
        .tell(KEY, "GET", &path, &Value::Null)
        .await
        .json(200)
        .await
}

#[tokio::test]
async fn it_is_summed_by_time_and_by_what_is_asked_for() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    let day = 24 * HOUR;
    settle(
        &gateway,
        &[
            (NOVEMBER, "web", "gpt", 1_500_000_000),
            (NOVEMBER + HOUR, "web", "=HYPERLINK(\"http://evil\")", 1),
            (NOVEMBER + day, "app", "gpt", 500_000_000),
            (NOVEMBER - 1, "app", "gpt", 250_000_000),
        ],
    )
    .await;
    let november = "from=2026-11-01&to=2026-12-01";
    let whole = usage(&admin, november).await;
    assert_eq!(
        (&whole["from"], whole["data"].as_array().unwrap().len()),
        (&json!(NOVEMBER), 1)
    );
    let sum = &whole["data"][0];
    assert_eq!(
        (&sum["requests"], &sum["input_tokens"]),
        (&json!(3), &json!(30))
    );
    assert_eq!(sum["cost"], "2.000000001");
    assert!(
        sum.get("model").is_none() && sum.get("since").is_none(),
        "{sum}"
    );

    let by = usage(
        &admin,
        &format!("{november}&group_by=project,model&bucket=day"),
    )
    .await;
    let rows: Vec<_> = by["data"].as_array().unwrap().iter().collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        (&rows[2]["since"], &rows[2]["project"]),
        (&json!(NOVEMBER + day), &json!("app"))
    );
    let web = usage(
        &admin,
        &format!("{november}&project=web&group_by=organisation,key"),
    )
    .await;
    assert_eq!(web["data"][0]["requests"], 2);
    assert_eq!(
        (&web["data"][0]["organisation"], &web["data"][0]["key"]),
        (&json!("acme"), &json!(""))
    );
    let ms = usage(&admin, &format!("from={}&to={}", NOVEMBER - 1, NOVEMBER)).await;
    assert_eq!(ms["data"][0]["cost"], "0.25");

    for (query, status) in [
        ("from=november", 400),
        ("from=2026-11-31", 400),
        ("to=2026-11-01&from=2026-12-01", 422),
        ("group_by=colour", 400),
        ("bucket=week", 400),
        ("format=xml", 400),
        ("key=NONE", 400),
        ("from=99999999999999999999", 400),
    ] {
        let path = format!("/admin/usage?{query}");
        let reply = admin.tell(KEY, "GET", &path, &Value::Null).await;
        assert_eq!(reply.head.status, status, "{query}");
        reply.body().await;
    }

    let csv = format!("/admin/usage?{november}&group_by=model&bucket=hour&format=csv");
    let reply = admin.tell(KEY, "GET", &csv, &Value::Null).await;
    assert!(reply.header("content-type").starts_with("text/csv"));
    assert!(
        reply
            .header("content-disposition")
            .starts_with("attachment")
    );
    let text = String::from_utf8(reply.body().await.to_vec()).unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("since,organisation,project,key,model,requests,"));
    assert_eq!(lines[1], "2026-11-01T00:00:00Z,,,,gpt,1,10,5,0,0,0,0,0,1.5");
    let formula = "2026-11-01T01:00:00Z,,,,\"'=HYPERLINK(\"\"http://evil\"\")\",1,";
    assert!(lines[2].starts_with(formula), "{text}");
    let accept = [
        ("authorization", &*format!("Bearer {KEY}")),
        ("accept", "text/csv"),
    ];
    let reply = admin.ask("GET", "/admin/usage", &accept).await;
    assert!(reply.header("content-type").starts_with("text/csv"));
    reply.body().await;
    gateway.stop().await;
}
