//! Random operations: the segments do what the memory does.

use std::sync::Arc;

use everstream_core::id::{Epoch, Seq};
use everstream_core::record::{Position, Record, Tail};
use everstream_store::config::{MemoryConfig, Sync};
use everstream_store::conformance::{Time, accepted, claim, end, event, id, project};
use everstream_store::memory::MemoryLog;
use everstream_store::segment::SegmentLog;
use everstream_store::{Lease, LogError, ReadLimit, StreamLog};
use everstream_testkit::disk::{FaultyDisk, Loss};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::script::open;

#[derive(Clone, Copy, Debug)]
enum Step {
    Create(u64, Option<u8>),
    /// Events from the remembered lease on, or from one that is behind or ahead.
    Append(u64, u8, Slip),
    End(u64),
    Lease(u64),
    Delete(u64),
    Read(u64, u64, usize),
    Claimed(u8),
    Crash,
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Slip {
    None,
    /// The append before, once more.
    Again,
    Epoch,
    Position,
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 1..6u64;
    let slip = prop_oneof![
        12 => Just(Slip::None),
        2 => Just(Slip::Again),
        1 => Just(Slip::Epoch),
        1 => Just(Slip::Position),
    ];
    prop_oneof![
        3 => (stream.clone(), proptest::option::of(0..3u8)).prop_map(|(n, key)| Step::Create(n, key)),
        12 => (stream.clone(), 0..5u8, slip).prop_map(|(n, count, slip)| Step::Append(n, count, slip)),
        1 => stream.clone().prop_map(Step::End),
        3 => stream.clone().prop_map(Step::Lease),
        1 => stream.clone().prop_map(Step::Delete),
        6 => (stream, 0..30u64, 1..9usize).prop_map(|(n, after, most)| Step::Read(n, after, most)),
        1 => (0..3u8).prop_map(Step::Claimed),
        1 => Just(Step::Crash),
        1 => Just(Step::Reopen),
    ]
}

/// At which lease, and what.
type Appended = (Lease, Vec<Record>);

struct Pair {
    disk: FaultyDisk,
    time: Time,
    sync: Sync,
    segments: Option<SegmentLog>,
    memory: MemoryLog,
    /// The lease and the last append of each stream.
    writers: Vec<(Lease, Option<Appended>)>,
}

impl Pair {
    fn new(sync: Sync) -> Self {
        let (disk, time) = (FaultyDisk::default(), Time::default());
        let none = Lease {
            epoch: Epoch::FIRST,
            tail: Tail::default(),
        };
        Self {
            segments: Some(open(&disk, sync, &time).unwrap()),
            memory: MemoryLog::new(MemoryConfig::default(), time.clock()),
            disk,
            time,
            sync,
            writers: vec![(none, None); 6],
        }
    }

