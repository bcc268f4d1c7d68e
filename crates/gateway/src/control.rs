//! How the processes on one data directory talk to each other: a Unix socket for each, in
//! `<data_dir>/control/`, and one line each way.
//!
//! - `cancel <stream>`: whoever writes the stream stops it; `yes`, or `no` from all others.
//! - `takeover`: the process that listens answers `listener` with the listening descriptors beside
//!   it, that for clients first, and goes on as before until the other side says `ready`. Then it drains. A successor that
//!   fails to start therefore costs nothing; one that works refuses nobody, because the socket and
//!   its accept queue are never closed.

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use everstream_core::error::ErrorCode;
use everstream_core::id::StreamId;
use everstream_core::limits;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio_util::sync::CancellationToken;

use crate::generate::registry::Registry;

/// How long a peer may take to answer a line.
const PATIENCE: Duration = Duration::from_secs(2);

/// The other processes on this data directory.
#[derive(Debug, Default)]
pub struct Peers {
    /// `None` for a log in memory, which has none.
    dir: Option<PathBuf>,
}

impl Peers {
    /// Those on `data_dir`.
    pub fn of(data_dir: &Path) -> Self {
        Self {
            dir: Some(data_dir.join("control")),
        }
    }

    /// Asks whoever writes `stream` to stop it; false when nobody does.
    pub async fn cancel(&self, stream: StreamId) -> bool {
        let Some(dir) = self.dir.clone() else {
            return false;
        };
        let asking = tokio::task::spawn_blocking(move || {
            let mut answers = connections(&dir).into_iter();
            answers.any(|peer| ask(peer, &format!("cancel {stream}\n")).is_ok_and(|a| a == "yes"))
        });
        asking.await.unwrap_or(false)
    }

    /// Takes the listening socket of the process that has it, if there is one.
    ///
    /// # Errors
    /// When it is there and does not hand it over.
    pub fn take_listener(&self) -> io::Result<Option<Takeover>> {
        let peers = self.dir.as_deref().map(connections).unwrap_or_default();
        for mut peer in peers {
            peer.write_all(b"takeover\n")?;
            let mut listeners = receive(&peer)?.into_iter().map(TcpListener::from);
            if let Some(listener) = listeners.next() {
                return Ok(Some(Takeover {
                    listener,
                    others: listeners.collect(),
                    peer,
                }));
            }
        }
        Ok(None)
    }
}

/// A listening socket, and the process that still serves it.
#[derive(Debug)]
pub struct Takeover {
    /// The socket.
    pub listener: TcpListener,
    /// Further ones, such as that for operators.
    pub others: Vec<TcpListener>,
    peer: UnixStream,
}

impl Takeover {
    /// Tells the old process that this one serves: it drains now.
    pub fn ready(mut self) -> io::Result<()> {
        self.peer.write_all(b"ready\n")
    }
}

/// This process's own socket. Dropping it takes the name away.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
}

/// What others may do with this process.
pub struct Handles {
    /// Whose generations can be cancelled.
    pub registry: Arc<Registry>,
    /// The listening sockets to hand over, that for clients first; locked while a successor gets
    /// ready, as there can be only one. Gone once it is: a socket that is still open here could not
    /// be bound again if the successor died.
    pub listeners: Mutex<Vec<OwnedFd>>,
    /// Told when a successor serves.
    pub replaced: CancellationToken,
}

impl Control {
    /// Answers others from now on, in a thread of its own: what they ask must be answered however
    /// busy the runtime is.
    pub fn start(data_dir: &Path, handles: Handles) -> io::Result<Self> {
        let dir = data_dir.join("control");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)?;
        let path = dir.join(format!("{}.sock", std::process::id()));
        // Of a process that had our number and died.
        let _ = std::fs::remove_file(&path);
        let socket = UnixListener::bind(&path)?;
        let handles = Arc::new(handles);
        std::thread::Builder::new()
            .name("everstream-control".to_owned())
            .spawn(move || {
                for peer in socket.incoming() {
                    let (Ok(peer), handles) = (peer, Arc::clone(&handles)) else {
                        continue;
                    };
                    // A takeover waits for its successor; a cancellation must not wait for that.
                    let answering =
                        std::thread::Builder::new().spawn(move || handles.answer(&peer));
                    if answering.is_err() {
                        tracing::error!("no thread for a control connection");
                    }
                }
            })?;
        Ok(Self { path })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Handles {
    fn answer(&self, peer: &UnixStream) {
        if let Err(error) = self.try_answer(peer) {
            tracing::debug!(%error, "control connection");
        }
    }

    fn try_answer(&self, mut peer: &UnixStream) -> io::Result<()> {
        peer.set_read_timeout(Some(PATIENCE))?;
        let line = read_line(peer)?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("cancel", id) => {
                let live = id.parse().ok().and_then(|id| self.registry.get(id));
                if let Some(live) = &live {
                    live.stop(ErrorCode::Cancelled);
                }
                peer.write_all(if live.is_some() { b"yes\n" } else { b"no\n" })
            }
            ("takeover", _) => match self.listeners.try_lock() {
                Ok(listeners) if !listeners.is_empty() => self.hand_over(peer, listeners),
                _ => peer.write_all(b"no\n"),
            },
            _ => peer.write_all(b"no\n"),
        }
    }

