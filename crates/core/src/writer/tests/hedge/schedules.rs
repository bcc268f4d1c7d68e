use std::collections::BTreeSet;

use super::runs::runs;
use super::*;

/// What one attempt does, in steps. Its text says whose it is.
fn script(attempt: usize, kind: u8) -> Vec<Input> {
    let hello = HELLO.replace("Hello", &format!("of {attempt}"));
    let says = |events: &[&str]| Input::Bytes(sse(events).into());
    let ok = || head(200, "text/event-stream");
    let refused = |status| {
        let body = Input::Bytes(Bytes::from_static(LIMITED.as_bytes()));
        vec![head(status, "application/json"), body, Input::Ended]
    };
    match kind {
        0 => vec![
            ok(),
            says(&[ROLE]),
            says(&[&hello]),
            says(&[&hello, STOP]),
            says(&["[DONE]"]),
        ],
        1 => vec![ok(), says(&[ROLE, &hello, STOP, "[DONE]"])],
        2 => vec![ok(), says(&[ROLE]), says(&[STOP]), Input::Ended],
        3 => vec![],
        4 => vec![ok()],
        5 => vec![ok(), says(&[ROLE])],
        6 => vec![ok(), says(&[ROLE]), says(&[&hello]), broken(false)],
        7 => vec![broken(true)],
        8 => vec![ok(), says(&["{nonsense"])],
        9 => vec![ok(), says(&[ROLE]), says(&[LIMITED])],
        10 => vec![ok(), says(&[ROLE, "[DONE]"])],
        11 => refused(400),
        12 => refused(429),
        14 => vec![
            runs(run(attempt)),
            says(&[ROLE]),
            says(&[&hello, STOP, "[DONE]"]),
        ],
        15 => vec![runs(run(attempt)), says(&[ROLE])],
        _ => refused(503),
    }
}

/// By what the run of an attempt is found.
fn run(attempt: usize) -> Handle {
    Handle::Stream(StreamId::from_bits(100 + attempt as u64))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// However two attempts run beside each other, and whatever the log does: one of them is the
    /// answer, or there is an honest end, and of each call there is a record what became of it.
    #[test]
    fn any_two_lanes_give_one_answer(
        kinds in proptest::collection::vec(prop_oneof![Just(0u8), Just(6), Just(14), 0..16u8], 8),
        late: bool,
        order in proptest::collection::vec(0..4u8, 0..40),
        spares in proptest::collection::vec(proptest::option::weighted(0.8, 0..5usize), 4),
        names in prop_oneof![1 => 1..5usize, 3 => 3..5usize],
        attempts in prop_oneof![1 => 1..5u32, 3 => 3..5u32],
        failing in proptest::option::weighted(0.2, 0..8usize),
        in_budget: bool,
    ) {
        let mut plan = Plan {
            route: route(&["one", "two", "three", "four"][..names]),
            ..plan(Mode::Stream)
        };
        plan.attempts.attempts = attempts;
        let mut bench = hedging(plan);
        bench.failing = failing.into_iter().map(|at| at + 1).collect();
        bench.advice.in_budget = in_budget;
        let mut scripts: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(attempt, &kind)| script(attempt, kind).into_iter())
            .collect();
        // At the end all scripts are played, and whoever still says nothing is given up.
        let rest = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 2].repeat(8);
        let mut spares = spares.into_iter().cycle();
        let mut running = BTreeSet::new();
        let first = late.then_some(2);
        for turn in first.into_iter().chain(order).chain(rest) {
            if bench.done.is_some() {
                break;
            }
            bench.spare = spares.next().flatten();
            let lane = usize::from(turn);
            if lane > 1 {
                bench.now = bench.writer.wake_at().map_or(bench.now, |at| bench.now.max(at));
                bench.step(Input::Tick);
            } else if let Some(at) = bench.lanes[lane]
                && let Some(input) = scripts[at].next()
            {
                if kinds[at] > 13 {
                    running.insert(at);
                }
                if lane == 0 {
                    bench.step(input);
                } else {
                    bench.beside(input);
                }
            }
        }
        prop_assert!(bench.done.is_some());
        prop_assert!(bench.dialled.len() <= attempts as usize);
        let events = bench.events();
        let whose: BTreeSet<_> =
            events.iter().filter(|data| data.contains("of ")).collect();
        prop_assert!(whose.len() <= 1, "{:?}", events);
        let last = events.last().map_or("", String::as_str);
        let Some(Ending::Logged(end)) = &bench.done else {
            prop_assert!(bench.failures > 0);
            return Ok(());
        };
        if end.status == Status::Completed {
            prop_assert!(last == "[DONE]" && events.iter().any(|data| data == STOP));
        } else {
            prop_assert!(last.contains("\"error\""), "{:?}", events);
            prop_assert!(!events.iter().any(|data| data == "[DONE]"));
        }
        for at in running {
            let is_whole = end.status == Status::Completed
                && whose.iter().any(|data| data.contains(&format!("of {at}")));
            let stopped = bench.cancelled.iter().filter(|gone| **gone == run(at)).count();
            prop_assert_eq!(stopped, usize::from(!is_whole), "{}", at);
        }
        if bench.failures == 0 {
            prop_assert_eq!(bench.judged.len(), bench.dialled.len());
            // All but one, whose end is that of the stream.
            let mut gone: Vec<_> = bench.abandoned().iter().map(|gone| gone.attempt).collect();
            prop_assert_eq!(gone.len() + 1, bench.dialled.len());
            gone.sort_unstable();
            gone.dedup();
            prop_assert_eq!(gone.len() + 1, bench.dialled.len());
        }
    }
}
