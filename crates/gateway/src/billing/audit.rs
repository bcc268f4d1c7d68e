//! Who writes ends to the ledger's queue, and finds those that nobody wrote.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::limits;
use everstream_core::policy::bill::Bill as Sum;
use everstream_core::policy::price::PriceTable;
use everstream_core::record::{Accepted, Record};
use everstream_store::sql::queue::{LedgerQueue, QueueError};
use everstream_store::sql::values::LedgerEntry;
use everstream_store::{LogError, StreamLog};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::books::Bill;
use super::tab::Tab;
use crate::clock::Clock;

/// Entries that are written at once.
const BATCH: usize = 256;

/// Where it is read what generations cost.
pub(super) struct Source {
    pub(super) log: Arc<dyn StreamLog>,
    pub(super) prices: PriceTable,
    /// The file that says up to when all that ended is written; `None` if nothing outlives the process.
    pub(super) mark: Option<PathBuf>,
}

/// The one who writes.
pub(super) struct Clerk {
    source: Source,
    queue: Arc<LedgerQueue>,
    is_full: Arc<AtomicBool>,
    /// Somebody waits for what is being gathered.
    hurry: Arc<Notify>,
    clock: Clock,
    /// All that ended before is written, but for what a slow disk shows late.
    mark: UnixMillis,
    /// What ended since about then and is written.
    written: BTreeSet<(UnixMillis, StreamId)>,
    /// What no log has, and the queue did not take yet.
    kept: Vec<LedgerEntry>,
}

/// How much of some bills was written.
enum Taken {
    All,
    /// The rest is written later.
    Some,
    /// All, or as much as can be: there is nothing more to come.
    Last,
}

/// What is to be written, and when the generation ended if the log has it.
type Line = (LedgerEntry, Option<UnixMillis>);

impl Clerk {
    pub(super) fn new(
        source: Source,
        queue: Arc<LedgerQueue>,
        is_full: Arc<AtomicBool>,
        hurry: Arc<Notify>,
        clock: Clock,
    ) -> Self {
        Self {
            source,
            queue,
            is_full,
            hurry,
            mark: clock.now(),
            clock,
            written: BTreeSet::new(),
            kept: Vec::new(),
        }
    }

    /// Until there is nothing more.
    pub(super) async fn run(mut self, mut incoming: mpsc::Receiver<Bill>) {
        self.read_mark().await;
        // At a start nothing is on its way from here.
        let mut audit_at = Instant::now() + self.audit(Duration::ZERO).await;
        loop {
            let bill = tokio::select! {
                bill = incoming.recv() => match bill {
                    Some(bill) => bill,
                    None => return,
                },
                () = sleep_until(audit_at) => {
                    audit_at = Instant::now() + self.audit(limits::AUDIT_GRACE).await;
                    continue;
                }
            };
            let mut bills = vec![bill];
            if !matches!(bills[0], Bill::Tell(_) | Bill::Close) {
                let hurried = self.hurry.notified();
                timeout(limits::BILLS_GATHERED, hurried).await.ok();
            }
            while let Ok(bill) = incoming.try_recv() {
                bills.push(bill);
            }
            match self.take(bills).await {
                Taken::Last => return,
                Taken::All => {}
                Taken::Some => audit_at = audit_at.min(Instant::now() + limits::AUDIT_GRACE),
            }
        }
    }

    /// Writes them.
    async fn take(&mut self, bills: Vec<Bill>) -> Taken {
        let mut is_last = false;
        let mut told = Vec::new();
        let mut lines = Vec::new();
        for bill in bills {
            match bill {
                Bill::Entry(entry, ended_at) => lines.push((entry, ended_at)),
                Bill::Logged(stream, ended_at) => {
                    // What cannot be read now is found later.
                    let line = self.line(stream, ended_at).await;
                    lines.extend(line.ok().flatten());
                }
                Bill::Tell(who) => told.push(who),
                Bill::Close => is_last = true,
            }
        }
        let is_complete = self.write(lines).await;
        for who in told {
            let _ = who.send(());
        }
        match is_complete {
            _ if is_last => Taken::Last,
            true => Taken::All,
            false => Taken::Some,
        }
    }

