//! The one place that constructs things.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use everstream_core::config::{Backend, Config};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::StreamId;
use everstream_core::limits;
use everstream_core::record::Accepted;
use everstream_core::sign::api_key::KeyMaster;
use everstream_core::sign::read_token::ReadTokens;
use everstream_store::StreamLog;
use everstream_store::disk::{Disk, OsDisk};
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::access::{self, Access, Directory, Tokens};
use crate::admission::Admission;
use crate::billing::Billing;
use crate::catalog;
use crate::clock::Clock;
use crate::config::environment;
use crate::control::Peers;
use crate::generate::registry::Registry;
use crate::generate::{self, Generator, recover};
use crate::lifecycle::Lifecycle;
use crate::limits::Limits;
use crate::pipeline::plan_again;
use crate::random;
use crate::stream_log;
use crate::upstream::assemble::assemble;
use crate::upstream::models::ModelDirectory;

/// How often retention runs.
const RETAIN_EVERY: Duration = Duration::from_mins(1);
/// How often streams of processes that died beside this one are looked for.
const RECOVER_EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether the log hangs.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long the terminal records of interrupted generations may take.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Everything that a request needs.
pub struct App {
    /// The frozen configuration.
    pub config: Config,
    /// Where streams are logged.
    pub log: Arc<dyn StreamLog>,
    /// Starts and runs generations.
    pub generator: Generator,
    /// How much callers may use.
    pub limits: Arc<Limits>,
    /// Lets generations begin.
    pub admission: Arc<Admission>,
    /// Which upstream serves which model.
    pub models: Arc<ModelDirectory>,
    /// Who may call.
    pub access: Access,
    /// Signs read tokens.
    pub tokens: ReadTokens,
    /// The clock.
    pub clock: Clock,
    /// The other processes on this data directory.
    pub peers: Peers,
    /// Whether new requests are wanted, and the background tasks.
    pub lifecycle: Lifecycle,
}

impl App {
    /// The app of a configuration, with the upstreams it names or, without any, those that this
    /// process's environment and machine offer. Needs a runtime's context.
    pub async fn from_config(config: Config) -> io::Result<Arc<Self>> {
        let assembled = assemble(&config, &environment()).await;
        let assembled = assembled.map_err(io::Error::other)?;
        for warning in &assembled.warnings {
            tracing::warn!("{warning}");
        }
        let models = ModelDirectory::from_config(assembled.upstreams, &config);
        Self::start(config, Arc::new(models)).await
    }

    /// Opens the log, resolves what a process that died left behind, and starts the background
    /// tasks. Needs a runtime's context.
    pub async fn start(config: Config, models: Arc<ModelDirectory>) -> io::Result<Arc<Self>> {
        Self::start_on(Arc::new(OsDisk), config, models).await
    }

    /// The same with the log on another disk, which fails where a test wants it to.
    pub async fn start_on(
        disk: Arc<dyn Disk>,
        config: Config,
        models: Arc<ModelDirectory>,
    ) -> io::Result<Arc<Self>> {
        let clock = Clock::start();
        let (log, secret) = stream_log::open(&config, &data_dir(&config), disk, clock)?;
        let secret = config.master_secret.as_ref().map_or(secret, |master| {
            Sha256::digest(master.expose().as_bytes()).into()
        });
        // The configuration is large, and held by each of these.
        Box::pin(Self::start_with(log, secret, clock, config, models)).await
    }

    /// The same with a log that is open already, by a clock that goes on from where it stood;
    /// `secret` signs read tokens.
    pub async fn start_with(
        log: Arc<dyn StreamLog>,
        secret: [u8; 32],
        clock: Clock,
        config: Config,
        models: Arc<ModelDirectory>,
    ) -> io::Result<Arc<Self>> {
        let node = match config.node {
            Some(node) => node,
            None => StreamId::from_bits(random_bits()?).node(),
        };
        let (changes, _) = broadcast::channel(limits::LIST_FEED_BACKLOG);
        let dir = data_dir(&config);
        let catalog = catalog::open(&config, &dir)?;
        let billing = Billing::open(&config, &dir, catalog.clone(), Arc::clone(&log), clock)?;
        let generator = Generator {
            billing,
            log: Arc::clone(&log),
            registry: Arc::new(Registry::default()),
            clock,
            node,
            limits: stream_log::stream_limits(&config),
            retry_window: config.streams.retry_attach,
            changes,
            logs_prompts: config.telemetry.prompts,
            tasks: TaskTracker::new(),
        };
        let peers = match config.log.backend {
            Backend::Disk => Peers::of(&dir),
            Backend::Memory => Peers::default(),
        };
        let limits = Limits::new(&config, catalog.clone(), clock);
        let directory = catalog.map(|catalog| {
            let master = KeyMaster::new(&secret);
            Arc::new(Directory::new(catalog, master, clock))
        });
        let mut access = Access::new(&config, directory, clock);
        let tokens = Tokens::new(&config, &environment(), clock).map_err(io::Error::other)?;
        let mut key_sets = Vec::new();
        if let Some((tokens, followers)) = tokens {
            access = access.with_tokens(tokens);
            key_sets = followers;
        }
        let admission = Admission::new(&config.limits, clock);
        let hearer = Arc::downgrade(&admission);
        models.on_room(move || {
            if let Some(admission) = hearer.upgrade() {
                admission.settle();
            }
        });
        let app = Arc::new(Self {
            access,
            limits,
            admission,
            tokens: ReadTokens::new(secret),
            lifecycle: Lifecycle::default(),
            config,
            log,
            generator,
            models,
            clock,
            peers,
        });
        app.recover().await;
        app.follow_keys().await;
        for issuer in key_sets {
            app.lifecycle.spawn(|stop| issuer.run(stop));
        }
        app.start_background();
        Ok(app)
    }

