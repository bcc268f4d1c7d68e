//! The real segment log, run in step with the simulation, and a book of what was asked of it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use everstream_core::event::StreamInfo;
use everstream_core::id::{ProjectId, Seq, StreamId, UnixMillis};
use everstream_core::record::{Accepted, Claim, Digest, End, Record, Tail};
use everstream_store::segment::SegmentLog;
use everstream_store::{
    Claimed, Created, Lease, LogError, LogFuture, Page, ReadLimit, Retained, Stat, StreamLog,
};

use super::disk::{Done, Gate};

/// What was asked of all logs, by stream.
#[derive(Default)]
pub(crate) struct Book {
    accounts: Mutex<HashMap<StreamId, Account>>,
    /// Grows with all that is asked.
    asked: AtomicU64,
    /// Something that a log may never say.
    trouble: Mutex<Option<String>>,
}

/// What was asked of the log for one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// The number that the simulation knows it by.
    pub(crate) number: usize,
    pub(crate) claim: Option<Claim>,
    /// All leases that were given for it, oldest first, each with its newest tail, and the number
    /// of the process that got it.
    pub(crate) leases: Vec<(u32, Lease)>,
    /// Some append since the last lease was refused or failed.
    pub(crate) failed: bool,
    /// A terminal record was at least tried to write: when, and whether it freed the claim.
    pub(crate) ending: Option<(UnixMillis, bool)>,
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Account>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much was asked so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn take_trouble(&self) -> Option<String> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.take()
    }

    fn watch<T>(&self, id: StreamId, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error @ (LogError::Damaged(_) | LogError::Misfit(_))) = &result {
            let number = self.get(id).number;
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            trouble.get_or_insert(format!("s{number}: {error}"));
        }
        result
    }

    pub(crate) fn get(&self, id: StreamId) -> Account {
        self.lock().get(&id).cloned().unwrap_or_default()
    }

    /// All streams that a log was asked to create, in the order of their numbers.
    pub(crate) fn streams(&self) -> Vec<StreamId> {
        let book = self.lock();
        let mut all: Vec<_> = book.keys().copied().collect();
        all.sort_by_key(|id| (book[id].number, *id));
        all
    }

    fn leased(&self, id: StreamId, process: u32, lease: Lease) {
        let mut book = self.lock();
        let account = book.entry(id).or_default();
        account.leases.push((process, lease));
        account.failed = false;
    }

    /// Any of the attempts to end a stream may be the one that is found.
    fn ending(&self, id: StreamId, end: &End) {
        let mut book = self.lock();
        let ending = &mut book.entry(id).or_default().ending;
        let (at, released) = ending.unwrap_or((end.at, false));
        *ending = Some((at, released || end.release_claim));
    }

    fn appended(&self, id: StreamId, result: &Result<Lease, LogError>) {
        let mut book = self.lock();
        let account = book.entry(id).or_default();
        match result {
            Ok(lease) => {
                let newest = account.leases.iter_mut().rev();
                let mut newest = newest.map(|(_, held)| held);
                if let Some(held) = newest.find(|held| held.epoch == lease.epoch) {
                    *held = *lease;
                }
            }
            Err(_) => account.failed = true,
        }
    }
}

/// A process's log.
pub(crate) struct SimLog {
    log: SegmentLog,
    process: u32,
    gate: Arc<Gate>,
    book: Arc<Book>,
}

impl SimLog {
    pub(crate) fn new(log: SegmentLog, process: u32, gate: Arc<Gate>, book: Arc<Book>) -> Self {
        Self {
            log,
            process,
            gate,
            book,
        }
    }

    /// Appends with a lease that must be refused; what comes of it is not in the book.
    pub(crate) async fn append_stale(
        &self,
        id: StreamId,
        lease: Lease,
        records: &[Record],
    ) -> Result<Lease, LogError> {
        self.at_once(move || self.log.append(id, lease, records))
            .await
    }

    /// Runs `asked` to its end in one go; whatever hangs in a slow device is finished first, as
    /// this may hold locks over a sync.
    fn at_once<'a, T: 'a>(
        &'a self,
        asked: impl FnOnce() -> LogFuture<'a, T> + Send + 'a,
    ) -> LogFuture<'a, T> {
        Box::pin(async move {
            self.gate.speed_up();
            self.in_step(asked()).await
        })
    }

    fn in_step<'a, T: 'a>(&'a self, asked: LogFuture<'a, T>) -> InStep<'a, T> {
        let done = self.gate.done();
        InStep {
            asked,
            waker: Arc::clone(&done).into(),
            done,
            gate: &self.gate,
        }
    }
}

