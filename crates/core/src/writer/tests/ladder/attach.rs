use super::*;

const ID: StreamId = StreamId::from_bits(99);
const TEXTS: [&str; 5] = ["Wind", " auf", " dem", " Deich", "."];

/// What a provider does when its stream is asked for, or the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// It plays so many events, and the connection breaks.
    Cut(usize),
    /// The same, but the connection ends as HTTP says.
    Ends(usize),
    /// Nobody is there.
    Away,
    /// It says no.
    Refused(u16),
    /// It says nothing for as long as it is waited for.
    Silent(usize),
}

fn start(surface: Surface, leg: Leg) -> Bench {
    let mut bench = Bench::new(Plan {
        surface,
        show_usage: true,
        route: Route::new(leg, []),
        ..plan(Mode::Stream)
    });
    bench.step(Input::Start);
    bench
}

fn script(provider: ProviderDialect) -> Vec<Value> {
    let voice = Voice(provider);
    let texts = TEXTS.iter().map(|text| voice.text(text));
    let all = voice.begin().into_iter().chain(texts);
    all.chain(voice.end()).collect()
}

impl Bench {
    fn answers(&mut self) {
        self.step(Input::Head(UpstreamHead {
            status: 200,
            content_type: Some("text/event-stream".to_owned()),
            handle: Some(Handle::Stream(ID)),
            ..UpstreamHead::default()
        }));
    }

    /// Takes it that time passes.
    fn is_due(&mut self) {
        self.now = self
            .now
            .max(self.writer.wake_at().expect("something is due"));
        self.step(Input::Tick);
    }

    /// Waits until the provider's stream is asked for once more, or it is over.
    fn asks_again(&mut self, before: usize) {
        while self.done.is_none() && self.reattached.len() == before {
            self.is_due();
        }
    }

    fn acts(&mut self, script: &[Value], act: Act) {
        match act {
            Act::Cut(n) | Act::Ends(n) | Act::Silent(n) => {
                self.answers();
                self.said(&script[..n.min(script.len())]);
                match act {
                    Act::Cut(_) => self.is_cut(),
                    Act::Ends(_) => self.step(Input::Ended),
                    _ => {}
                }
            }
            Act::Away => self.step(Input::Broken(Breakage {
                code: ErrorCode::UpstreamUnreachable,
                message: "The connection was refused.".to_owned(),
                nothing_ran: true,
                retry_after: None,
            })),
            Act::Refused(204) => {
                self.step(Input::Head(UpstreamHead {
                    status: 204,
                    ..UpstreamHead::default()
                }));
                self.step(Input::Ended);
            }
            Act::Refused(status) => self.is_refused(status, "no"),
        }
    }

    fn named(&self) -> Vec<(u64, Bytes, Bytes)> {
        let event = |record: &Record| match record {
            Record::Event(event) => Some((event.seq.get(), event.name.clone(), event.data.clone())),
            _ => None,
        };
        self.records.iter().filter_map(event).collect()
    }
}

fn uncut(surface: Surface, leg: Leg) -> Bench {
    let script = script(leg.provider);
    let mut bench = start(surface, leg);
    bench.acts(&script, Act::Ends(script.len()));
    assert_eq!(bench.end().status, Status::Completed);
    bench
}

const PROVIDERS: [ProviderDialect; 4] = [OpenAiChat, Anthropic, Gemini, OpenAiResponses];

#[test]
fn an_answer_that_is_cut_anywhere_is_read_on_to_the_same_bytes() {
    for surface in SURFACES {
        for provider in PROVIDERS {
            let leg = able(provider, Abilities::default());
            let whole = uncut(surface, leg.clone());
            let script = script(provider);
            for cut in 0..script.len() {
                let mut bench = start(surface, leg.clone());
                bench.acts(&script, Act::Cut(cut));
                if bench.done.is_some() {
                    // It lacked nothing but its end mark.
                    assert_eq!(bench.end().status, Status::Completed);
                    continue;
                }
                assert_eq!(bench.reattached, [Some(Handle::Stream(ID))]);
                assert!(bench.hung_up);
                bench.acts(&script, Act::Ends(script.len()));
                let at = format!("{surface:?} from {provider:?} at {cut}");
                assert_eq!(bench.named(), whole.named(), "{at}");
                assert_eq!(bench.end().status, Status::Completed, "{at}");
                assert_eq!(bench.end().usage, whole.end().usage, "{at}");
                assert_eq!(bench.dialled.len(), 1, "{at}");
                assert_eq!(bench.judged.len(), 1, "{at}");
                assert!(bench.cancelled.is_empty(), "{at}");
            }
        }
    }
}