    /// Resolves what processes that died left behind.
    pub async fn recover(&self) {
        let replan = replan(&self.models, &self.admission);
        recover::recover(&self.generator, &replan).await;
    }

    /// Lets a generation begin, unless the process drains. Until the permit is dropped a drain
    /// waits for it.
    pub fn admit(&self) -> Result<TaskTrackerToken, Error> {
        // Taken before the question, so that no generation begins between a drain and its end.
        let permit = self.generator.tasks.token();
        self.lifecycle.admit()?;
        Ok(permit)
    }

    /// From now on clients are sent to another process, where they may read on; what they ask here
    /// is still answered.
    pub fn leave(&self) {
        self.lifecycle.leave();
        for live in self.generator.registry.all() {
            live.keep();
        }
    }

    /// From now on no generation begins here, and those that run end in their own time, whether
    /// somebody reads them here or elsewhere.
    pub fn drain(&self) {
        self.lifecycle.drain();
        self.admission.drain();
        self.leave();
        self.generator.tasks.close();
    }

    /// When the patience of a process that leaves is over.
    pub fn deadline(&self) -> Instant {
        self.lifecycle.left_at() + self.config.streams.drain_timeout
    }

    /// Waits for running generations until the deadline; what is left then ends `interrupted`.
    pub async fn drained(&self) {
        let tasks = &self.generator.tasks;
        if timeout_at(self.deadline(), tasks.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(left = tasks.len(), "streams.drain_timeout is over");
        for live in self.generator.registry.all() {
            live.stop(ErrorCode::DrainTimeout);
        }
        if timeout(LAST_WORDS, tasks.wait()).await.is_err() {
            tracing::error!(left = tasks.len(), "generations could not be ended");
        }
    }

    /// Ends the background tasks and closes the log.
    pub async fn stop(&self) {
        self.lifecycle.stop().await;
        self.models.close_idle();
        self.generator.billing.close().await;
        if let Some(directory) = self.access.directory() {
            directory.catalog().close().await;
        }
        if let Err(error) = self.log.close().await {
            tracing::error!(%error, "the stream log did not close properly");
        }
    }

    /// Reads which keys there are, and follows what changes. Nobody is let in without one while that
    /// is not known; a database that does not answer now is asked on.
    async fn follow_keys(&self) {
        let Some(directory) = self.access.directory() else {
            return;
        };
        let read = access::read_all(directory).await;
        if let Err(error) = &read {
            tracing::warn!(%error, "the database of keys does not answer");
        }
        let billing = Arc::clone(&self.generator.billing);
        let changed = Arc::clone(directory.budgets());
        self.lifecycle
            .spawn(|stop| async move { billing.run(changed, stop).await });
        let directory = Arc::clone(directory);
        self.lifecycle
            .spawn(move |stop| access::follow(directory, read.ok(), stop));
    }

    fn start_background(&self) {
        let models = Arc::clone(&self.models);
        self.lifecycle
            .spawn(|stop| async move { models.run(stop).await });
        let models = Arc::clone(&self.models);
        self.lifecycle
            .spawn(|stop| async move { models.probe(stop).await });
        let limits = Arc::clone(&self.limits);
        self.lifecycle.spawn(|stop| limits.run(stop));
        let log = Arc::clone(&self.log);
        self.lifecycle.every(RETAIN_EVERY, move || {
            let log = Arc::clone(&log);
            async move {
                match log.retain().await {
                    Ok(dropped) if dropped.streams > 0 => tracing::info!(?dropped, "retention"),
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "retention failed"),
                }
            }
        });
        let generator = self.generator.clone();
        self.lifecycle.every(WATCH_EVERY, move || {
            generator.tell_of_stall();
            std::future::ready(())
        });
        let models = Arc::clone(&self.models);
        self.lifecycle.every(limits::UPSTREAM_WATCH, move || {
            models.watch();
            std::future::ready(())
        });
        let generator = self.generator.clone();
        let (models, admission) = (Arc::clone(&self.models), Arc::clone(&self.admission));
        self.lifecycle.every(RECOVER_EVERY, move || {
            let generator = generator.clone();
            let replan = replan(&models, &admission);
            async move { recover::recover(&generator, &replan).await }
        });
    }
}

/// Plans logged requests once more. They were let in when they came.
fn replan(
    models: &Arc<ModelDirectory>,
    admission: &Arc<Admission>,
) -> impl Fn(&Accepted) -> Option<generate::Request> + Send + Sync + use<> {
    let (models, admission) = (Arc::clone(models), Arc::clone(admission));
    move |accepted| {
        let mut request = plan_again(&models, accepted)?;
        request.slot = Some(admission.enter_anyway());
        Some(request)
    }
}

/// The directory for all state: configured, `$XDG_DATA_HOME/everstream` or
/// `~/.local/share/everstream`.
pub fn data_dir(config: &Config) -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
    let base = || {
        std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(home)
    };
    let default = || base().unwrap_or_else(std::env::temp_dir).join("everstream");
    config.data_dir.clone().unwrap_or_else(default)
}

fn random_bits() -> io::Result<u64> {
    random::u64().map_err(io::Error::other)
}
