//! One process's view of the host's disk: it can die, fail, or make its device slow, alone.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use everstream_store::disk::{Disk, DiskFile, DiskLock};
use everstream_testkit::disk::{Fault, FaultyDisk};

/// What goes wrong at a change of the disk. Changes are counted from 1 on from when it is set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Harm {
    #[default]
    None,
    /// The process is killed in front of this change, in the middle of it, or right behind it.
    Kill(u64, Moment),
    /// So many changes from this one on fail half done.
    Fail(u64, u64, io::ErrorKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    Middle,
    After,
}

/// The disk as one process has it. Clones are the same one.
#[derive(Clone)]
pub(crate) struct ProcessDisk {
    disk: FaultyDisk,
    gate: Arc<Gate>,
}

/// What a slow device holds up, and who waits for it.
///
/// The log's sync thread runs only while the simulation's thread waits for it here: until what was
/// asked for is done, or until it hangs in a device that is slow. So nothing depends on which of
/// the two threads is quicker.
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    simulation: ThreadId,
}

#[derive(Default)]
struct State {
    dead: bool,
    harm: Harm,
    changes: u64,
    /// The device takes its time over every sync.
    slow: bool,
    /// The sync thread hangs in it.
    hangs: bool,
    /// Operations that were left unfinished, and the tasks that wait for them.
    unfinished: Vec<(Arc<Done>, Waker)>,
}

/// Whether an operation has to be looked at again.
pub(crate) struct Done {
    woken: AtomicBool,
    gate: Arc<Gate>,
}

impl Wake for Done {
    fn wake(self: Arc<Self>) {
        let _state = self.gate.lock();
        self.woken.store(true, Ordering::Release);
        self.gate.changed.notify_all();
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // Many short waits: one alone may be over because the whole machine stood still.
        for _ in 0..60 {
            let waited = self.changed.wait_timeout(state, Duration::from_secs(2));
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if !timeout.timed_out() {
                return again;
            }
            state = again;
        }
        panic!("the log's sync thread hangs");
    }

    /// Something to wake when an operation may go on.
    pub(crate) fn done(self: &Arc<Self>) -> Arc<Done> {
        Arc::new(Done {
            woken: AtomicBool::new(false),
            gate: Arc::clone(self),
        })
    }

    /// Waits until the operation can go on (true), or hangs in a slow device: then `waker` is woken
    /// when the device is quick again.
    pub(crate) fn wait_for(&self, done: &Arc<Done>, waker: &Waker) -> bool {
        let mut state = self.lock();
        loop {
            if done.woken.swap(false, Ordering::AcqRel) {
                return true;
            }
            if state.hangs && state.slow {
                state.unfinished.push((Arc::clone(done), waker.clone()));
                return false;
            }
            state = self.wait(state);
        }
    }

    pub(crate) fn slow_down(&self) {
        self.lock().slow = true;
    }

    /// The device is quick again: what hung in it is done when this returns.
    pub(crate) fn speed_up(&self) {
        let mut state = self.lock();
        state.slow = false;
        self.changed.notify_all();
        let unfinished = std::mem::take(&mut state.unfinished);
        while unfinished
            .iter()
            .any(|(done, _)| !done.woken.load(Ordering::Acquire))
        {
            state = self.wait(state);
        }
        drop(state);
        for (_, waker) in unfinished {
            waker.wake();
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }
}

impl ProcessDisk {
    pub(crate) fn new(disk: FaultyDisk) -> Self {
        let gate = Gate {
            state: Mutex::default(),
            changed: Condvar::new(),
            simulation: std::thread::current().id(),
        };
        Self {
            disk,
            gate: Arc::new(gate),
        }
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Decides what goes wrong from here on, counts changes anew, and says so for the trace.
    pub(crate) fn harm(&self, harm: Harm) -> String {
        let mut state = self.gate.lock();
        state.harm = harm;
        state.changes = 0;
        format!("... {harm:?}")
    }

    /// The process dies here: nothing it does from now on reaches the disk.
    pub(crate) fn kill(&self) {
        self.gate.lock().dead = true;
        self.gate.speed_up();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.gate.is_dead()
    }
}

impl Gate {
    fn alive(&self) -> io::Result<()> {
        if self.is_dead() { Err(dead()) } else { Ok(()) }
    }

