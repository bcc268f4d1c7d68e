use std::io;
use std::sync::{Arc, MutexGuard};

use everstream_store::disk::{DiskFile, DiskLock};

use super::{Change, Held, Inner, State, apply, stopped};

/// An open file.
pub(super) struct Opened {
    pub(super) disk: Arc<Inner>,
    pub(super) at: usize,
    pub(super) life: u64,
}

impl Opened {
    fn alive<'a>(&self, state: MutexGuard<'a, State>) -> io::Result<MutexGuard<'a, State>> {
        state.check()?;
        if state.life != self.life {
            return Err(stopped());
        }
        Ok(state)
    }

    fn apply(&self, change: Change) -> io::Result<()> {
        let mut state = self.alive(self.disk.lock_for(Held::Changes))?;
        let outcome = state.change();
        let change = match (&outcome, change) {
            (Ok(()), change) => change,
            (Err(_), Change::Write(at, bytes)) => {
                Change::Write(at, bytes[..bytes.len() / 2].to_vec())
            }
            (Err(_), Change::Cut(_)) => return outcome,
        };
        let inode = &mut state.inodes[self.at];
        apply(&mut inode.bytes, &change);
        inode.unsynced.push(change);
        outcome
    }
}

impl DiskFile for Opened {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.apply(Change::Write(at, bytes.to_vec()))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.alive(self.disk.lock_for(Held::All))?;
        state.reads += 1;
        let bytes = &state.inodes[self.at].bytes;
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let rest = bytes.get(at..).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.alive(self.disk.lock_for(Held::All))?;
        Ok(state.inodes[self.at].bytes.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.alive(self.disk.lock_for(Held::Syncs))?;
        let outcome = state.change();
        state.check()?;
        let inode = &mut state.inodes[self.at];
        // After a failure the kernel takes its pages for written: a later sync does not try again.
        for change in std::mem::take(&mut inode.unsynced) {
            if outcome.is_ok() {
                apply(&mut inode.durable, &change);
            }
        }
        outcome
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.apply(Change::Cut(len))
    }
}

/// A file that is locked while this is there.
pub(super) struct Locked(pub(super) Opened);

impl DiskLock for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut state = self.0.disk.lock();
        if state.life == self.0.life {
            state.locked.remove(&self.0.at);
        }
    }
}
