//! Dropping what is past retention: whole segments, and with them every stream that has a part there.

use std::collections::{HashMap, HashSet};
use std::io;

use everstream_core::id::{StreamId, UnixMillis};
use tracing::warn;

use super::layout::{FIRST, WriterId, segment_path, writer_dir};
use super::writer::{Writer, is_full, write_error};
use super::{Shared, lock};
use crate::config::Sync;
use crate::graves::Grave;
use crate::{LogError, Retained};

type SegmentId = (WriterId, u32);

/// What stands in a segment.
#[derive(Clone, Copy, Debug, Default)]
struct Content {
    is_running: bool,
    /// When the last of its streams ended.
    ended: UnixMillis,
}

/// Segments to drop, and their streams.
#[derive(Default)]
struct Victims {
    segments: Vec<(SegmentId, u64)>,
    streams: Vec<(StreamId, Grave)>,
}

impl Shared {
    /// Drops what is past its age, and then what ended longest ago while there is too much. On the
    /// sync thread.
    pub(super) fn retain(&self) -> Result<Retained, LogError> {
        self.refresh();
        let now = self.now();
        let keep = self.config.retain_after_end;
        let mut retained = self.drop_segments(|ended, _| now.since(ended) >= keep)?;
        let more = self.make_room(0)?;
        retained.streams += more.streams;
        retained.bytes += more.bytes;
        lock(&self.index).graves.purge(now);
        Ok(retained)
    }

    /// Drops what ended longest ago until `wanted` bytes more fit. On the sync thread.
    pub(super) fn make_room(&self, wanted: u64) -> Result<Retained, LogError> {
        let excess = self.excess(wanted);
        if excess == 0 {
            return Ok(Retained::default());
        }
        self.drop_segments(|_, dropped| dropped < excess)
    }

    /// Drops the segments in which no stream runs, oldest end first, as long as `is_due` says so of
    /// the time of the last end in it and the bytes dropped before it.
    fn drop_segments(
        &self,
        is_due: impl Fn(UnixMillis, u64) -> bool,
    ) -> Result<Retained, LogError> {
        let mut victims = self.choose(is_due);
        let retained = Retained {
            streams: victims.streams.len(),
            bytes: victims.segments.iter().map(|(_, bytes)| bytes).sum(),
        };
        if victims.segments.is_empty() {
            return Ok(retained);
        }
        // Tombstones before the bytes go, so that no crash leaves a stream with a hole. Only when
        // the disk is too full for them the first segment has to make room.
        if let Err(error) = self.bury(&victims.streams) {
            if !is_full(&error) {
                return Err(write_error(&error));
            }
            let ((writer, segment), bytes) = victims.segments.remove(0);
            let removed = self.remove_segment(writer, segment, bytes);
            let buried = removed.and_then(|()| self.bury(&victims.streams));
            buried.map_err(|error| write_error(&error))?;
        }
        {
            let mut index = lock(&self.index);
            for (id, grave) in victims.streams {
                index.bury(id, grave);
            }
        }
        for ((writer, segment), bytes) in victims.segments {
            self.remove_segment(writer, segment, bytes)
                .map_err(|error| write_error(&error))?;
        }
        self.remove_empty();
        Ok(retained)
    }

    fn bury(&self, streams: &[(StreamId, Grave)]) -> io::Result<()> {
        lock(&self.graveyard).bury(&*self.disk, &self.own_dir(), streams)
    }

