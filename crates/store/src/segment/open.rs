//! Opening a log.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use super::claims::ClaimLock;
use super::files::Files;
use super::graveyard::Graveyard;
use super::index::Index;
use super::layout::{self, CLAIMS_LOCK, LOCK, SYNCED, Synced, WriterId, log_dir, writer_dir};
use super::pace::Pace;
use super::sync::Job;
use super::writer::Writer;
use super::{SegmentLog, Shared, lock, pace, sync};
use crate::LogError;
use crate::config::{Clock, SegmentConfig, Sync};
use crate::disk::{Disk, DiskFile, DiskLock};
use crate::graves::Graves;

impl SegmentLog {
    /// Opens the log in a data directory, which is created if need be: takes a directory of its
    /// own, adopts those of dead processes, and reads everything once. Waits for the device.
    pub fn open(
        config: SegmentConfig,
        disk: Arc<dyn Disk>,
        clock: Clock,
    ) -> Result<Self, LogError> {
        let dir = config.dir.display().to_string();
        let failed = |error: io::Error| match super::writer::write_error(&error) {
            LogError::Full(why) => LogError::Full(format!("{dir}: {why}")),
            _ => LogError::Io(format!("{dir}: {error}")),
        };
        let log_dir = log_dir(&config.dir);
        ensure_dir(&*disk, &config.dir).map_err(failed)?;
        ensure_dir(&*disk, &log_dir).map_err(failed)?;
        let (own, held) = take_number(&*disk, &log_dir).map_err(failed)?;
        let synced = synced_file(&config, &*disk, &log_dir, own).map_err(failed)?;
        let (jobs, to_sync) = mpsc::channel();
        let (appends, to_append) = mpsc::channel();
        let (reads, to_read) = mpsc::channel();
        let pace = Arc::new(Pace::default());
        let shared = Arc::new(Shared {
            claims: ClaimLock::new(Arc::clone(&disk), log_dir.join(CLAIMS_LOCK)),
            index: Mutex::new(Index::new(Graves::new(config.tombstone_for))),
            files: Files::new(Arc::clone(&disk), log_dir),
            config,
            clock,
            disk,
            own,
            synced,
            jobs,
            appends,
            reads,
            pace: Arc::clone(&pace),
            writer: Mutex::new(Writer::new(held)),
            sources: Mutex::default(),
            graveyard: Mutex::new(Graveyard::default()),
            walked: Mutex::default(),
            used: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        shared.adopt_dead();
        lock(&shared.index).opened(shared.now());
        pace.start(shared.config.patience).map_err(failed)?;
        let start = |name: &str, run: fn(&Shared, &Receiver<Job>), jobs| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("everstream-{name}"));
            thread.spawn(move || run(&shared, &jobs)).map_err(failed)
        };
        let threads = vec![
            start("sync", sync::run, to_sync)?,
            start("append", pace::run, to_append)?,
            start("read", pace::run, to_read)?,
        ];
        Ok(Self {
            shared,
            threads: Mutex::new(threads),
        })
    }
}

fn ensure_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}

/// Makes the names of the log's directories durable.
pub(super) fn sync_parents(disk: &dyn Disk, data_dir: &Path) -> io::Result<()> {
    disk.sync_dir(&log_dir(data_dir))?;
    disk.sync_dir(data_dir)?;
    let parent = data_dir.parent();
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    match disk.sync_dir(parent.unwrap_or(Path::new("."))) {
        // Who may not list it did not create the data directory there either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// A number higher than all there are, and the lock of its directory. Who looks for dead processes
/// may hold a new directory's lock for a moment, or even have removed it before it was locked: then
/// the next number is tried.
fn take_number(disk: &dyn Disk, log_dir: &Path) -> io::Result<(WriterId, Box<dyn DiskLock>)> {
    loop {
        let names = disk.list(log_dir)?;
        let highest = names.iter().filter_map(|n| layout::parse_writer(n)).max();
        let number = highest.unwrap_or(0) + 1;
        let dir = writer_dir(log_dir, number);
        match disk.create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        let held = match disk.lock(&dir.join(LOCK)) {
            Ok(held) => held,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let is_there = disk
            .list(&dir)
            .is_ok_and(|names| names.iter().any(|n| n == LOCK));
        if let Some(held) = held.filter(|_| is_there) {
            return Ok((number, held));
        }
    }
}

/// Written before the first segment, so that nobody reads one without a limit.
fn synced_file(
    config: &SegmentConfig,
    disk: &dyn Disk,
    log_dir: &Path,
    own: WriterId,
) -> io::Result<Option<Arc<dyn DiskFile>>> {
    let dir = writer_dir(log_dir, own);
    let synced = if config.sync == Sync::Always {
        let file = disk.create(&dir.join(SYNCED))?;
        file.write_at(0, &Synced::default().encode())?;
        Some(file)
    } else {
        None
    };
    if config.sync != Sync::None {
        disk.sync_dir(&dir)?;
        sync_parents(disk, &config.dir)?;
    }
    Ok(synced)
}
