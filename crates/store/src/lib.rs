//! The stream log: the contract that every backend keeps, and the backends.
//!
//! The contract is the doc comments of [`StreamLog`]; `conformance` is its test. A new backend is
//! done when it passes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use everstream_core::event::{Event, StreamInfo};
use everstream_core::id::{Epoch, ProjectId, Seq, StreamId, UnixMillis};
use everstream_core::record::{Accepted, Claim, Digest, End, Misfit, Record, Tail};

mod admit;
pub mod config;
pub mod conformance;
pub mod counters;
pub mod disk;
mod graves;
mod ids;
pub mod memory;
pub mod segment;
pub mod sql;

/// A future of the log's; boxed, so that a backend can be chosen at run time.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An append-only log of many streams.
///
/// What holds for every backend, at any time, after any crash of the process:
/// - Events of a stream have the seqs 1, 2, 3 ... without holes, and the order they were appended.
/// - A record that was acknowledged (its `append` returned `Ok`) is as durable as the backend
///   promises. A reader never sees one that is not acknowledged.
/// - An append succeeds only at the tail and only for the newest epoch.
/// - The terminal record is the last: every append after it is refused.
/// - Repeating an append of unknown effect with the same records succeeds and changes nothing.
pub trait StreamLog: Send + Sync + 'static {
    /// Opens a stream with its first record. The claim in `accepted`, if any, is taken in the same
    /// atomic step; when another stream holds it, nothing is created and that stream is named.
    fn create(
        &self,
        id: StreamId,
        accepted: Arc<Accepted>,
    ) -> LogFuture<'_, Result<Created, LogError>>;

    /// Takes over a stream whose writer died: the new epoch fences the old one. Refused with
    /// [`LogError::Held`] while the holder lives, and with [`LogError::Ended`] after the end.
    fn lease(&self, id: StreamId) -> LogFuture<'_, Result<Lease, LogError>>;

    /// Appends `records` at `lease.tail`, all or none of them, and gives the lease with its tail
    /// moved on. Returns once they are durable at the configured level.
    fn append<'a>(
        &'a self,
        id: StreamId,
        lease: Lease,
        records: &'a [Record],
    ) -> LogFuture<'a, Result<Lease, LogError>>;

    /// As [`append`](Self::append), done before this returns. `None` when that would take waiting,
    /// or may: then nothing was appended.
    fn try_append(
        &self,
        _id: StreamId,
        _lease: Lease,
        _records: &[Record],
    ) -> Option<Result<Lease, LogError>> {
        None
    }

    /// The events after `after`, from the oldest on, as many as `limit` allows but at least one if
    /// there is one. Bounded and never waits for more to come.
    fn read(
        &self,
        id: StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> LogFuture<'_, Result<Page, LogError>>;

    /// All records but the events, in order: what happened to the stream and why.
    fn audit(&self, id: StreamId) -> LogFuture<'_, Result<Vec<Record>, LogError>>;

    /// Waits until the stream's tail may have moved beyond `seen` (a seq and whether it ended).
    /// Only a hint: it may come early or for nothing, and a wake-up between two calls is never
    /// lost, as the second returns at once when the tail is beyond `seen`.
    fn wait(&self, id: StreamId, seen: Tail) -> LogFuture<'_, ()>;

    /// What is known of the stream without reading it.
    fn info(&self, id: StreamId) -> LogFuture<'_, Result<Stat, LogError>>;

    /// The stream that holds a claim on this key, if any.
    fn claimed(&self, key: Digest) -> LogFuture<'_, Option<Claimed>>;

    /// Calls `visit` for every stream of `project`, in no order. Cheap for each stream, no I/O.
    fn scan(&self, project: &ProjectId, visit: &mut dyn FnMut(&StreamInfo));

    /// Calls `visit` for every stream, whoever owns it, in no order.
    fn scan_all(&self, visit: &mut dyn FnMut(&StreamInfo));

    /// Calls `visit` for every stream, whosever it is, whose terminal record says that it ended at
    /// `since` or later, with that time, in no order. Cheap for each stream, no I/O.
    fn ended(&self, since: UnixMillis, visit: &mut dyn FnMut(StreamId, UnixMillis));

    /// Streams without a terminal record whose writer is dead: what a recovery has to resolve.
    fn orphans(&self) -> LogFuture<'_, Vec<StreamId>>;

    /// Whether the storage hangs, so that appends fail with [`LogError::Stalled`] at once. Free to
    /// ask at any time.
    fn is_stalled(&self) -> bool {
        false
    }

    /// Forgets a stream at once: it becomes a tombstone. The bytes go with their segment.
    fn delete(&self, id: StreamId) -> LogFuture<'_, Result<(), LogError>>;

    /// Drops what is past retention as of now. A backend that expires by itself does nothing.
    fn retain(&self) -> LogFuture<'_, Result<Retained, LogError>>;

    /// Makes all acknowledged records durable and lets go of every lock. Idempotent.
    fn close(&self) -> LogFuture<'_, Result<(), LogError>>;
}

