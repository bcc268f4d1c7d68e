mod runs;
mod schedules;

use super::attempts::LIMITED;
use super::*;
use crate::policy::attempt::FailureKind;
use crate::policy::breaker::Verdict;
use crate::record::Abandoned;

const LATE: Duration = Duration::from_secs(1);
const REFUSED: &str = r#"{"error":{"message":"no such field"}}"#;

/// A route whose deployments are late after a second.
fn route(names: &[&str]) -> Route {
    let late = |name: &&str| Leg {
        hedge_after: Some(LATE),
        ..leg(name)
    };
    let mut legs = names.iter().map(late);
    Route::new(legs.next().unwrap(), legs)
}

fn hedging(plan: Plan) -> Bench {
    let mut bench = Bench::new(plan);
    bench.advice = Advice {
        open: (0..bench.writer.plan.route.legs().len()).collect(),
        in_budget: true,
        random: u64::MAX,
        ..Advice::default()
    };
    bench.spare = Some(1);
    bench.step(Input::Start);
    bench
}

fn three() -> Plan {
    Plan {
        route: route(&["one", "two", "three"]),
        ..plan(Mode::Stream)
    }
}

/// One of which nobody is left when both are asked.
fn two() -> Plan {
    Plan {
        route: route(&["one", "two"]),
        ..plan(Mode::Stream)
    }
}

/// The first is late, and the second is asked.
fn hedged() -> Bench {
    let mut bench = hedging(three());
    bench.pass(LATE);
    assert_eq!((bench.dialled.as_slice(), bench.spare), (&[0, 1][..], None));
    bench
}

impl Bench {
    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.step(Input::Tick);
    }

    fn beside(&mut self, input: Input) {
        self.step(Input::Hedge(Box::new(input)));
    }

    fn beside_says(&mut self, events: &[&str]) {
        self.beside(head(200, "text/event-stream"));
        self.beside(Input::Bytes(sse(events).into()));
    }

    fn beside_refuses(&mut self, status: u16, body: &'static str) {
        self.beside(head(status, "application/json"));
        self.beside(Input::Bytes(Bytes::from_static(body.as_bytes())));
        self.beside(Input::Ended);
    }

    fn abandoned(&self) -> Vec<&Abandoned> {
        fn abandoned(record: &Record) -> Option<&Abandoned> {
            match record {
                Record::Abandoned(gone) => Some(gone),
                _ => None,
            }
        }
        self.records.iter().filter_map(abandoned).collect()
    }
}

fn head(status: u16, kind: &str) -> Input {
    Input::Head(UpstreamHead {
        status,
        content_type: Some(kind.to_owned()),
        ..UpstreamHead::default()
    })
}

fn broken(nothing_ran: bool) -> Input {
    Input::Broken(Breakage {
        code: ErrorCode::UpstreamCut,
        message: "reset".to_owned(),
        nothing_ran,
        retry_after: None,
    })
}

#[test]
fn who_is_late_loses_to_who_has_content() {
    let mut bench = hedged();
    bench.head(200, "text/event-stream");
    bench.bytes(&sse(&[ROLE]));
    bench.now = bench.now.plus(Duration::from_millis(500));
    bench.beside_says(&[ROLE, HELLO]);
    assert_eq!(bench.lanes, [Some(1), None]);
    assert_eq!(bench.events(), [ROLE, HELLO]);
    // It leads now.
    bench.bytes(&sse(&[STOP, USAGE, "[DONE]"]));
    assert_eq!(bench.events(), [ROLE, HELLO, STOP, "[DONE]"]);
    assert_eq!(bench.end().status, Status::Completed);
    assert_eq!(bench.end().upstream.as_deref(), Some("two"));
    assert_eq!(bench.end().usage.input_tokens, 5);
    assert_eq!(
        bench.audit(),
        ["1 one", "2 two", "200", "1 hedge_lost", "200"]
    );
    let [lost] = bench.abandoned()[..] else {
        panic!("{:?}", bench.abandoned())
    };
    assert_eq!((lost.upstream.as_str(), lost.nothing_ran), ("one", false));
    assert_eq!(lost.instead.as_deref(), Some("two"));
    let usage = lost.usage.as_ref().unwrap();
    assert_eq!((usage.input_tokens, usage.estimated), (100, true));
    assert_eq!(bench.verdicts(), [Verdict::Neutral, Verdict::Success]);
    // It took at least so long.
    let took = bench.judged.iter().map(|report| report.first_content);
    let expected = [1_500, 500].map(|time| Some(Duration::from_millis(time)));
    assert_eq!(took.collect::<Vec<_>>(), expected);
}