#[test]
fn the_handle_is_logged_before_anything_else_is_heard() {
    let mut bench = start(
        Surface::ChatCompletions,
        able(OpenAiChat, Abilities::default()),
    );
    bench.answers();
    let Some(Record::Head(head)) = bench.records.last() else {
        panic!("{:?}", bench.records);
    };
    assert_eq!(head.handle, Some(Handle::Stream(ID)));
}

#[test]
fn a_response_in_the_background_is_found_by_its_id() {
    let created = json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_a",
        "object": "response", "background": true, "model": "m", "status": "queued", "output": []}});
    let keepalive = json!({"type": "keepalive", "sequence_number": 1});
    let delta = |padding: &str| {
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
            "delta": "Wind", "obfuscation": padding})
    };
    let mut end = Voice(OpenAiResponses).end();
    for surface in [Surface::Responses, Surface::ChatCompletions] {
        let mut bench = start(surface, able(OpenAiResponses, Abilities::default()));
        bench.opens();
        bench.said(std::slice::from_ref(&created));
        let Some(Record::Head(head)) = bench.records.last() else {
            panic!("{:?}", bench.records);
        };
        let handle = Handle::Response("resp_a".to_owned());
        assert_eq!(head.handle.as_ref(), Some(&handle));
        bench.said(&[keepalive.clone(), delta("x")]);
        bench.is_cut();
        assert_eq!(bench.reattached, [Some(handle)]);
        bench.opens();
        // Its padding differs, and its heartbeats come when they come.
        bench.said(&[created.clone(), delta("yyy"), keepalive.clone()]);
        bench.said(&end);
        assert_eq!(bench.end().status, Status::Completed);
        assert_eq!(bench.heard(), "Wind");
    }
    // Without `background` it ends with its connection.
    let mut bench = start(
        Surface::Responses,
        able(OpenAiResponses, Abilities::default()),
    );
    bench.opens();
    bench.said(&Voice(OpenAiResponses).begin());
    bench.said(&[delta("x")]);
    bench.is_cut();
    bench.ended(Status::Failed, ErrorCode::UpstreamCut);
    assert!(bench.reattached.is_empty());
    end.clear();
}

#[test]
fn another_answer_is_not_taken_for_the_same() {
    let leg = able(OpenAiChat, Abilities::default());
    let script = script(OpenAiChat);
    let mut other = script.clone();
    other[2] = Voice(OpenAiChat).text("Sturm");
    for (again, all) in [(&other, script.len()), (&script, 2)] {
        let mut bench = start(Surface::ChatCompletions, leg.clone());
        bench.acts(&script, Act::Cut(4));
        let before = bench.events();
        bench.answers();
        bench.said(&again[..all]);
        if bench.done.is_none() {
            // It ends properly before what was delivered.
            bench.said(&Voice(OpenAiChat).end());
        }
        bench.ended(Status::Interrupted, ErrorCode::Diverged);
        assert_eq!(bench.events()[..before.len()], before);
        assert_eq!(bench.events().len(), before.len() + 1);
        assert_eq!(bench.cancelled, [Handle::Stream(ID)]);
    }
}

#[test]
fn what_the_provider_has_no_more_is_told_as_the_cut() {
    for status in [400, 401, 404, 410, 204] {
        let script = script(OpenAiChat);
        let mut bench = start(
            Surface::ChatCompletions,
            able(OpenAiChat, Abilities::default()),
        );
        bench.acts(&script, Act::Cut(3));
        bench.acts(&script, Act::Refused(status));
        bench.ended(Status::Failed, ErrorCode::UpstreamCut);
        assert_eq!(bench.reattached.len(), 1, "{status}");
        assert!(bench.events().last().unwrap().contains("was reset"));
        assert_eq!(bench.heard(), "Wind auf");
    }
}

