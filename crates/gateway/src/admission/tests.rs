use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use everstream_core::config::Config;
use everstream_core::policy::deployment::DeploymentSettings;
use everstream_core::policy::overload::Ceiling;
use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::upstream::health::Bell;

const MOST: usize = 4;
const ROOM: [u32; 2] = [2, 3];
const PLACES: usize = 6;
const PATIENCE: Duration = Duration::from_secs(10);

type Entering = Pin<Box<dyn Future<Output = Result<Admitted, Error>>>>;

/// An admission in front of two deployments.
struct Bench {
    admission: Arc<Admission>,
    deployments: [Arc<Health>; 2],
}

impl Bench {
    fn new() -> Self {
        let mut config = Config::default();
        config.limits.max_concurrency = u32::try_from(MOST).ok();
        config.limits.queue = PLACES;
        config.limits.queue_timeout = PATIENCE;
        let clock = Clock::start();
        let admission = Admission::new(&config.limits, clock);
        let bell = Arc::new(Bell::default());
        let hearer = Arc::clone(&admission);
        bell.answer(move || hearer.settle());
        let deployments = ROOM.map(|room| {
            let settings = DeploymentSettings {
                ceiling: Ceiling::Fixed(room),
                ..DeploymentSettings::default()
            };
            Health::new("u/m".to_owned(), settings, clock, Arc::clone(&bell))
        });
        Self {
            admission,
            deployments,
        }
    }

    fn enter(&self, project: usize, at: &[usize], timeout: Option<Duration>) -> Entering {
        let project = ["a", "b", "c"][project].parse().expect("a name");
        let at = at.iter().map(|at| Arc::clone(&self.deployments[*at]));
        let (at, admission) = (at.collect(), Arc::clone(&self.admission));
        Box::pin(async move { admission.enter(&project, at, timeout).await })
    }
}

fn poll(entering: &mut Entering) -> Poll<Result<Admitted, Error>> {
    let mut context = Context::from_waker(Waker::noop());
    entering.as_mut().poll(&mut context)
}

#[derive(Clone, Debug)]
enum Step {
    Enter(usize, Vec<usize>, Option<u64>),
    Leave(usize),
    End(usize),
    /// The attempt is over, the generation not yet.
    Judge(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let at = prop_oneof![
        Just(vec![0]),
        Just(vec![1]),
        Just(vec![0, 1]),
        Just(vec![1, 0])
    ];
    let enter = (0..3usize, at, proptest::option::of(0..12_000u64));
    prop_oneof![
        6 => enter.prop_map(|(project, at, timeout)| Step::Enter(project, at, timeout)),
        1 => (0..6usize).prop_map(Step::Leave),
        3 => (0..6usize).prop_map(Step::End),
        1 => (0..6usize).prop_map(Step::Judge),
        1 => (0..8_000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// After each step everybody who could run has been let in or told why not, and what is counted is
    /// what is there: nothing leaks, and no wake-up is lost.
    #[test]
    fn nothing_leaks_and_nobody_is_forgotten(
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let bench = Bench::new();
            let mut waiting: Vec<(Entering, Vec<usize>)> = Vec::new();
            let mut running: Vec<Admitted> = Vec::new();
            for step in steps {
                match step {
                    Step::Enter(project, at, timeout) => {
                        let timeout = timeout.map(Duration::from_millis);
                        waiting.push((bench.enter(project, &at, timeout), at));
                    }
                    Step::Leave(nth) if nth < waiting.len() => drop(waiting.remove(nth)),
                    Step::End(nth) if nth < running.len() => drop(running.remove(nth)),
                    Step::Judge(nth) if nth < running.len() => running[nth].way = Way::Shut,
                    Step::Leave(_) | Step::End(_) | Step::Judge(_) => {}
                    Step::Pass(time) => advance(Duration::from_millis(time)).await,
                }
                // Twice, as the newest may have displaced one that was asked before.
                for _ in 0..2 {
                    waiting.retain_mut(|(entering, _)| match poll(entering) {
                        Poll::Pending => true,
                        Poll::Ready(told) => {
                            running.extend(told);
                            false
                        }
                    });
                }
                let sight = bench.admission.sight();
                assert_eq!(sight.running as usize, running.len());
                assert_eq!(sight.waiting, waiting.len());
                assert!(running.len() <= MOST && waiting.len() <= PLACES);
                let rooms = bench.deployments.each_ref().map(|health| health.refused().is_none());
                let stuck = waiting.iter().any(|(_, at)| at.iter().any(|at| rooms[*at]));
                assert!(!stuck || running.len() == MOST);
            }
            drop((waiting, running));
            let sight = bench.admission.sight();
            assert_eq!((sight.running, sight.waiting), (0, 0));
            assert!(bench.deployments.iter().all(|health| health.sight().in_flight == 0));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn one_wake_goes_to_one_and_a_late_one_gives_it_on() {
    let bench = Bench::new();
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(bench.enter(0, &[0], None).await.expect("room"));
    }
    let mut first = bench.enter(0, &[0], None);
    let mut second = bench.enter(0, &[0], None);
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    drop(running.pop());
    assert!(poll(&mut second).is_pending());
    // It was called, and does not come.
    drop(first);
    let admitted = second.await.expect("its turn");
    assert!(matches!(admitted.way, Way::By(0, _)));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_asked_for_another_reason_is_not_waited_for() {
    let bench = Bench::new();
    bench.deployments[1].drain(true);
    let admitted = bench.enter(0, &[1], None).await.expect("let in");
    assert!(matches!(admitted.way, Way::Shut));
    // One that is only full is.
    let _running = [
        bench.enter(0, &[1, 0], None).await.expect("room"),
        bench.enter(0, &[1, 0], None).await.expect("room"),
    ];
    let mut waits = bench.enter(0, &[1, 0], None);
    assert!(poll(&mut waits).is_pending());
    // Nobody tells that it is back; it is looked for after a while.
    bench.deployments[1].drain(false);
    advance(PATIENCE).await;
    assert!(poll(&mut waits).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_lets_nobody_wait() {
    let bench = Bench::new();
    let _running = [
        bench.enter(0, &[0], None).await.expect("room"),
        bench.enter(0, &[0], None).await.expect("room"),
    ];
    let mut waits = bench.enter(0, &[0], None);
    assert!(poll(&mut waits).is_pending());
    bench.admission.drain();
    let error = waits.await.expect_err("not let in");
    assert_eq!(error.code, ErrorCode::Draining);
}
