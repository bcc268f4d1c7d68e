//! The segments of other processes: dead ones, which are adopted, and live ones, which are followed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::record::codec::Outline;
use tokio::time::Instant;
use tracing::{info, warn};

use super::files::Segment;
use super::graveyard;
use super::layout::{self, FIRST, LOCK, SYNCED, Synced, TOMBSTONES, WriterId};
use super::open::sync_parents;
use super::scan::{Found, Scan};
use super::step::Step;
use super::writer::write_error;
use super::{Shared, lock};
use crate::LogError;
use crate::config::Sync;
use crate::disk::DiskLock;

/// Steps taken up at once.
const STEPS: usize = 512;
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
    at: (u32, u64),
    graves_at: u64,
    /// The newest sound content of its `synced` file, if it has one.
    synced: Option<Synced>,
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
            self.sync_writer(writer)?;
        }
        self.follow(writer, source, true)?;
        Ok(())
    }

    fn sync_writer(&self, writer: WriterId) -> io::Result<()> {
        for number in self.segments(writer)? {
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
            let synced = adopted.map(|(writer, _)| self.sync_writer(*writer));
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
        let names = self.disk.list(&dir)?;
        let mut numbers: Vec<_> = names
            .iter()
            .filter_map(|n| layout::parse_segment(n))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads what is new in a directory; true if a stream went on in it that began elsewhere.
    fn follow(&self, writer: WriterId, source: &mut Source, is_dead: bool) -> io::Result<bool> {
        self.follow_graves(writer, source)?;
        let limit = if is_dead {
            None
        } else {
            self.synced_of(writer, source)?
        };
        let numbers = self.segments(writer)?;
        source.sizes.retain(|number, size| {
            let stays = numbers.contains(number);
            if !stays {
                self.shrink(*size);
            }
            stays
        });
        let mut went_on = false;
        for (nth, &number) in numbers.iter().enumerate() {
            if number < source.at.0 {
                continue;
            }
            if number != source.at.0 {
                source.at = (number, FIRST);
            }
            let next = numbers.get(nth + 1).copied();
            let Some(segment) = self.files.get(writer, number)? else {
                if is_dead || next.is_some() {
                    continue;
                }
                break;
            };
            let seal = self.seal(writer, number, &numbers[nth + 1..])?;
            let len = segment.file.size()?;
            let mut part = Part {
                segment: &segment,
                number,
                end: seal.unwrap_or(len).min(len),
                is_final: is_dead || seal.is_some(),
                is_last: is_dead && seal.is_none(),
            };
            if let Some(limit) = limit {
                if number > limit.segment {
                    break;
                }
                if number == limit.segment {
                    part.end = part.end.min(limit.offset);
                    part.is_final = false;
                }
            }
            went_on |= self.read_part(writer, source, &part)?;
            if !part.is_final {
                break;
            }
        }
        Ok(went_on)
    }

    /// How much of a segment counts, once one behind it says so. `None` for the newest.
    fn seal(&self, writer: WriterId, number: u32, later: &[u32]) -> io::Result<Option<u64>> {
        for next in later {
            if let Some(next) = self.files.get(writer, *next)? {
                let sealed = next.head.filter(|head| head.previous == number);
                return Ok(Some(sealed.map_or(u64::MAX, |head| head.sealed)));
            }
        }
        Ok(None)
    }

    fn read_part(
        &self,
        writer: WriterId,
        source: &mut Source,
        part: &Part<'_>,
    ) -> io::Result<bool> {
        let mut scan = Scan::new(
            &*part.segment.file,
            part.segment.mark,
            source.at.1,
            part.end,
        );
        let mut went_on = false;
        let mut steps = Vec::new();
        loop {
            let from = scan.at;
            match scan.next()? {
                Found::Batch(outline, records, at) => {
                    let Outline { head, bytes, .. } = outline;
                    if let Some(step) = Step::of(&head, &records, (part.number, at, bytes)) {
                        steps.push(step)
                    } else {
                        warn!(writer, segment = part.number, at, "a batch does not fit")
                    }
                    if steps.len() >= STEPS {
                        went_on |= self.take_up(writer, &mut steps);
                    }
                }
                Found::End => break,
                Found::Bad if !part.is_final => break,
                Found::Bad => {
                    if scan.resync()? {
                        let lost = scan.at - from;
                        warn!(
                            writer,
                            segment = part.number,
                            from,
                            lost,
                            "the log is damaged"
                        );
                        continue;
                    }
                    if part.is_last {
                        info!(writer, segment = part.number, from, "a torn tail is cut");
                        part.segment.file.set_len(from)?;
                    } else {
                        warn!(writer, segment = part.number, from, "the log is damaged");
                    }
                    scan.at = from;
                    break;
                }
            }
        }
        source.at.1 = scan.at;
        went_on |= self.take_up(writer, &mut steps);
        let known = source.sizes.insert(part.number, scan.at).unwrap_or(0);
        self.grow(scan.at.saturating_sub(known));
        Ok(went_on)
    }

    fn take_up(&self, writer: WriterId, steps: &mut Vec<Step>) -> bool {
        let mut index = lock(&self.index);
        let mut went_on = false;
        for step in steps.drain(..) {
            let continues = step.at.position > 0;
            went_on |= index.apply(writer, step) && continues;
        }
        went_on
    }

    fn follow_graves(&self, writer: WriterId, source: &mut Source) -> io::Result<()> {
        let path = layout::writer_dir(self.files.log_dir(), writer).join(TOMBSTONES);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if file.size()? <= source.graves_at {
            return Ok(());
        }
        let (graves, at) = graveyard::read(&*file, source.graves_at)?;
        source.graves_at = at;
        let mut index = lock(&self.index);
        for (id, grave) in graves {
            index.bury(id, grave);
        }
        Ok(())
    }

    /// How far a live process lets others read; `None` when that is as far as it wrote.
    fn synced_of(&self, writer: WriterId, source: &mut Source) -> io::Result<Option<Synced>> {
        let path = layout::writer_dir(self.files.log_dir(), writer).join(SYNCED);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; Synced::BYTES];
        file.read_at(0, &mut bytes)?;
        // Read while it is written it may be unsound: then what was known holds on.
        let known = source.synced.unwrap_or_default();
        let synced = Synced::decode(&bytes).unwrap_or(known);
        source.synced = Some(synced);
        Ok(Some(synced))
    }

    /// Whether a writer is another process that lives, as far as is known.
    pub(super) fn is_peer(&self, writer: WriterId) -> bool {
        let sources = lock(&self.sources);
        let source = sources.list.get(&writer);
        writer != self.own && source.is_some_and(|source| source.adopted.is_none())
    }
}

/// What to read of a segment.
struct Part<'a> {
    segment: &'a Arc<Segment>,
    number: u32,
    end: u64,
    /// Nothing will be added before `end`.
    is_final: bool,
    /// The newest segment of a dead process: what is not whole at its end is a torn tail.
    is_last: bool,
}
