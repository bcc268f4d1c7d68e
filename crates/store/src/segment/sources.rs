//! The segments of other processes: dead ones, which are adopted, and live ones, which are followed.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::graveyard;
use super::layout::{self, ADOPTED, LOCK, Synced, TOMBSTONES, WriterId};
use super::open::sync_parents;
use super::writer::write_error;
use super::{Shared, lock};
use crate::LogError;
use crate::config::Sync;
use crate::disk::DiskLock;

/// Written again at once.
const REWRITE_BYTES: usize = 64 << 10;
/// Passes over all peers in one refresh: a stream may have gone on in a segment that was read
/// before the one it came from.
const PASSES: usize = 3;

/// All directories but the own one.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) list: BTreeMap<WriterId, Source>,
    refreshed: Option<Instant>,
}

/// The directory of another process.
#[derive(Default)]
pub(super) struct Source {
    /// Held once its process is known to be dead: it is ours to recover and to drop.
    pub(super) adopted: Option<Box<dyn DiskLock>>,
    /// Its segments, and how much of each was read.
    pub(super) sizes: BTreeMap<u32, u64>,
    /// What to read next.
    pub(super) at: (u32, u64),
    pub(super) graves_at: u64,
    /// The newest sound content of its `synced` file, if it has one.
    pub(super) synced: Option<Synced>,
}

impl Shared {
    /// Takes up what live processes appended since.
    pub(super) fn refresh(&self) {
        let mut sources = lock(&self.sources);
        self.refresh_locked(&mut sources);
    }

    /// As [`refresh`](Self::refresh), unless that was done within `age`: many readers wait for the
    /// same news.
    pub(super) fn refresh_if_older(&self, age: Duration) {
        let mut sources = lock(&self.sources);
        if sources.refreshed.is_none_or(|last| last.elapsed() >= age) {
            self.refresh_locked(&mut sources);
        }
    }

    fn refresh_locked(&self, sources: &mut Sources) {
        sources.refreshed = Some(Instant::now());
        self.discover(sources);
        self.follow_all(sources);
    }

    fn follow_all(&self, sources: &mut Sources) {
        for _ in 0..PASSES {
            let mut went_on = false;
            for (writer, source) in &mut sources.list {
                if source.adopted.is_none() {
                    match self.follow(*writer, source, false) {
                        Ok(began) => went_on |= began,
                        Err(error) => warn!(writer, %error, "cannot read another process's log"),
                    }
                }
            }
            if !went_on {
                break;
            }
        }
        lock(&self.index).settle();
    }

    fn discover(&self, sources: &mut Sources) {
        let names = match self.disk.list(self.files.log_dir()) {
            Ok(names) => names,
            Err(error) => {
                warn!(%error, "cannot list the log's directory");
                return;
            }
        };
        let found: Vec<_> = names
            .iter()
            .filter_map(|n| layout::parse_writer(n))
            .collect();
        sources.list.retain(|writer, source| {
            let stays = found.contains(writer);
            if !stays {
                self.shrink(source.sizes.values().sum());
            }
            stays
        });
        for writer in found {
            if writer != self.own {
                sources.list.entry(writer).or_default();
            }
        }
    }

    /// Takes over the directories of processes that died. While the log is opened, or on the sync
    /// thread, as it may wait for the device.
    pub(super) fn adopt_dead(&self) {
        let mut sources = lock(&self.sources);
        self.discover(&mut sources);
        let newest = sources.list.keys().next_back().copied().unwrap_or(0);
        let mut empty = Vec::new();
        for (writer, source) in &mut sources.list {
            if source.adopted.is_some() {
                continue;
            }
            let path = layout::writer_dir(self.files.log_dir(), *writer).join(LOCK);
            match self.disk.lock(&path) {
                Ok(Some(held)) => {
                    source.adopted = Some(held);
                    if let Err(error) = self.recover(*writer, source) {
                        warn!(writer, %error, "cannot recover a dead process's log");
                        source.adopted = None;
                    }
                    if source.adopted.is_some() && source.sizes.is_empty() {
                        empty.push(*writer);
                    }
                }
                Ok(None) => {}
                Err(error) => warn!(writer, %error, "cannot see whether a process is alive"),
            }
        }
        // With live peers first: what a dead process took over may have gone on with them.
        self.follow_all(&mut sources);
        for writer in sources.list.keys().copied().collect::<Vec<_>>() {
            if let Err(error) = self.inherit_graves(&mut sources, writer) {
                warn!(writer, %error, "cannot take over a dead process's tombstones");
            }
        }
        let newest = newest.max(self.own);
        for writer in empty {
            self.remove_dir(&mut sources, writer, newest);
        }
    }

