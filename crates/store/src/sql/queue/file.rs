//! The files.
//!
//! A process writes `<name>-<n>.queue` for n = 1, 2, 3 ..., where the name is drawn and held by a
//! lock on `<name>.lock`. Locks are made and removed by whoever holds the lock on `guard`. A file is a row of entries: length (4 bytes, big endian), CRC-32 of the
//! text (4 bytes), and the text, JSON. It is removed once all of it is settled. A file of a dead
//! process may end in the midst of an entry that nobody was told is taken: the end is ignored. A
//! sum that is wrong is damage: the file is kept aside, with the ending `.damaged`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use everstream_core::limits::LEDGER_BATCH;

use super::QueueError;
use super::codec::{encode, walk};
use crate::disk::{Disk, DiskFile, DiskLock};
use crate::sql::values::LedgerEntry;

/// A file that is this large is followed by the next, so that settled ones can go.
const FILE_BYTES: u64 = 1 << 20;
/// How the files' names end.
const QUEUE: &str = ".queue";
const GUARD: &str = "guard";
/// How often, and how long each time, a start waits for the guard: others hold it for a moment.
const GUARD_TRIES: u32 = 200;
const GUARD_PAUSE: Duration = Duration::from_millis(10);

/// The queue's directory.
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    name: String,
    /// Frees the name when dropped.
    _lock: Box<dyn DiskLock>,
    next: u64,
    /// Oldest first; the last one may be written to.
    waiting: VecDeque<QueueFile>,
    /// Whether the last file is this process's, and whole.
    is_writable: bool,
    /// Names of dead processes whose files are here.
    adopted: Vec<(String, Box<dyn DiskLock>)>,
    damaged: u64,
}

struct QueueFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
    /// Entries up to here are settled.
    settled: u64,
    /// Entries after that.
    entries: u64,
}

/// Entries to settle, all of one file.
pub(super) struct Batch {
    pub(super) entries: Vec<LedgerEntry>,
    /// Where the file goes on after each of them.
    ends: Vec<u64>,
}

impl Files {
    pub(super) fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<Self, QueueError> {
        if disk.list(&dir).is_err() {
            disk.create_dir(&dir)?;
        }
        let guard = wait_for_guard(&*disk, &dir)?;
        let (name, lock) = take_name(&*disk, &dir)?;
        let mut files = Self {
            disk,
            dir,
            name,
            _lock: lock,
            next: 1,
            waiting: VecDeque::new(),
            is_writable: false,
            adopted: Vec::new(),
            damaged: 0,
        };
        files.adopt_guarded()?;
        drop(guard);
        Ok(files)
    }

    /// Takes over what dead processes left, unless somebody else does just now.
    pub(super) fn adopt(&mut self) -> Result<(), QueueError> {
        let Some(_guard) = self.disk.lock(&self.dir.join(GUARD))? else {
            return Ok(());
        };
        self.adopt_guarded()
    }

    fn adopt_guarded(&mut self) -> Result<(), QueueError> {
        let mut names = self.disk.list(&self.dir)?;
        names.sort_unstable();
        for name in owners(&names) {
            let is_known = self.adopted.iter().any(|(known, _)| *known == name);
            if name == self.name || is_known {
                continue;
            }
            let lock = self.dir.join(format!("{name}.lock"));
            let Some(held) = self.disk.lock(&lock)? else {
                continue;
            };
            let prefix = format!("{name}-");
            let theirs = |file: &&String| file.starts_with(&prefix) && file.ends_with(QUEUE);
            let files = names.iter().filter(theirs);
            let files: Result<Vec<_>, _> = files
                .map(|file| self.measure(self.dir.join(file)))
                .collect();
            // Before the own ones, the last of which may be written to.
            for file in files?.into_iter().rev() {
                self.waiting.push_front(file);
            }
            self.adopted.push((name, held));
        }
        self.forget_the_dead()
    }

    /// Entries that wait, and their bytes.
    pub(super) fn count(&self) -> (u64, u64) {
        let sum = |of: fn(&QueueFile) -> u64| self.waiting.iter().map(of).sum();
        (
            sum(|file| file.entries),
            sum(|file| file.len - file.settled),
        )
    }

