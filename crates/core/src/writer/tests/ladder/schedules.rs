use serde_json::json;

use super::*;

/// What the next upstream does.
#[derive(Clone, Debug)]
struct Act {
    pieces: usize,
    size: usize,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Cut,
    Ended,
    Silent,
    Error,
    Nonsense,
    Refused(u16),
    /// It says something else from here on.
    Other,
}

fn any_act() -> impl Strategy<Value = Act> {
    let fault = prop_oneof![
        3 => Just(Fault::None),
        4 => Just(Fault::Cut),
        2 => Just(Fault::Ended),
        1 => Just(Fault::Silent),
        1 => Just(Fault::Error),
        1 => Just(Fault::Nonsense),
        1 => Just(Fault::Refused(400)),
        1 => Just(Fault::Refused(503)),
        1 => Just(Fault::Other),
    ];
    (0..8usize, 1..6usize, fault).prop_map(|(pieces, size, fault)| Act {
        pieces,
        size,
        fault,
    })
}

fn any_leg() -> impl Strategy<Value = Leg> {
    let provider = prop_oneof![Just(OpenAiChat), Just(Anthropic), Just(Gemini)];
    (provider, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(provider, continues, repeats, deterministic)| {
            let abilities = Abilities {
                continues,
                repeats,
                deterministic,
            };
            able(provider, abilities)
        },
    )
}

fn by_name(legs: Vec<Leg>) -> Vec<Leg> {
    let mut legs = legs;
    resume::name(&mut legs);
    legs
}

const TEXT: &str = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.";

impl Bench {
    /// Plays one upstream, which has the same `TEXT` to say as all others, or as much of it as is heard
    /// before the process dies.
    fn play(&mut self, act: &Act, dies: bool) {
        let leg = self.writer.plan.leg().clone();
        let voice = Voice(leg.provider);
        if let Fault::Refused(status) = act.fault {
            return self.is_refused(status, "no");
        }
        let prefix = self.prefixes.last().cloned().flatten();
        let skipped = prefix
            .filter(|_| !leg.abilities.repeats)
            .unwrap_or_default();
        let rest = TEXT.strip_prefix(&skipped).expect("a prefix of the text");
        let chars: Vec<char> = rest.chars().collect();
        let all = act.fault == Fault::None;
        let pieces: Vec<String> = chars.chunks(act.size).map(String::from_iter).collect();
        let some = if all { pieces.len() } else { act.pieces };
        let pieces: Vec<&str> = pieces.iter().take(some).map(String::as_str).collect();
        self.says(voice, &pieces);
        if self.done.is_some() || dies {
            return;
        }
        match act.fault {
            Fault::None => {
                self.said(&voice.end());
                self.step(Input::Ended);
            }
            Fault::Cut => self.is_cut(),
            Fault::Ended => self.step(Input::Ended),
            Fault::Silent => {
                self.now = self.writer.wake_at().unwrap();
                self.step(Input::Tick);
            }
            Fault::Error => self.said(&[json!({"type": "error", "error": {"type": "api_error", "message": "oh", "code": 500}})]),
            Fault::Nonsense => self.bytes("data: {nonsense\n\n"),
            Fault::Other => {
                self.said(&[voice.text("#")]);
                self.said(&voice.end());
                self.step(Input::Ended);
            }
            Fault::Refused(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the upstreams do: the client has the text that they said in sequence, whole, or a
    /// prefix of it and a typed end; nothing is doubled or lost, and no more calls are made than the
    /// policy says. The process may die at any time, and another one take over. (`Tail::after` in the bench takes every append.)
    #[test]
    fn any_schedule_ends_whole_or_honest(
        acts in proptest::collection::vec(any_act(), 8),
        legs in proptest::collection::vec(any_leg(), 1..4),
        surface in proptest::sample::select(SURFACES.to_vec()),
        open in proptest::collection::vec(0..4usize, 0..5),
        in_budget: bool,
        failing in proptest::collection::vec(0usize..20, 0..2),
        deaths in proptest::collection::vec(proptest::bool::weighted(0.3), 8),
    ) {
        let mut bench = routed(surface, &by_name(legs));
        bench.advice = Advice { open, in_budget, ..Advice::default() };
        bench.failing = failing;
        let mut odd = false;
        for (act, dies) in acts.iter().zip(&deaths) {
            let dialled = bench.dialled.len();
            odd |= act.fault == Fault::Other;
            bench.play(act, *dies);
            if *dies && bench.done.is_none() {
                if !bench.dies() {
                    // What is delivered stays, and is ended by who finds it.
                    prop_assert!(odd || TEXT.starts_with(&bench.heard()));
                    return Ok(());
                }
                bench.step(Input::Start);
            }
            while bench.done.is_none() && bench.dialled.len() == dialled {
                bench.now = bench.now.max(bench.writer.wake_at().expect("something is due"));
                bench.step(Input::Tick);
            }
            if bench.done.is_some() {
                break;
            }
            if odd {
                // What is odd and was delivered cannot be gone on with by who has another text.
                return Ok(());
            }
        }
        prop_assert!(bench.done.is_some());
        prop_assert!(bench.dialled.len() <= 4);
        let Some(Ending::Logged(end)) = &bench.done else {
            return Ok(());
        };
        let heard = bench.heard();
        let seams = bench.seams();
        if end.status == Status::Completed {
            prop_assert_eq!(bench.folded(), heard.clone());
            prop_assert!(odd || heard == TEXT, "{}", heard);
        } else {
            prop_assert!(odd || TEXT.starts_with(&heard), "{}", heard);
            let last = bench.events().pop().unwrap();
            prop_assert!(last.contains("\"error\""), "{}", last);
            prop_assert!(end.reason.is_some());
            prop_assert!(!bench.events().iter().any(|data| data == "[DONE]"));
        }
        let abandoned = bench.records.iter().filter(|r| matches!(r, Record::Abandoned(_))).count();
        let others = bench.dialled.len() - 1;
        // Each attempt but the last has one record of its end, and the last has one if it was in vain.
        prop_assert!((others..=others + 1).contains(&(abandoned + seams.len())));
        prop_assert!(seams.iter().filter(|seam| seam.1 == SeamKind::RanAgain).count() <= 1);
    }
}