#[test]
fn the_next_rung_begins_where_the_answer_was_cut() {
    let script = script(OpenAiChat);
    let mut bench = routed(Surface::ChatCompletions, &[able(OpenAiChat, ABLE)]);
    bench.acts(&script, Act::Cut(3));
    bench.acts(&script, Act::Cut(2));
    bench.asks_again(1);
    bench.acts(&script, Act::Refused(404));
    assert_eq!(bench.prefixes.last().unwrap().as_deref(), Some("Wind auf"));
    // It goes on elsewhere, so it need not there.
    assert_eq!(bench.cancelled, [Handle::Stream(ID)]);
    bench.goes_on_to_its_end(Voice(OpenAiChat), &[" dem", " Deich", "."]);
    assert_eq!(bench.end().status, Status::Completed);
    assert_eq!(bench.heard(), TEXTS.concat());
}

#[test]
fn who_stays_away_is_given_up_in_time() {
    for act in [
        Act::Away,
        Act::Refused(503),
        Act::Refused(429),
        Act::Cut(2),
        Act::Silent(2),
        Act::Silent(3),
    ] {
        let script = script(OpenAiChat);
        let mut bench = start(
            Surface::ChatCompletions,
            able(OpenAiChat, Abilities::default()),
        );
        bench.acts(&script, Act::Cut(3));
        let (cut_at, mut tries) = (bench.now, 0);
        while bench.done.is_none() {
            tries += 1;
            bench.acts(&script, act);
            bench.asks_again(tries);
        }
        bench.ended(Status::Failed, ErrorCode::UpstreamCut);
        assert!(tries <= 10, "{act:?}: {tries}");
        let took = bench.now.since(cut_at);
        assert!(took <= Duration::from_mins(2), "{act:?}: {took:?}");
        assert_eq!(bench.dialled.len(), 1);
        assert_eq!(bench.judged.len(), 1);
        assert_eq!(bench.cancelled, [Handle::Stream(ID)]);
    }
}

#[test]
fn what_the_provider_says_of_its_run_is_no_cut() {
    let error =
        json!({"error": {"message": "The model failed.", "type": "server_error", "code": 500}});
    let script = script(OpenAiChat);
    for first in [3, 4] {
        let mut bench = start(
            Surface::ChatCompletions,
            able(OpenAiChat, Abilities::default()),
        );
        bench.acts(&script, Act::Cut(first));
        bench.answers();
        bench.said(&script[..4]);
        bench.said(std::slice::from_ref(&error));
        bench.ended(Status::Failed, ErrorCode::UpstreamError);
        assert_eq!(bench.reattached.len(), 1);
        // Nothing runs there any more.
        assert!(bench.cancelled.is_empty());
    }
}

#[test]
fn who_has_enough_stops_a_run_that_needs_no_connection() {
    let script = script(OpenAiChat);
    for away in [false, true] {
        let mut bench = start(
            Surface::ChatCompletions,
            able(OpenAiChat, Abilities::default()),
        );
        bench.answers();
        bench.said(&script[..3]);
        if away {
            bench.is_cut();
            bench.acts(&script, Act::Away);
        }
        bench.step(Input::Stop(ErrorCode::Cancelled));
        bench.ended(Status::Cancelled, ErrorCode::Cancelled);
        assert_eq!(bench.cancelled, [Handle::Stream(ID)]);
        assert_eq!(bench.judged.len(), 1);
    }
}

#[test]
fn a_request_under_a_key_whose_outcome_nobody_knows_is_sent_again() {
    let keyed = Leg {
        keyed: true,
        ..able(OpenAiChat, Abilities::default())
    };
    let script = script(OpenAiChat);
    let mut bench = start(Surface::ChatCompletions, keyed.clone());
    bench.is_cut();
    assert_eq!(bench.reattached, [None]);
    bench.acts(&script, Act::Cut(4));
    assert_eq!(bench.reattached[1..], [Some(Handle::Stream(ID))]);
    let logged = |record: &Record| matches!(record, Record::Head(head) if head.handle.is_some());
    assert_eq!(bench.records.iter().filter(|r| logged(r)).count(), 1);
    bench.acts(&script, Act::Ends(script.len()));
    assert_eq!(
        bench.named(),
        uncut(Surface::ChatCompletions, keyed).named()
    );
    assert_eq!(bench.dialled.len(), 1);
}