#[test]
fn who_is_late_may_still_be_first() {
    let mut bench = hedged();
    bench.now = bench.now.plus(Duration::from_millis(10));
    bench.beside_says(&[ROLE]);
    bench.answer();
    assert_eq!(bench.lanes, [Some(0), None]);
    assert_eq!(bench.events(), [HELLO, STOP, "[DONE]"]);
    assert_eq!(bench.end().upstream.as_deref(), Some("one"));
    let audit = ["1 one", "2 two", "200", "2 hedge_lost", "200"];
    assert_eq!(bench.audit(), audit);
    assert_eq!(bench.abandoned()[0].instead.as_deref(), Some("one"));
    // It was not late yet, so nothing is known of its speed.
    assert_eq!(bench.judged[0].first_content, None);
    assert_eq!(bench.verdicts(), [Verdict::Neutral, Verdict::Success]);
    // Whatever still comes from there is nobody's.
    bench.beside(Input::Bytes(sse(&[HELLO]).into()));
    assert_eq!(bench.events().len(), 3);
}

#[test]
fn if_one_fails_the_other_goes_on() {
    let mut bench = hedged();
    bench.refuse(503, LIMITED);
    assert_eq!((bench.lanes, bench.done.is_none()), ([Some(1), None], true));
    assert_eq!(bench.judged[0].verdict, Verdict::Neutral);
    bench.answer();
    assert_eq!(bench.end().upstream.as_deref(), Some("two"));
    let audit = ["1 one", "2 two", "503", "1 rate_limited", "200"];
    assert_eq!(bench.audit(), audit);

    let mut bench = hedged();
    bench.beside(broken(true));
    assert_eq!(bench.lanes, [Some(0), None]);
    assert_eq!(bench.judged[0].failure, Some(FailureKind::Unreachable));
    bench.answer();
    assert_eq!(bench.end().upstream.as_deref(), Some("one"));
    assert_eq!(bench.audit(), ["1 one", "2 two", "2 unreachable", "200"]);
}

#[test]
fn if_both_fail_the_next_one_is_asked() {
    let mut bench = hedged();
    bench.beside_refuses(500, REFUSED);
    bench.step(broken(false));
    assert_eq!(bench.dialled, [0, 1, 2]);
    bench.answer();
    assert_eq!(bench.end().upstream.as_deref(), Some("three"));
    let audit = bench.audit();
    assert_eq!(
        audit[2..],
        ["500", "2 server_error", "1 broken", "3 three", "200"]
    );
}

#[test]
fn if_all_fail_the_first_ones_words_are_told() {
    for first in [0, 1] {
        let mut bench = hedging(Plan {
            route: route(&["one", "two"]),
            ..plan(Mode::Stream)
        });
        bench.pass(LATE);
        bench.advice.in_budget = false;
        let other = r#"{"error":{"message":"something else"}}"#;
        if first == 0 {
            bench.refuse(429, LIMITED);
            bench.refuse(500, other);
        } else {
            bench.beside_refuses(500, other);
            bench.refuse(429, LIMITED);
        }
        assert_eq!(bench.end().upstream.as_deref(), Some("one"), "{first}");
        assert!(bench.events()[0].contains("slow down"));
        assert!(!bench.end().release_claim);
    }
}

#[test]
fn a_mistake_of_the_request_ends_both() {
    let mut bench = hedged();
    bench.beside_refuses(400, REFUSED);
    assert_eq!(bench.end().http_status, Some(400));
    assert_eq!(bench.end().upstream.as_deref(), Some("two"));
    assert_eq!(bench.dialled, [0, 1]);
    assert_eq!(bench.audit(), ["1 one", "2 two", "1 hedge_lost", "400"]);
}

#[test]
fn nobody_is_asked_beside_where_that_is_of_no_use() {
    // Not after content, not for one body, not without a reason.
    let mut bench = hedging(three());
    bench.head(200, "text/event-stream");
    bench.bytes(&sse(&[HELLO]));
    bench.pass(LATE * 10);
    assert_eq!((bench.dialled.len(), bench.spare), (1, Some(1)));
    let mut bench = hedging(Plan {
        mode: Mode::Unary,
        ..three()
    });
    bench.pass(LATE * 10);
    assert_eq!((bench.dialled.len(), bench.spare), (1, Some(1)));
    let mut bench = hedging(Plan {
        route: Route::new(leg("one"), [leg("two")]),
        ..three()
    });
    bench.pass(LATE * 10);
    assert_eq!((bench.dialled.len(), bench.spare), (1, Some(1)));
    // Not beyond the attempts, nor when nobody takes it.
    let mut once = three();
    once.attempts.attempts = 1;
    let mut bench = hedging(once);
    bench.pass(LATE * 10);
    assert_eq!((bench.dialled.len(), bench.spare), (1, Some(1)));
    for spare in [None, Some(0), Some(7)] {
        let mut bench = hedging(three());
        bench.spare = spare;
        bench.pass(LATE * 10);
        assert_eq!((bench.dialled.len(), bench.spare), (1, None));
        bench.answer();
        assert_eq!(bench.end().status, Status::Completed);
    }
}

