//! Events that are not of the upstream's API, and answers whose end is not marked.

use super::*;
use crate::policy::attempt::FailureKind;

/// How an answer looks to a client of the same API as the upstream's, and to others.
const SURFACES: [Surface; 2] = [Surface::ChatCompletions, Surface::Messages];

const WRONG: [&str; 6] = [
    "{\"choices\":[",
    "{\"choices\":\"none\"}",
    "{\"choices\":[7]}",
    "{\"choices\":[{\"index\":0,\"delta\":[\"x\"]}]}",
    "[1]",
    "Internal Server Error",
];

fn begun(surface: Surface) -> Bench {
    let plan = Plan {
        surface,
        ..plan(Mode::Stream)
    };
    Bench::answered(plan, 200, "text/event-stream")
}

/// Feeds a text that is cut into two reads.
fn cut_at(bench: &mut Bench, text: &str, at: usize) {
    for part in [&text.as_bytes()[..at], &text.as_bytes()[at..]] {
        if !part.is_empty() && bench.done.is_none() {
            bench.step(Input::Bytes(Bytes::copy_from_slice(part)));
        }
    }
}

#[test]
fn a_malformed_event_is_a_failure_of_the_upstream_wherever_it_is_cut() {
    for surface in SURFACES {
        for wrong in WRONG {
            for before in [&[ROLE][..], &[ROLE, HELLO]] {
                let good = sse(before);
                let text = good.clone() + &sse(&[wrong, HELLO, STOP, "[DONE]"]);
                for at in good.len()..=text.len() {
                    let mut bench = begun(surface);
                    cut_at(&mut bench, &text, at);
                    bench.ended(Status::Failed, ErrorCode::UpstreamInvalid);
                    let judged = bench.judged.last().and_then(|report| report.failure);
                    assert_eq!(judged, Some(FailureKind::Invalid), "{wrong}");
                    let mut shown = bench.events();
                    assert!(shown.pop().is_some_and(|last| last.contains("error")));
                    let shown = shown.concat();
                    if surface == Surface::ChatCompletions && before.len() > 1 {
                        assert_eq!(shown, before.concat());
                    }
                    assert_eq!(shown.contains("Hello"), before.len() > 1, "{shown}");
                    assert!(!shown.contains("[DONE]") && !shown.contains("message_stop"));
                }
            }
        }
    }
}

#[test]
fn behind_the_end_of_all_choices_nothing_is_lost_with_it() {
    for surface in SURFACES {
        for wrong in WRONG {
            let good = sse(&[ROLE, HELLO, STOP]);
            for rest in [&[wrong, USAGE, "[DONE]"][..], &[wrong]] {
                let text = good.clone() + &sse(rest);
                for at in good.len()..=text.len() {
                    let mut bench = begun(surface);
                    cut_at(&mut bench, &text, at);
                    bench.step(Input::Ended);
                    assert_eq!(bench.end().status, Status::Completed, "{wrong}");
                    let usage = &bench.end().usage;
                    assert_eq!(
                        (usage.estimated, usage.output_tokens >= 1),
                        (rest.len() == 1, true)
                    );
                }
            }
        }
    }
}

#[test]
fn what_comes_behind_the_end_mark_is_passed_over() {
    for surface in SURFACES {
        let mut bench = begun(surface);
        bench.bytes(&sse(&[HELLO, STOP, "[DONE]", "[DONE]", WRONG[0], HELLO]));
        assert_eq!(bench.end().status, Status::Completed);
        assert_eq!(bench.events().concat().matches("Hello").count(), 1);
    }
}

#[test]
fn empty_events_and_errors_that_are_none_are_no_failures() {
    let null = r#"{"error":null,"choices":[{"index":0,"delta":{"content":" you"}}]}"#;
    for surface in SURFACES {
        let mut bench = begun(surface);
        let text =
            "\u{feff}".to_owned() + &sse(&["{}", HELLO, "", ": ping", "{}", null, STOP, "[DONE]"]);
        bench.bytes(&text);
        assert_eq!(bench.end().status, Status::Completed);
        assert!(bench.events().concat().contains(" you"));
    }
}

#[test]
fn an_answer_that_ended_waits_for_its_mark_and_no_longer() {
    for surface in SURFACES {
        for usage in [false, true] {
            let mut bench = begun(surface);
            bench.bytes(&sse(&[ROLE, HELLO, STOP]));
            if usage {
                bench.bytes(&sse(&[USAGE]));
            }
            let until = NOW.plus(Duration::from_secs(5));
            assert_eq!(bench.writer.wake_at(), Some(until));
            bench.now = NOW.plus(Duration::from_millis(4_999));
            bench.bytes(": ping\n\n");
            bench.step(Input::Tick);
            assert!(bench.done.is_none());
            bench.now = until;
            bench.step(Input::Tick);
            assert_eq!(bench.end().status, Status::Completed);
            assert_eq!(bench.end().usage.estimated, !usage);
        }
    }
}

#[test]
fn done_is_no_success_while_a_choice_goes_on() {
    let second = r#"{"choices":[{"index":1,"delta":{"content":"Hi"},"finish_reason":null}]}"#;
    for end in ["done", "silence"] {
        let mut bench = begun(Surface::ChatCompletions);
        bench.bytes(&sse(&[HELLO, second, STOP, STOP]));
        if end == "done" {
            bench.bytes(&sse(&["[DONE]"]));
            bench.ended(Status::Failed, ErrorCode::UpstreamCut);
        } else {
            bench.now = NOW.plus(Duration::from_secs(119));
            bench.step(Input::Tick);
            assert!(bench.done.is_none());
        }
    }
}

#[test]
fn a_body_that_began_goes_on_within_the_events_time() {
    let mut bench = Bench::answered(plan(Mode::Unary), 200, "application/json");
    // White space, as some providers send it while they think, is no progress.
    bench.now = NOW.plus(Duration::from_mins(9));
    bench.bytes("\n \n");
    assert_eq!(
        bench.writer.wake_at(),
        Some(NOW.plus(Duration::from_mins(10)))
    );
    bench.bytes("{\"choices\":");
    assert_eq!(
        bench.writer.wake_at(),
        Some(NOW.plus(Duration::from_mins(11)))
    );
    bench.now = NOW.plus(Duration::from_mins(11));
    bench.step(Input::Tick);
    bench.ended(Status::Failed, ErrorCode::UpstreamTimeout);
}
