//! The built program as a process of its own.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use everstream_testkit::client::RawClient;
use serde_json::Value;

use crate::harness::{PATIENCE, Setup, within};

/// `everstream serve` as a process of its own. It is killed when dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    lines: Receiver<String>,
    /// What somebody has waited for, and what came before that.
    heard: RefCell<Vec<String>>,
}

impl Process {
    /// Starts it with its state in `dir`, and waits until it listens.
    pub fn start(setup: &Setup, dir: &Path) -> Self {
        Self::start_with(setup, dir, &[])
    }

    /// Starts one that takes over from the one that runs.
    pub fn take_over(setup: &Setup, dir: &Path) -> Self {
        Self::start_with(setup, dir, &["--takeover"])
    }

    fn start_with(setup: &Setup, dir: &Path, args: &[&str]) -> Self {
        let file = dir.join("everstream.toml");
        std::fs::write(&file, setup.toml(&dir.join("data"))).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_everstream"))
            .args(["serve", "--config"])
            .arg(&file)
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let ready = "everstream: listening on ";
        let mut process = Self {
            child,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            lines,
            heard: RefCell::default(),
        };
        let line = process.line(ready);
        let (_, addr) = line.split_once("://").unwrap();
        process.addr = addr.parse().unwrap();
        process
    }

    /// Waits for a line with `part` on its standard error.
    pub fn line(&self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| {
                let heard = self.heard.borrow().join("\n");
                panic!("no line with {part:?} in:\n{heard}")
            });
            self.heard.borrow_mut().push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// A line with `part` among those that were waited for, or came before.
    pub fn heard(&self, part: &str) -> String {
        let heard = self.heard.borrow();
        let line = heard.iter().find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("no line with {part:?}"))
            .clone()
    }

    /// What it wrote on its standard error and nobody has waited for, up to its end.
    pub fn rest(mut self) -> Vec<String> {
        let _ = self.child.kill();
        std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok()).collect()
    }

    /// All that it wrote on its standard error, up to its end.
    pub fn all(self) -> Vec<String> {
        let mut heard = self.heard.take();
        heard.extend(self.rest());
        heard
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$0\"", &pid, name])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for it to end by itself.
    pub async fn ended(mut self) -> ExitStatus {
        within(async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// The most bytes of memory that it has held so far.
    pub fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.unwrap().trim().strip_suffix(" kB").unwrap();
        kib.parse::<usize>().unwrap() << 10
    }

    /// Its resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    /// A connection to it.
    pub async fn client(&self) -> RawClient {
        RawClient::connect(self.addr).await.unwrap()
    }

    /// A stream as a JSON page.
    pub async fn page(&self, id: &str) -> Value {
        let mut client = self.client().await;
        let path = format!("/v1/streams/{id}");
        assert_eq!(client.get(&path, &[]).await.unwrap().status, 200);
        client.read_json().await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
