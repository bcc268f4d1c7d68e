//! One creation with a claim at a time among the processes of a host.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::disk::{Disk, DiskLock};

/// The lock file, shared by all of this process that hold it: among themselves the writer's lock
/// keeps them in order.
pub(super) struct ClaimLock {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    held: Mutex<(usize, Option<Box<dyn DiskLock>>)>,
}

/// Frees the lock when dropped.
pub(super) struct ClaimGuard(Arc<ClaimLock>);

impl ClaimLock {
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            disk,
            path,
            held: Mutex::default(),
        })
    }

    /// `None` while another process has it.
    pub(super) fn try_lock(self: &Arc<Self>) -> io::Result<Option<ClaimGuard>> {
        let mut held = lock(&self.held);
        if held.0 == 0 {
            held.1 = self.disk.lock(&self.path)?;
            if held.1.is_none() {
                return Ok(None);
            }
        }
        held.0 += 1;
        Ok(Some(ClaimGuard(Arc::clone(self))))
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        let mut held = lock(&self.0.held);
        held.0 -= 1;
        if held.0 == 0 {
            held.1 = None;
        }
    }
}