/// An operation of the log during which nothing else goes on, unless the device is slow.
struct InStep<'a, T> {
    asked: LogFuture<'a, T>,
    done: Arc<Done>,
    waker: Waker,
    gate: &'a Gate,
}

impl<T> Future for InStep<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        loop {
            let this = &mut *self;
            let mut inner = Context::from_waker(&this.waker);
            // The runtime's budget would otherwise make it wait for a wake-up of the runtime's.
            let asked = std::pin::pin!(tokio::task::unconstrained(this.asked.as_mut()));
            if let Poll::Ready(result) = asked.poll(&mut inner) {
                return Poll::Ready(result);
            }
            if !this.gate.wait_for(&this.done, cx.waker()) {
                return Poll::Pending;
            }
        }
    }
}

impl StreamLog for SimLog {
    fn create(
        &self,
        id: StreamId,
        accepted: Arc<Accepted>,
    ) -> LogFuture<'_, Result<Created, LogError>> {
        let number = accepted.model.trim_start_matches('s').parse().unwrap_or(0);
        {
            let mut book = self.book.lock();
            let account = book.entry(id).or_default();
            (account.number, account.claim) = (number, accepted.claim);
        }
        Box::pin(async move {
            let created = self.at_once(move || self.log.create(id, accepted)).await;
            if let Ok(Created::New(lease)) = created
                && !self.gate.is_dead()
            {
                self.book.leased(id, self.process, lease);
            }
            created
        })
    }

    fn lease(&self, id: StreamId) -> LogFuture<'_, Result<Lease, LogError>> {
        Box::pin(async move {
            let lease = self.at_once(move || self.log.lease(id)).await?;
            // What a process hears after its death it can tell nobody.
            if !self.gate.is_dead() {
                self.book.leased(id, self.process, lease);
            }
            Ok(lease)
        })
    }

    fn append<'a>(
        &'a self,
        id: StreamId,
        lease: Lease,
        records: &'a [Record],
    ) -> LogFuture<'a, Result<Lease, LogError>> {
        Box::pin(async move {
            for record in records {
                if let Record::End(end) = record
                    && !self.gate.is_dead()
                {
                    self.book.ending(id, end);
                }
            }
            let appended = self.in_step(self.log.append(id, lease, records)).await;
            let appended = self.book.watch(id, appended);
            self.book.appended(id, &appended);
            appended
        })
    }

    fn read(
        &self,
        id: StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> LogFuture<'_, Result<Page, LogError>> {
        Box::pin(async move {
            let page = self.log.read(id, after, limit).await;
            self.book.watch(id, page)
        })
    }

    fn audit(&self, id: StreamId) -> LogFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(async move {
            let records = self.log.audit(id).await;
            self.book.watch(id, records)
        })
    }

    fn wait(&self, id: StreamId, seen: Tail) -> LogFuture<'_, ()> {
        self.log.wait(id, seen)
    }

    fn info(&self, id: StreamId) -> LogFuture<'_, Result<Stat, LogError>> {
        self.log.info(id)
    }

    fn claimed(&self, key: Digest) -> LogFuture<'_, Option<Claimed>> {
        self.log.claimed(key)
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

    /// In the order of the simulation's numbers: the log's own order is its hash table's.
    fn orphans(&self) -> LogFuture<'_, Vec<StreamId>> {
        Box::pin(async move {
            let mut orphans = self.at_once(|| self.log.orphans()).await;
            let book = self.book.lock();
            orphans.sort_by_key(|id| book.get(id).map(|account| account.number));
            orphans
        })
    }

    fn delete(&self, id: StreamId) -> LogFuture<'_, Result<(), LogError>> {
        self.at_once(move || self.log.delete(id))
    }

    fn retain(&self) -> LogFuture<'_, Result<Retained, LogError>> {
        self.at_once(|| self.log.retain())
    }

    fn close(&self) -> LogFuture<'_, Result<(), LogError>> {
        self.at_once(|| self.log.close())
    }
}
