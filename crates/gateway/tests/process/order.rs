//! A death at each line of the order of writes, and in each change of the disk that one request
//! makes, with the outcomes of PROTOCOL.md section 3.3.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use everstream_core::dialect::openai;
use everstream_core::event::{Event, Mode, Status, Surface};
use everstream_core::id::{Seq, StreamId, UnixMillis};
use everstream_core::record::{Accepted, Claim, Dialled, End, Head, Record};
use everstream_store::config::Sync;
use everstream_store::{Created, StreamLog};
use everstream_testkit::disk::{Fault, Loss};
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::PATIENCE;
use crate::inside::{Inside, Logged, Rig};

const PATH: &str = "/v1/chat/completions";
const KEY: &str = "key-of-the-only-request";

fn body() -> Value {
    json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]})
}

fn answer() -> ChatAnswer {
    ChatAnswer::new(["Wind", " auf", " 風"])
}

/// Goes on after the first content when somebody has it, so that the answer takes several writes.
async fn provider() -> (FakeProvider, Gate) {
    let gate = Gate::new("the first content is read");
    let script = {
        let gate = gate.clone();
        move |_: &_| Script::chat_stream(&answer()).gate_before_event(3, &gate)
    };
    (FakeProvider::start(script).await, gate)
}

fn claim() -> Claim {
    Claim {
        key: openai::claim_key(&"default".parse().unwrap(), "POST", PATH, KEY),
        fingerprint: openai::fingerprint(body().to_string().as_bytes()).unwrap(),
    }
}

/// How far the order of writes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Nothing,
    Accepted,
    Dialled,
    Head,
    Events,
    /// The provider's own terminal event.
    Done,
    End,
}

impl Line {
    fn of(logged: Option<&Logged>) -> Self {
        let Some(Logged { events, audit, .. }) = logged else {
            return Self::Nothing;
        };
        let has = |kind: fn(&Record) -> bool| audit.iter().any(kind);
        if has(|record| matches!(record, Record::End(_))) {
            Self::End
        } else if events.last().is_some_and(|event| event.data == "[DONE]") {
            Self::Done
        } else if !events.is_empty() {
            Self::Events
        } else if has(|record| matches!(record, Record::Head(_))) {
            Self::Head
        } else if has(|record| matches!(record, Record::Dialled(_))) {
            Self::Dialled
        } else {
            Self::Accepted
        }
    }
}

/// What a client has: the data of events that have ids, with the seqs 1, 2, 3 ...
async fn ask(gateway: &Inside, gate: &Gate) -> Vec<String> {
    let asked = async {
        let mut client = gateway.client().await;
        let key = [("idempotency-key", KEY)];
        let head = client.post_json(PATH, &body(), &key).await.unwrap();
        if head.header("content-type") != Some("text/event-stream") {
            // The error of a stream that has nothing else, or of a log that takes nothing.
            return Vec::new();
        }
        let mut data = Vec::new();
        while let Some(event) = client.read_event().await.unwrap() {
            gate.open();
            // What the log refused is reported in an event of no id, and nothing comes after it.
            if event.id.is_none() {
                break;
            }
            assert_eq!(event.seq(), Some(data.len() as u64 + 1));
            data.extend(event.data);
        }
        data
    };
    timeout(PATIENCE, asked).await.unwrap()
}

