//! The real segment log, which dies with its process.
//!
//! Some of its work is done by threads of its own: whoever asks for that waits for it here and now, so
//! that virtual time stands still meanwhile and a seed gives one schedule.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use everstream_core::event::StreamInfo;
use everstream_core::id::{ProjectId, Seq, StreamId, UnixMillis};
use everstream_core::record::{Accepted, Digest, Record, Tail};
use everstream_store::config::{SegmentConfig, Sync};
use everstream_store::segment::SegmentLog;
use everstream_store::{
    Claimed, Created, Lease, LogError, LogFuture, Page, ReadLimit, Retained, Stat, StreamLog,
};
use everstream_testkit::disk::{Fault, FaultyDisk};

use crate::net::Net;
use crate::process::wall;

pub(crate) struct SimLog {
    log: SegmentLog,
    disk: FaultyDisk,
    /// It dies in this change of the disk; 0 for never.
    dies_at: AtomicU64,
    net: Net,
    now: Arc<AtomicU64>,
}

impl SimLog {
    /// Opens the log of a process on the disk.
    pub(crate) fn open(disk: &FaultyDisk, net: &Net, segment_bytes: u64) -> Result<Self, LogError> {
        let now = Arc::new(AtomicU64::new(wall(net).0));
        let config = SegmentConfig {
            sync: Sync::None,
            segment_bytes,
            // The watch over the disk goes by the machine's clock.
            patience: std::time::Duration::MAX,
            ..SegmentConfig::new("/data")
        };
        let time = Arc::clone(&now);
        let clock = Arc::new(move || UnixMillis(time.load(Ordering::Relaxed)));
        Ok(Self {
            log: SegmentLog::open(config, Arc::new(disk.clone()), clock)?,
            disk: disk.clone(),
            dies_at: AtomicU64::new(0),
            net: net.clone(),
            now,
        })
    }

    /// Lets the process die in one of its next changes of the disk, which is half done then.
    pub(crate) fn die_at(&self, change: u64) {
        self.disk.set_fault(Fault::StopAt(change));
        self.dies_at.store(change, Ordering::Relaxed);
    }

    pub(crate) fn is_dead(&self) -> bool {
        let at = self.dies_at.load(Ordering::Relaxed);
        at > 0 && self.disk.changes() >= at
    }

    /// From now on nothing gets to the disk.
    pub(crate) fn kill(&self) {
        self.disk.set_fault(Fault::StopAt(1));
    }

    /// What comes of it, at once; nothing ever, if the process died of it.
    async fn now<T>(&self, work: impl Future<Output = T>) -> T {
        self.now.store(wall(&self.net).0, Ordering::Relaxed);
        let done = wait(work);
        if self.is_dead() {
            self.net.interrupt();
            return pending().await;
        }
        done
    }
}

/// Waits for what other threads do.
fn wait<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut cx) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

impl StreamLog for SimLog {
    fn create(
        &self,
        id: StreamId,
        accepted: Arc<Accepted>,
    ) -> LogFuture<'_, Result<Created, LogError>> {
        Box::pin(self.now(self.log.create(id, accepted)))
    }

    fn lease(&self, id: StreamId) -> LogFuture<'_, Result<Lease, LogError>> {
        Box::pin(self.now(self.log.lease(id)))
    }

    fn append<'a>(
        &'a self,
        id: StreamId,
        lease: Lease,
        records: &'a [Record],
    ) -> LogFuture<'a, Result<Lease, LogError>> {
        Box::pin(self.now(self.log.append(id, lease, records)))
    }

    fn read(
        &self,
        id: StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> LogFuture<'_, Result<Page, LogError>> {
        Box::pin(self.now(self.log.read(id, after, limit)))
    }

    fn audit(&self, id: StreamId) -> LogFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(self.now(self.log.audit(id)))
    }

    fn wait(&self, id: StreamId, seen: Tail) -> LogFuture<'_, ()> {
        self.log.wait(id, seen)
    }

    fn info(&self, id: StreamId) -> LogFuture<'_, Result<Stat, LogError>> {
        Box::pin(self.now(self.log.info(id)))
    }

    fn claimed(&self, key: Digest) -> LogFuture<'_, Option<Claimed>> {
        Box::pin(self.now(self.log.claimed(key)))
    }

    fn scan(&self, project: &ProjectId, visit: &mut dyn FnMut(&StreamInfo)) {
        self.log.scan(project, visit);
    }

    fn scan_all(&self, visit: &mut dyn FnMut(&StreamInfo)) {
        self.log.scan_all(visit);
    }

    fn ended(&self, since: UnixMillis, visit: &mut dyn FnMut(StreamId, UnixMillis)) {
        self.log.ended(since, visit);
    }

    fn orphans(&self) -> LogFuture<'_, Vec<StreamId>> {
        Box::pin(async {
            let mut orphans = self.now(self.log.orphans()).await;
            orphans.sort();
            orphans
        })
    }

    fn delete(&self, id: StreamId) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(self.now(self.log.delete(id)))
    }

    fn retain(&self) -> LogFuture<'_, Result<Retained, LogError>> {
        Box::pin(self.now(self.log.retain()))
    }

    fn close(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(self.now(self.log.close()))
    }
}
