//! `everstream serve`

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::config::{Backend, Config, ConfigErrors, Env};
use everstream_core::limits;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{ConfigArgs, Failure};
use crate::app::{self, App};
use crate::upstream::assemble::{Assembled, assemble};
use crate::upstream::models::ModelDirectory;
use crate::{server, telemetry};

/// How long readers may take to finish once no generation runs any more.
const GRACE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Without a configuration the upstreams are what is found here: keys in the environment
(OPENAI_API_KEY with OPENAI_BASE_URL, and the like) and model servers on this machine.

SIGTERM and SIGINT let running answers end; a second one ends at once.

Examples:
  everstream serve
  everstream serve --listen 127.0.0.1:9000 --data-dir /tmp/streams
  EVERSTREAM__STREAMS__HEARTBEAT=20s everstream serve --config everstream.toml";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The address for clients [env: `EVERSTREAM_LISTEN`] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The directory for all state [env: `EVERSTREAM_DATA_DIR`]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl ServeArgs {
    /// The configuration with the arguments on top.
    pub(super) fn load(&self, mut env: Env) -> Result<Config, ConfigErrors> {
        if let Some(listen) = &self.listen {
            env.set_flag("EVERSTREAM_LISTEN", "--listen", listen);
        }
        let mut config = self.config.load(&env)?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir = Some(data_dir.clone());
        }
        Ok(config)
    }
}

pub(super) fn run(args: &ServeArgs, env: &Env) -> Result<(), Failure> {
    let config = args.load(env.clone())?;
    telemetry::start(&config.telemetry);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(config, env));
    // A file system that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve(config: Config, env: &Env) -> Result<(), Failure> {
    let listen = config.listen;
    // Bound first: a port that is taken is the likeliest mistake, and the cheapest to find.
    let listener = server::bind(listen)
        .map_err(|error| Failure::Other(format!("cannot listen on {listen}: {error}")))?;
    let listen = listener.local_addr()?;
    let assembled = assemble(&config, env).await.map_err(other)?;
    announce(&config, &assembled);
    let models = ModelDirectory::new(assembled.upstreams, config.aliases.clone());
    let patience = server::Patience::new(&config);
    let app = App::start(config, Arc::new(models)).await.map_err(other)?;
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let router = crate::router(Arc::clone(&app));
    let serving = tokio::spawn(server::serve(listener, router, patience, stop.clone()));
    let mut err = std::io::stderr();
    // The readiness line that scripts wait for; it is not part of the log.
    writeln!(err, "everstream: listening on http://{listen}")?;
    let signal = signals.next().await;
    tracing::info!(signal, running = app.generator.registry.len(), "draining");
    let ending = async {
        stop.cancel();
        app.drain(limits::DRAIN_TIMEOUT).await;
        // Readers still get what is in the log.
        if timeout(GRACE, serving).await.is_err() {
            tracing::warn!("connections were still open at the end of the grace time");
        }
        app.stop().await;
    };
    tokio::select! {
        () = ending => Ok(()),
        signal = signals.next() => {
            tracing::warn!(signal, "ended at once; the next start resolves what was running");
            Ok(())
        }
    }
}

fn announce(config: &Config, assembled: &Assembled) {
    for warning in &assembled.warnings {
        tracing::warn!("{warning}");
    }
    for (upstream, source) in assembled.upstreams.iter().zip(&assembled.sources) {
        let (name, base_url) = (upstream.name(), upstream.base_url());
        tracing::info!(%base_url, source, "upstream {name}");
    }
    if assembled.upstreams.is_empty() {
        tracing::warn!(
            "no upstream: set OPENAI_API_KEY, start a model server on this machine, or configure \
             [[upstreams]]; `make run` brings a small model"
        );
    }
    if config.keys.is_empty() {
        tracing::warn!(
            "no API keys are configured: every program on this machine can call this gateway"
        );
    }
    if config.log.backend == Backend::Disk {
        tracing::info!(data_dir = %app::data_dir(config).display(), "stream log on disk");
    }
}

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}
