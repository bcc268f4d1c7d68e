//! Runs that need no connection: which of two is stopped, and which is found again.

use super::*;
use crate::policy::recovery::Abilities;
use crate::record::SeamKind;

const ONE: Handle = Handle::Stream(StreamId::from_bits(1));
const TWO: Handle = Handle::Stream(StreamId::from_bits(2));

/// The head of a run that can be found again.
pub(super) fn runs(handle: Handle) -> Input {
    Input::Head(UpstreamHead {
        status: 200,
        content_type: Some("text/event-stream".to_owned()),
        handle: Some(handle),
        ..UpstreamHead::default()
    })
}

fn both_run() -> Bench {
    let mut bench = hedged();
    bench.step(runs(ONE));
    bench.beside(runs(TWO));
    bench
}

impl Bench {
    /// The process dies, and the next one looks for the answer. Gives whom it asks for what.
    fn next_looks(&mut self) -> Option<(u32, usize, Option<Handle>)> {
        let plan = self.writer.plan.clone();
        let mut trail = Trail::new(plan, &self.records)?;
        for record in &self.records {
            if let Record::Event(event) = record {
                trail.push(event);
            }
        }
        self.writer = trail.writer(None, None, self.now);
        self.step(Input::Start);
        let handle = self.reattached.last()?.clone();
        Some((self.writer.attempt(), self.writer.place(), handle))
    }
}

#[test]
fn the_run_that_loses_is_stopped() {
    let mut bench = both_run();
    bench.beside(Input::Bytes(sse(&[HELLO]).into()));
    assert_eq!(
        (bench.lanes[0], &bench.cancelled[..]),
        (Some(1), &[ONE][..])
    );
    let mut bench = both_run();
    bench.bytes(&sse(&[HELLO]));
    assert_eq!(
        (bench.lanes[0], &bench.cancelled[..]),
        (Some(0), &[TWO][..])
    );
    // Both, if nobody wants either.
    let mut bench = both_run();
    bench.step(Input::Stop(ErrorCode::Cancelled));
    assert_eq!(bench.cancelled, [TWO, ONE]);
}

#[test]
fn one_that_is_cut_is_left_to_the_other_and_only_the_last_is_looked_for() {
    let mut bench = both_run();
    bench.step(broken(false));
    assert_eq!(bench.lanes, [Some(1), None]);
    assert_eq!(
        (bench.reattached.len(), &bench.cancelled[..]),
        (0, &[ONE][..])
    );
    // What is known of it is in the log before anything is heard.
    assert_eq!(bench.audit(), ["1 one", "2 two", "200", "1 broken", "200"]);
    bench.step(broken(false));
    assert_eq!(bench.reattached, [Some(TWO)]);
    bench.step(runs(TWO));
    bench.bytes(&sse(&[HELLO, STOP, USAGE, "[DONE]"]));
    assert_eq!(bench.end().status, Status::Completed);
    assert_eq!(bench.end().upstream.as_deref(), Some("two"));
    assert_eq!((bench.dialled.len(), bench.cancelled.len()), (2, 1));

    let mut bench = both_run();
    bench.beside(broken(false));
    assert_eq!(bench.lanes, [Some(0), None]);
    assert_eq!(
        (bench.reattached.len(), &bench.cancelled[..]),
        (0, &[TWO][..])
    );
    bench.step(broken(false));
    assert_eq!(bench.reattached, [Some(ONE)]);
}

#[test]
fn a_run_whose_end_was_told_is_not_stopped() {
    let mut bench = both_run();
    bench.bytes(&sse(&[LIMITED]));
    assert_eq!((bench.lanes[0], bench.cancelled.len()), (Some(1), 0));
}

#[test]
fn beside_a_run_that_is_looked_for_nobody_is_asked() {
    let mut bench = hedging(three());
    bench.step(runs(ONE));
    bench.step(broken(false));
    assert_eq!(bench.reattached, [Some(ONE)]);
    bench.pass(LATE);
    bench.step(runs(ONE));
    bench.pass(LATE);
    assert_eq!((bench.dialled.len(), bench.spare), (1, Some(1)));
}

#[test]
fn the_next_process_looks_for_the_one_that_did_not_come_to_nothing() {
    // The first is the answer, though it was not asked last.
    let mut bench = both_run();
    bench.bytes(&sse(&[HELLO]));
    assert_eq!(bench.next_looks(), Some((1, 0, Some(ONE))));
    bench.step(runs(ONE));
    bench.bytes(&sse(&[HELLO, STOP, "[DONE]"]));
    assert_eq!(bench.events(), [HELLO, STOP, "[DONE]"]);
    assert_eq!(bench.end().upstream.as_deref(), Some("one"));

    let mut bench = both_run();
    bench.beside(Input::Bytes(sse(&[HELLO]).into()));
    assert_eq!(bench.next_looks(), Some((2, 1, Some(TWO))));
    let mut bench = both_run();
    bench.beside(broken(false));
    assert_eq!(bench.next_looks(), Some((1, 0, Some(ONE))));
    // While both were asked, the one that is known to run.
    let mut bench = hedging(three());
    bench.step(runs(ONE));
    bench.pass(LATE);
    assert_eq!(bench.dialled, [0, 1]);
    assert_eq!(bench.next_looks(), Some((1, 0, Some(ONE))));
    // Nobody knows of which the head is, so it is not in the log.
    assert_eq!(both_run().next_looks(), None);
}

#[test]
fn one_that_lost_may_go_on_when_the_process_of_the_other_dies() {
    let mut legs = route(&["one", "two"]).legs().to_vec();
    legs[1].abilities = Abilities {
        continues: true,
        ..Abilities::default()
    };
    let mut legs = legs.into_iter();
    let mut bench = hedging(Plan {
        route: Route::new(legs.next().unwrap(), legs),
        on_cut: OnCut::Recover,
        ..plan(Mode::Stream)
    });
    bench.pass(LATE);
    bench.head(200, "text/event-stream");
    bench.bytes(&sse(&[HELLO]));
    assert_eq!(bench.audit(), ["1 one", "2 two", "2 hedge_lost", "200"]);
    assert!(bench.dies());
    assert_eq!(bench.writer.attempt(), 1);
    bench.step(Input::Start);
    assert_eq!(bench.prefixes.last().unwrap().as_deref(), Some("Hello"));
    let seam = bench.records.iter().find_map(|record| match record {
        Record::Seam(seam) => Some((seam.attempt, seam.upstream.as_str(), seam.kind)),
        _ => None,
    });
    assert_eq!(seam, Some((1, "one", SeamKind::Continued)));
    assert_eq!(bench.audit().last().unwrap(), "3 two");
    bench.answer();
    assert_eq!(bench.end().status, Status::Completed);
}
