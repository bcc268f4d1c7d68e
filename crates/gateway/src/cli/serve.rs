//! `everstream serve`

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everstream_core::config::{AdminListen, Backend, Config, ConfigErrors, Env};
use futures_util::FutureExt as _;
use futures_util::future::{OptionFuture, join};
use listenfd::ListenFd;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::farewell::Farewell;
use super::{ConfigArgs, Failure};
use crate::app::{self, App};
use crate::control::{Control, Handles, Peers, Takeover};
use crate::server::{Certificates, Shutdown};
use crate::upstream::assemble::{Assembled, assemble};
use crate::upstream::models::ModelDirectory;
use crate::{Front, http, server, telemetry};

const EXAMPLES: &str = "\
Without a configuration the upstreams are what is found here: keys in the environment
(OPENAI_API_KEY with OPENAI_BASE_URL, and the like) and model servers on this machine.

SIGTERM and SIGINT let running answers end; a second one ends at once. With --takeover a new process
is handed the listening socket by the old one, which then ends in its own time.

Examples:
  everstream serve
  everstream serve --takeover               (beside a running one: a deploy that nobody notices)
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
    /// Replace the process that serves this data directory, without refusing or cutting anybody; if
    /// there is none, just start
    #[arg(long)]
    takeover: bool,
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
    let runtime = runtime()?;
    let served = runtime.block_on(serve(config, args.takeover, env));
    // A file system that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// A worker for each processor, and two at least, as an append that finds the disk hanging keeps
/// one; or as many as `TOKIO_WORKER_THREADS` says.
fn runtime() -> io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let has_more = std::thread::available_parallelism().is_ok_and(|number| number.get() > 1);
    if !has_more && std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        builder.worker_threads(2);
    }
    builder.enable_all().build()
}

async fn serve(config: Config, takeover: bool, env: &Env) -> Result<(), Failure> {
    let data_dir = (config.log.backend == Backend::Disk).then(|| app::data_dir(&config));
    let certificates = Certificates::load(&config.tls).map_err(other)?;
    let admin_tls = config.admin_tls().map(|tls| Certificates::load(&tls));
    let admin_certificates = admin_tls.transpose().map_err(other)?.flatten();
    // First of all: a port that is taken is the likeliest mistake, and the cheapest to find.
    let Listening {
        listener,
        admin,
        origin,
        is_lent,
    } = listen(&config, data_dir.as_deref(), takeover)?;
    let listen = listener.local_addr()?;
    let ours = std::iter::once(&listener).chain(&admin);
    let handed_over: Result<Vec<OwnedFd>, _> =
        ours.map(|one| one.as_fd().try_clone_to_owned()).collect();
    let handed_over = handed_over?;
    let assembled = assemble(&config, env).await.map_err(other)?;
    announce(&config, &assembled);
    let models = ModelDirectory::from_config(assembled.upstreams, &config);
    let app = App::start(config, Arc::new(models)).await.map_err(other)?;
    app.lifecycle.spawn(|stop| app.clock.follow(stop));
    let mut signals = Signals::new()?;
    let replaced = CancellationToken::new();
    let shutdown = Shutdown {
        // The successor accepts from the same queue, so nobody is refused.
        refuse: replaced.child_token(),
        ..Shutdown::default()
    };
    let scheme = certificates.as_ref().map_or("http", |_| "https");
    let admin = admin.map(|admin| (admin, admin_certificates));
    let serving = accept(&app, (listener, certificates), admin, &shutdown);
    let serving = serving.boxed().shared();
    let registry = Arc::clone(&app.generator.registry);
    let handles = Handles {
        registry,
        listeners: Mutex::new(handed_over),
        replaced: replaced.clone(),
    };
    let control = data_dir
        .map(|dir| Control::start(&dir, handles))
        .transpose()?;
    if let Some(predecessor) = origin {
        // If it is gone by now there is nothing left to take over.
        let _ = predecessor.ready();
    }
    // The readiness line that scripts wait for; it is not part of the log.
    writeln!(
        std::io::stderr(),
        "everstream: listening on {scheme}://{listen}"
    )?;
    let why = tokio::select! {
        signal = signals.next() => signal,
        () = replaced.cancelled() => "replaced",
    };
    let farewell = Farewell {
        app,
        shutdown,
        serving,
    };
    let is_replaced = replaced.is_cancelled();
    let last_signal = async {
        if is_replaced {
            let signal = signals.next().await;
            tracing::info!(signal, "is draining already; a second one ends at once");
        }
        signals.next().await
    };
    tokio::select! {
        () = farewell.say(why, is_replaced || is_lent) => {}
        signal = last_signal => {
            tracing::warn!(signal, "ended at once; the next start resolves what was running");
        }
    }
    drop(control);
    Ok(())
}

