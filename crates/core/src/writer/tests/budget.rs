//! Answers whose budgets have nothing left.

use super::*;
use crate::policy::breaker::Verdict;

#[test]
fn what_was_begun_ends_as_one_that_reached_its_limit() {
    let shown = Plan {
        show_usage: true,
        ..plan(Mode::Stream)
    };
    let mut bench = Bench::answered(shown, 200, "text/event-stream");
    bench.bytes(&sse(&[ROLE, HELLO]));
    assert_eq!(bench.writer.used().output_tokens, 1);
    bench.step(Input::Exhausted(None));
    let events = bench.events();
    let [role, hello, finish, usage, done] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((&**role, &**hello, &**done), (ROLE, HELLO, "[DONE]"));
    assert!(finish.contains("\"finish_reason\":\"length\""), "{finish}");
    assert!(usage.contains("\"completion_tokens\":1"), "{usage}");
    bench.ended(Status::Cancelled, ErrorCode::BudgetExhausted);
    assert!(bench.end().is_answer() && bench.end().http_status.is_none());
    assert!(bench.hung_up && bench.end().usage.estimated);
    assert_eq!(bench.judged[0].verdict, Verdict::Neutral);
    // What comes late changes nothing.
    bench.bytes(&sse(&[HELLO]));
    bench.step(Input::Exhausted(None));
    assert_eq!(bench.events().len(), 5);
}

#[test]
fn only_choices_that_go_on_are_ended() {
    let two = Plan {
        choices: 2,
        ..plan(Mode::Stream)
    };
    let mut bench = Bench::answered(two, 200, "text/event-stream");
    let second = HELLO.replace("\"index\":0", "\"index\":1");
    bench.bytes(&sse(&[HELLO, &second, STOP]));
    bench.step(Input::Exhausted(None));
    let events = bench.events();
    let finish: serde_json::Value = serde_json::from_str(&events[3]).unwrap();
    assert_eq!(finish["choices"].as_array().unwrap().len(), 1);
    assert_eq!(finish["choices"][0]["index"], 1);
}

#[test]
fn what_was_not_begun_is_an_error() {
    for mode in [Mode::Stream, Mode::Unary] {
        let mut bench = Bench::started(mode);
        bench.step(Input::Exhausted(None));
        bench.ended(Status::Cancelled, ErrorCode::BudgetExhausted);
        assert_eq!(bench.end().http_status, Some(429));
        assert!(!bench.end().is_answer());
        assert!(bench.events()[0].contains("budget_exhausted"));
    }
}

#[test]
fn what_is_finished_ends_by_itself() {
    let mut bench = Bench::started(Mode::Stream);
    bench.bytes(&sse(&[HELLO, STOP]));
    bench.step(Input::Exhausted(None));
    bench.bytes(&sse(&[USAGE, "[DONE]"]));
    assert_eq!(bench.end().status, Status::Completed);
    assert_eq!(bench.events(), [HELLO, STOP, "[DONE]"]);
}
