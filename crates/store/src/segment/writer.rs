//! The own segments: where appends go.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;

use everstream_core::id::{Epoch, StreamId};
use everstream_core::record::codec::{self, BatchHead, HEAD_BYTES};
use everstream_core::record::{Record, Tail};
use tokio::sync::oneshot;

use super::Shared;
use super::files::{Files, Segment};
use super::layout::{BatchRef, FIRST, SegmentHead, WriterId, segment_path};
use super::step::Step;
use crate::LogError;
use crate::admit::Extent;
use crate::config::Sync;
use crate::disk::{Disk, DiskFile, DiskLock};

/// A buffer that one large append grew is given back.
const BUFFER_KEPT: usize = 1 << 20;

/// What appends change, under one lock.
pub(super) struct Writer {
    /// Frees the directory when dropped.
    pub(super) lock: Option<Box<dyn DiskLock>>,
    pub(super) active: Option<Active>,
    /// Sizes of the own segments but the active one.
    pub(super) sizes: BTreeMap<u32, u64>,
    /// At `sync = always`: written, but not yet durable, in the order of writes.
    pub(super) pending: VecDeque<Pending>,
    /// At `sync = always`: how streams with something pending stand.
    pub(super) staged: HashMap<StreamId, Standing>,
    /// Segments before the active one that are not durable.
    pub(super) dirty: Vec<Arc<dyn DiskFile>>,
    pub(super) dir_dirty: bool,
    /// Whether the sync thread knows that there is something to do.
    pub(super) announced: bool,
    next: u32,
    previous: u32,
    sealed: u64,
    buffer: Vec<u8>,
}

/// The segment that appends go to.
pub(super) struct Active {
    pub(super) number: u32,
    pub(super) segment: Arc<Segment>,
    pub(super) len: u64,
    /// How much of it is durable.
    pub(super) synced: u64,
}

/// Who waits for a sync, and what to make visible then.
pub(super) struct Pending {
    pub(super) step: Option<Step>,
    pub(super) done: oneshot::Sender<Result<(), LogError>>,
}

/// A stream as an append finds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) extent: Extent,
    pub(super) epoch: Epoch,
    /// Who may append.
    pub(super) holder: WriterId,
    /// Its newest batch by the holder.
    pub(super) last: Option<BatchRef>,
}

impl Writer {
    pub(super) fn new(lock: Box<dyn DiskLock>) -> Self {
        Self {
            lock: Some(lock),
            active: None,
            sizes: BTreeMap::new(),
            pending: VecDeque::new(),
            staged: HashMap::new(),
            dirty: Vec::new(),
            dir_dirty: true,
            announced: false,
            next: 1,
            previous: 0,
            sealed: 0,
            buffer: Vec::new(),
        }
    }

    /// Writes one batch with one write. What it does is not visible yet. After an error nothing of
    /// it counts: the next batch overwrites it, or goes to another segment.
    pub(super) fn write(
        &mut self,
        shared: &Shared,
        id: StreamId,
        before: Standing,
        (records, after): (&[Record], Tail),
    ) -> Result<Step, LogError> {
        self.rotate_if_full(shared);
        let active = if let Some(active) = &mut self.active {
            active
        } else {
            let active = self.begin(shared)?;
            self.active.insert(active)
        };
        let head = BatchHead {
            stream: id,
            epoch: before.epoch,
            position: before.extent.tail.position,
            seq: before.extent.tail.seq,
            time: shared.now(),
            link: before.last.map_or(0, BatchRef::link),
        };
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT);
        codec::encode(active.segment.mark, &head, records, &mut self.buffer)?;
        let (len, bytes) = (active.len, self.buffer.len());
        let step = Step::to(&head, after, records, (active.number, len, bytes));
        let step = step.ok_or(LogError::Misfit(everstream_core::record::Misfit(
            "records that cannot be counted in 32 bits",
        )))?;
        if let Err(error) = active.segment.file.write_at(len, &self.buffer) {
            let cut = active.segment.file.set_len(len);
            let is_full = is_full(&error);
            // A segment with something pending is left by the sync that takes care of that.
            if (!is_full || cut.is_err()) && self.pending.is_empty() {
                self.retire(len, shared.config.sync != Sync::None);
            }
            return Err(write_error(&error));
        }
        active.len += bytes as u64;
        shared.grow(bytes as u64);
        Ok(step)
    }

    /// At `sync = always` only the sync thread changes segments, so that a failed sync never has to
    /// take back more than the end of one.
    fn rotate_if_full(&mut self, shared: &Shared) {
        let is_full = |active: &Active| active.len >= shared.segment_bytes();
        if shared.config.sync != Sync::Always && self.active.as_ref().is_some_and(is_full) {
            let len = self.active.as_ref().map_or(0, |active| active.len);
            self.retire(len, shared.config.sync != Sync::None);
        }
    }

    /// Leaves the active segment, of which `sealed` bytes count. Whether the next sync is to make
    /// them durable; a file that is never synced must not be held open.
    pub(super) fn retire(&mut self, sealed: u64, syncs: bool) {
        let Some(active) = self.active.take() else {
            return;
        };
        self.previous = active.number;
        self.sealed = sealed;
        self.sizes.insert(active.number, sealed);
        if syncs && active.synced < sealed {
            self.dirty.push(Arc::clone(&active.segment.file));
        }
    }

    /// The own segments and their sizes.
    pub(super) fn segments(&self) -> impl Iterator<Item = (u32, u64)> {
        let left = self.sizes.iter().map(|(number, size)| (*number, *size));
        let active = self.active.as_ref();
        left.chain(active.map(|active| (active.number, active.len)))
    }

    fn begin(&mut self, shared: &Shared) -> Result<Active, LogError> {
        let number = self.next;
        self.next += 1;
        let head = SegmentHead {
            writer: shared.own,
            number,
            mark: random_mark(),
            previous: self.previous,
            sealed: self.sealed,
        };
        let segment = create(&*shared.disk, &shared.files, head);
        let segment = segment.map_err(|error| write_error(&error))?;
        self.dir_dirty = true;
        shared.grow(FIRST);
        Ok(Active {
            number,
            segment,
            len: FIRST,
            synced: 0,
        })
    }

    /// A place in the queue for the next sync, which `step` becomes visible with.
    pub(super) fn enqueue(
        &mut self,
        step: Option<Step>,
    ) -> oneshot::Receiver<Result<(), LogError>> {
        let (done, synced) = oneshot::channel();
        self.pending.push_back(Pending { step, done });
        synced
    }
}

fn create(disk: &dyn Disk, files: &Files, head: SegmentHead) -> io::Result<Arc<Segment>> {
    let path = segment_path(files.log_dir(), head.writer, head.number);
    let file = disk.create(&path)?;
    if let Err(error) = file.write_at(0, &head.encode()) {
        // Readers pass over a segment without a header, so it may stay if it must.
        let _ = disk.remove(&path);
        return Err(error);
    }
    let segment = Arc::new(Segment {
        file,
        mark: head.mark,
        head: Some(head),
    });
    files.put(head.writer, head.number, Arc::clone(&segment));
    Ok(segment)
}

/// From the operating system, through the standard library's hash keys.
fn random_mark() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    u32::try_from(random >> 32).unwrap_or(u32::MAX)
}

pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

pub(super) fn write_error(error: &io::Error) -> LogError {
    if is_full(error) {
        LogError::Full(error.to_string())
    } else {
        LogError::Io(error.to_string())
    }
}

/// Segments are at least large enough to hold a batch's header.
pub(super) const SEGMENT_BYTES_MIN: u64 = FIRST + HEAD_BYTES as u64;
