//! A process of the gateway: the real one, on a runtime of its own, with paused time, in which nothing
//! runs but while the world lets it.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use everstream::App;
use everstream::clock::Clock;
use everstream::http::Front;
use everstream::server::{Listener, Patience, Shutdown, serve};
use everstream::upstream::assemble::assemble;
use everstream::upstream::models::ModelDirectory;
use everstream::upstream::{Io, Transport, Upstream};
use everstream_core::config::{Config, Env, Source};
use everstream_core::id::UnixMillis;
use everstream_store::StreamLog;
use everstream_testkit::disk::{FaultyDisk, Loss};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::log::SimLog;
use crate::net::{Attitude, Link, Millis, Net};
use crate::pipe::Endpoint;

/// Where the gateway listens; behind it come the upstreams.
pub(crate) const GATEWAY: usize = 0;
/// The wall time at which the world begins.
const EPOCH: u64 = 1_800_000_000_000;
/// As in the real program.
const GRACE: Duration = Duration::from_secs(5);

/// What the processes of one schedule have in common.
pub(crate) struct Host {
    pub(crate) net: Net,
    pub(crate) disk: FaultyDisk,
    pub(crate) config: String,
    pub(crate) segment_bytes: u64,
    /// The ways to the upstreams.
    pub(crate) links: Vec<Arc<Link>>,
}

pub(crate) struct Process {
    net: Net,
    disk: FaultyDisk,
    log: Arc<SimLog>,
    app: Arc<OnceLock<Arc<App>>>,
    leave: CancellationToken,
    over: CancellationToken,
    started: Instant,
    started_at: Millis,
    runtime: Runtime,
}

/// Wall time in the world.
pub(crate) fn wall(net: &Net) -> UnixMillis {
    UnixMillis(EPOCH + net.now())
}

impl Process {
    pub(crate) fn start(host: &Host) -> Result<Self, String> {
        let shown = |error: &dyn std::fmt::Display| error.to_string();
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|e| shown(&e))?;
        let entered = runtime.enter();
        let net = host.net.clone();
        let log = SimLog::open(&host.disk, &net, host.segment_bytes).map_err(|e| shown(&e))?;
        let log = Arc::new(log);
        let source = Source {
            name: "sim.toml",
            text: &host.config,
        };
        let config = Config::parse(Some(source), &Env::default()).map_err(|e| shown(&e))?;
        let started = Instant::now();
        drop(entered);
        let process = Self {
            disk: host.disk.clone(),
            log: Arc::clone(&log),
            app: Arc::default(),
            leave: CancellationToken::new(),
            over: CancellationToken::new(),
            started,
            started_at: net.now(),
            net,
            runtime,
        };
        let life = Life {
            net: host.net.clone(),
            links: host.links.clone(),
            app: Arc::clone(&process.app),
            leave: process.leave.clone(),
        };
        let over = process.over.clone();
        let clock_at = wall(&host.net);
        process.runtime.spawn(async move {
            let clock = Clock::start_at(clock_at);
            if let Err(error) = live(life, log, clock, config).await {
                panic!("the gateway does not start: {error}");
            }
            over.cancel();
        });
        Ok(process)
    }

    /// Lets it run until something happens in the world, and to this moment at most.
    pub(crate) fn run(&self, until: Millis) {
        let passed = Duration::from_millis(until - self.started_at);
        self.runtime.block_on(async {
            self.net.runs_until(until);
            tokio::select! {
                biased;
                () = self.net.sooner() => {}
                () = sleep_until(self.started + passed) => {}
            }
            self.net.stopped();
        });
    }

    /// The app, once it has started.
    pub(crate) fn app(&self) -> Option<Arc<App>> {
        self.app.get().cloned()
    }

    /// SIGTERM.
    pub(crate) fn leave(&self) {
        self.leave.cancel();
    }

    /// It left, of itself.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Lets it die at one of its next changes of the disk.
    pub(crate) fn die_at(&self, change: u64) {
        self.log.die_at(change);
    }

    /// The disk stopped under it.
    pub(crate) fn is_dead(&self) -> bool {
        self.log.is_dead()
    }

    /// SIGKILL: its files stay as they are, its sockets are closed by the kernel.
    pub(crate) fn kill(self) {
        self.log.kill();
        let Self {
            net,
            disk,
            log,
            app,
            runtime,
            ..
        } = self;
        net.turn(GATEWAY, Attitude::Refuses);
        drop((app, log));
        drop(runtime);
        disk.restart(Loss::Kill);
    }
}

struct Life {
    net: Net,
    links: Vec<Arc<Link>>,
    app: Arc<OnceLock<Arc<App>>>,
    leave: CancellationToken,
}

/// What `everstream serve` does, from the log on.
async fn live(life: Life, log: Arc<SimLog>, clock: Clock, config: Config) -> io::Result<()> {
    let Life {
        net,
        links,
        app: place,
        leave,
    } = life;
    let assembled = assemble(&config, &Env::default()).await;
    let assembled = assembled.map_err(io::Error::other)?.upstreams;
    let mut upstreams = Vec::new();
    for (at, (upstream, link)) in assembled.into_iter().zip(links).enumerate() {
        let upstream = Arc::into_inner(upstream);
        let upstream: Upstream = upstream.ok_or_else(|| io::Error::other("an upstream in use"))?;
        let transport = transport(&net, link, GATEWAY + 1 + at);
        upstreams.push(Arc::new(upstream.over(transport)));
    }
    let models = Arc::new(ModelDirectory::from_config(upstreams, &config));
    let patience = Patience::new(&config);
    let log: Arc<dyn StreamLog> = log;
    let app = App::start_with(log, [7; 32], clock, config, models).await?;
    let _ = place.set(Arc::clone(&app));
    let shutdown = Shutdown::default();
    let front = Front::new(Arc::clone(&app));
    let door = Door::open(&net);
    let mut serving = tokio::spawn(serve(door, front, patience, shutdown.clone()));
    net.note("the gateway is ready");
    leave.cancelled().await;
    app.drain();
    app.drained().await;
    shutdown.refuse.cancel();
    shutdown.close.cancel();
    let patience = app.deadline().max(Instant::now() + GRACE);
    if timeout_at(patience, &mut serving).await.is_err() {
        shutdown.abandon.cancel();
        serving.await?;
    }
    app.stop().await;
    Ok(())
}

fn transport(net: &Net, link: Arc<Link>, port: usize) -> Transport {
    let net = net.clone();
    Arc::new(move || {
        let (net, link) = (net.clone(), Arc::clone(&link));
        Box::pin(async move {
            let connection = net.connect(&link, port).await?;
            Ok(Box::new(connection) as Box<dyn Io>)
        })
    })
}

/// The gateway's own socket.
struct Door(Net);

impl Door {
    fn open(net: &Net) -> Self {
        net.turn(GATEWAY, Attitude::Listens);
        Self(net.clone())
    }
}

impl Listener for Door {
    type Io = Endpoint;

    async fn accept(&mut self) -> io::Result<Endpoint> {
        Ok(self.0.accept(GATEWAY).await)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.turn(GATEWAY, Attitude::Refuses);
    }
}
