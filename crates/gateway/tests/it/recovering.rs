//! Answers that are cut after the client heard of them: who goes on, what the client sees of it, and
//! what the log keeps.

use std::sync::Arc;
use std::time::Duration;

use everstream_core::event::{Mode, Surface};
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::policy::recovery::OnCut;
use everstream_core::record::{Accepted, Record, Seam, SeamKind};
use everstream_store::StreamLog;
use everstream_store::config::SegmentConfig;
use everstream_store::disk::OsDisk;
use everstream_store::segment::SegmentLog;
use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{FakeProvider, Gate, ReceivedRequest, Script};
use everstream_testkit::sse::Frame;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Gateway, Setup};
use crate::process::Process;
use crate::speech::{APIS, Api};
use crate::talk::{Reply, ended, page, post, soon};

const TOLD: [&str; 4] = ["Once", " upon", " a", " time."];
/// How much of it is heard before the cut.
const HEARD: usize = 2;
const RECOVER: (&str, &str) = ("everstream-on-cut", "recover");
const FAIL: (&str, &str) = ("everstream-on-cut", "fail");

/// What a request has its answer begin with.
fn prefix(request: &ReceivedRequest) -> String {
    let body = request.json();
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let last = messages.last().filter(|last| last["role"] == "assistant");
    let content = last.map(|last| &last["content"]);
    let text = content.and_then(|content| content.as_str().or(content[0]["text"].as_str()));
    text.unwrap_or_default().to_owned()
}

/// A provider that says so much before it is cut, each time.
async fn cut(api: Api, words: &'static [&'static str]) -> FakeProvider {
    FakeProvider::start(move |_| api.answer(words, false)).await
}

/// A provider that goes on from wherever it is asked to.
async fn able(api: Api) -> FakeProvider {
    FakeProvider::start(move |request| {
        let all = TOLD.concat();
        let rest = all.strip_prefix(&prefix(request)).expect("another prefix");
        api.answer(&[rest], true)
    })
    .await
}

/// Two upstreams on a route; `route` is TOML for it, `marks` for each deployment.
fn two(
    first: (&FakeProvider, Api),
    other: (&FakeProvider, Api),
    route: &str,
    marks: [&str; 2],
) -> Setup {
    let (one, two) = (first.0.base_url(), other.0.base_url());
    Setup::default()
        .upstream(
            "one",
            &one,
            &format!("{}\nmodels = [\"claude-3\"]", first.1.upstream()),
        )
        .upstream(
            "two",
            &two,
            &format!("{}\nmodels = [\"claude-sonnet-4-5\"]", other.1.upstream()),
        )
        .upstream_fields(&format!(
            "[[routes]]\nmodel = \"m\"\n{route}\n\
             [[routes.deployments]]\nupstream = \"one\"\nmodel = \"claude-3\"\n{}\n\
             [[routes.deployments]]\nupstream = \"two\"\nmodel = \"claude-sonnet-4-5\"\n{}\n",
            marks[0], marks[1]
        ))
}

const ON_CUT: &str = "on_cut = \"recover\"";
const CONTINUES: &str = "continues = true";
const SAME: &str = "deterministic = true";

async fn ask(gateway: &Gateway, api: Api, headers: &[(&str, &str)]) -> Reply {
    let (path, body) = api.ask();
    post(gateway, path, &body, headers).await
}

async fn audit(gateway: &Gateway, stream: &str) -> Vec<Record> {
    let id: StreamId = stream.parse().unwrap();
    gateway.app.log.audit(id).await.unwrap()
}

async fn seams(gateway: &Gateway, stream: &str) -> Vec<Seam> {
    let records = audit(gateway, stream).await.into_iter();
    let seam = |record| match record {
        Record::Seam(seam) => Some(seam),
        _ => None,
    };
    records.filter_map(seam).collect()
}

/// The frames of a stream that ended with an error of this code, without the error.
async fn told(gateway: &Gateway, api: Api, reply: Reply, code: &str) -> Vec<Frame> {
    let id = reply.stream();
    let mut frames = reply.frames().await;
    let last = frames.pop().unwrap();
    assert!(last.data.unwrap().contains("\"error\""), "{api:?}");
    assert!(!api.is_whole(&frames));
    let page = page(gateway, &id).await;
    assert_eq!(page["reason"], code, "{page}");
    frames
}

