//! A flood of requests that are refused, from a thread of its own, as fast as they are answered.
//!
//! Its client is as cheap as it can be, as it shares a core with those that are measured: a batch of
//! requests is one buffer, in which some bytes are changed, and of the answers only the status is read.
//! The thread gives way to all others.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use everstream_core::sign::api_key::{ID_CHARS, KeyMaster, id_of};
use memchr::memmem::Finder;
use rustix::process::setpriority_process;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::http::malformed;

/// What it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flood {
    /// What needs no key and costs next to nothing, for comparison.
    Health,
    /// Generations with made-up keys, from one address.
    OneAddress,
    /// The same, each from another address, by way of a trusted proxy.
    ManyAddresses,
}

/// Open connections.
const CONNECTIONS: u64 = 64;
/// Requests that are sent at once on each of them.
const BATCH: usize = 8;
const BODY: &str = r#"{"model":"bench-2-0","stream":true,"messages":[{"role":"user","content":"Count, please."}]}"#;
/// What stands in front of an id in the text of a key.
const KEY: &str = "Bearer es-";
const FORWARDED: &str = "x-forwarded-for: ";
const ADDRESS: &str = "10.000.000.000";
const STATUS_LINE: &[u8] = b"HTTP/1.1 ";
/// Behind which thread nobody waits.
const LAST: i32 = 19;

/// A flood that goes on until it is dropped.
pub(super) struct Flooding {
    answered: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Flooding {
    pub(super) fn start(flood: Flood, addr: SocketAddr) -> Self {
        let (stop, stopped) = oneshot::channel();
        let answered = Arc::default();
        let counter = Arc::clone(&answered);
        let thread = thread::spawn(move || {
            // Of this thread alone, as Linux has it.
            setpriority_process(None, LAST)?;
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    failed = all(flood, addr, &counter) => failed,
                    _ = stopped => Ok(()),
                }
            })
        });
        Self {
            answered,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// How many requests were answered until now.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When one was answered otherwise than it should have been.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.stop = None;
        let ended = self.thread.take().map(JoinHandle::join);
        let died = |_| io::Error::other("the flood's thread panicked");
        ended.map_or(Ok(()), |ended| ended.map_err(died)?)
    }
}

async fn all(flood: Flood, addr: SocketAddr, answered: &Arc<AtomicU64>) -> io::Result<()> {
    let mut running = JoinSet::new();
    for number in 0..CONNECTIONS {
        let batch = Batch::new(flood, addr, number);
        running.spawn(one(flood, addr, batch, Arc::clone(answered)));
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

/// One connection after the other: a server may close one that it has had enough of.
async fn one(
    flood: Flood,
    addr: SocketAddr,
    mut batch: Batch,
    answered: Arc<AtomicU64>,
) -> io::Result<()> {
    let finder = Finder::new(STATUS_LINE);
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        let mut socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        buffer.clear();
        let mut missing = 0;
        loop {
            if missing == 0 {
                batch.renew();
                // A connection that is closed meanwhile says so when it is read.
                let _ = socket.write_all(&batch.bytes).await;
                missing = BATCH;
            }
            match socket.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let seen = take(&finder, &mut buffer, flood)?;
            missing = missing.saturating_sub(seen);
            answered.fetch_add(seen as u64, Ordering::Relaxed);
        }
    }
}

/// Counts the answers that begin in what was read, and leaves what may be the beginning of one.
fn take(finder: &Finder<'_>, buffer: &mut Vec<u8>, flood: Flood) -> io::Result<usize> {
    let (mut seen, mut at) = (0, 0);
    while let Some(found) = finder.find(&buffer[at..]) {
        let status = at + found + STATUS_LINE.len();
        let Some(status) = buffer.get(status..status + 3) else {
            buffer.drain(..at + found);
            return Ok(seen);
        };
        // What only the database knows may be refused for want of its answer.
        let fits = match flood {
            Flood::Health => status == b"200",
            Flood::OneAddress | Flood::ManyAddresses => matches!(status, b"401" | b"429" | b"503"),
        };
        if !fits {
            let status = String::from_utf8_lossy(status);
            return Err(malformed(format!("the flood got a {status}")));
        }
        seen += 1;
        at += found + STATUS_LINE.len();
    }
    let rest = (buffer.len() - at).min(STATUS_LINE.len() + 2);
    buffer.drain(..buffer.len() - rest);
    Ok(seen)
}

/// Requests in one buffer.
struct Batch {
    bytes: Vec<u8>,
    /// Where ids of keys stand.
    ids: Vec<usize>,
    /// Where addresses stand.
    addresses: Vec<usize>,
    random: u64,
}

impl Batch {
    fn new(flood: Flood, addr: SocketAddr, seed: u64) -> Self {
        let one = match flood {
            Flood::Health => format!("GET /healthz HTTP/1.1\r\nhost: {addr}\r\n\r\n"),
            Flood::OneAddress | Flood::ManyAddresses => {
                let key = KeyMaster::new(&seed.to_be_bytes()).key(&"0".repeat(ID_CHARS), 1);
                let from = if flood == Flood::ManyAddresses {
                    format!("{FORWARDED}{ADDRESS}\r\n")
                } else {
                    String::new()
                };
                format!(
                    "POST /v1/chat/completions HTTP/1.1\r\nhost: {addr}\r\ncontent-type: \
                     application/json\r\nauthorization: Bearer {}\r\n{from}content-length: {}\r\n\r\n{BODY}",
                    key.expose(),
                    BODY.len()
                )
            }
        };
        let places = |mark: &str, behind: usize| {
            let each = (0..BATCH).map(|n| n * one.len());
            let at = one.find(mark).map(|at| at + behind);
            each.filter_map(|begin| Some(begin + at?)).collect()
        };
        Self {
            bytes: one.repeat(BATCH).into_bytes(),
            ids: places(KEY, KEY.len()),
            addresses: places(FORWARDED, FORWARDED.len()),
            random: seed + 1,
        }
    }

    /// Other keys, and other addresses.
    fn renew(&mut self) {
        for at in &self.ids {
            let id = id_of(bits(&mut self.random));
            self.bytes[*at..at + ID_CHARS].copy_from_slice(id.as_bytes());
        }
        for at in &self.addresses {
            let [a, b, c, ..] = bits(&mut self.random);
            // Blanks at the end of a field are none of its value.
            let address = format!("10.{a}.{b}.{c}");
            let address = format!("{address:<width$}", width = ADDRESS.len());
            self.bytes[*at..at + ADDRESS.len()].copy_from_slice(address.as_bytes());
        }
    }
}

/// Bits that no two requests share (a generator of Marsaglia's, xorshift64).
fn bits(state: &mut u64) -> [u8; 10] {
    let mut random = [0; 10];
    for half in random.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        half.copy_from_slice(&state.to_be_bytes()[..half.len()]);
    }
    random
}
