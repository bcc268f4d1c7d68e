//! A gateway in this process, on ports that the system picks, in front of a scripted provider.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use everstream::App;
use everstream::http::Front;
use everstream::server::{Certificates, Patience, Shutdown};
use everstream::upstream::assemble::assemble;
use everstream::upstream::models::ModelDirectory;
use everstream_core::config::{Config, Env, Source};
use everstream_store::disk::{Disk, OsDisk};
use everstream_testkit::client::RawClient;
use everstream_testkit::disk::FaultyDisk;
use everstream_testkit::provider::FakeProvider;
use everstream_testkit::sse::Frame;
use tempfile::TempDir;

/// A key that [`Setup::with_keys`] knows, of project `one`.
pub const KEY_ONE: &str = "es-key-of-project-one";
/// A key that [`Setup::with_keys`] knows, of project `two`.
pub const KEY_TWO: &str = "es-key-of-project-two";
/// The key that the gateway uses at the provider. It must appear nowhere else, and does not look
/// like the keys that are known by their looks.
pub const UPSTREAM_KEY: &str = "upstream-canary-1f9a7c";

/// What a gateway is started with.
#[derive(Default)]
pub struct Setup {
    /// TOML, before the upstreams.
    config: String,
    upstreams: String,
    data_dir: Option<TempDir>,
    disk: Option<FaultyDisk>,
    env: Env,
}

impl Setup {
    /// A gateway in front of `provider`, which is called `fake` and serves any model.
    pub fn new(provider: &FakeProvider) -> Self {
        Self::default().upstream("fake", &provider.base_url(), "")
    }

    /// One more upstream; `more` is TOML for its table.
    pub fn upstream(mut self, name: &str, base_url: &str, more: &str) -> Self {
        self.upstreams.push_str(&format!(
            "\n[[upstreams]]\nname = \"{name}\"\nbase_url = \"{base_url}\"\n\
             api_key = \"{UPSTREAM_KEY}\"\n{more}\n"
        ));
        self
    }

    /// TOML for the table of the upstream that was added last.
    pub fn upstream_fields(mut self, toml: &str) -> Self {
        self.upstreams.push_str(toml);
        self.upstreams.push('\n');
        self
    }

    /// TOML that comes first: top-level fields, or whole tables.
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// The environment.
    pub fn env<'e>(mut self, env: impl IntoIterator<Item = (&'e str, &'e str)>) -> Self {
        self.env = env.into_iter().collect();
        self
    }

    /// Two projects with a key each.
    pub fn with_keys(self) -> Self {
        let hash =
            |key| everstream_core::config::show_key_hash(everstream_core::config::key_hash(key));
        let (one, two) = (hash(KEY_ONE), hash(KEY_TWO));
        let mut setup = self;
        setup.upstreams.push_str(&format!(
            "\n[[keys]]\nproject = \"one\"\nhash = \"{one}\"\n\
             [[keys]]\nproject = \"two\"\nhash = \"{two}\"\n"
        ));
        setup
    }

    /// State that another gateway left behind.
    pub fn data_dir(mut self, dir: TempDir) -> Self {
        self.data_dir = Some(dir);
        self
    }

    /// The log lies on this disk.
    pub fn disk(mut self, disk: &FaultyDisk) -> Self {
        self.disk = Some(disk.clone());
        self
    }

    /// The configuration as a file has it, with its state in `dir`.
    pub fn toml(&self, dir: &Path) -> String {
        format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n{}\n{}",
            dir.to_str().unwrap(),
            self.config,
            self.upstreams
        )
    }

    /// The configuration, checked.
    pub fn parsed(&self, dir: &Path) -> Config {
        let text = self.toml(dir);
        let source = Source {
            name: "test.toml",
            text: &text,
        };
        Config::parse(Some(source), &self.env).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    /// Starts it.
    pub async fn start(mut self) -> Gateway {
        let dir = self.data_dir.take();
        let dir = dir.unwrap_or_else(|| tempfile::tempdir().unwrap());
        let config = self.parsed(dir.path());
        let assembled = assemble(&config, &self.env).await.unwrap();
        let models = ModelDirectory::from_config(assembled.upstreams, &config);
        models.refresh().await;
        let listener = everstream::server::bind(config.listen).unwrap();
        let addr = listener.local_addr().unwrap();
        let patience = Patience::new(&config);
        let disk: Arc<dyn Disk> = match self.disk {
            None => Arc::new(OsDisk),
            Some(disk) => {
                for parent in dir
                    .path()
                    .ancestors()
                    .skip(1)
                    .collect::<Vec<_>>()
                    .iter()
                    .rev()
                {
                    let _ = disk.create_dir(parent);
                }
                Arc::new(disk)
            }
        };
        let app = App::start_on(disk, config, Arc::new(models)).await.unwrap();
        let shutdown = Shutdown::default();
        let front = Front::new(Arc::clone(&app));
        let certificates = Certificates::load(&app.config.tls).unwrap();
        let serving = tokio::spawn(everstream::server::serve_tcp(
            listener,
            certificates.clone(),
            front,
            patience,
            shutdown.clone(),
        ));
        Gateway {
            addr,
            app,
            certificates,
            shutdown,
            serving,
            dir,
        }
    }
}

/// A running gateway.
pub struct Gateway {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its insides, for what cannot be seen from outside.
    pub app: Arc<App>,
    /// What it speaks TLS with.
    pub certificates: Option<Arc<Certificates>>,
    shutdown: Shutdown,
    serving: tokio::task::JoinHandle<()>,
    dir: TempDir,
}

impl Gateway {
    /// A connection to it.
    pub async fn client(&self) -> RawClient {
        RawClient::connect(self.addr).await.unwrap()
    }

    /// Ends it properly, and gives its state to whoever comes next.
    pub async fn stop(self) -> TempDir {
        self.app.drain();
        self.app.drained().await;
        self.shutdown.refuse.cancel();
        self.shutdown.abandon.cancel();
        self.serving.await.unwrap();
        self.app.stop().await;
        self.dir
    }
}

/// For one step of a test. Nothing is due so late: a machine may be slow, and busy with others.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The future's output, or a failed test instead of one that hangs.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened for a minute")
}

/// Waits until it is so. Time may stand still meanwhile.
pub async fn until(is_so: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it was not so for a minute");
        tokio::task::yield_now().await;
    }
}

/// Time that the test moves by hand, until this is dropped. Needs a runtime of one thread.
///
/// Time that is only paused leaps to the next timer as soon as nothing can run, which is so as well
/// while bytes are on their way from one socket to another.
pub struct StillTime {
    /// The runtime does not leap while a blocking task runs: this one ends when it is dropped.
    _held: mpsc::Sender<()>,
}

impl StillTime {
    /// Time stops here.
    pub fn begin() -> Self {
        let (held, dropped) = mpsc::channel::<()>();
        // Not for ever, so that a test that hangs runs into its timeouts.
        tokio::task::spawn_blocking(move || dropped.recv_timeout(PATIENCE));
        tokio::time::pause();
        Self { _held: held }
    }

    /// Moves on in small steps, between which everything runs that can.
    pub async fn pass(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(250);
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(STEP);
            tokio::time::advance(step).await;
            left -= step;
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Drop for StillTime {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            tokio::time::resume();
        }
    }
}

/// The data of all events among `frames`.
pub fn data(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .filter_map(|frame| frame.data.clone())
        .collect()
}
