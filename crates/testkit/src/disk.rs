//! A file system in memory that stops, fails, forgets and rots when it is told to.

mod file;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use everstream_store::disk::{Disk, DiskFile, DiskLock};

use self::file::{Locked, Opened};

/// What a crash does to what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed: the kernel still has everything.
    Kill,
    /// The power went: of what was not synced, each change is there, half there, or not, and each
    /// name is there or not, as the seed says.
    Power(u64),
}

/// When something that changes the disk goes wrong. Changes are counted from 1: creations, writes,
/// cuts, removals and syncs. A write that goes wrong is half done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Never.
    #[default]
    None,
    /// The process dies in this change: it and everything after it fails.
    StopAt(u64),
    /// So many changes from this one on fail, and what follows does not.
    FailAt(u64, u64, io::ErrorKind),
}

/// What hangs until it is released; each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Nothing.
    #[default]
    Nothing,
    /// Syncs: the device does not answer, and the kernel takes writes.
    Syncs,
    /// Whatever changes the disk.
    Changes,
    /// Everything.
    All,
}

/// The file system. Clones are the same one.
#[derive(Clone, Default)]
pub struct FaultyDisk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    /// Names as the kernel has them.
    names: BTreeMap<PathBuf, Node>,
    /// Names as the device has them.
    durable: BTreeMap<PathBuf, Node>,
    inodes: Vec<Inode>,
    locked: HashSet<usize>,
    /// Grows with each restart: what was open before belongs to the dead.
    life: u64,
    fault: Fault,
    changes: u64,
    reads: u64,
    held: Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

impl FaultyDisk {
    /// Decides what goes wrong from here on, and counts changes anew.
    pub fn set_fault(&self, fault: Fault) {
        let mut state = self.0.lock();
        state.fault = fault;
        state.changes = 0;
    }

    /// Changes since the fault was set.
    pub fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// Reads since the disk was made.
    pub fn reads(&self) -> u64 {
        self.0.lock().reads
    }

    /// Lets the disk hang until [`release`](Self::release).
    pub fn hold(&self, held: Held) {
        self.0.lock().held = held;
        self.0.released.notify_all();
    }

    /// Lets everything go on.
    pub fn release(&self) {
        self.hold(Held::Nothing);
    }

    /// The process died, or the machine, and starts again: locks are free, nothing goes wrong.
    pub fn restart(&self, loss: Loss) {
        let mut state = self.0.lock();
        if let Loss::Power(seed) = loss {
            state.lose(&mut Random(seed));
        }
        state.locked.clear();
        state.life += 1;
        state.fault = Fault::None;
        state.changes = 0;
    }