    /// Finds what ended, so long ago at least, and was not written; says when to look again.
    async fn audit(&mut self, grace: Duration) -> Duration {
        let now = self.clock.now();
        let until = now.minus(grace);
        let since = self.mark.minus(limits::AUDIT_BACK);
        let mut found = Vec::new();
        self.source.log.ended(since, &mut |stream, at| {
            if at <= until && !self.written.contains(&(at, stream)) {
                found.push((stream, at));
            }
        });
        // What waits here, and whether there is room for it again.
        let mut is_complete = self.write(Vec::new()).await;
        for some in found.chunks(BATCH) {
            let mut lines = Vec::with_capacity(some.len());
            for &(stream, at) in some {
                match self.line(stream, at).await {
                    Ok(line) => lines.extend(line),
                    Err(_) => is_complete = false,
                }
            }
            is_complete &= self.write(lines).await;
        }
        if !is_complete {
            return limits::AUDIT_GRACE;
        }
        if !found.is_empty() {
            tracing::info!(
                found = found.len(),
                "ends in the log were written to the ledger"
            );
        }
        self.mark = self.mark.max(now.minus(limits::AUDIT_GRACE));
        let since = self.mark.minus(limits::AUDIT_BACK);
        self.written = self.written.split_off(&(since, StreamId::from_bits(0)));
        self.write_mark().await;
        limits::AUDIT_EVERY
    }

    /// Writes to the ledger's queue. False if not all is written: what the log has is found there
    /// later, and what it has not is kept.
    async fn write(&mut self, mut lines: Vec<Line>) -> bool {
        let kept = std::mem::take(&mut self.kept);
        lines.extend(kept.into_iter().map(|entry| (entry, None)));
        let was_full = self.is_full.load(Ordering::Relaxed);
        if lines.is_empty() && !was_full {
            return true;
        }
        let (entries, ends): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        let pushed = self.queue.push_all(&entries).await;
        let is_full = match &pushed {
            // Not before there is some room again.
            Ok(()) => was_full && self.queue.status().bytes > limits::LEDGER_QUEUE_BYTES / 10 * 9,
            Err(error) => matches!(error, QueueError::Full { .. }),
        };
        if is_full != self.is_full.swap(is_full, Ordering::Relaxed) {
            tracing::warn!(is_full, "the ledger's queue on disk");
        }
        if let Err(error) = pushed {
            tracing::error!(%error, "generations that ended are not written to the ledger yet");
            let unlogged = entries
                .into_iter()
                .zip(ends)
                .filter(|(_, end)| end.is_none());
            self.kept.extend(unlogged.map(|(entry, _)| entry));
            self.kept.truncate(limits::BILLS);
            return false;
        }
        let ids = entries.iter().map(|entry| entry.stream);
        let written = ids.zip(ends).filter_map(|(id, end)| Some((end?, id)));
        self.written.extend(written);
        !is_full
    }

    /// What the log says that a generation cost.
    async fn line(&self, stream: StreamId, ended_at: UnixMillis) -> Result<Option<Line>, LogError> {
        match self.read(stream).await {
            Ok(entry) => Ok(entry.map(|entry| (entry, Some(ended_at)))),
            // Deleted, or past retention: whoever ended it has written it.
            Err(LogError::Gone { .. } | LogError::NotFound) => Ok(None),
            Err(error) => {
                tracing::error!(%stream, %error, "what a generation cost cannot be read");
                let is_lost = matches!(error, LogError::Damaged(_));
                if is_lost { Ok(None) } else { Err(error) }
            }
        }
    }

    async fn read(&self, stream: StreamId) -> Result<Option<LedgerEntry>, LogError> {
        let audit = self.source.log.audit(stream).await?;
        let accepted: Option<Arc<Accepted>> = audit.iter().find_map(|record| match record {
            Record::Accepted(accepted) => Some(Arc::clone(accepted)),
            _ => None,
        });
        let (Some(accepted), Some(Record::End(end))) = (accepted, audit.last()) else {
            return Ok(None);
        };
        let mut sum = Sum::default();
        audit.iter().for_each(|record| sum.push(record));
        let charge = sum.charge(end, &self.source.prices);
        Ok(Some(Tab::new(stream, &accepted).entry(end, charge)))
    }

    async fn read_mark(&mut self) {
        let Some(path) = self.source.mark.clone() else {
            return;
        };
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        let mark = read.ok().and_then(Result::ok);
        match mark.and_then(|text| text.trim().parse().ok()) {
            // A clock that was put back must not hide what ended since.
            Some(mark) => self.mark = self.mark.min(UnixMillis(mark)),
            // There was no ledger before.
            None => self.write_mark().await,
        }
    }

    /// Another process may write its own beside: each says what is so.
    async fn write_mark(&self) {
        let Some(path) = self.source.mark.clone() else {
            return;
        };
        let text = self.mark.0.to_string();
        let new = path.with_extension(format!("mark.{}", std::process::id()));
        let write = move || {
            std::fs::write(&new, text)?;
            std::fs::rename(&new, &path)
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            tracing::warn!(%error, "ledger.mark cannot be written");
        }
    }
}
