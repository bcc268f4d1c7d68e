//! The sync thread: the only place that waits for the device.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use tracing::{error, warn};

use super::layout::{FIRST, Synced};
use super::pace::Kind;
use super::writer::{Active, Writer, write_error};
use super::{Shared, lock};
use crate::LogError;
use crate::config::Sync;
use crate::disk::DiskFile;

/// What the sync thread is asked to do.
pub(super) enum Job {
    /// Something was appended.
    Appended,
    /// Something that waits for the device.
    Task(Box<dyn FnOnce(&Shared) + Send>),
    /// End.
    Stop,
}

/// Runs until it is told to stop.
pub(super) fn run(shared: &Shared, jobs: &Receiver<Job>) {
    let mut due: Option<Instant> = None;
    loop {
        let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
        let job = match wait {
            Some(wait) => jobs.recv_timeout(wait),
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match (job, shared.config.sync) {
            (Ok(Job::Appended), Sync::Interval(interval)) => {
                due = due.or_else(|| Instant::now().checked_add(interval));
            }
            (Ok(Job::Appended) | Err(RecvTimeoutError::Timeout), _) => {
                due = None;
                let _underway = shared.pace.begin(Kind::Sync);
                // Who waits is told; at `interval` nobody does, and it is logged.
                let _ = shared.sync();
            }
            (Ok(Job::Task(task)), _) => {
                let _underway = shared.pace.begin(Kind::Sync);
                task(shared);
            }
            (Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected), _) => return,
        }
    }
}

impl Shared {
    /// Runs `task` on the sync thread.
    pub(super) async fn on_sync_thread<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, LogError> {
        self.on_thread(&self.jobs, Kind::Sync, task).await
    }

    /// Makes everything durable that was written before. On the sync thread.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        let mut writer = lock(&self.writer);
        writer.announced = false;
        let files = std::mem::take(&mut writer.dirty);
        let dir = std::mem::take(&mut writer.dir_dirty);
        let active = writer.active.as_ref();
        let active = active.map(|a| (a.number, a.len, a.synced, Arc::clone(&a.segment)));
        let count = writer.pending.len();
        let unsynced = active.as_ref().filter(|(_, len, synced, _)| synced < len);
        if files.is_empty() && unsynced.is_none() && !dir && count == 0 {
            return Ok(());
        }
        let is_full = |a: &Active| a.len >= self.segment_bytes();
        let rotates =
            self.config.sync == Sync::Always && writer.active.as_ref().is_some_and(is_full);
        // To leave a segment, nothing may be written to it while it is made durable.
        let held = if rotates {
            Some(writer)
        } else {
            drop(writer);
            None
        };
        let unsynced = unsynced.map(|(.., segment)| &segment.file);
        let result = self.sync_files(files.iter().chain(unsynced), dir);
        let mut writer = held.unwrap_or_else(|| lock(&self.writer));
        match &result {
            Ok(()) => {
                let synced = active.map(|(number, len, ..)| (number, len));
                self.publish(&mut writer, synced, count);
                if rotates {
                    let len = writer.active.as_ref().map_or(0, |active| active.len);
                    writer.retire(len, true);
                }
            }
            Err(error) => self.fail(writer, error),
        }
        result
    }

    fn sync_files<'a>(
        &self,
        files: impl Iterator<Item = &'a Arc<dyn DiskFile>>,
        dir: bool,
    ) -> Result<(), LogError> {
        let failed = |error| write_error(&error);
        for file in files {
            file.sync_data().map_err(failed)?;
        }
        if dir {
            self.disk.sync_dir(&self.own_dir()).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes the first `count` pending appends visible, to other processes first: who is told that
    /// its append is durable may tell others to read it.
    fn publish(&self, writer: &mut Writer, synced: Option<(u32, u64)>, count: usize) {
        if let (Some((number, len)), Some(active)) = (synced, &mut writer.active)
            && active.number == number
        {
            active.synced = active.synced.max(len);
        }
        if count == 0 {
            return;
        }
        if let Some((segment, offset)) = synced {
            self.announce_synced(Synced { segment, offset });
        }
        let mut index = lock(&self.index);
        let mut acks = Vec::with_capacity(count);
        for pending in writer.pending.drain(..count) {
            if let Some(step) = pending.step {
                let staged = writer.staged.get(&step.stream);
                if staged.is_some_and(|standing| standing.extent.tail == step.tail) {
                    writer.staged.remove(&step.stream);
                }
                index.apply(self.own, step);
            }
            acks.push(pending.done);
        }
        index.settle();
        drop(index);
        for ack in acks {
            let _ = ack.send(Ok(()));
        }
    }

    /// After a failed sync the kernel may have dropped what it could not write, so nothing behind
    /// the last good sync counts, and nothing more is written to that file.
    fn fail(&self, mut writer: MutexGuard<'_, Writer>, error: &LogError) {
        let active = writer.active.as_ref();
        let active = active.map(|a| (a.len, a.synced.max(FIRST), Arc::clone(&a.segment)));
        writer.dir_dirty = true;
        if self.config.sync != Sync::Always {
            error!(%error, "the log could not be synced: a power loss may now cost more than the interval");
            writer.retire(active.map_or(0, |(len, ..)| len), false);
            return;
        }
        warn!(%error, pending = writer.pending.len(), "the log could not be synced: appends fail");
        if let Some((len, synced, segment)) = active {
            // Best effort: the next segment's header says how much of this one counts.
            let _ = segment.file.set_len(synced);
            writer.retire(synced, false);
            self.shrink(len - synced);
        }
        let failed = std::mem::take(&mut writer.pending);
        writer.staged.clear();
        let mut index = lock(&self.index);
        for pending in &failed {
            let step = pending.step.as_ref();
            let opened = step.and_then(|step| Some((step.stream, step.opened.as_ref()?)));
            if let Some((id, claim)) = opened.and_then(|(id, o)| Some((id, o.claim.as_ref()?))) {
                index.graves.release(claim.key, id);
            }
        }
        drop(index);
        drop(writer);
        for pending in failed {
            let _ = pending.done.send(Err(error.clone()));
        }
    }

    fn announce_synced(&self, synced: Synced) {
        let Some(file) = &self.synced else { return };
        if let Err(error) = file.write_at(0, &synced.encode()) {
            warn!(%error, "other processes will see the newest records later");
        }
    }
}