    fn choose(&self, is_due: impl Fn(UnixMillis, u64) -> bool) -> Victims {
        let mut writer = lock(&self.writer);
        let sizes = self.droppable(&writer);
        let index = lock(&self.index);
        let mut contents: HashMap<SegmentId, Content> = HashMap::new();
        for (_, entry) in index.iter() {
            let ended = entry.end.as_ref().map(|end| end.at);
            // What is left of a stream without a first record is of no use to anybody.
            let is_running = ended.is_none() && entry.opened.is_some();
            for run in entry.runs() {
                for segment in run.first.segment..=run.last.segment {
                    let content = contents.entry((run.writer, segment)).or_default();
                    content.is_running |= is_running;
                    content.ended = content.ended.max(ended.unwrap_or_default());
                }
            }
        }
        let mut idle: Vec<_> = sizes
            .into_iter()
            .map(|(id, bytes)| (contents.get(&id).copied().unwrap_or_default(), id, bytes))
            .filter(|(content, ..)| !content.is_running)
            .collect();
        idle.sort_unstable_by_key(|(content, id, _)| (content.ended, *id));
        let mut victims = Victims::default();
        let mut dropped = 0;
        for (content, id, bytes) in idle {
            if is_due(content.ended, dropped) {
                dropped += bytes;
                victims.segments.push((id, bytes));
            }
        }
        if victims.segments.is_empty() {
            return victims;
        }
        let chosen: HashSet<_> = victims.segments.iter().map(|(id, _)| *id).collect();
        let now = self.now();
        for (id, entry) in index.iter() {
            let mut parts = entry.runs().flat_map(|run| {
                (run.first.segment..=run.last.segment).map(|segment| (run.writer, segment))
            });
            if parts.any(|part| chosen.contains(&part)) {
                victims
                    .streams
                    .extend(entry.grave(now).map(|grave| (id, grave)));
            }
        }
        drop(index);
        let active = writer.active.as_ref();
        let active = active.filter(|active| chosen.contains(&(self.own, active.number)));
        if let Some(len) = active.map(|active| active.len) {
            writer.retire(len, false);
        }
        victims
    }

    /// Segments that are ours to drop, and their sizes. The active one too, if nothing in it waits
    /// for a sync and there is something to gain.
    fn droppable(&self, writer: &Writer) -> Vec<(SegmentId, u64)> {
        let active = writer.active.as_ref();
        let is_busy = |number: u32| {
            let active = active.filter(|active| active.number == number);
            active.is_some_and(|active| !writer.pending.is_empty() || active.len <= FIRST)
        };
        let own = writer.segments().filter(|(number, _)| !is_busy(*number));
        let mut all: Vec<_> = own
            .map(|(number, size)| ((self.own, number), size))
            .collect();
        for (writer, source) in &lock(&self.sources).list {
            if source.adopted.is_some() {
                let sizes = source.sizes.iter();
                all.extend(sizes.map(|(number, size)| ((*writer, *number), *size)));
            }
        }
        all
    }

    /// Cuts off what the header of this segment says does not count of the one before it, which
    /// nobody would know any more.
    fn cut_previous(&self, writer: WriterId, segment: u32) -> io::Result<()> {
        let head = self.files.get(writer, segment)?.and_then(|s| s.head);
        let Some(head) = head.filter(|head| head.previous > 0) else {
            return Ok(());
        };
        let Some(previous) = self.files.get(writer, head.previous)? else {
            return Ok(());
        };
        if previous.file.size()? <= head.sealed {
            return Ok(());
        }
        previous.file.set_len(head.sealed)?;
        if self.config.sync == Sync::None {
            return Ok(());
        }
        previous.file.sync_data()
    }

    fn remove_segment(&self, writer: WriterId, segment: u32, bytes: u64) -> io::Result<()> {
        self.pace.progress();
        match self.cut_previous(writer, segment) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match self
            .disk
            .remove(&segment_path(self.files.log_dir(), writer, segment))
        {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.files.forget(writer, segment);
        self.shrink(bytes);
        if writer == self.own {
            lock(&self.writer).sizes.remove(&segment);
        } else if let Some(source) = lock(&self.sources).list.get_mut(&writer) {
            source.sizes.remove(&segment);
        }
        if let Err(error) = self
            .disk
            .sync_dir(&writer_dir(self.files.log_dir(), writer))
        {
            warn!(writer, %error, "a dropped segment may come back after a power loss");
        }
        Ok(())
    }

    fn remove_empty(&self) {
        let mut sources = lock(&self.sources);
        let is_empty =
            |source: &super::sources::Source| source.adopted.is_some() && source.sizes.is_empty();
        let list = sources.list.iter().filter(|(_, source)| is_empty(source));
        let empty: Vec<_> = list.map(|(writer, _)| *writer).collect();
        let newest = sources
            .list
            .keys()
            .next_back()
            .copied()
            .unwrap_or(0)
            .max(self.own);
        for writer in empty {
            self.remove_dir(&mut sources, writer, newest);
        }
    }

    /// Forgets a stream, durably. On the sync thread.
    pub(super) fn delete(&self, id: StreamId) -> Result<(), LogError> {
        let now = self.now();
        let grave = {
            let index = lock(&self.index);
            index
                .find(id, || now)?
                .grave(now)
                .ok_or(LogError::NotFound)?
        };
        let buried = self.bury(&[(id, grave.clone())]);
        buried.map_err(|error| write_error(&error))?;
        lock(&self.index).bury(id, grave);
        Ok(())
    }
}
