//! Reading a stream from any place, by any way, as often as one likes: always the same bytes.

use everstream_testkit::provider::{FakeProvider, Gate};
use serde_json::json;

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup};
use crate::talk::{
    CHAT, EVENTS, LAST, Reply, answer_to, chat, data, events, finished, get, held, page, post,
    read, running, soon,
};

/// A repeat of a POST that resumes at `cursor`. Its body is not looked at.
async fn repost(gateway: &Gateway, cursor: &str, headers: &[(&str, &str)]) -> Reply {
    let headers = [&[("last-event-id", cursor)], headers].concat();
    post(gateway, CHAT, &json!("not what was asked first"), &headers).await
}

#[tokio::test]
async fn an_ended_stream_is_resumed_at_every_event_with_the_same_bytes() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, all) = finished(&gateway).await;
    assert_eq!(events(&read(&gateway, &id, None).await.frames().await), all);
    for seen in 0..LAST {
        let rest = &all[usize::try_from(seen).unwrap()..];
        let named = format!("{id}.{seen}");
        for cursor in [&named, &seen.to_string()] {
            let resumed = read(&gateway, &id, Some(cursor)).await;
            assert_eq!(events(&resumed.frames().await), rest, "after {cursor}");
            let path = format!("/v1/streams/{id}?after={cursor}");
            let resumed = get(&gateway, &path, &[EVENTS]).await;
            assert_eq!(events(&resumed.frames().await), rest, "{path}");
        }
        let resumed = repost(&gateway, &named, &[]).await;
        assert_eq!(resumed.stream(), id);
        assert_eq!(resumed.header("idempotent-replayed"), "true");
        assert_eq!(events(&resumed.frames().await), rest, "after {named}");
    }
    let at_end = format!("{id}.{LAST}");
    for over in [
        read(&gateway, &id, Some(&at_end)).await,
        get(
            &gateway,
            &format!("/v1/streams/{id}?after={LAST}"),
            &[EVENTS],
        )
        .await,
        repost(&gateway, &at_end, &[]).await,
    ] {
        assert_eq!(over.head.status, 204);
        assert_eq!(over.stream(), id);
        assert!(over.body().await.is_empty());
    }
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_running_stream_is_resumed_at_every_event_and_goes_on_live() {
    let gate = Gate::new("sixth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(6, &held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    let (first, id, mut all) = running(&gateway, 6).await;
    let mut readers = Vec::new();
    for seen in 0..=5 {
        let cursor = format!("{id}.{seen}");
        readers.push((seen, read(&gateway, &id, Some(&cursor)).await));
        readers.push((seen, repost(&gateway, &cursor, &[]).await));
    }
    for (seen, reader) in &mut readers {
        for expected in &all[*seen..] {
            assert_eq!(reader.event().await.raw, *expected);
        }
    }
    gate.open();
    let rest = events(&first.frames().await);
    all.extend(rest.clone());
    assert_eq!(all.len() as u64, LAST);
    for (seen, reader) in readers {
        assert_eq!(events(&reader.frames().await), rest, "after {seen}");
    }
    // What was live for them is in the log for others.
    assert_eq!(events(&read(&gateway, &id, None).await.frames().await), all);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_cursor_beyond_the_end_is_a_409_running_or_ended() {
    let gate = Gate::new("sixth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(6, &held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    let (first, id, _) = running(&gateway, 6).await;
    let check = async |ahead: u64| {
        let cursor = format!("{id}.{ahead}");
        let refused = read(&gateway, &id, Some(&cursor)).await;
        assert_eq!(refused.header("x-should-retry"), "false");
        assert_eq!(refused.problem(409).await, "cursor_ahead");
        let path = format!("/v1/streams/{id}?after={ahead}");
        assert_eq!(
            get(&gateway, &path, &[]).await.problem(409).await,
            "cursor_ahead"
        );
        let refused = repost(&gateway, &cursor, &[]).await;
        assert_eq!(refused.stream(), id);
        // An SDK would repeat a 409 by itself, for ever the same.
        assert_eq!(refused.header("x-should-retry"), "false");
        assert_eq!(refused.error(409).await, "cursor_ahead");
    };
    check(6).await;
    check(999_999_999_999_999_999).await;
    gate.open();
    first.frames().await;
    check(LAST + 1).await;
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_malformed_cursor_or_another_streams_is_a_400_and_never_a_restart() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, _) = finished(&gateway).await;
    let (other, _) = finished(&gateway).await;
    let wrong = [
        "x".to_owned(),
        "-1".to_owned(),
        "+1".to_owned(),
        "1.5".to_owned(),
        "1e1".to_owned(),
        "1234567890123456789".to_owned(),
        format!("{id}."),
        format!("{id}.-1"),
        format!("{id}.1.1"),
        format!("{id}:1"),
        format!(".{LAST}"),
        format!("{id}x.1"),
        format!("{id}.{}", "0".repeat(80)),
    ];
    for cursor in wrong.iter().chain([&format!("{other}.1")]) {
        let refused = read(&gateway, &id, Some(cursor)).await;
        assert_eq!(refused.problem(400).await, "invalid_cursor", "{cursor}");
        let encoded = cursor.replace('+', "%2B");
        let path = format!("/v1/streams/{id}?after={encoded}");
        let refused = get(&gateway, &path, &[EVENTS]).await;
        assert_eq!(refused.problem(400).await, "invalid_cursor", "{cursor}");
    }
    // A POST's path names no stream, so its cursor must.
    for cursor in wrong.iter().map(String::as_str).chain(["0", "3"]) {
        let refused = repost(&gateway, cursor, &[]).await;
        assert_eq!(refused.error(400).await, "invalid_cursor", "{cursor}");
    }
    let mut client = gateway.client().await;
    let request = format!(
        "GET /v1/streams/{id} HTTP/1.1\r\nhost: localhost\r\nlast-event-id: \u{e9}\r\n\r\n"
    );
    soon(client.send(request.as_bytes())).await.unwrap();
    assert_eq!(soon(client.read_head()).await.unwrap().status, 400);
    assert_eq!(provider.calls().len(), 2);
}

#[tokio::test]
async fn what_is_unknown_or_anothers_is_a_404_and_what_is_past_retention_a_410() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let one = ("authorization", &*format!("Bearer {KEY_ONE}"));
    let two = ("authorization", &*format!("Bearer {KEY_TWO}"));
    let reply = post(&gateway, CHAT, &chat("x"), &[one]).await;
    let id = reply.stream();
    reply.frames().await;
    let path = format!("/v1/streams/{id}");
    let check = async |path: &str, cursor: &str, key: (&str, &str), status: u16, code: &str| {
        for headers in [vec![key, EVENTS], vec![key]] {
            assert_eq!(
                get(&gateway, path, &headers).await.problem(status).await,
                code
            );
        }
        assert_eq!(
            repost(&gateway, cursor, &[key]).await.error(status).await,
            code
        );
    };
    let unknown = "0000000000000";
    check(
        &format!("/v1/streams/{unknown}"),
        &format!("{unknown}.1"),
        one,
        404,
        "stream_not_found",
    )
    .await;
    let cursor = format!("{id}.1");
    // Not even that it is at its end, or that the cursor is beyond it.
    for cursor in [cursor.clone(), format!("{id}.{LAST}"), format!("{id}.99")] {
        check(&path, &cursor, two, 404, "stream_not_found").await;
    }
    gateway.app.log.delete(id.parse().unwrap()).await.unwrap();
    check(&path, &cursor, one, 410, "stream_gone").await;
    check(&path, &cursor, two, 404, "stream_not_found").await;
    assert_eq!(
        get(&gateway, "/v1/streams/no-id", &[one])
            .await
            .problem(404)
            .await,
        "stream_not_found"
    );
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn the_header_beats_the_query_and_an_empty_one_is_none() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, all) = finished(&gateway).await;
    let path = format!("/v1/streams/{id}?after=5");
    for (header, seen) in [("2", 2), ("0", 0), ("", 5)] {
        let reply = get(&gateway, &path, &[EVENTS, ("last-event-id", header)]).await;
        assert_eq!(events(&reply.frames().await), all[seen..], "{header:?}");
    }
    let path = format!("/v1/streams/{id}?after=");
    assert_eq!(
        events(&get(&gateway, &path, &[EVENTS]).await.frames().await),
        all
    );
}

