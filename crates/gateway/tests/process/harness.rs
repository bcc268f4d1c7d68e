//! The real binary as a child process, in front of a scripted provider in this one.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everstream_testkit::client::RawClient;
use everstream_testkit::provider::FakeProvider;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bounds every wait, so that a bug fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// An address for one site: each has its own, as another could take its port while no gateway listens
/// there. Nor is it 127.0.0.1, from which the tests' own connections come.
fn fresh_address() -> SocketAddr {
    static SITES: AtomicU8 = AtomicU8::new(1);
    let site = SITES.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, 0, 77, site], 0))
}

const READY: &str = "everstream: listening on http://";

/// A data directory and a configuration, for one process after the other or several at a time.
pub(crate) struct Site {
    dir: TempDir,
    config: PathBuf,
    listen: SocketAddr,
}

impl Site {
    /// A site in front of `provider`; `toml` is more configuration.
    pub(crate) fn new(provider: &FakeProvider, toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("everstream.toml");
        let listen = fresh_address();
        let text = format!(
            "listen = \"{listen}\"\ndata_dir = {:?}\n{toml}\n[[upstreams]]\nname = \"fake\"\n\
             base_url = {:?}\nmodels = [\"m\"]\n",
            dir.path().join("data").to_str().unwrap(),
            provider.base_url(),
        );
        std::fs::write(&config, text).unwrap();
        Self {
            dir,
            config,
            listen,
        }
    }

    /// Where a test may put files of its own.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a process; all have the address of the first one.
    pub(crate) async fn start(&mut self) -> Process {
        let process = self.try_start(&self.config, &[]).await.unwrap();
        self.listen = process.addr;
        process
    }

    /// Starts one that takes over from the one that runs.
    pub(crate) async fn take_over(&self) -> Process {
        self.try_start(&self.config, &["--takeover"]).await.unwrap()
    }

    /// Starts one with another configuration.
    ///
    /// # Errors
    /// What it said, when it ends before it is ready.
    pub(crate) async fn try_start(&self, config: &Path, args: &[&str]) -> Result<Process, String> {
        let mut command = self.command(config, args);
        Process::spawn(&mut command).ready().await
    }

    /// The command line of [`try_start`](Self::try_start).
    pub(crate) fn command(&self, config: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_everstream"));
        command.args(["serve", "--listen", &self.listen.to_string(), "--config"]);
        command.arg(config).args(args).env_clear();
        command
    }
}

/// A child that may not be ready yet. It is killed when dropped.
pub(crate) struct Process {
    /// Where it listens, once it is ready.
    pub(crate) addr: SocketAddr,
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    said: Arc<Mutex<String>>,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        let said = Arc::new(Mutex::new(String::new()));
        let all = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                all.lock().unwrap().extend([&line, "\n"]);
                // Nobody listens once it is ready.
                let _ = sender.send(line);
            }
        });
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            addr,
            child,
            lines,
            said,
        }
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// What it said, when it ends before.
    pub(crate) async fn ready(mut self) -> Result<Self, String> {
        let ready = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(addr) = line.strip_prefix(READY) {
                    return Some(addr.parse().unwrap());
                }
            }
            None
        };
        let Ok(ready) = timeout(PATIENCE, ready).await else {
            panic!("not ready: {}", self.said());
        };
        self.addr = ready.ok_or_else(|| self.said())?;
        Ok(self)
    }

    /// What it wrote to its standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it says a line with `text` in it; lines before that are gone then.
    pub(crate) async fn says(&mut self, text: &str) {
        while let Some(line) = self.lines.recv().await {
            if line.contains(text) {
                return;
            }
        }
        panic!("it ended and never said {text:?}: {}", self.said());
    }

    /// A connection to it.
    pub(crate) async fn client(&self) -> RawClient {
        RawClient::connect(self.addr).await.unwrap()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for it to end by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = async {
            loop {
                // There is no event for this without a thread that waits.
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ended = timeout(PATIENCE, ended).await;
        ended.unwrap_or_else(|_| panic!("still there: {}", self.said()))
    }

    /// Whether it runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- a gateway said:\n{}", self.said());
        }
    }
}

/// The splitmix64 generator, from a seed that is printed.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by `EVERSTREAM_TEST_SEED`, or else by the clock.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("EVERSTREAM_TEST_SEED").ok();
        let clock = || u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
        let seed = given.map_or_else(clock, |seed| seed.parse().unwrap());
        eprintln!("EVERSTREAM_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}