    fn hand_over(
        &self,
        peer: &UnixStream,
        mut listeners: MutexGuard<'_, Vec<OwnedFd>>,
    ) -> io::Result<()> {
        tracing::info!("a successor asks for the listening sockets");
        send(peer, &listeners)?;
        peer.set_read_timeout(Some(limits::TAKEOVER_PATIENCE))?;
        if read_line(peer).is_ok_and(|line| line == "ready") {
            listeners.clear();
            self.replaced.cancel();
        } else {
            tracing::warn!("the successor did not get ready; this process goes on");
        }
        Ok(())
    }
}

/// A connection to each living process but this one; the names of dead ones are taken away.
fn connections(dir: &Path) -> Vec<UnixStream> {
    let own = format!("{}.sock", std::process::id());
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let others = entries.filter(|entry| entry.file_name() != *own);
    let connected = others.filter_map(|entry| match UnixStream::connect(entry.path()) {
        Ok(peer) => Some(peer),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let _ = std::fs::remove_file(entry.path());
            None
        }
        Err(_) => None,
    });
    connected.collect()
}

fn ask(mut peer: UnixStream, line: &str) -> io::Result<String> {
    peer.set_read_timeout(Some(PATIENCE))?;
    peer.write_all(line.as_bytes())?;
    read_line(&peer)
}

fn read_line(peer: &UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::with_capacity(64, peer.take(64)).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Most descriptors that go over at once.
const LISTENERS: usize = 4;

fn send(peer: &UnixStream, descriptors: &[OwnedFd]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    sendmsg(
        peer,
        &[IoSlice::new(b"listener\n")],
        &mut ancillary,
        SendFlags::empty(),
    )?;
    Ok(())
}

/// The descriptors that came with an answer.
fn receive(peer: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    peer.set_read_timeout(Some(PATIENCE))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 16];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(
        peer,
        &mut [IoSliceMut::new(&mut text)],
        &mut ancillary,
        flags,
    )?;
    let descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    Ok(descriptors.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handles(registry: &Arc<Registry>) -> (Handles, CancellationToken, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.78:0").unwrap();
        let admin = TcpListener::bind("127.0.0.78:0").unwrap();
        let address = listener.local_addr().unwrap();
        let replaced = CancellationToken::new();
        let handles = Handles {
            registry: Arc::clone(registry),
            listeners: Mutex::new(vec![listener.into(), admin.into()]),
            replaced: replaced.clone(),
        };
        (handles, replaced, address)
    }

    #[test]
    fn a_listener_is_handed_over_and_kept_until_the_successor_is_ready() {
        let (handles, replaced, address) = handles(&Arc::default());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let old = std::thread::spawn(move || handles.try_answer(&theirs));
        (&ours).write_all(b"takeover\n").unwrap();
        let mut listeners = receive(&ours).unwrap().into_iter().map(TcpListener::from);
        let listener = listeners.next().unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        assert!(!replaced.is_cancelled());
        let others: Vec<_> = listeners.collect();
        assert_eq!(others.len(), 1);
        Takeover {
            listener,
            others,
            peer: ours,
        }
        .ready()
        .unwrap();
        old.join().unwrap().unwrap();
        assert!(replaced.is_cancelled());
    }

    #[test]
    fn there_is_one_successor_and_then_nothing_to_hand_over() {
        let (handles, replaced, _) = handles(&Arc::default());
        let handles = Arc::new(handles);
        let refused = |handles: &Handles| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            (&ours).write_all(b"takeover\n").unwrap();
            handles.answer(&theirs);
            read_line(&ours).unwrap() == "no"
        };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let first = Arc::clone(&handles);
        let old = std::thread::spawn(move || first.try_answer(&theirs));
        (&ours).write_all(b"takeover\n").unwrap();
        let listener = TcpListener::from(receive(&ours).unwrap().swap_remove(0));
        let address = listener.local_addr().unwrap();
        assert!(refused(&handles));
        (&ours).write_all(b"ready\n").unwrap();
        old.join().unwrap().unwrap();
        assert!(replaced.is_cancelled() && refused(&handles));
        // Should the successor die, the address is free.
        drop(listener);
        TcpListener::bind(address).unwrap();
    }

    #[test]
    fn a_successor_that_dies_changes_nothing() {
        let (handles, replaced, _) = handles(&Arc::default());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let old = std::thread::spawn(move || handles.try_answer(&theirs));
        (&ours).write_all(b"takeover\n").unwrap();
        assert_eq!(receive(&ours).unwrap().len(), 2);
        drop(ours);
        old.join().unwrap().unwrap();
        assert!(!replaced.is_cancelled());
    }

    #[test]
    fn garbage_gets_a_no() {
        let (handles, replaced, _) = handles(&Arc::default());
        let id = StreamId::from_bits(1);
        for line in [
            "",
            "take",
            "cancel",
            "cancel x",
            &format!("cancel {id}"),
            &"x".repeat(500),
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            (&ours).write_all(format!("{line}\n").as_bytes()).unwrap();
            handles.answer(&theirs);
            assert_eq!(read_line(&ours).unwrap(), "no", "{line}");
        }
        assert!(!replaced.is_cancelled());
    }

    #[test]
    fn names_of_dead_processes_are_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("control");
        std::fs::create_dir(&control).unwrap();
        drop(UnixListener::bind(control.join("1.sock")).unwrap());
        assert!(Peers::of(dir.path()).take_listener().unwrap().is_none());
        assert_eq!(std::fs::read_dir(&control).unwrap().count(), 0);
    }
}
