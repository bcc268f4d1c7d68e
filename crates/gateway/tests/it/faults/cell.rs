//! One fault in one set-up: a gateway, its providers, one request, and what became of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use everstream_core::id::StreamId;
use everstream_core::record::Record;
use everstream_testkit::client::{BodyEnd, ResponseHead};
use everstream_testkit::provider::{
    ChatAnswer, FakeProvider, Gate, Nobody, ReceivedRequest, Script,
};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::script::{Fault, First, Passing, Phase};
use crate::harness::{Gateway, PATIENCE, Setup, StillTime, data};
use crate::talk::{CHAT, answer, answer_to, chat, page, unary_chat};

/// Who may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetUp {
    /// One upstream, and no route.
    NoRoute,
    /// A route with one deployment.
    One,
    /// A route with two, of which the second is well.
    Two,
    /// The same, and the second goes on with an answer that was cut.
    Recovers,
    /// The same, but the second refuses an answer's beginning.
    Refuses,
}

/// How the answer was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Streamed,
    Body,
}

/// What became of a request, in the words of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) client: String,
    pub(super) calls: String,
    pub(super) log: String,
    pub(super) within: String,
}

/// What the client got.
struct Reply {
    head: ResponseHead,
    /// The data of each event, or the whole body.
    got: Vec<String>,
    took: Duration,
}

impl Form {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Streamed => "streamed",
            Self::Body => "one body",
        }
    }
}

impl SetUp {
    /// Those in which a fault is played.
    pub(super) const fn of(fault: &Fault, form: Form) -> &'static [Self] {
        match (fault.phase, form) {
            (Phase::Content, Form::Streamed) => &[
                Self::NoRoute,
                Self::One,
                Self::Two,
                Self::Recovers,
                Self::Refuses,
            ],
            _ => &[Self::NoRoute, Self::One, Self::Two],
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::NoRoute => "no route",
            Self::One => "route of one",
            Self::Two => "route of two",
            Self::Recovers => "`on_cut = \"recover\"`",
            Self::Refuses => "`recover`, refused",
        }
    }

    fn gateway(self, fault: &Fault, one: &str, two: &str) -> Setup {
        let deployment = |name: &str, more: &str| {
            format!("[[routes.deployments]]\nupstream = \"{name}\"\n{more}\n")
        };
        let (first, second) = fault.deployments;
        let (on_cut, second, provider) = match self {
            Self::Recovers | Self::Refuses => (
                "on_cut = \"recover\"",
                "continues = true",
                "provider = \"vllm\"",
            ),
            _ => ("", second, fault.upstream),
        };
        let route = format!("[[routes]]\nmodel = \"m\"\n{on_cut}\n") + &deployment("one", first);
        let alone = Setup::default().upstream("one", one, fault.upstream);
        match self {
            Self::NoRoute => alone,
            Self::One => alone.upstream_fields(&route),
            Self::Two | Self::Recovers | Self::Refuses => alone
                .upstream("two", two, provider)
                .upstream_fields(&(route + &deployment("two", second))),
        }
    }
}

/// Plays a fault, and tells what became of the request, and what of that may not be.
pub(super) async fn play(fault: &Fault, set_up: SetUp, form: Form) -> (Seen, Vec<String>) {
    let mut wrong = Wrong {
        named: format!("{}, {}, {form:?}", fault.name, set_up.title()),
        found: Vec::new(),
    };
    let gate = Gate::new("never opened");
    let nobody = Nobody::new().unwrap();
    let one = first(fault, form, gate.clone()).await;
    let two = FakeProvider::start(move |request| second(set_up, request)).await;
    let url = match fault.first {
        First::Nobody => nobody.base_url(),
        First::NoTls(_) => one.base_url().replace("http:", "https:"),
        First::Plays(_) => one.base_url(),
    };
    let gateway = set_up.gateway(fault, &url, &two.base_url()).start().await;
    let _time = StillTime::begin();
    let passing = fault.passing.of(set_up, form);
    let asking = ask(&gateway, fault, form).await;
    let reply = wait(&gateway, asking, passing, &one, &gate).await;
    let took = reply.took;
    let in_time = took >= passing.least() && took <= passing.most();
    wrong.unless(in_time, format!("it took {took:?}, not {passing:?}"));
    let calls = (one.calls().len(), two.calls().len());
    wrong.unless(calls.0 + calls.1 <= 4, format!("{calls:?}"));
    let id = reply.head.header("everstream-stream-id").unwrap();
    let page = page(&gateway, id).await;
    let seen = Seen {
        client: client(&mut wrong, form, &reply, &page),
        calls: match calls {
            (one, 0) => one.to_string(),
            (one, two) => format!("{one} + {two}"),
        },
        log: log(&mut wrong, &gateway, &reply, &page).await,
        within: passing.words(),
    };
    (seen, wrong.found)
}