    pub(super) const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Writes all of these entries, or none.
    pub(super) fn push(&mut self, texts: &[Vec<u8>], max_bytes: u64) -> Result<(), QueueError> {
        let mut entries = Vec::new();
        for text in texts {
            encode(text, &mut entries)?;
        }
        let (_, waiting) = self.count();
        if waiting + entries.len() as u64 > max_bytes {
            let limit = max_bytes;
            return Err(QueueError::Full { waiting, limit });
        }
        let is_full = |file: &QueueFile| file.len >= FILE_BYTES;
        if !self.is_writable || self.waiting.back().is_none_or(is_full) {
            self.begin()?;
        }
        let Some(last) = self.waiting.back_mut() else {
            return Err(QueueError::Closed);
        };
        if let Err(error) = last.file.write_at(last.len, &entries) {
            // What a part of it left is overwritten, or cut by whoever finds it.
            self.is_writable = last.file.set_len(last.len).is_ok();
            return Err(error.into());
        }
        last.len += entries.len() as u64;
        last.entries += texts.len() as u64;
        Ok(())
    }

    /// The oldest entries that wait.
    pub(super) fn batch(&mut self) -> Result<Option<Batch>, QueueError> {
        while let Some(first) = self.waiting.front() {
            if first.entries == 0 {
                if !self.remove_first()? {
                    return Ok(None);
                }
                continue;
            }
            let mut batch = Batch {
                entries: Vec::new(),
                ends: Vec::new(),
            };
            let found = walk(&*first.file, first.settled, first.len, |entry, end| {
                batch.entries.push(entry);
                batch.ends.push(end);
                batch.entries.len() < LEDGER_BATCH
            })?;
            if !batch.entries.is_empty() {
                return Ok(Some(batch));
            }
            debug_assert!(found.is_damaged, "entries that cannot be found");
            self.set_aside()?;
        }
        Ok(None)
    }

    /// The first `count` entries of a batch are settled.
    pub(super) fn settled(&mut self, batch: &Batch, count: usize) -> Result<(), QueueError> {
        if let (Some(first), Some(last)) = (self.waiting.front_mut(), count.checked_sub(1)) {
            first.settled = batch.ends.get(last).copied().unwrap_or(first.settled);
            first.entries = first.entries.saturating_sub(count as u64);
            if first.entries == 0 {
                self.remove_first()?;
            }
        }
        Ok(())
    }