#[test]
fn whom_a_client_waits_for_no_longer_is_not_looked_for() {
    let mut plan = plan(Mode::Stream);
    plan.deadline = Some(NOW.plus(Duration::from_secs(3)));
    let mut bench = Bench::new(plan);
    bench.step(Input::Start);
    bench.answers();
    bench.is_cut();
    let mut tries = 0;
    while bench.done.is_none() {
        tries += 1;
        bench.acts(&[], Act::Away);
        bench.asks_again(tries);
    }
    bench.ended(Status::Failed, ErrorCode::UpstreamTimeout);
    assert!(bench.now.since(NOW) <= Duration::from_secs(3));
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..9usize).prop_map(Act::Cut),
        2 => (0..9usize).prop_map(Act::Ends),
        1 => Just(Act::Away),
        1 => proptest::sample::select(vec![404, 429, 500, 503]).prop_map(Act::Refused),
        1 => (0..9usize).prop_map(Act::Silent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// However often it is cut: what the client has is a beginning of the answer that it would have
    /// had without, and all of it if it is complete; and the provider ran it once.
    #[test]
    fn any_schedule_of_cuts_gives_the_same_answer(
        acts in proptest::collection::vec(any_act(), 0..12),
        surface in proptest::sample::select(SURFACES.to_vec()),
        provider in proptest::sample::select(PROVIDERS.to_vec()),
        failing in proptest::collection::vec(2usize..12, 0..2),
    ) {
        let leg = able(provider, Abilities::default());
        let whole = uncut(surface, leg.clone()).named();
        let script = script(provider);
        let mut bench = start(surface, leg);
        bench.failing = failing;
        bench.answers();
        let mut acts = acts.into_iter();
        let mut act = Act::Cut(0);
        while bench.done.is_none() {
            let before = bench.reattached.len();
            if before > 0 || act != Act::Cut(0) {
                bench.acts(&script, act);
            } else {
                bench.is_cut();
            }
            bench.asks_again(before);
            act = acts.next().unwrap_or(Act::Ends(script.len()));
        }
        prop_assert_eq!(bench.dialled.len(), 1);
        let Some(Ending::Logged(end)) = &bench.done else {
            return Ok(());
        };
        let heard = bench.named();
        if end.status == Status::Completed {
            // What a provider that breaks off behind its last word leaves out is made up.
            let made_up = if heard == whole { 0 } else { 3 };
            let known = heard.len().saturating_sub(made_up);
            prop_assert_eq!(&heard[..known], &whole[..known]);
            prop_assert_eq!(bench.heard(), TEXTS.concat());
        } else {
            prop_assert!(end.reason.is_some());
            prop_assert_eq!(&heard[..heard.len() - 1], &whole[..heard.len() - 1]);
        }
    }
}

impl Bench {
    /// The process dies, and another one looks for the answer. False if there is no way back.
    fn dies_and_looks(&mut self) -> bool {
        let plan = self.writer.plan.clone();
        let is_event = |record: &Record| matches!(record, Record::Event(_));
        let all = self.records.iter().cloned();
        let (events, audit): (Vec<_>, Vec<_>) = all.partition(is_event);
        let ladder = Resumption::new(plan.clone(), &audit, self.now);
        let Some(mut trail) = Trail::new(plan, &audit) else {
            return false;
        };
        let mut ladder = ladder.filter(|_| !events.is_empty());
        for record in &events {
            let Record::Event(event) = record else {
                continue;
            };
            trail.push(event);
            ladder = ladder.and_then(|mut ladder| ladder.push(event).then_some(ladder));
        }
        let ladder = ladder.and_then(Resumption::finish);
        self.writer = trail.writer(ladder, None, self.now);
        self.step(Input::Start);
        true
    }
}