/// The provider that is at fault for so many times, and then is well.
async fn first(fault: &Fault, form: Form, gate: Gate) -> FakeProvider {
    let played = AtomicUsize::new(0);
    let (times, first) = (fault.times, fault.first);
    FakeProvider::start(move |request| {
        let (First::Plays(play) | First::NoTls(play)) = first else {
            return answer_to(request);
        };
        if played.fetch_add(1, Ordering::Relaxed) < times {
            play(form, &gate)
        } else {
            answer_to(request)
        }
    })
    .await
}

/// The answer, or what of it comes behind the beginning that is given.
fn second(set_up: SetUp, request: &ReceivedRequest) -> Script {
    let body = request.json();
    let messages = body["messages"].as_array();
    let last = messages.and_then(|messages| messages.last());
    let prefix = last.filter(|last| last["role"] == "assistant");
    let Some(prefix) = prefix.and_then(|prefix| prefix["content"].as_str()) else {
        return answer_to(request);
    };
    if set_up == SetUp::Refuses {
        let words = "This model does not take an answer's beginning.";
        return Script::openai_error(400, "invalid_request_error", "invalid_value", words);
    }
    let mut rest = answer().tokens;
    while !answer().text().eq(&(prefix.to_owned() + &rest.concat())) {
        rest.remove(0);
    }
    Script::chat_stream(&ChatAnswer::new(rest).with_usage(9))
}

async fn ask(gateway: &Gateway, fault: &Fault, form: Form) -> JoinHandle<Reply> {
    let body = match form {
        Form::Streamed => chat("x"),
        Form::Body => unary_chat("x"),
    };
    let headers = fault.headers;
    let mut client = gateway.client().await;
    let began = Instant::now();
    tokio::spawn(async move {
        let head = client.post_json(CHAT, &body, headers).await.unwrap();
        let (got, end) = if head.header("content-type") == Some("text/event-stream") {
            let (frames, end) = client.collect_sse().await.unwrap();
            (data(&frames), end)
        } else {
            let (body, end) = client.read_body().await.unwrap();
            (vec![String::from_utf8(body.to_vec()).unwrap()], end)
        };
        assert_eq!(end, BodyEnd::Clean);
        let took = began.elapsed();
        Reply { head, got, took }
    })
}

/// Lets time pass when nothing else can happen, and not before.
async fn wait(
    gateway: &Gateway,
    asking: JoinHandle<Reply>,
    passing: Passing,
    one: &FakeProvider,
    gate: &Gate,
) -> Reply {
    let began = std::time::Instant::now();
    let since = Instant::now();
    let mut quiet = (began, (0, 0));
    while !asking.is_finished() {
        let hangs = began.elapsed() > PATIENCE;
        assert!(
            !hangs,
            "{passing:?}: nothing happened for a minute, {quiet:?}"
        );
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let sign = (one.calls().len(), logged(gateway));
        if sign != quiet.1 {
            quiet = (std::time::Instant::now(), sign);
        }
        match passing {
            Passing::Never => {}
            // The provider may have gone on, and that not have come here.
            Passing::Pauses(_) | Passing::Going { .. }
                if quiet.0.elapsed() < Duration::from_millis(10) => {}
            Passing::Pauses(_) => tokio::time::advance(Duration::from_millis(100)).await,
            Passing::Silence { events, .. }
            | Passing::Shared { events, .. }
            | Passing::Going { events, .. } => {
                let is_held = matches!(passing, Passing::Going { .. }) || is_reached(gate).await;
                // When the time is over, what comes of it has to be written to a disk.
                let is_over = since.elapsed() > passing.least();
                let waits = is_over && quiet.0.elapsed() < Duration::from_secs(1);
                if is_held && !waits && sign.0 > 0 && sign.1 >= events && one.hangups() == 0 {
                    tokio::time::advance(passing.step(since.elapsed())).await;
                    quiet.0 = std::time::Instant::now();
                }
            }
        }
    }
    asking.await.unwrap()
}