    fn segments(&self) -> &SegmentLog {
        self.segments.as_ref().unwrap()
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Create(n, key) => {
                let record = accepted(key.map(claim));
                let ours = self.segments().create(id(n), Arc::clone(&record)).await;
                let theirs = self.memory.create(id(n), record).await;
                assert_eq!(shown(&ours), shown(&theirs), "{step:?}");
                if let Ok(everstream_store::Created::New(lease)) = ours {
                    self.writers[usize::try_from(n).unwrap()] = (lease, None);
                }
            }
            Step::Append(n, count, slip) => self.append(n, count, slip).await,
            Step::End(n) => {
                let lease = self.writers[usize::try_from(n).unwrap()].0;
                self.both(n, lease, vec![end(self.time.now())]).await;
            }
            Step::Lease(n) => {
                let ours = self.segments().lease(id(n)).await;
                let theirs = self.memory.lease(id(n)).await;
                assert_eq!(shown(&ours), shown(&theirs), "{step:?}");
                if let Ok(lease) = ours {
                    self.writers[usize::try_from(n).unwrap()] = (lease, None);
                }
            }
            Step::Delete(n) => {
                let ours = self.segments().delete(id(n)).await;
                let theirs = self.memory.delete(id(n)).await;
                assert_eq!(shown(&ours), shown(&theirs), "{step:?}");
            }
            Step::Read(n, after, events) => {
                let bytes = if events == 1 { 1 } else { 200 };
                let limit = ReadLimit { events, bytes };
                let ours = self.segments().read(id(n), Seq::new(after), limit).await;
                let theirs = self.memory.read(id(n), Seq::new(after), limit).await;
                assert_eq!(shown(&ours), shown(&theirs), "{step:?}");
            }
            Step::Claimed(key) => {
                let ours = self.segments().claimed(claim(key).key).await;
                assert_eq!(ours, self.memory.claimed(claim(key).key).await, "{step:?}");
            }
            Step::Crash | Step::Reopen => {
                if matches!(step, Step::Reopen) {
                    self.segments().close().await.unwrap();
                }
                self.segments = None;
                self.disk.restart(match (step, self.sync) {
                    (Step::Crash, Sync::Always) | (Step::Reopen, _) => Loss::Power(3),
                    _ => Loss::Kill,
                });
                self.segments = Some(open(&self.disk, self.sync, &self.time).unwrap());
                self.memory.abandon_all();
            }
        }
    }

    async fn append(&mut self, n: u64, count: u8, slip: Slip) {
        let (mut lease, last) = self.writers[usize::try_from(n).unwrap()].clone();
        let first = lease.tail.seq.get() + 1;
        let mut records: Vec<_> = (first..first + u64::from(count))
            .map(|seq| event(id(n), seq))
            .collect();
        match (slip, last) {
            (Slip::None, _) | (Slip::Again, None) => {}
            (Slip::Again, Some((at, again))) => (lease, records) = (at, again),
            (Slip::Epoch, _) => lease.epoch = Epoch::new(lease.epoch.get() ^ 1),
            (Slip::Position, _) => lease.tail.position = Position(lease.tail.position.0 + 1),
        }
        self.both(n, lease, records).await;
    }

    async fn both(&mut self, n: u64, lease: Lease, records: Vec<Record>) {
        let ours = self.segments().append(id(n), lease, &records).await;
        let theirs = self.memory.append(id(n), lease, &records).await;
        assert_eq!(
            shown(&ours),
            shown(&theirs),
            "append {records:?} at {lease:?}"
        );
        if let Ok(next) = ours {
            self.writers[usize::try_from(n).unwrap()] = (next, Some((lease, records)));
        }
    }

    /// Everything that can be asked.
    async fn compare(&self) {
        for n in 1..6 {
            let ours = self.segments().audit(id(n)).await;
            assert_eq!(shown(&ours), shown(&self.memory.audit(id(n)).await));
            let ours = self.segments().info(id(n)).await;
            assert_eq!(shown(&ours), shown(&self.memory.info(id(n)).await));
            let all = ReadLimit {
                events: usize::MAX,
                bytes: usize::MAX,
            };
            let ours = self.segments().read(id(n), Seq::ZERO, all).await;
            assert_eq!(
                shown(&ours),
                shown(&self.memory.read(id(n), Seq::ZERO, all).await)
            );
        }
        let list = |log: &dyn StreamLog| {
            let mut list = Vec::new();
            log.scan(&project("web"), &mut |info| list.push(format!("{info:?}")));
            list.sort();
            list
        };
        assert_eq!(list(self.segments()), list(&self.memory));
        let (mut ours, mut theirs) = (self.segments().orphans().await, self.memory.orphans().await);
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);
    }
}

fn shown<T: std::fmt::Debug>(result: &Result<T, LogError>) -> String {
    format!("{result:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn segments_do_what_memory_does(steps in vec(step(), 1..80), always: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new(if always { Sync::Always } else { Sync::None });
            for step in steps {
                pair.step(step).await;
            }
            pair.compare().await;
        });
    }
}
