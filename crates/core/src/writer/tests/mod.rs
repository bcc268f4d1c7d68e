mod attempts;
mod budget;
mod hedge;
mod ladder;
mod malformed;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::dialect::{Handle, ProviderDialect};
use crate::event::{Mode, Surface};
use crate::id::StreamId;
use crate::limits::StreamLimits;
use crate::policy::attempt::AttemptPolicy;
use crate::policy::deployment::Report;
use crate::policy::recovery::{Abilities, OnCut};
use crate::record::{Accepted, Tail};
use crate::secret::Secrets;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn plan(mode: Mode) -> Plan {
    Plan {
        stream: StreamId::from_bits(7),
        created_at: NOW,
        surface: Surface::ChatCompletions,
        mode,
        show_usage: false,
        choices: 1,
        asked_model: "m".to_owned(),
        route: Route::new(leg("fake"), []),
        attempts: AttemptPolicy::default(),
        on_cut: OnCut::Fail,
        deadline: None,
        request_bytes: 400,
        on_disconnect: OnDisconnect::Linger(Duration::from_mins(1)),
        limits: StreamLimits {
            event_bytes: 4096,
            stream_bytes: 1 << 20,
            stream_events: 1000,
        },
        echo: Bytes::new(),
    }
}

fn leg(upstream: &str) -> Leg {
    Leg {
        upstream: upstream.to_owned(),
        provider: ProviderDialect::OpenAiChat,
        model: "m".to_owned(),
        secrets: Secrets::default(),
        head_timeout: None,
        first_event_timeout: Duration::from_mins(10),
        event_timeout: Duration::from_mins(2),
        total_timeout: None,
        context_window: None,
        abilities: Abilities::default(),
        hedge_after: None,
        keyed: false,
    }
}

#[derive(Debug, PartialEq)]
enum Ending {
    Logged(Arc<End>),
    Unlogged,
}

/// A log that keeps the writer honest: it takes only what fits at its tail.
struct Bench {
    writer: Writer,
    tail: Tail,
    records: Vec<Record>,
    /// The places that were dialled, and whether the last one has its judgement.
    dialled: Vec<usize>,
    /// What each of them was to go on from.
    prefixes: Vec<Option<String>>,
    judged: Vec<Report>,
    advice: Advice,
    /// Who may be asked beside.
    spare: Option<usize>,
    /// Which of those that were dialled, from 0, leads, and which is asked beside.
    lanes: [Option<usize>; 2],
    hung_up: bool,
    /// By what the provider's own stream was asked for, and what was stopped.
    reattached: Vec<Option<Handle>>,
    cancelled: Vec<Handle>,
    done: Option<Ending>,
    /// The appends (counted from 0) that fail.
    failing: Vec<usize>,
    appends: usize,
    failures: usize,
    now: UnixMillis,
}

impl Bench {
    fn new(plan: Plan) -> Self {
        let accepted = Record::Accepted(Arc::new(Accepted {
            project: "p".parse().unwrap(),
            account: crate::record::Account::default(),
            surface: plan.surface,
            mode: plan.mode,
            model: plan.asked_model.clone(),
            created_at: NOW,
            claim: None,
            include_usage: false,
            deadline: None,
            session: None,
            on_cut: None,
            headers: Vec::new(),
            request: Bytes::new(),
        }));
        let tail = Tail::default()
            .after(std::slice::from_ref(&accepted))
            .unwrap();
        Self {
            writer: Writer::new(plan, NOW),
            tail,
            records: vec![accepted],
            dialled: Vec::new(),
            prefixes: Vec::new(),
            judged: Vec::new(),
            advice: Advice::default(),
            spare: None,
            lanes: [None; 2],
            hung_up: false,
            reattached: Vec::new(),
            cancelled: Vec::new(),
            done: None,
            failing: Vec::new(),
            appends: 0,
            failures: 0,
            now: NOW,
        }
    }

