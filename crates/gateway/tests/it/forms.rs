//! A stream as events, as pages of JSON, and as lines of JSON.

use everstream_testkit::provider::{FakeProvider, Gate};
use serde_json::{Value, json};

use crate::harness::Setup;
use crate::talk::{EVENTS, LAST, answer, answer_to, finished, get, held, page, running};

#[tokio::test]
async fn accept_and_the_query_choose_the_form() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, _) = finished(&gateway).await;
    let (sse, ndjson, json) = (
        "text/event-stream",
        "application/x-ndjson",
        "application/json",
    );
    for (query, headers, kind) in [
        ("", vec![], json),
        ("", vec![("accept", "*/*")], json),
        ("", vec![EVENTS], sse),
        (
            "",
            vec![("accept", "text/event-stream, application/json;q=0.5")],
            sse,
        ),
        ("", vec![("accept", ndjson)], ndjson),
        ("", vec![("last-event-id", "1")], sse),
        ("?stream=true", vec![], sse),
        ("?stream=true", vec![("accept", ndjson)], ndjson),
        ("?stream=false", vec![EVENTS], json),
    ] {
        let reply = get(&gateway, &format!("/v1/streams/{id}{query}"), &headers).await;
        assert_eq!(reply.header("content-type"), kind, "{query} {headers:?}");
        assert_eq!(reply.stream(), id);
    }
}

#[tokio::test]
async fn pages_follow_one_another_by_next() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, _) = finished(&gateway).await;
    let mut got = Vec::new();
    let mut after = "0".to_owned();
    let mut pages = 0;
    loop {
        let path = format!("/v1/streams/{id}?limit=3&after={after}");
        let page = get(&gateway, &path, &[]).await.json(200).await;
        pages += 1;
        assert_eq!(page["id"], *id);
        assert_eq!(page["object"], "stream");
        assert_eq!(page["status"], "completed");
        assert_eq!(page["last_seq"], LAST);
        for event in page["events"].as_array().unwrap() {
            got.push(event["data"].as_str().unwrap().to_owned());
            assert_eq!(event["seq"], got.len());
            assert!(event["time"].as_u64().unwrap() >= page["created_at"].as_u64().unwrap());
        }
        after = page["next"].as_str().unwrap().to_owned();
        assert_eq!(after, format!("{id}.{}", got.len()));
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(got, answer().expected_data_without_usage());
    // At the end a page is empty, as somebody who polls expects.
    let path = format!("/v1/streams/{id}?after={after}");
    let page = get(&gateway, &path, &[]).await.json(200).await;
    assert_eq!(page["events"], json!([]));
    assert_eq!(
        (&page["has_more"], &page["next"]),
        (&json!(false), &json!(after))
    );
    for limit in ["0", "513"] {
        let path = format!("/v1/streams/{id}?limit={limit}");
        assert_eq!(
            get(&gateway, &path, &[]).await.problem(400).await,
            "invalid_value"
        );
    }
}

#[tokio::test]
async fn a_page_of_a_running_stream_has_what_there_is() {
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    let (first, id, _) = running(&gateway, 4).await;
    let now = page(&gateway, &id).await;
    assert_eq!(
        (&now["status"], &now["last_seq"]),
        (&json!("running"), &json!(3))
    );
    assert_eq!((&now["has_more"], now.get("usage")), (&json!(false), None));
    gate.open();
    first.frames().await;
    let path = format!("/v1/streams/{id}?after={}", now["next"].as_str().unwrap());
    let rest = get(&gateway, &path, &[]).await.json(200).await;
    assert_eq!(rest["events"].as_array().unwrap().len() as u64, LAST - 3);
    assert_eq!(
        rest["usage"],
        json!({"input_tokens": 7, "output_tokens": 5})
    );
}

#[tokio::test]
async fn ndjson_has_a_line_for_each_event_and_one_for_the_end() {
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    let (first, id, _) = running(&gateway, 4).await;
    let accept = ("accept", "application/x-ndjson");
    let path = format!("/v1/streams/{id}?after=1");
    let live = get(&gateway, &path, &[accept]).await;
    assert_eq!(live.header("cache-control"), "no-cache, no-transform");
    assert_eq!(live.head.header("content-length"), None);
    gate.open();
    first.frames().await;
    let replay = get(&gateway, &path, &[accept]).await;
    for reply in [live, replay] {
        let body = reply.body().await;
        let lines = body
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        let mut lines: Vec<Value> = lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let end = lines.pop().unwrap();
        assert_eq!(end["end"]["status"], "completed");
        assert_eq!(
            end["end"]["usage"],
            json!({"input_tokens": 7, "output_tokens": 5})
        );
        let expected = answer().expected_data_without_usage();
        assert_eq!(lines.len(), expected.len() - 1);
        for (at, line) in lines.iter().enumerate() {
            assert_eq!(
                (&line["seq"], &line["data"]),
                (&json!(at + 2), &json!(expected[at + 1]))
            );
        }
    }
    let path = format!("/v1/streams/{id}?after={LAST}");
    assert_eq!(get(&gateway, &path, &[accept]).await.head.status, 204);
}