#[test]
fn what_a_process_that_died_was_reading_is_read_on_to_the_same_bytes() {
    for surface in SURFACES {
        for provider in PROVIDERS {
            for abilities in [Abilities::default(), ABLE] {
                let leg = able(provider, abilities);
                let whole = uncut(surface, leg.clone());
                let script = script(provider);
                for at in 0..script.len() - 1 {
                    let mut bench = start(surface, leg.clone());
                    bench.writer.plan.on_cut = OnCut::Recover;
                    bench.answers();
                    bench.said(&script[..at]);
                    assert!(bench.dies_and_looks());
                    assert_eq!(bench.reattached, [Some(Handle::Stream(ID))]);
                    bench.acts(&script, Act::Cut(at / 2));
                    bench.asks_again(1);
                    bench.acts(&script, Act::Ends(script.len()));
                    let what = format!("{surface:?} from {provider:?} at {at}");
                    assert_eq!(bench.named(), whole.named(), "{what}");
                    assert_eq!(bench.end().status, Status::Completed, "{what}");
                    assert_eq!(bench.end().usage, whole.end().usage, "{what}");
                    assert_eq!(bench.dialled.len(), 1, "{what}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_found_after_a_death_is_told_or_gone_on_with() {
    let script = script(OpenAiChat);
    for abilities in [Abilities::default(), ABLE] {
        let mut bench = routed(Surface::ChatCompletions, &[able(OpenAiChat, abilities)]);
        bench.answers();
        bench.said(&script[..3]);
        assert!(bench.dies_and_looks());
        bench.acts(&script, Act::Refused(404));
        if abilities.continues {
            assert_eq!(bench.prefixes.last().unwrap().as_deref(), Some("Wind auf"));
            bench.goes_on_to_its_end(Voice(OpenAiChat), &[" dem", " Deich", "."]);
            assert_eq!(bench.end().status, Status::Completed);
            assert_eq!(bench.heard(), TEXTS.concat());
        } else {
            bench.ended(Status::Interrupted, ErrorCode::GatewayRestarted);
            assert_eq!(bench.heard(), "Wind auf");
            assert_eq!(bench.end().usage.output_tokens, 3);
        }
    }
}

#[test]
fn what_was_sent_and_not_answered_is_asked_for_only_under_a_key() {
    let script = script(OpenAiChat);
    for keyed in [false, true] {
        let leg = Leg {
            keyed,
            ..able(OpenAiChat, Abilities::default())
        };
        let mut bench = start(Surface::ChatCompletions, leg.clone());
        assert_eq!(bench.dies_and_looks(), keyed);
        if !keyed {
            continue;
        }
        assert_eq!(
            (&*bench.reattached, bench.writer.attempt()),
            (&[None][..], 1)
        );
        bench.acts(&script, Act::Ends(script.len()));
        let whole = uncut(Surface::ChatCompletions, leg.clone());
        assert_eq!(bench.named(), whole.named());

        let mut bench = start(Surface::ChatCompletions, leg);
        assert!(bench.dies_and_looks());
        bench.acts(&script, Act::Refused(422));
        bench.ended(Status::Interrupted, ErrorCode::OutcomeUnknown);
        assert_eq!(bench.dialled.len(), 1);
    }
}

#[test]
fn an_answer_of_several_runs_is_no_run_to_be_found() {
    let script = script(OpenAiChat);
    let mut bench = routed(Surface::ChatCompletions, &[able(OpenAiChat, ABLE)]);
    bench.says(Voice(OpenAiChat), &TEXTS[..2]);
    bench.is_cut();
    bench.answers();
    bench.said(&script[..1]);
    bench.said(&[Voice(OpenAiChat).text(" dem")]);
    assert!(!bench.dies_and_looks());
    // Nor is it while the process lives; but nobody needs it any more.
    bench.is_cut();
    assert!(bench.reattached.is_empty());
    assert_eq!(bench.cancelled, [Handle::Stream(ID)]);
}

#[test]
fn a_body_that_is_cut_comes_again_under_its_key() {
    let body = json!({"id": "c", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Wind"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}});
    let body = body.to_string();
    for keyed in [false, true] {
        let mut bench = Bench::new(Plan {
            route: Route::new(
                Leg {
                    keyed,
                    ..leg("one")
                },
                [],
            ),
            ..plan(Mode::Unary)
        });
        bench.step(Input::Start);
        let head = UpstreamHead {
            status: 200,
            content_type: Some("application/json".to_owned()),
            handle: Some(Handle::Stream(ID)),
            ..UpstreamHead::default()
        };
        bench.step(Input::Head(head.clone()));
        bench.bytes(&body[..20]);
        bench.is_cut();
        if !keyed {
            bench.ended(Status::Failed, ErrorCode::UpstreamCut);
            continue;
        }
        assert_eq!(bench.reattached, [None]);
        // Its head comes with the end of the answer.
        assert!(bench.writer.wake_at() >= Some(bench.now.plus(Duration::from_mins(2))));
        bench.step(Input::Head(head));
        bench.bytes(&body);
        bench.step(Input::Ended);
        assert_eq!(bench.events(), [&*body]);
        assert_eq!(bench.end().status, Status::Completed);
    }
}