    fn recover(&self, writer: WriterId, source: &mut Source) -> io::Result<()> {
        if self.config.sync != Sync::None {
            // What is shown from here on must survive a power loss, whatever its writer had synced.
            self.rewrite(writer, source)?;
            self.sync_writer(writer)?;
        }
        self.follow(writer, source, true)?;
        // Others still follow it, and cannot see from the lock that it is another's now.
        let mark = layout::writer_dir(self.files.log_dir(), writer).join(ADOPTED);
        match self.disk.create(&mark) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes again what the dead had not announced as durable. Some sync of it may have failed: the
    /// kernel then takes it for written, and the next sync would succeed without doing anything.
    fn rewrite(&self, writer: WriterId, source: &mut Source) -> io::Result<()> {
        let names = self
            .disk
            .list(&layout::writer_dir(self.files.log_dir(), writer))?;
        if names.iter().any(|name| name == ADOPTED) {
            return Ok(());
        }
        let Some(synced) = self.synced_of(writer, source)? else {
            return Ok(());
        };
        let numbers = layout::segments_of(&names).into_iter();
        for number in numbers.filter(|number| *number >= synced.segment) {
            let path = layout::segment_path(self.files.log_dir(), writer, number);
            let file = self.disk.open(&path)?;
            let mut at = if number == synced.segment {
                synced.offset
            } else {
                0
            };
            let mut block = vec![0; REWRITE_BYTES];
            loop {
                let read = file.read_at(at, &mut block)?;
                if read == 0 {
                    break;
                }
                file.write_at(at, &block[..read])?;
                at += read as u64;
            }
        }
        Ok(())
    }

    fn sync_writer(&self, writer: WriterId) -> io::Result<()> {
        for number in self.segments(writer)? {
            self.pace.progress();
            if let Some(segment) = self.files.get(writer, number)? {
                segment.file.sync_data()?;
            }
        }
        self.disk
            .sync_dir(&layout::writer_dir(self.files.log_dir(), writer))
    }

    /// Makes all that is ours durable, whatever the setting. On the sync thread.
    pub(super) fn sync_all(&self) -> Result<(), LogError> {
        self.sync()?;
        if self.config.sync == Sync::None {
            let sources = lock(&self.sources);
            let adopted = sources.list.iter().filter(|(_, s)| s.adopted.is_some());
            let ours = adopted.map(|(writer, _)| *writer).chain([self.own]);
            let synced = ours.map(|writer| self.sync_writer(writer));
            let synced: io::Result<()> = synced.collect();
            let synced = synced.and_then(|()| sync_parents(&*self.disk, &self.config.dir));
            synced.map_err(|error| write_error(&error))?;
        }
        Ok(())
    }

    /// Moves the tombstones of an adopted directory into the own file, and so drops those that are
    /// past their time, unless bytes of their streams are still around.
    fn inherit_graves(&self, sources: &mut Sources, writer: WriterId) -> io::Result<()> {
        let source = sources.list.get_mut(&writer);
        let Some(source) = source.filter(|s| s.adopted.is_some() && s.graves_at > 0) else {
            return Ok(());
        };
        let path = layout::writer_dir(self.files.log_dir(), writer).join(TOMBSTONES);
        let (mut graves, _) = graveyard::read(&*self.disk.open(&path)?, 0)?;
        let now = self.now();
        {
            let index = lock(&self.index);
            graves.retain(|(id, grave)| {
                // Only a process that just read all segments can tell that none has such bytes.
                let haunts = index.haunting.as_ref().is_none_or(|h| h.contains(id));
                haunts || index.graves.is_kept(grave, now)
            });
        }
        lock(&self.graveyard).bury(&*self.disk, &self.own_dir(), &graves)?;
        source.graves_at = 0;
        self.disk.remove(&path)
    }

    /// Removes an adopted directory without segments. Not the newest: its number must not be given
    /// out again while somebody may remember it.
    pub(super) fn remove_dir(&self, sources: &mut Sources, writer: WriterId, newest: WriterId) {
        if writer >= newest {
            return;
        }
        let dir = layout::writer_dir(self.files.log_dir(), writer);
        let removed = (|| {
            for name in self.disk.list(&dir)? {
                if name == TOMBSTONES {
                    return Ok(());
                }
                self.disk.remove(&dir.join(name))?;
            }
            self.disk.remove_dir(&dir)
        })();
        match removed {
            Ok(()) => {
                sources.list.remove(&writer);
            }
            Err(error) => warn!(writer, %error, "cannot remove a dead process's directory"),
        }
    }

    pub(super) fn segments(&self, writer: WriterId) -> io::Result<Vec<u32>> {
        let dir = layout::writer_dir(self.files.log_dir(), writer);
        Ok(layout::segments_of(&self.disk.list(&dir)?))
    }

    /// Whether a writer is another process that lives, as far as is known.
    pub(super) fn is_peer(&self, writer: WriterId) -> bool {
        if writer == self.own {
            return false;
        }
        let sources = lock(&self.sources);
        let source = sources.list.get(&writer);
        source.is_some_and(|source| source.adopted.is_none())
    }
}
