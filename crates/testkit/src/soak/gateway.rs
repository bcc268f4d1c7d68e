use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Soak;
use super::sample::Sample;

const READY: &str = "everstream: listening on http://";
/// What a process may take to end once nothing runs.
const END: Duration = Duration::from_secs(20);

/// The gateway's process; it is killed when dropped.
pub(super) struct Gateway {
    pub(super) addr: SocketAddr,
    child: Child,
    dir: TempDir,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    pub(super) fn start(soak: &Soak, provider: SocketAddr) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("everstream.toml");
        let data = dir.path().join("data");
        // Short lives, so that what is forgotten is forgotten while somebody looks.
        let config = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n\
             [log]\nsync = {:?}\nmax_bytes = {}\nsegment_bytes = \"1MiB\"\n\
             retention = \"20s\"\ntombstone = \"20s\"\n\
             [[upstreams]]\nname = \"soak\"\nbase_url = \"http://{provider}/v1\"\n\
             models = [\"soak\"]\n",
            data.display(),
            soak.sync,
            soak.max_bytes
        );
        std::fs::write(&file, config)?;
        let mut child = Command::new(&soak.gateway)
            .args(["serve", "--config"])
            .arg(&file)
            .env_clear()
            .env("EVERSTREAM_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take();
        let mut lines = BufReader::new(stderr.ok_or(io::ErrorKind::BrokenPipe)?).lines();
        let mut addr = None;
        for line in lines.by_ref() {
            let line = line?;
            if let Some(at) = line.strip_prefix(READY) {
                addr = Some(at.parse().map_err(io::Error::other)?);
                break;
            }
        }
        let errors: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&errors);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < super::FAULTS {
                    kept.push(format!("the gateway's log: {line}"));
                }
            }
        });
        Ok(Self {
            addr: addr.ok_or_else(|| io::Error::other("the gateway did not start"))?,
            child,
            dir,
            errors,
        })
    }

    pub(super) fn sample(&mut self) -> io::Result<Sample> {
        if let Some(status) = self.child.try_wait()? {
            return Err(io::Error::other(format!("the gateway ended: {status}")));
        }
        Sample::take(self.child.id(), &self.dir.path().join("data"))
    }

    /// Asks it to end; what was wrong.
    pub(super) async fn stop(mut self) -> io::Result<Vec<String>> {
        let asked = Instant::now();
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break Some(status);
            }
            if asked.elapsed() > END {
                break None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut faults =
            std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner));
        match status {
            Some(status) if status.success() => {}
            Some(status) => faults.push(format!("the gateway ended badly: {status}")),
            None => faults.push(format!("the gateway did not end within {END:?}")),
        }
        Ok(faults)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
