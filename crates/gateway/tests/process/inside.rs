//! A gateway in this process on a disk that stops when it is told to: a death between any two
//! writes, without a hook in the program.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use everstream::App;
use everstream::http::Front;
use everstream::server::{self, Patience, Shutdown};
use everstream::upstream::assemble::assemble;
use everstream::upstream::models::ModelDirectory;
use everstream_core::config::{Config, Env, Source};
use everstream_core::event::Event;
use everstream_core::id::{Seq, StreamId, UnixMillis};
use everstream_core::record::{Digest, Record};
use everstream_store::config::{SegmentConfig, Sync};
use everstream_store::disk::Disk;
use everstream_store::segment::SegmentLog;
use everstream_store::{ReadLimit, StreamLog};
use everstream_testkit::client::RawClient;
use everstream_testkit::disk::{FaultyDisk, Loss};
use everstream_testkit::provider::FakeProvider;
use tempfile::TempDir;

/// The disk, and what a gateway on it is configured with.
pub(crate) struct Rig {
    pub(crate) disk: FaultyDisk,
    /// For what does not lie on `disk`: the secret of read tokens.
    dir: TempDir,
    toml: String,
    sync: Sync,
}

impl Rig {
    pub(crate) fn new(provider: &FakeProvider, sync: Sync) -> Self {
        let disk = FaultyDisk::default();
        let dir = tempfile::tempdir().unwrap();
        let above: Vec<&Path> = dir.path().ancestors().skip(1).collect();
        for path in above.into_iter().rev() {
            // The outermost ones are there.
            let _ = disk.create_dir(path);
        }
        let setting = match sync {
            Sync::Always => "always",
            Sync::None | Sync::Interval(_) => "none",
        };
        let toml = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n[streams]\ndrain_timeout = \"2s\"\n\
             [log]\nsync = {setting:?}\n[[upstreams]]\nname = \"fake\"\nbase_url = {:?}\n\
             models = [\"m\"]\n",
            dir.path().to_str().unwrap(),
            provider.base_url(),
        );
        Self {
            disk,
            dir,
            toml,
            sync,
        }
    }

    /// Starts a gateway, which may die of the disk.
    pub(crate) async fn start(&self) -> std::io::Result<Inside> {
        let source = Source {
            name: "test.toml",
            text: &self.toml,
        };
        let env = Env::default();
        let config = Config::parse(Some(source), &env).unwrap();
        let assembled = assemble(&config, &env).await.unwrap();
        let models = ModelDirectory::from_config(assembled.upstreams, &config);
        let listener = server::bind(config.listen).unwrap();
        let addr = listener.local_addr().unwrap();
        let patience = Patience::new(&config);
        let disk = Arc::new(self.disk.clone());
        let app = App::start_on(disk, config, Arc::new(models)).await?;
        let shutdown = Shutdown::default();
        let front = Front::new(Arc::clone(&app));
        tokio::spawn(server::serve(listener, front, patience, shutdown.clone()));
        Ok(Inside {
            app,
            addr,
            shutdown,
        })
    }

    /// The log alone, of a process that is dead.
    pub(crate) fn log(&self) -> SegmentLog {
        let config = SegmentConfig {
            sync: self.sync,
            ..SegmentConfig::new(self.dir.path())
        };
        let clock = Arc::new(|| UnixMillis(1));
        SegmentLog::open(config, Arc::new(self.disk.clone()), clock).unwrap()
    }

    /// What there is of the stream that holds `claim`. Nothing on the disk is changed by it but
    /// what every start changes.
    pub(crate) async fn look(&self, claim: Digest) -> Option<Logged> {
        let log = self.log();
        let found = match log.claimed(claim).await {
            Some(claimed) => Some(Logged::read(&log, claimed.stream).await),
            None => None,
        };
        drop(log);
        self.disk.restart(Loss::Kill);
        found
    }
}

/// A gateway in this process.
pub(crate) struct Inside {
    app: Arc<App>,
    addr: SocketAddr,
    shutdown: Shutdown,
}

impl Inside {
    pub(crate) async fn client(&self) -> RawClient {
        RawClient::connect(self.addr).await.unwrap()
    }

    /// Dies: waits for what is left of its tasks, which the disk refuses everything, so that they
    /// do nothing after the restart.
    pub(crate) async fn die(self) {
        self.shutdown.refuse.cancel();
        self.shutdown.abandon.cancel();
        self.app.drain();
        self.app.drained().await;
        self.app.stop().await;
    }
}

/// A stream as the log has it.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) events: Vec<Event>,
    pub(crate) audit: Vec<Record>,
}

impl Logged {
    async fn read(log: &SegmentLog, id: StreamId) -> Self {
        let limit = ReadLimit {
            events: usize::MAX,
            bytes: usize::MAX,
        };
        Self {
            events: log.read(id, Seq::ZERO, limit).await.unwrap().events,
            audit: log.audit(id).await.unwrap(),
        }
    }
}