    fn step(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.writer.step(self.now, input, &mut outputs);
        let mut next = 0;
        while next < outputs.len() {
            match outputs[next].clone() {
                Output::Append(records) => {
                    assert!(self.done.is_none(), "an append after the end");
                    let fails = self.failing.contains(&self.appends);
                    self.appends += 1;
                    let answer = if fails {
                        self.failures += 1;
                        Input::AppendFailed(ErrorCode::StoreUnavailable)
                    } else {
                        self.tail = self.tail.after(&records).unwrap();
                        self.records.extend(records);
                        Input::Appended
                    };
                    self.writer.step(self.now, answer, &mut outputs);
                }
                Output::Dial(_) | Output::Continue(..) | Output::Hedge(..) => {
                    assert_eq!(self.lanes[1], None, "more than two at once");
                    let (place, prefix) = match &outputs[next] {
                        Output::Hedge(place, attempt) => {
                            assert_eq!(*attempt as usize, self.dialled.len() + 1);
                            self.lanes[1] = Some(self.dialled.len());
                            (*place, None)
                        }
                        Output::Continue(place, prefix) => (*place, Some(prefix.text.to_string())),
                        _ => (self.writer.plan.route.at(), None),
                    };
                    if self.lanes[1].is_none() {
                        self.lanes[0] = Some(self.dialled.len());
                    }
                    self.prefixes.push(prefix);
                    let announced = match self.records.last() {
                        Some(Record::Dialled(dialled)) => dialled.attempt as usize,
                        _ => 0,
                    };
                    self.dialled.push(place);
                    assert_eq!(
                        announced,
                        self.dialled.len(),
                        "dialled before it was logged"
                    );
                    assert!(self.judged.len() < self.dialled.len());
                }
                Output::Judge(judgement) => {
                    self.judged.push(judgement);
                    assert_eq!(self.judged.len(), self.dialled.len(), "judged twice");
                }
                Output::Consult => {
                    let advice = Input::Advice(self.advice.clone());
                    self.writer.step(self.now, advice, &mut outputs);
                }
                Output::Reattach(place, handle) => {
                    assert_eq!(place, self.writer.plan.route.at());
                    self.reattached.push(handle);
                }
                Output::Cancel(handle) => self.cancelled.push(handle),
                Output::HangUp => self.hung_up = true,
                Output::FindHedge => {
                    let found = Input::HedgeFound(self.spare.take());
                    self.writer.step(self.now, found, &mut outputs);
                }
                Output::HedgeLost(report, run) | Output::HedgeLeads(report, run) => {
                    self.cancelled.extend(run);
                    let beside = self.lanes[1].take().expect("nobody is asked beside");
                    if matches!(outputs[next], Output::HedgeLeads(..)) {
                        self.lanes[0] = Some(beside);
                    }
                    self.judged.push(report);
                }
                Output::Done(end) => {
                    assert!(self.done.is_none(), "done twice");
                    assert_eq!(self.lanes[1], None, "somebody is still asked");
                    self.done = Some(end.map_or(Ending::Unlogged, Ending::Logged));
                }
            }
            next += 1;
        }
    }

    fn started(mode: Mode) -> Self {
        Self::answered(
            plan(mode),
            200,
            if mode == Mode::Stream {
                "text/event-stream"
            } else {
                "application/json"
            },
        )
    }

    fn answered(plan: Plan, status: u16, content_type: &str) -> Self {
        let mut bench = Self::new(plan);
        bench.step(Input::Start);
        bench.step(Input::Head(UpstreamHead {
            status,
            content_type: Some(content_type.to_owned()),
            ..UpstreamHead::default()
        }));
        bench
    }

    fn bytes(&mut self, text: &str) {
        self.step(Input::Bytes(Bytes::copy_from_slice(text.as_bytes())));
    }

    fn events(&self) -> Vec<String> {
        let data = |record: &Record| match record {
            Record::Event(event) => Some(String::from_utf8(event.data.to_vec()).unwrap()),
            _ => None,
        };
        self.records.iter().filter_map(data).collect()
    }