/// The right to append to a stream, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Fences older holders.
    pub epoch: Epoch,
    /// Where the next record goes.
    pub tail: Tail,
}

/// What [`StreamLog::create`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The stream exists now, and this is its lease.
    New(Lease),
    /// Another stream holds the claim; nothing was created.
    Claimed(Claimed),
}

/// A stream that holds an `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The holder.
    pub stream: StreamId,
    /// The claim it was opened with.
    pub claim: Claim,
    /// True when the holder itself is past retention and only its tombstone is left.
    pub expired: bool,
}

/// How much a read may return.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Most events.
    pub events: usize,
    /// Bytes of data after which no further event is added.
    pub bytes: usize,
}

/// What a read returned.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Consecutive events; empty when there is nothing after the position asked for.
    pub events: Vec<Event>,
    /// The tail at the time of the read. `tail.ended` with `tail.seq` equal to the last event's
    /// seq means that nothing will follow.
    pub tail: Tail,
    /// The terminal record, once written.
    pub end: Option<Arc<End>>,
}

/// A stream without its events.
#[derive(Clone, Debug)]
pub struct Stat {
    /// For lists and heads of pages.
    pub info: StreamInfo,
    /// Its first record.
    pub accepted: Arc<Accepted>,
    /// Where it ends just now.
    pub tail: Tail,
    /// The terminal record, once written.
    pub end: Option<Arc<End>>,
}

/// What a retention run dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Streams that became tombstones.
    pub streams: usize,
    /// Bytes given back to the file system.
    pub bytes: u64,
}

/// Why the log refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// No such stream, and none is remembered.
    #[error("no such stream")]
    NotFound,
    /// It existed and is past retention; the owner is still known, so that others get a 404.
    #[error("the stream is past retention")]
    Gone {
        /// Who may know that it existed.
        project: ProjectId,
    },
    /// The id is taken: draw another.
    #[error("the stream id is taken")]
    Exists,
    /// A newer epoch holds the stream.
    #[error("epoch {newest:?} holds the stream")]
    Fenced {
        /// The newest epoch.
        newest: Epoch,
    },
    /// The present holder is alive.
    #[error("the stream's writer is alive")]
    Held,
    /// The append is not at the tail, and does not repeat what is there.
    #[error("the stream ends at {tail:?}")]
    NotAtTail {
        /// The actual tail.
        tail: Tail,
    },
    /// The terminal record is written.
    #[error("the stream has ended")]
    Ended,
    /// The records do not fit at the tail.
    #[error("{0}")]
    Misfit(#[from] Misfit),
    /// An event is larger than the limit.
    #[error("an event of {size} bytes is larger than limits.event_bytes = {limit}")]
    EventTooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The stream would be larger, or have more events, than the limit.
    #[error("the stream is larger than {what} = {limit}")]
    StreamTooLarge {
        /// The configuration field that holds the limit.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The log's own size limit is reached and nothing can be dropped, or the disk is full.
    #[error("the log is full: {0}")]
    Full(String),
    /// A record that was acknowledged once cannot be read back.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// The storage failed.
    #[error("the log cannot be written or read: {0}")]
    Io(String),
    /// The storage hangs. What was asked for may still happen when it goes on, or not.
    #[error("the storage has not answered for too long")]
    Stalled,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}
