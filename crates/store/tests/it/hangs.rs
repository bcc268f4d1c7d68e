//! A disk that hangs: who needs it is told in time, the runtime goes on, and so does the log when
//! the disk does.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everstream_core::record::Record;
use everstream_store::config::{SegmentConfig, Sync};
use everstream_store::conformance::{Time, accepted, claim, end, event, events, id};
use everstream_store::segment::SegmentLog;
use everstream_store::{Created, Lease, LogError, StreamLog};
use everstream_testkit::disk::{FaultyDisk, Held, Loss};
use tokio::task::JoinHandle;

use crate::script::readable;

/// Longer than a busy machine keeps a thread that only writes to memory from going on.
const PATIENCE: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_mins(1);

/// A log on a disk that is released when a test fails: the log's threads must end.
struct Hanging {
    disk: FaultyDisk,
    time: Time,
    log: Arc<SegmentLog>,
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.disk.release();
    }
}

impl Hanging {
    fn new(sync: Sync) -> Self {
        Self::with(sync, PATIENCE)
    }

    fn with(sync: Sync, patience: Duration) -> Self {
        let (disk, time) = (FaultyDisk::default(), Time::default());
        let log = Arc::new(open(&disk, sync, patience, &time));
        Self { disk, time, log }
    }

    async fn create(&self, n: u64) -> Lease {
        match self.log.create(id(n), accepted(None)).await {
            Ok(Created::New(lease)) => lease,
            other => panic!("not created: {other:?}"),
        }
    }

    /// Appends in a task of its own: it may keep its worker.
    fn append(
        &self,
        n: u64,
        lease: Lease,
        records: Vec<Record>,
    ) -> JoinHandle<Result<Lease, LogError>> {
        let log = Arc::clone(&self.log);
        tokio::spawn(async move { log.append(id(n), lease, &records).await })
    }

