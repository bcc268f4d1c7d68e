use super::*;
use crate::event::Event;
use crate::policy::breaker::Verdict;

impl Bench {
    /// The process dies, and another one makes of the log what it can. False if it can do nothing.
    pub(in crate::writer::tests) fn dies(&mut self) -> bool {
        let plan = self.writer.plan.clone();
        let (events, audit): (Vec<_>, Vec<_>) = self
            .records
            .iter()
            .cloned()
            .partition(|record| matches!(record, Record::Event(_)));
        let Some(mut resumption) = Resumption::new(plan, &audit, self.now) else {
            return false;
        };
        for record in &events {
            if let Record::Event(event) = record
                && !resumption.push(event)
            {
                return false;
            }
        }
        let Some(writer) = resumption.finish() else {
            return false;
        };
        self.writer = writer;
        // An attempt that the log has was not judged by anybody, nor perhaps made.
        let silent = Report {
            verdict: Verdict::Neutral,
            failure: None,
            retry_after: None,
            first_content: None,
            streamed: true,
        };
        self.judged.resize(self.announced(), silent);
        self.dialled.resize(self.announced(), usize::MAX);
        self.prefixes.resize(self.announced(), None);
        true
    }

    fn announced(&self) -> usize {
        let dialled = |record: &&Record| matches!(record, Record::Dialled(_));
        self.records.iter().filter(dialled).count()
    }

    fn logged(&self) -> Vec<Event> {
        let event = |record: &Record| match record {
            Record::Event(event) => Some(event.clone()),
            _ => None,
        };
        self.records.iter().filter_map(event).collect()
    }
}

/// Figures may be estimates where the provider's own are not in the log.
fn without_figures(events: &[Event]) -> Vec<(Vec<u8>, String)> {
    let shown = events.iter().map(|event| {
        let text = String::from_utf8_lossy(&event.data);
        let text: String = match serde_json::from_str::<Value>(&text) {
            Ok(mut value) => {
                forget(&mut value);
                value.to_string()
            }
            Err(_) => text.into_owned(),
        };
        (event.name.to_vec(), text)
    });
    shown.collect()
}

fn forget(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| name != "usage" && name != "usageMetadata");
            members.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

/// The log knows them by their names.
fn named<const N: usize>(mut legs: [Leg; N]) -> [Leg; N] {
    name(&mut legs);
    legs
}

pub(super) fn name(legs: &mut [Leg]) {
    for (place, leg) in legs.iter_mut().enumerate() {
        leg.upstream = format!("up{place}");
        leg.model = format!("m{place}");
    }
}

fn twins(surface: Surface, first: ProviderDialect, second: ProviderDialect) -> [Bench; 2] {
    let legs = named([able(first, Abilities::default()), able(second, ABLE)]);
    [routed(surface, &legs), routed(surface, &legs)]
}

#[test]
fn who_takes_over_says_what_the_dead_one_would_have() {
    for surface in SURFACES {
        for first in [OpenAiChat, Anthropic, Gemini, OpenAiResponses] {
            for second in [OpenAiChat, Anthropic] {
                for pieces in 1..4 {
                    let which = format!("{surface:?}: {first:?}, {second:?}, {pieces}");
                    let texts = &["Once", " upon", " a"][..pieces];
                    let [mut cut, mut died] = twins(surface, first, second);
                    for bench in [&mut cut, &mut died] {
                        bench.says(Voice(first), texts);
                    }
                    cut.is_cut();
                    // What the provider said goes through with ids that nobody here can go on with.
                    let never = surface == Surface::Responses && first == OpenAiResponses;
                    assert_eq!(died.dies(), !never, "{which}: {:#?}", died.events());
                    if never {
                        continue;
                    }
                    died.step(Input::Start);
                    assert_eq!(cut.prefixes, died.prefixes, "{which}");
                    for bench in [&mut cut, &mut died] {
                        bench.goes_on_to_its_end(Voice(second), &[" time", "."]);
                        assert_eq!(bench.end().status, Status::Completed, "{which}");
                    }
                    let [cut_said, died_said] = [&cut, &died].map(|b| without_figures(&b.logged()));
                    assert_eq!(cut_said, died_said, "{which}");
                    assert_eq!(died.seams().len(), 1, "{which}");
                    assert_eq!(died.seams()[0].2, cut.seams()[0].2, "{which}");
                    assert!(died.end().usage.output_tokens >= 9, "{which}");
                }
            }
        }
    }
}