#[test]
fn a_client_that_waits_no_longer_is_told_and_both_are_dropped() {
    let deadline = NOW.plus(LATE * 3);
    let mut bench = hedging(Plan {
        deadline: Some(deadline),
        ..two()
    });
    assert_eq!(bench.writer.wake_at(), Some(NOW.plus(LATE)));
    bench.pass(LATE);
    assert_eq!(bench.writer.wake_at(), Some(deadline));
    bench.pass(LATE * 2);
    bench.ended(Status::Failed, ErrorCode::UpstreamTimeout);
    assert_eq!(bench.audit(), ["1 one", "2 two", "2 hedge_lost"]);
    assert_eq!(bench.verdicts(), [Verdict::Neutral, Verdict::Neutral]);

    // One that has no more time is not hedged.
    let mut bench = hedging(Plan {
        deadline: Some(NOW.plus(LATE)),
        ..two()
    });
    bench.pass(LATE);
    bench.ended(Status::Failed, ErrorCode::UpstreamTimeout);
    assert_eq!(bench.dialled, [0]);
}

#[test]
fn each_has_its_own_time() {
    let mut legs = route(&["one", "two"]).legs().to_vec();
    legs[0].first_event_timeout = LATE * 2;
    legs[1].head_timeout = Some(LATE * 2);
    let mut legs = legs.into_iter();
    let mut bench = hedging(Plan {
        route: Route::new(legs.next().unwrap(), legs),
        ..plan(Mode::Stream)
    });
    bench.pass(LATE);
    assert_eq!(bench.writer.wake_at(), Some(NOW.plus(LATE * 2)));
    bench.pass(LATE);
    assert_eq!(bench.lanes, [Some(1), None]);
    assert_eq!(bench.writer.wake_at(), Some(NOW.plus(LATE * 3)));
    bench.pass(LATE);
    bench.ended(Status::Failed, ErrorCode::UpstreamTimeout);
    assert_eq!(bench.verdicts(), [Verdict::Stall, Verdict::Stall]);

    let mut bench = hedged();
    bench.head(200, "text/event-stream");
    bench.bytes(&sse(&[ROLE]));
    // The second is given up, and the first goes on.
    bench.now = bench.now.plus(Duration::from_mins(10));
    bench.bytes(&sse(&[ROLE]));
    bench.step(Input::Tick);
    assert_eq!(bench.lanes, [Some(0), None]);
    bench.bytes(&sse(&[HELLO, STOP, "[DONE]"]));
    assert_eq!(bench.end().status, Status::Completed);
}

#[test]
fn a_stop_drops_both() {
    let mut bench = hedged();
    bench.step(Input::Stop(ErrorCode::Cancelled));
    bench.ended(Status::Cancelled, ErrorCode::Cancelled);
    assert!(bench.hung_up && !bench.end().release_claim);
    assert_eq!(bench.audit(), ["1 one", "2 two", "2 hedge_lost"]);
    assert_eq!(bench.verdicts(), [Verdict::Neutral, Verdict::Neutral]);
}

#[test]
fn a_log_that_fails_sends_nothing() {
    let mut bench = hedging(three());
    bench.failing = vec![1];
    bench.pass(LATE);
    assert_eq!(bench.dialled, [0]);
    bench.ended(Status::Failed, ErrorCode::StoreUnavailable);
    assert_eq!(bench.audit(), ["1 one"]);
}

#[test]
fn an_answer_of_another_api_wins_too() {
    const START: &str = r#"{"type":"message_start","message":{"id":"a","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}"#;
    const BLOCK: &str =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    const DELTA: &str =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#;
    const CLOSED: &str = r#"{"type":"content_block_stop","index":0}"#;
    const ENDING: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}"#;
    const STOPPED: &str = r#"{"type":"message_stop"}"#;
    let said = [START, BLOCK, DELTA, CLOSED, ENDING, STOPPED].map(|data| {
        let json: serde_json::Value = serde_json::from_str(data).unwrap();
        format!(
            "event: {}\ndata: {data}\n\n",
            json["type"].as_str().unwrap()
        )
    });
    let begun = || {
        let mut legs = route(&["one", "two"]).legs().to_vec();
        legs[1].provider = ProviderDialect::Anthropic;
        let mut legs = legs.into_iter();
        let mut bench = hedging(Plan {
            route: Route::new(legs.next().unwrap(), legs),
            ..plan(Mode::Stream)
        });
        bench.pass(LATE);
        bench.beside(head(200, "text/event-stream"));
        bench.beside(Input::Bytes(said[..2].concat().into()));
        assert_eq!(bench.lanes, [Some(0), Some(1)]);
        bench
    };
    let mut bench = begun();
    bench.beside(Input::Bytes(said[2..].concat().into()));
    assert_eq!(bench.end().status, Status::Completed);
    assert_eq!(bench.end().upstream.as_deref(), Some("two"));
    let events = bench.events().concat();
    assert!(events.contains(r#""content":"Hi""#), "{events}");
    // If it loses, its provider has said what it costs.
    let mut bench = begun();
    bench.answer();
    let usage = bench.abandoned()[0].usage.as_ref().unwrap();
    assert_eq!((usage.input_tokens, usage.estimated), (5, false));
}