/// Serves clients and operators, until the connections of both are done.
fn accept(
    app: &Arc<App>,
    (listener, certificates): (TcpListener, Option<Arc<Certificates>>),
    admin: Option<(TcpListener, Option<Arc<Certificates>>)>,
    shutdown: &Shutdown,
) -> impl Future<Output = ()> + Send + use<> {
    let patience = server::Patience::new(&app.config);
    let of_admin = admin.iter().flat_map(|(_, certificates)| certificates);
    for certificates in certificates.iter().chain(of_admin) {
        let certificates = Arc::clone(certificates);
        (app.lifecycle).spawn(|stop| certificates.follow(stop));
    }
    let front = Front::new(Arc::clone(app));
    let clients = server::serve_tcp(listener, certificates, front, patience, shutdown.clone());
    let clients = tokio::spawn(clients);
    let operators = admin.map(|(admin, certificates)| {
        if let Ok(address) = admin.local_addr() {
            tracing::info!(%address, tls = certificates.is_some(), "listening for operators");
        }
        let front = http::admin::front(Arc::clone(app));
        let shutdown = shutdown.clone();
        tokio::spawn(server::serve_tcp(
            admin,
            certificates,
            front,
            patience,
            shutdown,
        ))
    });
    join(clients, OptionFuture::from(operators)).map(drop)
}

/// A listening socket, and what comes with it.
struct Listening {
    listener: TcpListener,
    /// That for operators.
    admin: Option<TcpListener>,
    /// The process that is to be replaced.
    origin: Option<Takeover>,
    /// The service manager keeps it open, and whoever comes next gets it.
    is_lent: bool,
}

/// The listening sockets: those of the process that is to be replaced, the service manager's, or our
/// own.
fn listen(config: &Config, data_dir: Option<&Path>, takeover: bool) -> Result<Listening, Failure> {
    let peers = data_dir.filter(|_| takeover).map(Peers::of);
    let origin = peers.map_or(Ok(None), |peers| peers.take_listener())?;
    let inherited = origin.iter().flat_map(|origin| &origin.others);
    let admin = listen_for_operators(config, inherited)?;
    let own = |listener, origin| Listening {
        listener,
        admin,
        origin,
        is_lent: false,
    };
    if let Some(Takeover { listener, .. }) = &origin {
        let listener = listener.try_clone()?;
        if listener.local_addr()? == config.listen || config.listen.port() == 0 {
            return Ok(own(from_std(listener)?, origin));
        }
    }
    if let Some(listener) = ListenFd::from_env().take_tcp_listener(0)? {
        return Ok(Listening {
            is_lent: true,
            ..own(from_std(listener)?, origin)
        });
    }
    let listen = config.listen;
    let bound = server::bind(listen).map_err(|error| taken("", listen, &error))?;
    Ok(own(bound, origin))
}

/// The socket for operators, if there is to be one. Nobody chose the usual address, so it is no
/// reason not to start that somebody else has it.
fn listen_for_operators<'a>(
    config: &Config,
    mut inherited: impl Iterator<Item = &'a std::net::TcpListener>,
) -> Result<Option<TcpListener>, Failure> {
    let Some(listen) = config.admin.listen.address() else {
        return Ok(None);
    };
    let is_meant = |listener: &&std::net::TcpListener| {
        listen.port() == 0 || listener.local_addr().is_ok_and(|at| at == listen)
    };
    if let Some(listener) = inherited.find(is_meant) {
        return Ok(Some(from_std(listener.try_clone()?)?));
    }
    match server::bind(listen) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if config.admin.listen == AdminListen::USUAL => {
            tracing::warn!(%error, "no listener for operators at {listen}; see admin.listen");
            Ok(None)
        }
        Err(error) => Err(taken(" for operators (admin.listen)", listen, &error)),
    }
}

fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn taken(whom: &str, listen: SocketAddr, error: &io::Error) -> Failure {
    Failure::Other(format!("cannot listen on {listen}{whom}: {error}"))
}

fn announce(config: &Config, assembled: &Assembled) {
    for warning in &assembled.warnings {
        tracing::warn!("{warning}");
    }
    for (upstream, source) in assembled.upstreams.iter().zip(&assembled.sources) {
        let (name, base_url) = (upstream.name(), upstream.base_url());
        let provider = upstream.provider().map(|provider| provider.title);
        let dialect = upstream.spec().dialect.title();
        tracing::info!(%base_url, provider, dialect, source, "upstream {name}");
    }
    if assembled.upstreams.is_empty() {
        tracing::warn!(
            "no upstream: set OPENAI_API_KEY, start a model server on this machine, or configure \
             [[upstreams]]; `make run` brings a small model"
        );
    }
    if config.telemetry.prompts {
        tracing::warn!(
            "prompts and answers stand in this log, for whoever reads it (telemetry.prompts)"
        );
    }
    if config.keys.is_empty() && !config.require_keys {
        tracing::warn!(
            "no API keys are configured: every program on this machine can call this gateway"
        );
    }
    if !config.listen.ip().to_canonical().is_loopback() && config.tls.certificate.is_none() {
        tracing::warn!(
            "other machines can connect to {} without TLS, so that keys and answers can be read on the \
             way: configure [tls], or have a proxy in front that speaks it",
            config.listen
        );
    }
    let admin = config.admin.listen.address();
    if let Some(admin) = admin.filter(|at| !at.ip().to_canonical().is_loopback())
        && config.admin_tls().is_none()
    {
        tracing::warn!(
            "other machines can connect to {admin}, for operators, without TLS: have a proxy in front \
             that speaks it (admin.tls)"
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