/// Starts a gateway on what is left, and holds what becomes of the stream against the table.
async fn resolve(
    rig: &Rig,
    (provider, gate): (&FakeProvider, &Gate),
    seen: &[String],
    context: &str,
) -> Line {
    let before = rig.look(claim().key).await;
    let line = Line::of(before.as_ref());
    let context = format!("{context}, {line:?}");
    let gateway = rig.start().await.unwrap();
    let again = ask(&gateway, gate).await;
    gateway.die().await;
    rig.disk.restart(Loss::Kill);
    let after = rig.look(claim().key).await;
    let after = after.unwrap_or_else(|| panic!("{context}: nothing is left"));
    let data: Vec<&[u8]> = after.events.iter().map(|event| &event.data[..]).collect();
    let expected = answer().expected_data();
    let expected: Vec<&[u8]> = expected.iter().map(String::as_bytes).collect();
    let seen: Vec<&[u8]> = seen.iter().map(String::as_bytes).collect();
    assert!(
        data.starts_with(&seen),
        "{context}: {seen:?} was taken back"
    );
    let ends: Vec<&Arc<End>> = ends(&after).collect();
    let [end] = ends[..] else {
        panic!("{context}: {ends:?}");
    };
    let calls = provider.calls().len();
    assert!(calls <= 1, "{context}: {calls} calls");
    let reason = end.reason.as_deref();
    match line {
        // A new request or the one that was accepted: it runs now.
        Line::Nothing | Line::Accepted => {
            assert_eq!((end.status, calls), (Status::Completed, 1), "{context}");
            assert_eq!(data, expected, "{context}");
        }
        Line::Dialled | Line::Head => {
            assert_eq!(end.status, Status::Interrupted, "{context}");
            assert_eq!(reason, Some("outcome_unknown"), "{context}");
            is_error(&data, "outcome_unknown", &context);
            assert_eq!(data.len(), 1, "{context}");
        }
        Line::Events => {
            assert_eq!(end.status, Status::Interrupted, "{context}");
            assert_eq!(reason, Some("gateway_restarted"), "{context}");
            let logged = before.map_or(0, |before| before.events.len());
            assert_eq!(data[..logged], expected[..logged], "{context}");
            assert_eq!(data.len(), logged + 1, "{context}");
            is_error(&data, "gateway_restarted", &context);
        }
        Line::Done => {
            assert_eq!((end.status, reason), (Status::Completed, None), "{context}");
            assert_eq!(data, expected, "{context}");
        }
        Line::End => {
            let before = before.unwrap();
            assert_eq!(after.events, before.events, "{context}");
            assert_eq!(ends, ends_of(&before), "{context}");
        }
    }
    if !again.is_empty() {
        let again: Vec<&[u8]> = again.iter().map(String::as_bytes).collect();
        assert_eq!(again, data, "{context}: the repeat got something else");
    }
    line
}

fn ends(logged: &Logged) -> impl Iterator<Item = &Arc<End>> {
    logged.audit.iter().filter_map(|record| match record {
        Record::End(end) => Some(end),
        _ => None,
    })
}

fn ends_of(logged: &Logged) -> Vec<&Arc<End>> {
    ends(logged).collect()
}

fn is_error(data: &[&[u8]], code: &str, context: &str) {
    let error: Value = serde_json::from_slice(data.last().unwrap()).unwrap();
    let error = &error["error"];
    assert_eq!(error["type"], "stream_interrupted", "{context}");
    assert_eq!(error["code"], code, "{context}");
}

/// Dies in every change of the disk that one request makes, from its acceptance to its end.
async fn dies_in_every_change(sync: Sync) {
    let mut lines = BTreeSet::new();
    for stop in 1.. {
        let context = format!("{sync:?}, stopped at change {stop}");
        let (provider, gate) = provider().await;
        let rig = Rig::new(&provider, sync);
        let gateway = rig.start().await.unwrap();
        rig.disk.set_fault(Fault::StopAt(stop));
        let seen = ask(&gateway, &gate).await;
        let is_over = rig.disk.changes() < stop;
        gateway.die().await;
        rig.disk.restart(Loss::Kill);
        lines.insert(resolve(&rig, (&provider, &gate), &seen, &context).await);
        if is_over {
            break;
        }
    }
    let every = [
        Line::Nothing,
        Line::Accepted,
        Line::Dialled,
        Line::Events,
        Line::End,
    ];
    assert_eq!(lines, BTreeSet::from(every), "{sync:?}");
}

#[tokio::test]
async fn a_death_in_any_change_of_the_disk_has_the_outcome_of_its_line() {
    dies_in_every_change(Sync::None).await;
}

#[tokio::test]
async fn the_same_with_a_sync_for_every_write() {
    dies_in_every_change(Sync::Always).await;
}

const ID: StreamId = StreamId::from_bits(77);

fn accepted(created_at: UnixMillis) -> Arc<Accepted> {
    Arc::new(Accepted {
        project: "default".parse().unwrap(),
        account: everstream_core::record::Account::default(),
        surface: Surface::ChatCompletions,
        mode: Mode::Stream,
        model: "m".to_owned(),
        created_at,
        claim: Some(claim()),
        include_usage: false,
        deadline: None,
        session: None,
        on_cut: None,
        headers: Vec::new(),
        request: Bytes::from(body().to_string()),
    })
}