    /// Waits until the log says whether it is stalled.
    async fn until_stalled(&self, stalled: bool) {
        in_time(async {
            while self.log.is_stalled() != stalled {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

fn open(disk: &FaultyDisk, sync: Sync, patience: Duration, time: &Time) -> SegmentLog {
    let config = SegmentConfig {
        sync,
        patience,
        ..SegmentConfig::new("/data")
    };
    SegmentLog::open(config, Arc::new(disk.clone()), time.clock()).unwrap()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let timeout = tokio::time::timeout(AT_MOST, future).await;
    timeout.expect("it hangs with the disk")
}

fn is_stalled<T: std::fmt::Debug>(result: Result<T, LogError>) {
    match result {
        Err(LogError::Stalled) => {}
        other => panic!("not stalled: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_hang_keep_one_worker_and_nobody_else() {
    for sync in [
        Sync::None,
        Sync::Interval(Duration::from_millis(1)),
        Sync::Always,
    ] {
        let hanging = Hanging::new(sync);
        let (log, disk) = (&hanging.log, &hanging.disk);
        let mut leases = Vec::new();
        for n in 1..=8 {
            let lease = hanging.create(n).await;
            leases.push(log.append(id(n), lease, &[event(id(n), 1)]).await.unwrap());
        }
        disk.hold(Held::Changes);
        // More than there are workers, all at once.
        let appends: Vec<_> = (1..)
            .zip(&leases)
            .map(|(n, lease)| hanging.append(n, *lease, vec![event(id(n), 2)]))
            .collect();
        hanging.until_stalled(true).await;
        for (n, lease) in (1..).zip(&leases) {
            let at_once = log.try_append(id(n), *lease, &[event(id(n), 2)]);
            assert!(at_once.is_none(), "{at_once:?}");
            let appended = hanging.append(n, *lease, vec![event(id(n), 2)]);
            is_stalled(in_time(appended).await.unwrap());
        }
        is_stalled(in_time(log.create(id(99), accepted(None))).await);
        is_stalled(in_time(log.create(id(98), accepted(Some(claim(1))))).await);
        is_stalled(in_time(log.retain()).await);
        // What was acknowledged is read on: the kernel has it.
        for n in 1..=8 {
            let (read, error) = in_time(readable(&**log, id(n))).await;
            assert_eq!((read, error.is_none()), (vec![event(id(n), 1)], true));
        }
        // Others of the log's own may have stalled before these, so they are waited for.
        in_time(async {
            while appends
                .iter()
                .filter(|append| !append.is_finished())
                .count()
                > 1
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        disk.release();
        let mut kept_a_worker = 0;
        for append in appends {
            match in_time(append).await.unwrap() {
                Ok(_) => kept_a_worker += 1,
                error => is_stalled(error),
            }
        }
        assert!(
            kept_a_worker <= 1,
            "{kept_a_worker} appends kept their workers"
        );
        hanging.until_stalled(false).await;
        // What was told to have failed is there, or not; the stream goes on from where it is.
        for n in 1..=8 {
            let (read, _) = readable(&**log, id(n)).await;
            assert!(
                read == events(id(n), 1, 1) || read == events(id(n), 1, 2),
                "{read:?}"
            );
            let tail = log.info(id(n)).await.unwrap().tail;
            let lease = Lease { tail, ..leases[0] };
            let records = [event(id(n), tail.seq.get() + 1), end(hanging.time.now())];
            in_time(log.append(id(n), lease, &records)).await.unwrap();
        }
        hanging.create(99).await;
    }
}

#[tokio::test]
async fn syncs_that_hang_stall_a_log_that_promises_them() {
    for sync in [Sync::Interval(Duration::from_millis(1)), Sync::Always] {
        let hanging = Hanging::new(sync);
        let lease = hanging.create(1).await;
        hanging.disk.hold(Held::Syncs);
        let appended = hanging.append(1, lease, vec![event(id(1), 1)]);
        hanging.until_stalled(true).await;
        let appended = in_time(appended).await.unwrap();
        if sync == Sync::Always {
            is_stalled(appended);
            assert_eq!(
                readable(&*hanging.log, id(1)).await.0,
                [],
                "not durable yet"
            );
        } else {
            appended.unwrap();
        }
        is_stalled(in_time(hanging.log.create(id(2), accepted(None))).await);
        hanging.disk.release();
        hanging.until_stalled(false).await;
        hanging.create(2).await;
        assert_eq!(readable(&*hanging.log, id(1)).await.0, [event(id(1), 1)]);
    }
}

#[tokio::test]
async fn a_sync_that_takes_long_keeps_no_append_from_being_done_at_once() {
    let interval = Sync::Interval(Duration::from_millis(1));
    let hanging = Hanging::with(interval, Duration::from_mins(1));
    let mut lease = hanging.create(1).await;
    hanging.disk.hold(Held::Syncs);
    // Many samples of the thread that looks, but less than a sync may take.
    let start = Instant::now();
    let (mut last, mut at_once) = (0, 0);
    while start.elapsed() < Duration::from_millis(300) {
        last += 1;
        let records = [event(id(1), last)];
        let appended = hanging.log.try_append(id(1), lease, &records);
        at_once += u64::from(appended.is_some());
        lease = match appended {
            Some(appended) => appended.unwrap(),
            // The sync thread has the lock for a moment before it syncs.
            None => hanging.log.append(id(1), lease, &records).await.unwrap(),
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(at_once * 2 > last, "{at_once} of {last}");
    assert_eq!(
        readable(&*hanging.log, id(1)).await.0,
        events(id(1), 1, last)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_hang_fail_in_time() {
    let hanging = Hanging::new(Sync::None);
    let lease = hanging.create(1).await;
    let lease = hanging
        .log
        .append(id(1), lease, &[event(id(1), 1)])
        .await
        .unwrap();
    hanging.disk.hold(Held::All);
    let first = hanging.append(1, lease, vec![event(id(1), 2)]);
    hanging.until_stalled(true).await;
    is_stalled(in_time(hanging.log.info(id(1))).await);
    let read = in_time(readable(&*hanging.log, id(1))).await;
    assert!(matches!(read.1, Some(LogError::Stalled)), "{read:?}");
    hanging.disk.release();
    // It kept its worker and succeeds, or went elsewhere and was told.
    if let Err(error) = in_time(first).await.unwrap() {
        is_stalled(Err::<(), _>(error));
    }
    hanging.until_stalled(false).await;
    let (read, error) = readable(&*hanging.log, id(1)).await;
    assert!(error.is_none(), "{error:?}");
    assert!(
        read == events(id(1), 1, 1) || read == events(id(1), 1, 2),
        "{read:?}"
    );
}

#[tokio::test]
async fn a_log_on_a_disk_that_hangs_can_be_closed() {
    let hanging = Hanging::new(Sync::Interval(Duration::from_millis(1)));
    let lease = hanging.create(1).await;
    hanging
        .log
        .append(id(1), lease, &[event(id(1), 1)])
        .await
        .unwrap();
    hanging.disk.hold(Held::Syncs);
    is_stalled(in_time(hanging.log.close()).await);
    hanging.disk.release();
    hanging.disk.restart(Loss::Kill);
    let log = open(&hanging.disk, Sync::None, PATIENCE, &hanging.time);
    assert_eq!(readable(&log, id(1)).await.0, [event(id(1), 1)]);
}