    fn end(&self) -> &End {
        match &self.done {
            Some(Ending::Logged(end)) => end,
            other => panic!("no terminal record, but {other:?}"),
        }
    }

    fn ended(&self, status: Status, reason: ErrorCode) {
        assert_eq!(
            (self.end().status, self.end().reason.as_deref()),
            (status, Some(reason.as_str()))
        );
    }
}

const ROLE: &str =
    r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const HELLO: &str = r#"{"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str =
    r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}"#;

fn sse(events: &[&str]) -> String {
    events
        .iter()
        .flat_map(|data| ["data: ", data, "\n\n"])
        .collect()
}

#[test]
fn a_whole_answer_is_completed_with_the_upstreams_bytes() {
    let mut bench = Bench::started(Mode::Stream);
    bench.bytes(&sse(&[ROLE, HELLO, STOP, USAGE, "[DONE]"]));
    assert_eq!(bench.events(), [ROLE, HELLO, STOP, "[DONE]"]);
    assert_eq!(bench.end().status, Status::Completed);
    assert_eq!(
        (
            bench.end().usage.input_tokens,
            bench.end().usage.output_tokens
        ),
        (5, 1)
    );
    // One read, one append: the events, the head's audit record and the end together.
    assert_eq!(bench.appends, 2);
}

#[test]
fn the_usage_chunk_is_shown_to_who_asked() {
    let mut bench = Bench::answered(
        Plan {
            show_usage: true,
            ..plan(Mode::Stream)
        },
        200,
        "text/event-stream",
    );
    bench.bytes(&sse(&[HELLO, STOP, USAGE, "[DONE]"]));
    assert_eq!(bench.events(), [HELLO, STOP, USAGE, "[DONE]"]);
}

#[test]
fn preamble_waits_for_content_and_is_dropped_by_an_error() {
    let mut bench = Bench::started(Mode::Stream);
    bench.bytes(&sse(&[ROLE]));
    assert!(bench.events().is_empty());
    bench.bytes(&sse(&[
        r#"{"error":{"message":"overloaded","type":"server_error","code":503}}"#,
    ]));
    assert_eq!(bench.events().len(), 1);
    assert!(bench.events()[0].contains("overloaded"));
    bench.ended(Status::Failed, ErrorCode::UpstreamError);
    assert_eq!(bench.end().http_status, Some(503));
    assert!(bench.end().release_claim);
    assert!(bench.hung_up);
}

#[test]
fn a_cut_answer_is_never_a_finished_one() {
    for finish in [false, true] {
        for how in ["ended", "broken", "done"] {
            let mut bench = Bench::started(Mode::Stream);
            bench.bytes(&sse(if finish { &[HELLO, STOP] } else { &[HELLO] }));
            match how {
                "ended" => bench.step(Input::Ended),
                "done" => bench.bytes(&sse(&["[DONE]"])),
                _ => bench.step(Input::Broken(Breakage {
                    code: ErrorCode::UpstreamCut,
                    message: "reset".to_owned(),
                    nothing_ran: false,
                    retry_after: None,
                })),
            }
            let last = bench.events().pop().unwrap();
            if finish {
                assert_eq!(bench.end().status, Status::Completed, "{how}");
                assert_eq!(last, "[DONE]", "{how}");
            } else {
                bench.ended(Status::Failed, ErrorCode::UpstreamCut);
                assert!(last.contains("upstream_cut"), "{how}: {last}");
                assert!(!bench.events().iter().any(|data| data == "[DONE]"), "{how}");
            }
        }
    }
}

#[test]
fn an_answer_of_two_choices_is_whole_when_both_are() {
    let mut bench = Bench::answered(
        Plan {
            choices: 2,
            ..plan(Mode::Stream)
        },
        200,
        "text/event-stream",
    );
    bench.bytes(&sse(&[HELLO, STOP]));
    bench.step(Input::Ended);
    bench.ended(Status::Failed, ErrorCode::UpstreamCut);
}

