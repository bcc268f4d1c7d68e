use super::*;
use crate::policy::attempt::FailureKind;
use crate::policy::breaker::Verdict;

pub(super) const LIMITED: &str =
    r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;

fn routed(names: &[&str]) -> Bench {
    let others = names[1..].iter().map(|name| leg(name));
    let mut bench = Bench::new(Plan {
        route: Route::new(leg(names[0]), others),
        ..plan(Mode::Stream)
    });
    bench.advice = Advice {
        open: (0..names.len()).collect(),
        in_budget: true,
        random: u64::MAX,
        ..Advice::default()
    };
    bench.step(Input::Start);
    bench
}

impl Bench {
    pub(super) fn head(&mut self, status: u16, content_type: &str) {
        self.step(Input::Head(UpstreamHead {
            status,
            content_type: Some(content_type.to_owned()),
            ..UpstreamHead::default()
        }));
    }

    pub(super) fn refuse(&mut self, status: u16, body: &str) {
        self.head(status, "application/json");
        self.bytes(body);
        self.step(Input::Ended);
    }

    pub(super) fn answer(&mut self) {
        self.head(200, "text/event-stream");
        self.bytes(&sse(&[HELLO, STOP, USAGE, "[DONE]"]));
    }

    pub(super) fn audit(&self) -> Vec<String> {
        let shown = |record: &Record| match record {
            Record::Dialled(dialled) => Some(format!("{} {}", dialled.attempt, dialled.upstream)),
            Record::Abandoned(gone) => Some(format!("{} {}", gone.attempt, gone.reason)),
            Record::Head(head) => Some(head.status.to_string()),
            _ => None,
        };
        self.records.iter().filter_map(shown).collect()
    }

    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        self.judged.iter().map(|judged| judged.verdict).collect()
    }
}