    /// The files and their contents.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.0.lock();
        let files = state.names.iter().filter_map(|(path, node)| match node {
            Node::File(at) => Some((path.clone(), state.inodes[*at].bytes.clone())),
            Node::Dir => None,
        });
        files.collect()
    }

    /// Cuts a file behind everybody's back.
    pub fn cut(&self, path: &Path, len: usize) {
        let mut state = self.0.lock();
        if let Some(Node::File(at)) = state.names.get(path).copied() {
            let inode = &mut state.inodes[at];
            inode.bytes.truncate(len);
            inode.durable.truncate(len);
        }
    }

    /// Changes a byte of a file behind everybody's back.
    pub fn rot(&self, path: &Path, offset: usize, mask: u8) {
        let mut state = self.0.lock();
        if let Some(Node::File(at)) = state.names.get(path).copied() {
            let inode = &mut state.inodes[at];
            for bytes in [&mut inode.bytes, &mut inode.durable] {
                if let Some(byte) = bytes.get_mut(offset) {
                    *byte ^= mask;
                }
            }
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state once nothing that holds `what` back is held.
    fn lock_for(&self, what: Held) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.held >= what {
            let released = self.released.wait(state);
            state = released.unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

impl State {
    /// Counts a change; an error if it goes wrong.
    fn change(&mut self) -> io::Result<()> {
        self.changes += 1;
        match self.fault {
            Fault::StopAt(at) if self.changes >= at => Err(stopped()),
            Fault::FailAt(at, times, kind) if (at..at + times).contains(&self.changes) => {
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.fault {
            Fault::StopAt(at) if self.changes >= at => Err(stopped()),
            _ => Ok(()),
        }
    }

    fn is_dir(&self, path: &Path) -> io::Result<()> {
        match self.names.get(path) {
            Some(Node::Dir) => Ok(()),
            _ if path
                .parent()
                .is_none_or(|p| p.as_os_str().is_empty() || p == Path::new("/")) =>
            {
                Ok(())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(at)) => Ok(*at),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&mut self, path: &Path) -> io::Result<usize> {
        self.is_dir(path.parent().unwrap_or(Path::new("/")))?;
        self.inodes.push(Inode::default());
        let at = self.inodes.len() - 1;
        self.names.insert(path.to_owned(), Node::File(at));
        Ok(at)
    }

    fn lose(&mut self, random: &mut Random) {
        let paths: HashSet<PathBuf> = self
            .names
            .keys()
            .chain(self.durable.keys())
            .cloned()
            .collect();
        let mut paths: Vec<_> = paths.into_iter().collect();
        paths.sort();
        let mut kept = BTreeMap::new();
        for path in paths {
            let (kernel, device) = (self.names.get(&path), self.durable.get(&path));
            let node = if random.below(2) == 0 { kernel } else { device };
            let parent = path.parent().unwrap_or(Path::new("/"));
            let has_parent = parent == Path::new("/") || kept.get(parent) == Some(&Node::Dir);
            if let Some(node) = node.filter(|_| has_parent) {
                kept.insert(path, *node);
            }
        }
        self.durable.clone_from(&kept);
        self.names = kept;
        for inode in &mut self.inodes {
            for change in std::mem::take(&mut inode.unsynced) {
                match (change, random.below(3)) {
                    (_, 0) => {}
                    (Change::Write(at, bytes), 1) => {
                        let part = random.below(bytes.len() + 1);
                        apply(
                            &mut inode.durable,
                            &Change::Write(at, bytes[..part].to_vec()),
                        );
                    }
                    (change, _) => apply(&mut inode.durable, &change),
                }
            }
            inode.bytes.clone_from(&inode.durable);
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, new) => {
            let end = at + new.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(new);
        }
        Change::Cut(len) => bytes.resize(*len, 0),
    }
}

fn stopped() -> io::Error {
    io::Error::other("the process is dead")
}

struct Random(u64);

impl Random {
    /// The splitmix64 generator.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % limit as u64).unwrap_or(0)
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock_for(Held::Changes);
        state.check()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.is_dir(path.parent().unwrap_or(Path::new("/")))?;
        state.change()?;
        state.names.insert(path.to_owned(), Node::Dir);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock_for(Held::Changes);
        state.change()?;
        if state.names.keys().any(|other| other.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.names.remove(path);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock_for(Held::All);
        state.check()?;
        state.is_dir(dir)?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        Ok(inside.filter_map(name).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock_for(Held::Syncs);
        state.change()?;
        let is_inside = |path: &Path| path.parent() == Some(dir);
        state.durable.retain(|path, _| !is_inside(path));
        let inside = state.names.iter().filter(|(path, _)| is_inside(path));
        let inside: Vec<_> = inside.map(|(path, node)| (path.clone(), *node)).collect();
        state.durable.extend(inside);
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock_for(Held::Changes);
        state.change()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let at = state.create(path)?;
        Ok(Arc::new(self.opened(&state, at)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.0.lock_for(Held::All);
        state.check()?;
        let at = state.file(path)?;
        Ok(Arc::new(self.opened(&state, at)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock_for(Held::Changes);
        state.change()?;
        state.file(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut state = self.0.lock_for(Held::All);
        state.check()?;
        let at = match state.file(path) {
            Ok(at) => at,
            Err(_) => state.create(path)?,
        };
        if !state.locked.insert(at) {
            return Ok(None);
        }
        Ok(Some(Box::new(Locked(self.opened(&state, at)))))
    }
}

impl FaultyDisk {
    fn opened(&self, state: &State, at: usize) -> Opened {
        Opened {
            disk: Arc::clone(&self.0),
            at,
            life: state.life,
        }
    }
}