    /// Whether a change may fail, other than by the death of the process.
    fn fails(&self) -> bool {
        let state = self.lock();
        !state.dead && matches!(state.harm, Harm::Fail(..))
    }

    /// Makes a change, or half of it, or none, as the harm says.
    fn change<T>(
        &self,
        whole: impl FnOnce() -> io::Result<T>,
        half: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<T> {
        let mut state = self.lock();
        if state.dead {
            return Err(dead());
        }
        state.changes += 1;
        match state.harm {
            Harm::Kill(at, moment) if at == state.changes => {
                state.dead = true;
                drop(state);
                match moment {
                    Moment::Before => Err(dead()),
                    Moment::Middle => half().and_then(|()| Err(dead())),
                    Moment::After => whole(),
                }
            }
            Harm::Fail(at, times, kind) if (at..at + times).contains(&state.changes) => {
                drop(state);
                half()?;
                Err(kind.into())
            }
            _ => {
                drop(state);
                whole()
            }
        }
    }

    /// As [`change`](Self::change), for a sync, which a slow device holds up.
    fn sync(
        &self,
        sync: impl FnOnce() -> io::Result<()>,
        half: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if std::thread::current().id() != self.simulation {
            let mut state = self.lock();
            while state.slow {
                state.hangs = true;
                self.changed.notify_all();
                // Only the simulation ends this, however long it takes.
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
            state.hangs = false;
        }
        let mut state = self.lock();
        if let Harm::Kill(at, Moment::Middle) = state.harm {
            // A sync that nobody waits for any more goes on, or has not begun; it does not fail.
            state.harm = Harm::Kill(at, Moment::Before);
        }
        drop(state);
        self.change(sync, half)
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands for something that may fail"
)]
fn nothing() -> io::Result<()> {
    Ok(())
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl Disk for ProcessDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.gate.change(|| self.disk.create_dir(path), nothing)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.gate.change(|| self.disk.remove_dir(path), nothing)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.gate.alive()?;
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.gate.sync(|| self.disk.sync_dir(dir), nothing)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.gate.change(|| self.disk.create(path), nothing)?;
        Ok(self.opened(path, file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.gate.alive()?;
        Ok(self.opened(path, self.disk.open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.gate.change(|| self.disk.remove(path), nothing)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.gate.alive()?;
        self.disk.lock(path)
    }
}

impl ProcessDisk {
    fn opened(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(ProcessFile {
            file,
            disk: self.disk.clone(),
            gate: Arc::clone(&self.gate),
            is_mark: path.ends_with("synced"),
        })
    }
}

struct ProcessFile {
    file: Arc<dyn DiskFile>,
    disk: FaultyDisk,
    gate: Arc<Gate>,
    /// The file that says how far others may read. Its few bytes are written over in place, which
    /// no full disk refuses; what a broken one costs there is that others see the newest later.
    is_mark: bool,
}

impl DiskFile for ProcessFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let half = &bytes[..bytes.len() / 2];
        if self.is_mark && self.gate.fails() {
            return self.file.write_at(offset, bytes);
        }
        self.gate.change(
            || self.file.write_at(offset, bytes),
            || self.file.write_at(offset, half),
        )
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.gate.alive()?;
        self.file.read_at(offset, into)
    }

    fn size(&self) -> io::Result<u64> {
        self.gate.alive()?;
        self.file.size()
    }

    fn sync_data(&self) -> io::Result<()> {
        let half = || {
            // After a failure the kernel takes its pages for written, which the double knows.
            self.disk
                .set_fault(Fault::FailAt(1, 1, io::ErrorKind::Other));
            let _ = self.file.sync_data();
            self.disk.set_fault(Fault::None);
            Ok(())
        };
        self.gate.sync(|| self.file.sync_data(), half)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.gate.change(|| self.file.set_len(len), nothing)
    }
}