#[test]
fn another_key_is_tried_at_once_before_another_deployment() {
    let mut bench = routed(&["one", "two"]);
    bench.advice.other_key = true;
    bench.refuse(429, LIMITED);
    bench.refuse(
        401,
        r#"{"error":{"message":"no","code":"invalid_api_key"}}"#,
    );
    assert_eq!((bench.dialled.as_slice(), bench.now), (&[0, 0, 0][..], NOW));
    bench.refuse(503, r#"{"error":{"message":"no"}}"#);
    bench.answer();
    let audit = bench.audit();
    let dialled: Vec<&str> = audit.iter().map(String::as_str).collect();
    assert_eq!(
        dialled,
        [
            "1 one",
            "429",
            "1 rate_limited",
            "2 one",
            "401",
            "2 key_refused",
            "3 one",
            "503",
            "3 overloaded",
            "4 two",
            "200",
        ]
    );
}

#[test]
fn an_error_before_content_moves_on_unseen() {
    let mut bench = routed(&["one", "two", "three"]);
    bench.head(200, "text/event-stream");
    bench.bytes(&sse(&[ROLE, r#"{"error":{"message":"sorry","code":500}}"#]));
    bench.refuse(429, LIMITED);
    bench.answer();
    assert_eq!(bench.events(), [HELLO, STOP, "[DONE]"]);
    assert_eq!(bench.end().status, Status::Completed);
    assert_eq!(bench.end().upstream.as_deref(), Some("three"));
    assert_eq!(bench.end().usage.input_tokens, 5);
    assert_eq!(bench.dialled, [0, 1, 2]);
    assert_eq!(
        bench.audit(),
        [
            "1 one",
            "200",
            "1 server_error",
            "2 two",
            "429",
            "2 rate_limited",
            "3 three",
            "200"
        ]
    );
    let expected = [Verdict::Failure, Verdict::Neutral, Verdict::Success];
    assert_eq!(bench.verdicts(), expected);
}

#[test]
fn nobody_else_answers_after_content() {
    let mut bench = routed(&["one", "two"]);
    bench.head(200, "text/event-stream");
    bench.bytes(&sse(&[HELLO]));
    bench.step(Input::Ended);
    bench.ended(Status::Failed, ErrorCode::UpstreamCut);
    assert_eq!(bench.dialled, [0]);
    assert_eq!(bench.verdicts(), [Verdict::Failure]);
}

#[test]
fn a_silent_upstream_is_not_asked_again() {
    let mut bench = routed(&["one", "two"]);
    bench.now = NOW.plus(Duration::from_mins(10));
    bench.step(Input::Tick);
    assert!(bench.hung_up);
    assert_eq!(bench.dialled, [0, 1]);
    bench.now = NOW.plus(Duration::from_mins(20));
    bench.step(Input::Tick);
    bench.ended(Status::Failed, ErrorCode::UpstreamTimeout);
    assert_eq!(bench.dialled, [0, 1]);
    assert_eq!(bench.verdicts(), [Verdict::Stall, Verdict::Stall]);
    assert!(!bench.end().release_claim);
}

#[test]
fn a_client_that_cannot_wait_is_told_in_time() {
    let mut bench = Bench::new(Plan {
        deadline: Some(NOW.plus(Duration::from_secs(5))),
        ..plan(Mode::Stream)
    });
    bench.step(Input::Start);
    assert_eq!(
        bench.writer.wake_at(),
        Some(NOW.plus(Duration::from_secs(5)))
    );
    bench.now = NOW.plus(Duration::from_secs(5));
    bench.step(Input::Tick);
    bench.ended(Status::Failed, ErrorCode::UpstreamTimeout);
    assert!(
        bench.events()[0].contains("silent for 5s"),
        "{:?}",
        bench.events()
    );
}

#[test]
fn the_only_deployment_is_asked_again_after_a_pause() {
    let mut bench = routed(&["one"]);
    bench.refuse(503, LIMITED);
    let until = bench.writer.wake_at().unwrap();
    assert_eq!(until.since(NOW).as_millis(), 249);
    assert_eq!(bench.dialled, [0]);
    bench.step(Input::Tick);
    assert_eq!(bench.dialled, [0]);
    bench.now = until;
    bench.step(Input::Tick);
    assert_eq!(bench.dialled, [0, 0]);
    bench.answer();
    assert_eq!(bench.end().status, Status::Completed);
    assert_eq!(
        bench.audit(),
        ["1 one", "503", "1 rate_limited", "2 one", "200"]
    );
}

#[test]
fn without_budget_or_luck_the_first_failure_is_the_answer() {
    let mut bench = routed(&["one"]);
    bench.advice.in_budget = false;
    bench.refuse(429, LIMITED);
    assert_eq!(bench.dialled, [0]);
    assert_eq!(bench.end().http_status, Some(429));
    assert!(bench.end().release_claim);

    let mut bench = routed(&["one", "two"]);
    bench.refuse(429, LIMITED);
    bench.refuse(401, r#"{"error":{"message":"whose key is that?"}}"#);
    assert_eq!(bench.end().http_status, Some(429));
    assert_eq!(bench.end().upstream.as_deref(), Some("one"));
    assert!(bench.events()[0].contains("slow down"));
}

#[test]
fn a_mistake_of_the_request_is_told_at_once() {
    for body in [
        r#"{"error":{"message":"no such field"}}"#,
        r#"{"error":{"message":"no","code":"content_filter"}}"#,
        r#"{"error":{"message":"too long","code":"context_length_exceeded"}}"#,
    ] {
        let mut bench = routed(&["one", "two"]);
        bench.refuse(400, body);
        assert_eq!(bench.dialled, [0], "{body}");
        assert_eq!(bench.end().http_status, Some(400));
        assert_eq!(bench.verdicts(), [Verdict::Neutral]);
    }
}

#[test]
fn a_long_request_goes_to_the_larger_window() {
    let sized = |name, window| Leg {
        context_window: Some(window),
        ..leg(name)
    };
    let others = [sized("same", 8_000), sized("large", 200_000)];
    let mut bench = Bench::new(Plan {
        route: Route::new(sized("small", 8_000), others),
        ..plan(Mode::Stream)
    });
    bench.advice.open = vec![0, 1, 2];
    bench.step(Input::Start);
    bench.refuse(
        400,
        r#"{"error":{"message":"This model's maximum context length is 8000 tokens."}}"#,
    );
    bench.answer();
    assert_eq!(bench.dialled, [0, 2]);
    assert_eq!(bench.end().upstream.as_deref(), Some("large"));
    assert_eq!(bench.judged[0].failure, Some(FailureKind::ContextLength));
}

#[test]
fn who_leaves_during_a_pause_is_not_waited_for() {
    let mut bench = routed(&["one"]);
    bench.refuse(503, LIMITED);
    bench.step(Input::Stop(ErrorCode::Cancelled));
    bench.ended(Status::Cancelled, ErrorCode::Cancelled);
    assert!(bench.end().release_claim);
    assert_eq!(bench.dialled, [0]);
}

fn any_failure() -> impl Strategy<Value = Vec<Input>> {
    let head = |status: u16, kind: &str| {
        Input::Head(UpstreamHead {
            status,
            content_type: Some(kind.to_owned()),
            ..UpstreamHead::default()
        })
    };
    let text = |events: &[&str]| Input::Bytes(Bytes::from(sse(events)));
    let broken = |nothing_ran| {
        Input::Broken(Breakage {
            code: ErrorCode::UpstreamCut,
            message: "reset".to_owned(),
            nothing_ran,
            retry_after: None,
        })
    };
    let answer = move |events: &[&str]| vec![head(200, "text/event-stream"), text(events)];
    let refusal = move |status: u16| {
        let body = Input::Bytes(Bytes::from_static(LIMITED.as_bytes()));
        vec![head(status, "application/json"), body, Input::Ended]
    };
    let ended = |mut inputs: Vec<Input>, last: Input| {
        inputs.push(last);
        inputs
    };
    prop_oneof![
        Just(vec![broken(true)]),
        Just(vec![broken(false)]),
        prop_oneof![
            Just(400u16),
            Just(401),
            Just(404),
            Just(429),
            Just(500),
            Just(503)
        ]
        .prop_map(refusal),
        Just(ended(answer(&[ROLE]), Input::Ended)),
        Just(ended(answer(&[ROLE, HELLO]), broken(false))),
        Just(ended(answer(&[HELLO]), Input::Ended)),
        Just(answer(&["{nonsense"])),
        Just(answer(&[ROLE, "[DONE]"])),
        Just(answer(&[ROLE, LIMITED])),
        Just(vec![]),
        Just(answer(&[ROLE])),
        Just(answer(&[ROLE, HELLO, STOP, "[DONE]"])),
        Just(ended(answer(&[ROLE, HELLO, STOP]), Input::Ended)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the upstreams do: the client gets a whole answer or a typed end, never a cut one
    /// that looks whole, and no more calls are made than the policy says.
    #[test]
    fn any_failures_end_whole_or_honest(
        schedule in proptest::collection::vec(any_failure(), 8),
        names in 1..5usize,
        open in proptest::collection::vec(0..6usize, 0..6),
        in_budget: bool,
        other_key: bool,
        random: u64,
        rest in 0..30u64,
    ) {
        let mut bench = routed(&["one", "two", "three", "four"][..names]);
        let rest = Duration::from_secs(rest);
        bench.advice = Advice { open, in_budget, other_key, rest, random };
        for inputs in schedule {
            if bench.done.is_some() {
                break;
            }
            let dialled = bench.dialled.len();
            for input in inputs {
                bench.step(input);
            }
            // Whoever says nothing more is given up, and whoever pauses goes on.
            for _ in 0..3 {
                if bench.done.is_some() || bench.dialled.len() > dialled {
                    break;
                }
                if let Some(at) = bench.writer.wake_at() {
                    bench.now = bench.now.max(at);
                    bench.step(Input::Tick);
                }
            }
            prop_assert!(bench.done.is_some() || bench.dialled.len() == dialled + 1);
        }
        prop_assert!(bench.done.is_some());
        prop_assert!(bench.dialled.len() <= 4);
        prop_assert_eq!(bench.judged.len(), bench.dialled.len());
        let end = bench.end();
        let events = bench.events();
        let last = events.last().map_or("", String::as_str);
        if end.status == Status::Completed {
            prop_assert!(last == "[DONE]" && events.iter().any(|data| data == STOP));
            prop_assert!(bench.verdicts().ends_with(&[Verdict::Success]));
        } else {
            prop_assert!(last.contains("\"error\""));
            prop_assert!(!events.iter().any(|data| data == "[DONE]"));
        }
        let abandoned = bench.records.iter().filter(|r| matches!(r, Record::Abandoned(_)));
        prop_assert_eq!(abandoned.count(), bench.dialled.len() - 1);
    }
}

#[test]
fn a_translated_preamble_commits_nothing_either() {
    const START: &str = r#"{"type":"message_start","message":{"id":"a","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}"#;
    const OVERLOADED: &str =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let anthropic = Leg {
        provider: ProviderDialect::Anthropic,
        ..leg("one")
    };
    let mut bench = Bench::new(Plan {
        route: Route::new(anthropic, [leg("two")]),
        ..plan(Mode::Stream)
    });
    bench.advice.open = vec![0, 1];
    bench.step(Input::Start);
    bench.head(200, "text/event-stream");
    bench.bytes(&format!("event: message_start\ndata: {START}\n\n"));
    assert!(bench.events().is_empty(), "{:?}", bench.events());
    bench.bytes(&format!("event: error\ndata: {OVERLOADED}\n\n"));
    bench.answer();
    assert_eq!(bench.events(), [HELLO, STOP, "[DONE]"]);
}

#[test]
fn the_failure_is_told_that_says_most_to_the_client() {
    let key = (
        401,
        r#"{"error":{"message":"wrong key","code":"invalid_api_key"}}"#,
    );
    let missing = (404, r#"{"error":{"message":"no such model"}}"#);
    let limited = (429, LIMITED);
    let busy = (503, r#"{"error":{"message":"busy"}}"#);
    let bad = (400, r#"{"error":{"message":"wrong field"}}"#);
    for (refusals, told) in [
        (vec![busy, key, key], 503),
        (vec![limited, missing, key], 429),
        (vec![key, missing, busy], 503),
        (vec![missing, limited, busy], 429),
        (vec![key, missing], 401),
        (vec![busy, bad], 400),
    ] {
        let names = &["one", "two", "three"][..refusals.len()];
        let mut bench = routed(names);
        // Nobody is asked twice.
        bench.advice.in_budget = false;
        for (status, body) in &refusals {
            bench.refuse(*status, body);
        }
        let at = refusals.iter().position(|(status, _)| *status == told);
        assert_eq!(bench.end().http_status, Some(told), "{refusals:?}");
        assert_eq!(bench.end().upstream.as_deref(), Some(names[at.unwrap()]));
    }
}

#[test]
fn a_silent_deployment_leaves_half_of_the_clients_time_to_others() {
    let hurried = |closed: Vec<usize>| {
        let route = Route::new(leg("one"), [leg("two"), leg("three")]);
        let mut bench = Bench::new(Plan {
            route: route.closed(closed),
            deadline: Some(NOW.plus(Duration::from_secs(8))),
            ..plan(Mode::Stream)
        });
        bench.advice.open = vec![0, 1, 2];
        bench.step(Input::Start);
        bench
    };
    let tick = |bench: &mut Bench| {
        bench.now = bench.writer.wake_at().unwrap();
        bench.step(Input::Tick);
        bench.now.since(NOW).as_secs()
    };
    let mut bench = hurried(Vec::new());
    assert_eq!(tick(&mut bench), 4);
    assert_eq!(tick(&mut bench), 6);
    assert_eq!(bench.dialled, [0, 1, 2]);
    // It says nothing about those that were given up.
    assert!(bench.verdicts().iter().all(|v| *v == Verdict::Neutral));
    assert_eq!(bench.audit()[1], "1 silent");
    bench.answer();
    assert_eq!(bench.end().status, Status::Completed);
    // The last one has all that is left.
    let mut bench = hurried(Vec::new());
    assert_eq!(
        [tick(&mut bench), tick(&mut bench), tick(&mut bench)],
        [4, 6, 8]
    );
    assert_eq!(bench.end().reason.as_deref(), Some("upstream_timeout"));
    // Nobody waits for those that take no request.
    let mut bench = hurried(vec![1, 2]);
    assert_eq!(tick(&mut bench), 8);
    assert_eq!(bench.dialled, [0]);
}

#[test]
fn a_whole_body_has_all_of_the_clients_time() {
    let mut bench = Bench::new(Plan {
        route: Route::new(leg("one"), [leg("two")]),
        deadline: Some(NOW.plus(Duration::from_secs(8))),
        ..plan(Mode::Unary)
    });
    bench.step(Input::Start);
    assert_eq!(
        bench.writer.wake_at(),
        Some(NOW.plus(Duration::from_secs(8)))
    );
}
