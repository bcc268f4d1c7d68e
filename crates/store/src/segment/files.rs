//! Segments that are open for reading.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::layout::{self, FIRST, HEAD_BYTES, SegmentHead, WriterId};
use super::scan::{Found, Scan};
use crate::LogError;
use crate::disk::{Disk, DiskFile};

/// Most segments open at a time; a process has some thousand descriptors, and sockets need them.
const OPEN_MAX: usize = 256;

/// Opens segments and keeps them open.
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    log_dir: PathBuf,
    open: Mutex<HashMap<(WriterId, u32), Arc<Segment>>>,
}

/// An open segment.
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) mark: u32,
    /// Absent when it is damaged and the mark was taken from the first batch.
    pub(super) head: Option<SegmentHead>,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>, log_dir: PathBuf) -> Self {
        Self {
            disk,
            log_dir,
            open: Mutex::default(),
        }
    }

    pub(super) fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// The segment, or `None` when its header is not there: its writer is about to write it, or
    /// died before it could.
    pub(super) fn get(&self, writer: WriterId, number: u32) -> io::Result<Option<Arc<Segment>>> {
        let known = self.lock().get(&(writer, number)).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let path = layout::segment_path(&self.log_dir, writer, number);
        let file = self.disk.open(&path)?;
        let mut head = [0; HEAD_BYTES];
        let read = file.read_at(0, &mut head)?;
        let head = SegmentHead::decode(&head[..read]);
        let head = head.filter(|head| (head.writer, head.number) == (writer, number));
        let mark = match head {
            Some(head) => Some(head.mark),
            None => mark_of_first_batch(&*file)?,
        };
        let segment = mark.map(|mark| Arc::new(Segment { file, mark, head }));
        if let Some(segment) = &segment {
            self.put(writer, number, Arc::clone(segment));
        }
        Ok(segment)
    }

    pub(super) fn put(&self, writer: WriterId, number: u32, segment: Arc<Segment>) {
        let mut open = self.lock();
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert((writer, number), segment);
    }

    pub(super) fn forget(&self, writer: WriterId, number: u32) {
        self.lock().remove(&(writer, number));
    }

    /// Reads exactly `into`.
    pub(super) fn read(
        &self,
        writer: WriterId,
        number: u32,
        offset: u64,
        into: &mut [u8],
    ) -> Result<u32, LogError> {
        let failed = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => damaged(writer, number, offset, "the segment is gone"),
            _ => LogError::Io(format!("segment {writer}/{number}: {error}")),
        };
        let segment = self.get(writer, number).map_err(|error| failed(&error))?;
        let Some(segment) = segment else {
            return Err(damaged(writer, number, 0, "no header"));
        };
        let read = segment.file.read_at(offset, into);
        if read.map_err(|error| failed(&error))? < into.len() {
            return Err(damaged(writer, number, offset, "the segment ends here"));
        }
        Ok(segment.mark)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(WriterId, u32), Arc<Segment>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong, and where.
pub(super) fn damaged(writer: WriterId, segment: u32, offset: u64, what: &str) -> LogError {
    LogError::Damaged(format!(
        "{what} (segment {writer:08}/{segment:08}, offset {offset})"
    ))
}

/// The mark of a segment whose header is damaged, if its first batch is sound.
fn mark_of_first_batch(file: &dyn DiskFile) -> io::Result<Option<u32>> {
    let mut mark = [0; 4];
    if file.read_at(FIRST, &mut mark)? < mark.len() {
        return Ok(None);
    }
    let mark = u32::from_le_bytes(mark);
    let first = Scan::new(file, mark, FIRST, file.size()?).next()?;
    Ok(matches!(first, Found::Batch(..)).then_some(mark))
}