#[test]
fn refusals_keep_their_status_and_reason() {
    let body = r#"{"error":{"message":"context too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
    let mut bench = Bench::answered(plan(Mode::Stream), 400, "application/json");
    bench.bytes(body);
    bench.step(Input::Ended);
    assert_eq!(bench.end().http_status, Some(400));
    assert!(bench.events()[0].contains("context_length_exceeded"));
    assert!(!bench.end().release_claim);
    for html in [Mode::Stream, Mode::Unary] {
        let mut bench = Bench::answered(plan(html), 200, "text/html");
        bench.bytes("<html>welcome</html>");
        bench.step(Input::Ended);
        bench.ended(Status::Failed, ErrorCode::UpstreamInvalid);
        assert_eq!(bench.end().http_status, Some(502));
    }
}

#[test]
fn silence_is_given_up_and_heartbeats_do_not_count() {
    let mut bench = Bench::started(Mode::Stream);
    bench.bytes(&sse(&[HELLO]));
    bench.now = NOW.plus(Duration::from_secs(119));
    bench.bytes(": keep-alive\n\n");
    bench.step(Input::Tick);
    assert!(bench.done.is_none());
    assert_eq!(
        bench.writer.wake_at(),
        Some(NOW.plus(Duration::from_mins(2)))
    );
    bench.now = NOW.plus(Duration::from_mins(2));
    bench.step(Input::Tick);
    bench.ended(Status::Failed, ErrorCode::UpstreamTimeout);
}

#[test]
fn nobody_reading_lingers_and_a_reader_in_time_saves_it() {
    let mut bench = Bench::started(Mode::Stream);
    bench.bytes(&sse(&[HELLO]));
    bench.step(Input::Readers(0));
    bench.now = NOW.plus(Duration::from_secs(59));
    bench.step(Input::Readers(1));
    bench.now = NOW.plus(Duration::from_secs(100));
    bench.step(Input::Tick);
    assert!(bench.done.is_none());
    bench.step(Input::Readers(0));
    bench.bytes(&sse(&[HELLO]));
    bench.now = NOW.plus(Duration::from_secs(160));
    bench.step(Input::Tick);
    bench.ended(Status::Cancelled, ErrorCode::Cancelled);
    assert!(bench.hung_up && bench.end().usage.estimated);
    assert_eq!(bench.end().usage.output_tokens, 2);
}

#[test]
fn a_cancellation_before_the_call_calls_nobody() {
    let mut bench = Bench::new(plan(Mode::Stream));
    bench.step(Input::Stop(ErrorCode::Cancelled));
    bench.step(Input::Start);
    assert!(bench.dialled.is_empty());
    bench.ended(Status::Cancelled, ErrorCode::Cancelled);
    assert!(bench.end().release_claim);
}

#[test]
fn a_log_that_fails_once_still_gets_the_error_and_a_log_that_fails_twice_ends_it() {
    for (failing, logged) in [(vec![1], true), (vec![1, 2], false)] {
        let mut bench = Bench::new(plan(Mode::Stream));
        bench.failing = failing;
        bench.step(Input::Start);
        bench.step(Input::Head(UpstreamHead {
            status: 200,
            ..UpstreamHead::default()
        }));
        bench.bytes(&sse(&[HELLO]));
        if logged {
            bench.ended(Status::Failed, ErrorCode::StoreUnavailable);
            assert_eq!(bench.events().len(), 1);
        } else {
            assert_eq!(bench.done, Some(Ending::Unlogged));
        }
    }
}

#[test]
fn limits_stop_the_answer_with_their_names() {
    let mut small = plan(Mode::Stream);
    small.limits.stream_events = 2;
    let mut bench = Bench::answered(small, 200, "text/event-stream");
    bench.bytes(&sse(&[HELLO, HELLO, HELLO]));
    bench.ended(Status::Failed, ErrorCode::StreamTooLarge);
    assert!(bench.events()[2].contains("limits.stream_events"));
    let mut bench = Bench::started(Mode::Stream);
    bench.bytes(&format!("data: {}", "x".repeat(5000)));
    bench.ended(Status::Failed, ErrorCode::EventTooLarge);
}