    /// Writes what the database refuses for good where people find it.
    pub(super) fn refuse(&self, entry: &LedgerEntry, why: &str) -> Result<(), QueueError> {
        let path = self.dir.join("refused.jsonl");
        let row = serde_json::json!({ "entry": entry, "why": why });
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(_) => self.disk.create(&path)?,
        };
        file.write_at(file.size()?, format!("{row}\n").as_bytes())?;
        Ok(())
    }

    /// Begins a file. Nothing here is synced: a killed process loses nothing, and what a power loss
    /// takes is in the stream log, as far as that was synced.
    fn begin(&mut self) -> Result<(), QueueError> {
        let path = self
            .dir
            .join(format!("{}-{:010}.queue", self.name, self.next));
        self.next += 1;
        let file = self.disk.create(&path)?;
        self.is_writable = true;
        self.waiting.push_back(QueueFile {
            path,
            file,
            len: 0,
            settled: 0,
            entries: 0,
        });
        Ok(())
    }

    /// Removes the first file, which is settled; false if it is the one that is written to and has
    /// room: then it is begun anew only when it is full.
    fn remove_first(&mut self) -> Result<bool, QueueError> {
        let is_written = self.waiting.len() == 1 && self.is_writable;
        if is_written && self.waiting[0].len < FILE_BYTES {
            return Ok(false);
        }
        if let Some(first) = self.waiting.pop_front() {
            if is_written {
                self.is_writable = false;
            }
            self.disk.remove(&first.path)?;
        }
        Ok(true)
    }

    /// Keeps the first file, whose rest cannot be read, for people to look at.
    fn set_aside(&mut self) -> Result<(), QueueError> {
        let is_written = self.waiting.len() == 1;
        if let Some(first) = self.waiting.pop_front() {
            self.is_writable &= !is_written;
            self.damaged += 1;
            let aside = first.path.with_extension("damaged");
            tracing::error!(
                file = %aside.display(),
                entries = first.entries,
                "a file of the ledger's queue is damaged: some generations may be missing in the \
                 ledger; the file is kept"
            );
            let copy = self.disk.create(&aside)?;
            let mut rest = vec![0; usize::try_from(first.len).unwrap_or(0)];
            let read = first.file.read_at(0, &mut rest)?;
            copy.write_at(0, &rest[..read])?;
            self.disk.remove(&first.path)?;
        }
        Ok(())
    }

    /// Gives the names back whose files are gone. Whoever calls this holds the guard.
    fn forget_the_dead(&mut self) -> Result<(), QueueError> {
        let mut kept = Vec::new();
        for (name, lock) in std::mem::take(&mut self.adopted) {
            if self
                .waiting
                .iter()
                .any(|file| is_of(file, &self.dir, &name))
            {
                kept.push((name, lock));
            } else {
                self.disk.remove(&self.dir.join(format!("{name}.lock")))?;
            }
        }
        self.adopted = kept;
        Ok(())
    }

    /// A file that a dead process left.
    fn measure(&self, path: PathBuf) -> Result<QueueFile, QueueError> {
        let file = self.disk.open(&path)?;
        let size = file.size()?;
        let mut entries = 0;
        let found = walk(&*file, 0, size, |_, _| {
            entries += 1;
            true
        })?;
        // A damaged entry keeps the file from being taken for settled.
        let len = if found.is_damaged { size } else { found.end };
        Ok(QueueFile {
            path,
            file,
            len,
            settled: 0,
            entries: entries + u64::from(found.is_damaged),
        })
    }
}

impl Drop for Files {
    /// What is settled is removed, and so is the name if that is all.
    fn drop(&mut self) {
        let Ok(Some(_guard)) = self.disk.lock(&self.dir.join(GUARD)) else {
            return;
        };
        self.waiting
            .retain(|file| file.entries > 0 || self.disk.remove(&file.path).is_err());
        self.forget_the_dead().ok();
        if self
            .waiting
            .iter()
            .all(|file| !is_of(file, &self.dir, &self.name))
        {
            let lock = self.dir.join(format!("{}.lock", self.name));
            self.disk.remove(&lock).ok();
        }
    }
}

/// Whose files and locks these are.
fn owners(names: &[String]) -> Vec<String> {
    let lock = |name: &String| name.strip_suffix(".lock").map(ToOwned::to_owned);
    let file = |name: &String| {
        let (owner, _) = name.strip_suffix(QUEUE)?.split_once('-')?;
        Some(owner.to_owned())
    };
    let mut owners: Vec<_> = names
        .iter()
        .filter_map(|name| lock(name).or(file(name)))
        .collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

fn is_of(file: &QueueFile, dir: &Path, name: &str) -> bool {
    let prefix = dir.join(format!("{name}-"));
    let (path, prefix) = (file.path.to_string_lossy(), prefix.to_string_lossy());
    path.starts_with(&*prefix)
}

fn wait_for_guard(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, QueueError> {
    for _ in 0..GUARD_TRIES {
        if let Some(guard) = disk.lock(&dir.join(GUARD))? {
            return Ok(guard);
        }
        std::thread::sleep(GUARD_PAUSE);
    }
    let text = "another process holds its guard for too long".to_owned();
    Err(QueueError::Io(text))
}

/// Draws a name that nobody has. Whoever calls this holds the guard.
fn take_name(disk: &dyn Disk, dir: &Path) -> Result<(String, Box<dyn DiskLock>), QueueError> {
    let names = owners(&disk.list(dir)?);
    let numbers = names.iter().filter_map(|name| name.parse::<u64>().ok());
    let name = format!("{:010}", numbers.max().unwrap_or(0) + 1);
    let lock = disk.lock(&dir.join(format!("{name}.lock")))?;
    let lock = lock.ok_or_else(|| QueueError::Io(format!("{name}.lock is held")))?;
    Ok((name, lock))
}