async fn is_reached(gate: &Gate) -> bool {
    tokio::select! {
        biased;
        () = gate.reached_by(1) => true,
        () = std::future::ready(()) => false,
    }
}

/// How many events of the newest stream are logged.
fn logged(gateway: &Gateway) -> u64 {
    let mut events = 0;
    let project = "default".parse().unwrap();
    gateway
        .app
        .log
        .scan(&project, &mut |info| events = info.last_seq.get());
    events
}

/// What has to hold of every fault, and did not.
struct Wrong {
    named: String,
    found: Vec<String>,
}

impl Wrong {
    fn unless(&mut self, holds: bool, what: impl std::fmt::Display) {
        if !holds {
            self.found.push(format!("{}: {what}", self.named));
        }
    }
}

/// A whole answer, or an honest error: nothing else passes.
fn client(wrong: &mut Wrong, form: Form, reply: &Reply, page: &Value) -> String {
    let status = reply.head.status;
    let after = reply.head.header("retry-after");
    let after = after.map_or(String::new(), |after| format!(", Retry-After {after}"));
    let last = reply.got.last().map_or("", String::as_str);
    let parsed: Value = serde_json::from_str(last).unwrap_or_default();
    let expected = answer().expected_data_without_usage();
    let says = |got: &[String]| -> String {
        let chunks = got
            .iter()
            .filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let text = |chunk: Value| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        };
        chunks.filter_map(text).collect()
    };
    let is_error = parsed["error"].is_object();
    if status == 200 && !is_error {
        let is_whole = match form {
            Form::Streamed if reply.got == expected => true,
            Form::Streamed => says(&reply.got) == answer().text() && last == "[DONE]",
            Form::Body => parsed == answer().to_json(),
        };
        wrong.unless(is_whole, format!("not the answer: {:?}", reply.got));
        wrong.unless(page["status"] == "completed", page);
        return format!(
            "the whole answer, of `{}`",
            page["upstream"].as_str().unwrap_or_default()
        );
    }
    let error = &parsed["error"];
    let said = error["message"].as_str().is_some_and(|m| !m.is_empty());
    wrong.unless(is_error && said, format!("no error: {last}"));
    wrong.unless(page["status"] != "completed", page);
    let code = error["code"].as_str().unwrap_or_default();
    let kept = reply.got.len().saturating_sub(1);
    if status != 200 {
        wrong.unless(
            status >= 400 && kept == 0,
            format!("{status}: {:?}", reply.got),
        );
        return format!("{status} `{code}`{after}");
    }
    let is_prefix = expected.starts_with(&reply.got[..kept]);
    wrong.unless(is_prefix, format!("not of the answer: {:?}", reply.got));
    let before = if kept == 0 { "" } else { "what came, " };
    format!("200, {before}error event `{code}`")
}

/// How the log ends, and the attempts that came to nothing, which nobody is billed for.
async fn log(wrong: &mut Wrong, gateway: &Gateway, reply: &Reply, page: &Value) -> String {
    let usage = |name: &str| page["usage"][name].as_u64().unwrap_or_default();
    let figures = (usage("input_tokens"), usage("output_tokens"));
    let events = page["events"].as_array().unwrap();
    let logged: Vec<&str> = events.iter().filter_map(|e| e["data"].as_str()).collect();
    wrong.unless(logged == reply.got, "the log and the client differ");
    if page["status"] == "completed" {
        // Whoever goes on with an answer reads the prompt once more.
        let estimated = page["usage"]["estimated"] == true;
        let is_billed = figures.1 == 5 && figures.0 == 7 || estimated && figures.1 >= 4;
        wrong.unless(is_billed, page);
    } else if events.len() == 1 {
        wrong.unless(figures == (0, 0), format!("nobody heard anything: {page}"));
    }
    let id: StreamId = page["id"].as_str().unwrap().parse().unwrap();
    let records = gateway.app.log.audit(id).await.unwrap();
    let abandoned = records.iter().filter_map(|record| match record {
        Record::Abandoned(at) => Some(format!("`{}`, ", at.reason)),
        Record::Seam(at) => Some(format!("`{}` and gone on, ", at.reason)),
        _ => None,
    });
    let abandoned: String = abandoned.collect();
    let status = page["status"].as_str().unwrap();
    match page["reason"].as_str() {
        None => format!("{abandoned}{status}"),
        Some(reason) => format!("{abandoned}{status}: `{reason}`"),
    }
}