#[test]
fn a_process_that_dies_again_and_again_makes_no_more_calls_than_allowed() {
    for surface in SURFACES {
        let legs = named([able(Anthropic, ABLE), able(OpenAiChat, ABLE)]);
        let mut bench = routed(surface, &legs);
        bench.says(Voice(Anthropic), &["a"]);
        for letter in ["b", "c", "d"] {
            assert!(bench.dies(), "{surface:?} {letter}");
            bench.step(Input::Start);
            let voice = Voice(bench.writer.plan.leg().provider);
            bench.says(voice, &[letter]);
        }
        assert_eq!(bench.seams().len(), 3);
        assert!(bench.dies());
        bench.step(Input::Start);
        bench.ended(Status::Interrupted, ErrorCode::GatewayRestarted);
        assert_eq!(bench.heard(), "abcd", "{surface:?}");
        assert_eq!(bench.announced(), 4);
        // What the first one counted is in the log of its own clients alone; else it is estimated.
        let first = if surface == Surface::Messages { 5 } else { 100 };
        assert_eq!(bench.end().usage.input_tokens, first + 100 * 3);
    }
}

#[test]
fn an_attempt_that_nobody_heard_is_in_the_audit_and_another_goes_on() {
    let legs = named([able(OpenAiChat, ABLE), able(Anthropic, ABLE)]);
    let mut bench = routed(Surface::ChatCompletions, &legs);
    bench.says(Voice(OpenAiChat), &["a"]);
    bench.is_cut();
    bench.opens();
    assert!(bench.dies());
    bench.step(Input::Start);
    assert_eq!(bench.prefixes.last().unwrap().as_deref(), Some("a"));
    bench.goes_on_to_its_end(Voice(OpenAiChat), &["b"]);
    assert_eq!(bench.folded(), "ab");
    assert_eq!(bench.seams().len(), 1);
    let gone = bench.records.iter().find_map(|record| match record {
        Record::Abandoned(gone) => Some((gone.attempt, gone.reason.clone())),
        _ => None,
    });
    assert_eq!(gone, Some((2, "gateway_restarted".to_owned())));
}

#[test]
fn a_second_run_is_not_run_a_third_time() {
    let mut bench = routed(Surface::ChatCompletions, &[able(OpenAiChat, SAME)]);
    bench.says(Voice(OpenAiChat), &["Once", " upon"]);
    bench.is_cut();
    bench.says(Voice(OpenAiChat), &["On"]);
    assert!(bench.dies());
    bench.step(Input::Start);
    bench.ended(Status::Interrupted, ErrorCode::GatewayRestarted);
    assert_eq!(bench.dialled.len(), 2);
}

#[test]
fn what_nobody_can_go_on_with_is_not_resumed() {
    let legs = || [able(OpenAiChat, ABLE), able(Anthropic, ABLE)];
    // Nothing was heard.
    let mut bench = routed(Surface::ChatCompletions, &legs());
    assert!(!bench.dies());
    // No consent.
    let mut bench = routed(Surface::ChatCompletions, &legs());
    bench.says(Voice(OpenAiChat), &["a"]);
    bench.writer.plan.on_cut = OnCut::Fail;
    assert!(!bench.dies());
    // Who answered is not there any more.
    let mut bench = routed(Surface::ChatCompletions, &legs());
    bench.says(Voice(OpenAiChat), &["a"]);
    let renamed = Leg {
        model: "renamed".to_owned(),
        ..able(OpenAiChat, ABLE)
    };
    bench.writer.plan.route = Route::new(renamed.clone(), [renamed]);
    assert!(!bench.dies());
    // The reason for its end was told.
    let mut bench = routed(Surface::ChatCompletions, &legs());
    bench.says(Voice(OpenAiChat), &["a"]);
    bench.said(&Voice(OpenAiChat).end()[..1]);
    assert!(!bench.dies());
}