#[tokio::test]
async fn an_answer_that_is_cut_goes_on_at_another_deployment() {
    for client in APIS {
        for first in APIS {
            for second in [Api::Chat, Api::Messages] {
                let which = format!("{client:?}: {first:?}, then {second:?}");
                let one = cut(first, &TOLD[..HEARD]).await;
                let other = able(second).await;
                let setup = two((&one, first), (&other, second), ON_CUT, ["", CONTINUES]);
                let gateway = setup.start().await;
                let reply = ask(&gateway, client, &[]).await;
                if (client, first) == (Api::Responses, Api::Responses) {
                    // Its ids are the provider's own.
                    told(&gateway, client, reply, "upstream_cut").await;
                    assert_eq!((one.calls().len(), other.calls().len()), (1, 0));
                    continue;
                }
                let id = (client != Api::Gemini).then(|| reply.stream());
                let frames = reply.frames().await;
                assert_eq!(client.text(&frames), TOLD.concat(), "{which}: {frames:?}");
                assert!(client.is_whole(&frames), "{which}: {frames:?}");
                assert_eq!((one.calls().len(), other.calls().len()), (1, 1), "{which}");
                let asked = &other.calls()[0];
                assert_eq!(prefix(asked), "Once upon", "{which}");
                assert_eq!(asked.json()["model"], "claude-sonnet-4-5");
                let Some(id) = id else { continue };
                let page = page(&gateway, &id).await;
                assert_eq!(page["status"], "completed", "{which}");
                let [seam] = &seams(&gateway, &id).await[..] else {
                    panic!("{which}")
                };
                assert_eq!(
                    (seam.upstream.as_str(), seam.kind),
                    ("one", SeamKind::Continued)
                );
                let sum = |tokens: fn(&everstream_core::event::Usage) -> u64, last: u64| {
                    tokens(&seam.usage) + last
                };
                assert_eq!(
                    page["usage"]["output_tokens"],
                    sum(|u| u.output_tokens, 9),
                    "{which}"
                );
                assert_eq!(
                    page["usage"]["input_tokens"],
                    sum(|u| u.input_tokens, 5),
                    "{which}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_of_the_prefix_does_not_hide_the_cut() {
    for client in APIS {
        let one = cut(Api::Chat, &TOLD[..HEARD]).await;
        let other = FakeProvider::start(|_| {
            let why = "This model does not support assistant message prefill.";
            Script::openai_error(400, "invalid_request_error", "x", why)
        })
        .await;
        let setup = two(
            (&one, Api::Chat),
            (&other, Api::Chat),
            ON_CUT,
            ["", CONTINUES],
        );
        let gateway = setup.start().await;
        let reply = ask(&gateway, client, &[]).await;
        let mut frames = reply.frames().await;
        let last = frames.pop().unwrap().data.unwrap();
        assert!(
            last.contains("ended early") && !last.contains("prefill"),
            "{last}"
        );
        assert_eq!(client.text(&frames), "Once upon");
        assert_eq!((one.calls().len(), other.calls().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_second_run_goes_on_if_it_is_the_first_and_ends_it_if_not() {
    let (path, mut body) = Api::Chat.ask();
    body["temperature"] = json!(0);
    body["seed"] = json!(7);
    for (second, same) in [
        (["On", "ce upon a", " time."], true),
        (["Once", " more", "."], false),
    ] {
        let one = FakeProvider::start(move |request| match request.number {
            1 => Api::Chat.answer(&TOLD[..HEARD], false),
            _ => Api::Chat.answer(&second, true),
        })
        .await;
        let nobody = able(Api::Chat).await;
        let setup = two((&one, Api::Chat), (&nobody, Api::Chat), ON_CUT, [SAME, ""]);
        let gateway = setup.upstream_fields("").start().await;
        let reply = post(&gateway, path, &body, &[]).await;
        let id = reply.stream();
        if same {
            let frames = reply.frames().await;
            assert_eq!(Api::Chat.text(&frames), TOLD.concat());
            assert!(Api::Chat.is_whole(&frames), "{frames:?}");
            assert_eq!(seams(&gateway, &id).await[0].kind, SeamKind::RanAgain);
        } else {
            let frames = told(&gateway, Api::Chat, reply, "diverged").await;
            assert_eq!(Api::Chat.text(&frames), "Once upon");
            assert_eq!(page(&gateway, &id).await["status"], "interrupted");
        }
        assert_eq!((one.calls().len(), nobody.calls().len()), (2, 0));
        assert_eq!(one.calls()[1].json(), one.calls()[0].json());
    }
}

#[tokio::test]
async fn nobody_goes_on_without_consent_and_the_clients_word_goes_before_the_routes() {
    for (route, header, goes_on) in [
        ("", None, false),
        ("on_cut = \"fail\"", Some(RECOVER), true),
        ("", Some(FAIL), false),
        (ON_CUT, None, true),
        (ON_CUT, Some(RECOVER), true),
        (ON_CUT, Some(FAIL), false),
    ] {
        let one = cut(Api::Chat, &TOLD[..HEARD]).await;
        let other = able(Api::Chat).await;
        let setup = two(
            (&one, Api::Chat),
            (&other, Api::Chat),
            route,
            ["", CONTINUES],
        );
        let gateway = setup.start().await;
        let headers: Vec<_> = header.into_iter().collect();
        let reply = ask(&gateway, Api::Chat, &headers).await;
        if goes_on {
            assert!(
                Api::Chat.is_whole(&reply.frames().await),
                "{route} {header:?}"
            );
        } else {
            told(&gateway, Api::Chat, reply, "upstream_cut").await;
        }
        let calls = (one.calls().len(), other.calls().len());
        assert_eq!(calls, (1, usize::from(goes_on)), "{route} {header:?}");
    }
}

#[tokio::test]
async fn another_word_for_what_becomes_of_a_cut_is_refused() {
    let one = able(Api::Chat).await;
    let gateway = Setup::new(&one).start().await;
    for word in ["", "Recover", "continue", "fail, recover"] {
        let reply = ask(&gateway, Api::Chat, &[("everstream-on-cut", word)]).await;
        assert_eq!(reply.error(400).await, "invalid_value", "{word}");
    }
    assert!(one.calls().is_empty());
}

#[tokio::test]
async fn no_more_calls_are_made_than_the_route_allows() {
    for attempts in 1..=4 {
        // Each says one more letter of what comes next, and is cut.
        let further = |request: &ReceivedRequest| {
            let letter = ["a", "b", "c", "d"][prefix(request).len()];
            Api::Chat.answer(&[letter], false)
        };
        let one = FakeProvider::start(further).await;
        let other = FakeProvider::start(further).await;
        let route = format!("{ON_CUT}\nattempts = {attempts}");
        let marks = [CONTINUES, CONTINUES];
        let setup = two((&one, Api::Chat), (&other, Api::Chat), &route, marks);
        let gateway = setup.start().await;
        let reply = ask(&gateway, Api::Chat, &[]).await;
        let id = reply.stream();
        let frames = told(&gateway, Api::Chat, reply, "upstream_cut").await;
        assert_eq!(Api::Chat.text(&frames), "abcd"[..attempts]);
        assert_eq!(one.calls().len() + other.calls().len(), attempts);
        assert_eq!(seams(&gateway, &id).await.len(), attempts - 1);
    }
}

/// Without another one that is able, the deployment that was cut is asked itself, though others are
/// there that were not asked for anything yet.
#[tokio::test]
async fn the_one_that_was_cut_goes_on_if_it_alone_is_able() {
    let one = FakeProvider::start(|request| match request.number {
        1 => Api::Chat.answer(&TOLD[..HEARD], false),
        _ => Api::Chat.answer(&TOLD[HEARD..], true),
    })
    .await;
    let other = able(Api::Chat).await;
    let setup = two(
        (&one, Api::Chat),
        (&other, Api::Chat),
        ON_CUT,
        [CONTINUES, ""],
    );
    let gateway = setup.start().await;
    let frames = ask(&gateway, Api::Chat, &[]).await.frames().await;
    assert_eq!(Api::Chat.text(&frames), TOLD.concat());
    assert_eq!((one.calls().len(), other.calls().len()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_gone_on_for_by_the_next() {
    for client in APIS {
        for first in [Api::Chat, Api::Messages, Api::Gemini] {
            let which = format!("{client:?}: {first:?}");
            let (dir, gate) = (TempDir::new().unwrap(), Gate::new("never opened"));
            let held = gate.clone();
            let one = FakeProvider::start(move |_| {
                let at = first.before() + HEARD + 1;
                first.answer(&TOLD, true).gate_before_event(at, &held)
            })
            .await;
            let other = able(Api::Chat).await;
            // The client's own consent is in the log.
            let setup = two((&one, first), (&other, Api::Chat), "", ["", CONTINUES]);
            let process = Process::start(&setup, dir.path());
            let (path, body) = client.ask();
            let mut asking = process.client().await;
            let key = [RECOVER, ("idempotency-key", "once")];
            let head = soon(asking.post_json(path, &body, &key)).await.unwrap();
            let id = head.header("everstream-stream-id").unwrap().to_owned();
            let mut seen = Vec::new();
            while client.text(&seen) != "Once upon" {
                seen.push(soon(asking.read_event()).await.unwrap().unwrap());
            }
            process.kill();

            let process = Process::start(&setup, dir.path());
            let mut reading = process.client().await;
            let sse = [("accept", "text/event-stream")];
            let path = format!("/v1/streams/{id}");
            soon(reading.get(&path, &sse)).await.unwrap();
            let (mut frames, end) = soon(reading.collect_sse()).await.unwrap();
            assert_eq!(end, BodyEnd::Clean);
            frames.retain(|frame| frame.data.is_some());
            let data = |frames: &[Frame]| -> Vec<_> {
                frames.iter().map(|frame| frame.data.clone()).collect()
            };
            assert_eq!(data(&frames[..seen.len()]), data(&seen), "{which}");
            assert_eq!(client.text(&frames), TOLD.concat(), "{which}: {frames:?}");
            assert!(client.is_whole(&frames), "{which}: {frames:?}");
            assert_eq!((one.calls().len(), other.calls().len()), (1, 1), "{which}");
            assert_eq!(prefix(&other.calls()[0]), "Once upon", "{which}");
            let page = soon(process.page(&id)).await;
            assert_eq!(page["status"], "completed", "{which}");
            assert_eq!(page["upstream"], "two", "{which}");
        }
    }
}

/// A request of which nothing was sent is run by the next process with what it said of itself.
#[tokio::test]
async fn how_long_a_client_waits_and_what_it_consents_to_survive_a_restart() {
    for (in_time, on_cut, status) in [
        (false, None, "failed"),
        (true, None, "failed"),
        (true, Some(OnCut::Recover), "completed"),
    ] {
        let dir = TempDir::new().unwrap();
        let now = || UnixMillis::default().plus(std::time::UNIX_EPOCH.elapsed().unwrap());
        let (id, disk) = (StreamId::from_bits(77), Arc::new(OsDisk));
        let log = SegmentLog::open(SegmentConfig::new(dir.path()), disk, Arc::new(now)).unwrap();
        let wait = Duration::from_mins(u64::from(in_time));
        let accepted = Accepted {
            project: "default".parse().unwrap(),
            account: everstream_core::record::Account::default(),
            surface: Surface::ChatCompletions,
            mode: Mode::Stream,
            model: "m".to_owned(),
            created_at: now(),
            claim: None,
            include_usage: true,
            deadline: Some(now().plus(wait)),
            session: Some("talk".to_owned()),
            on_cut,
            headers: Vec::new(),
            request: Api::Chat.ask().1.to_string().into(),
        };
        log.create(id, Arc::new(accepted)).await.unwrap();
        log.close().await.unwrap();
        drop(log);

        let one = cut(Api::Chat, &TOLD[..HEARD]).await;
        let other = able(Api::Chat).await;
        let setup = two((&one, Api::Chat), (&other, Api::Chat), "", ["", CONTINUES]);
        let gateway = setup.data_dir(dir).start().await;
        let page = ended(&gateway, &id.to_string()).await;
        assert_eq!(page["status"], status, "{page}");
        if !in_time {
            assert_eq!(page["reason"], "not_started");
        }
        let calls = (one.calls().len(), other.calls().len());
        let expected = (usize::from(in_time), usize::from(on_cut.is_some()));
        assert_eq!(calls, expected, "{page}");
    }
}