#[test]
fn a_large_body_is_logged_in_pieces_that_make_it_up() {
    let mut large = plan(Mode::Unary);
    large.limits.stream_bytes = 1 << 30;
    let mut bench = Bench::answered(large, 200, "application/json");
    let body = format!("{{\"data\":\"{}\"}}", "é".repeat(1 << 20));
    for chunk in body.as_bytes().chunks(100_003) {
        bench.step(Input::Bytes(Bytes::copy_from_slice(chunk)));
    }
    bench.step(Input::Ended);
    assert_eq!(bench.end().status, Status::Completed);
    assert!(bench.events().len() > 1);
    assert_eq!(bench.events().concat(), body);
}

#[derive(Clone, Debug)]
enum Move {
    Input(Input),
    Wait(u64),
}

fn any_move() -> impl Strategy<Value = Move> {
    let text = prop_oneof![
        Just(ROLE),
        Just(HELLO),
        Just(STOP),
        Just(USAGE),
        Just("[DONE]"),
        Just(r#"{"error":{"message":"no"}}"#),
        Just("{nonsense"),
        Just("")
    ];
    let broken = any::<bool>().prop_map(|nothing_ran| {
        Input::Broken(Breakage {
            code: ErrorCode::UpstreamCut,
            message: "cut".to_owned(),
            nothing_ran,
            retry_after: None,
        })
    });
    let head = (
        prop_oneof![Just(200u16), Just(200), Just(429)],
        prop_oneof![Just("text/event-stream"), Just("application/json")],
    )
        .prop_map(|(status, kind)| {
            Input::Head(UpstreamHead {
                status,
                content_type: Some(kind.to_owned()),
                ..UpstreamHead::default()
            })
        });
    let input = prop_oneof![
        2 => Just(Input::Start),
        3 => head,
        8 => proptest::collection::vec(text, 1..4).prop_map(|e| Input::Bytes(Bytes::from(sse(&e)))),
        1 => Just(Input::Ended),
        1 => broken,
        2 => Just(Input::Tick),
        1 => Just(Input::Stop(ErrorCode::Cancelled)),
        2 => (0usize..3).prop_map(Input::Readers),
    ];
    prop_oneof![6 => input.prop_map(Move::Input), 1 => (1u64..200_000).prop_map(Move::Wait)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever happens in whatever order: the log takes every append (`Tail::after` in the
    /// bench), there is one terminal record at most and nothing after it, `completed` means that
    /// the provider's end was logged, and a cut answer has its error event.
    #[test]
    fn any_history_keeps_the_invariants(
        moves in proptest::collection::vec(any_move(), 0..30),
        failing in proptest::collection::vec(0usize..6, 0..3),
        unary: bool,
    ) {
        let mut bench = Bench::new(plan(if unary { Mode::Unary } else { Mode::Stream }));
        bench.failing = failing;
        for one in moves {
            match one {
                Move::Wait(millis) => bench.now = bench.now.plus(Duration::from_millis(millis)),
                Move::Input(input) => bench.step(input),
            }
        }
        let ends = bench.records.iter().filter(|r| matches!(r, Record::End(_))).count();
        prop_assert_eq!(ends, usize::from(matches!(bench.done, Some(Ending::Logged(_)))));
        if let Some(Ending::Logged(end)) = &bench.done {
            let events = bench.events();
            let has_error = events.last().is_some_and(|data| data.contains("\"error\""));
            prop_assert_eq!(end.status != Status::Completed, has_error);
            if end.status == Status::Completed && !unary {
                prop_assert!(events.iter().any(|data| data == STOP));
                prop_assert!(end.reason.is_none());
            }
            prop_assert!(events.iter().filter(|data| *data == "[DONE]").count() <= 1);
        }
        prop_assert_eq!(matches!(bench.done, Some(Ending::Unlogged)), bench.failures >= 2);
    }
}