#[tokio::test]
async fn a_restart_keeps_every_byte_and_every_cursor() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, all) = finished(&gateway).await;
    let before = page(&gateway, &id).await;
    let dir = gateway.stop().await;
    let gateway = Setup::new(&provider).data_dir(dir).start().await;
    assert_eq!(page(&gateway, &id).await, before);
    for seen in 0..all.len() {
        let cursor = format!("{id}.{seen}");
        let resumed = read(&gateway, &id, Some(&cursor)).await;
        assert_eq!(events(&resumed.frames().await), all[seen..]);
        let resumed = repost(&gateway, &cursor, &[]).await;
        assert_eq!(events(&resumed.frames().await), all[seen..]);
    }
    assert_eq!(
        read(&gateway, &id, Some(&format!("{id}.{LAST}")))
            .await
            .head
            .status,
        204
    );
    assert_eq!(provider.calls().len(), 1);
    let (new, _) = finished(&gateway).await;
    assert_ne!(new, id);
    assert_eq!(
        data(&read(&gateway, &new, None).await.frames().await).len() as u64,
        LAST
    );
}

#[tokio::test]
async fn the_memory_log_resumes_as_the_disk_log_does() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider)
        .config("[log]\nbackend = \"memory\"")
        .start()
        .await;
    let (id, all) = finished(&gateway).await;
    for seen in 0..all.len() {
        let resumed = read(&gateway, &id, Some(&format!("{id}.{seen}"))).await;
        assert_eq!(events(&resumed.frames().await), all[seen..]);
    }
    gateway.app.log.delete(id.parse().unwrap()).await.unwrap();
    assert_eq!(
        read(&gateway, &id, None).await.problem(410).await,
        "stream_gone"
    );
}