fn now() -> UnixMillis {
    UnixMillis::default().plus(std::time::UNIX_EPOCH.elapsed().unwrap())
}

/// Writes a stream up to `line` and dies.
async fn write_to(rig: &Rig, line: Line, created_at: UnixMillis) {
    if line == Line::Nothing {
        return;
    }
    let log = rig.log();
    let created = log.create(ID, accepted(created_at)).await.unwrap();
    let Created::New(mut lease) = created else {
        panic!("{created:?}");
    };
    let event = |(seq, data): (u64, String)| {
        Record::Event(Event {
            seq: Seq::new(seq),
            time: now(),
            name: Bytes::new(),
            data: data.into(),
        })
    };
    let events: Vec<Record> = (1..).zip(answer().expected_data()).map(event).collect();
    let (done, before) = events.split_last().unwrap();
    let (upstream, model) = ("fake".to_owned(), "m".to_owned());
    let dialled = Record::Dialled(Dialled {
        attempt: 1,
        upstream: upstream.clone(),
        model,
    });
    let head = Record::Head(Head {
        status: 200,
        request_id: None,
        handle: None,
    });
    let end = Record::End(Arc::new(End {
        status: Status::Completed,
        reason: None,
        http_status: None,
        retry_after: None,
        upstream: Some(upstream),
        usage: everstream_core::event::Usage::default(),
        release_claim: false,
        at: now(),
    }));
    let lines = [
        (Line::Dialled, vec![dialled]),
        (Line::Head, vec![head]),
        (Line::Events, before.to_vec()),
        (Line::Done, vec![done.clone()]),
        (Line::End, vec![end]),
    ];
    for (_, records) in lines.iter().filter(|(at, _)| *at <= line) {
        lease = log.append(ID, lease, records).await.unwrap();
    }
    drop(log);
    rig.disk.restart(Loss::Kill);
}

const LINES: [Line; 7] = [
    Line::Nothing,
    Line::Accepted,
    Line::Dialled,
    Line::Head,
    Line::Events,
    Line::Done,
    Line::End,
];

#[tokio::test]
async fn every_line_has_its_outcome() {
    for line in LINES {
        let (provider, gate) = provider().await;
        let rig = Rig::new(&provider, Sync::None);
        write_to(&rig, line, now()).await;
        let found = resolve(&rig, (&provider, &gate), &[], "written").await;
        assert_eq!(found, line);
        let calls = u64::from(line <= Line::Accepted);
        assert_eq!(provider.call_count(PATH), calls, "{line:?}");
    }
}

#[tokio::test]
async fn a_recovery_may_die_in_any_change_too() {
    for line in LINES.into_iter().skip(1) {
        for stop in 1.. {
            let (provider, gate) = provider().await;
            let rig = Rig::new(&provider, Sync::Always);
            write_to(&rig, line, now()).await;
            rig.disk.set_fault(Fault::StopAt(stop));
            let mut seen = Vec::new();
            if let Ok(gateway) = rig.start().await {
                seen = ask(&gateway, &gate).await;
                gateway.die().await;
            }
            let is_over = rig.disk.changes() < stop;
            rig.disk.restart(Loss::Kill);
            let context = format!("{line:?}, the recovery stopped at change {stop}");
            resolve(&rig, (&provider, &gate), &seen, &context).await;
            if is_over {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_grew_old_before_it_was_sent_is_given_up_and_its_key_is_free() {
    let (provider, gate) = provider().await;
    let rig = Rig::new(&provider, Sync::None);
    write_to(&rig, Line::Accepted, UnixMillis(1)).await;
    let gateway = rig.start().await.unwrap();
    let mut client = gateway.client().await;
    client.get(&format!("/v1/streams/{ID}"), &[]).await.unwrap();
    let stream = client.read_json().await.unwrap();
    assert_eq!(
        (&stream["status"], &stream["reason"]),
        (&json!("failed"), &json!("not_started"))
    );
    assert_eq!(provider.call_count(PATH), 0);
    assert_eq!(ask(&gateway, &gate).await, answer().expected_data());
    assert_eq!(provider.call_count(PATH), 1);
}
