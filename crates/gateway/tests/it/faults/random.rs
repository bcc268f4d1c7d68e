//! Random faults of two deployments, through sockets: whatever they do, a client gets a whole answer or a
//! typed end, and never a cut answer that looks complete.

use std::sync::atomic::{AtomicUsize, Ordering};

use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{Cut, FakeProvider, LineEnd, Script};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::harness::Setup;
use crate::talk::{CHAT, answer, answer_to, chat, data, page, post, soon, unary_chat};

/// What a deployment does with one request.
#[derive(Clone, Debug)]
enum Act {
    Well,
    Refuses(u16),
    HangsUp(Cut),
    /// After so many of the nine events.
    Cuts(usize, Cut),
    Errors(usize),
    Malformed(usize, &'static str),
    NoMark,
    HalfBody,
    Page,
}

const MALFORMED: [&str; 4] = [
    "{\"choices\":[",
    "{\"choices\":\"none\"}",
    "[DONE",
    "upstream connect error",
];

fn act() -> impl Strategy<Value = Act> {
    let cut = prop_oneof![Just(Cut::Close), Just(Cut::Reset)];
    let status = prop::sample::select(vec![400, 401, 404, 408, 413, 422, 429, 500, 502, 503, 529]);
    prop_oneof![
        3 => Just(Act::Well),
        3 => status.prop_map(Act::Refuses),
        1 => cut.clone().prop_map(Act::HangsUp),
        4 => (0..9usize, cut).prop_map(|(at, cut)| Act::Cuts(at, cut)),
        2 => (0..9usize).prop_map(Act::Errors),
        3 => (0..9usize, prop::sample::select(MALFORMED.to_vec()))
            .prop_map(|(at, data)| Act::Malformed(at, data)),
        1 => Just(Act::NoMark),
        1 => Just(Act::HalfBody),
        1 => Just(Act::Page),
    ]
}

fn malformed(at: usize, wrong: &str) -> Script {
    let mut data = answer().expected_data();
    data.insert(at, wrong.to_owned());
    Script::sse(data)
}

fn script(act: &Act, streamed: bool, split: usize) -> Script {
    let stream = || Script::chat_stream(&answer());
    let script = match act {
        Act::Refuses(status) => {
            let refusal = Script::openai_error(*status, "some_error", "code", "No.");
            return refusal.header("retry-after-ms", "1");
        }
        Act::HangsUp(cut) => return Script::hang_up(*cut),
        Act::Page => return Script::html_200(),
        Act::Well if !streamed => return Script::chat_json(&answer()),
        _ if !streamed => return Script::half_json(),
        Act::Well => stream(),
        Act::Cuts(at, cut) => stream().cut_after_events(*at, *cut),
        Act::Errors(at) => stream().error_event_after(*at),
        Act::Malformed(at, wrong) => malformed(*at, wrong),
        Act::NoMark => stream().without_done(),
        Act::HalfBody => Script::half_json(),
    };
    script.split_every(split).with_line_end(match split % 3 {
        0 => LineEnd::Lf,
        1 => LineEnd::Cr,
        _ => LineEnd::CrLf,
    })
}

async fn acting(acts: Vec<Act>, split: usize) -> FakeProvider {
    let turn = AtomicUsize::new(0);
    FakeProvider::start(move |request| {
        let act = acts.get(turn.fetch_add(1, Ordering::Relaxed));
        act.map_or_else(
            || answer_to(request),
            |act| script(act, request.wants_stream(), split),
        )
    })
    .await
}

async fn hold(one: Vec<Act>, two: Vec<Act>, streamed: bool, attempts: usize, split: usize) {
    let one = acting(one, split).await;
    let two = acting(two, split).await;
    let route = format!(
        "[[routes]]\nmodel = \"m\"\nattempts = {attempts}\nidempotent = true\n\
         [[routes.deployments]]\nupstream = \"one\"\n[[routes.deployments]]\nupstream = \"two\"\n"
    );
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), "")
        .upstream("two", &two.base_url(), "")
        .upstream_fields(&route)
        .start()
        .await;
    let body = if streamed { chat("x") } else { unary_chat("x") };
    let mut reply = post(&gateway, CHAT, &body, &[]).await;
    let id = reply.stream();
    let got = if reply.header("content-type") == "text/event-stream" {
        let (frames, end) = soon(reply.client.collect_sse()).await.unwrap();
        assert_eq!(end, BodyEnd::Clean);
        data(&frames)
    } else {
        let (body, end) = soon(reply.client.read_body()).await.unwrap();
        assert_eq!(end, BodyEnd::Clean);
        vec![String::from_utf8(body.to_vec()).unwrap()]
    };
    let calls = one.calls().len() + two.calls().len();
    assert!((1..=attempts).contains(&calls), "{calls} calls");
    let page = page(&gateway, &id).await;
    let whole = answer().expected_data_without_usage();
    let last: Value = serde_json::from_str(got.last().unwrap()).unwrap_or_default();
    if page["status"] == "completed" {
        assert_eq!(reply.head.status, 200);
        match streamed {
            true => assert_eq!(got, whole),
            false => assert_eq!(last, answer().to_json()),
        }
        // Where the figures were cut off, they are estimated.
        let estimated = page["usage"]["estimated"] == true;
        assert!(estimated || page["usage"]["output_tokens"] == 5, "{page}");
        return;
    }
    assert_eq!(page["status"], "failed", "{page}");
    assert!(page["reason"].is_string(), "{page}");
    assert!(last["error"]["message"].is_string(), "{got:?}");
    assert!(whole.starts_with(&got[..got.len() - 1]), "{got:?}");
    assert!(got.len() == 1 || reply.head.status == 200);
}

#[test]
fn whatever_two_deployments_do_an_answer_is_whole_or_says_that_it_is_not() {
    let schedule = || prop::collection::vec(act(), 0..4);
    let case = (
        schedule(),
        schedule(),
        any::<bool>(),
        1..5usize,
        1..200usize,
    );
    let mut runner = TestRunner::new(Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tested = runner.run(&case, |(one, two, streamed, attempts, split)| {
        runtime.block_on(hold(one, two, streamed, attempts, split));
        Ok(())
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
}
