//! A process of the gateway: a runtime of its own in virtual time, the real generator, recovery and
//! readers, and the real log on its own view of the host's disk.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use everstream::Config;
use everstream::billing::Billing;
use everstream::clock::Clock;
use everstream::generate::recover::recover;
use everstream::generate::registry::Registry;
use everstream::generate::{Course, Generator, Request, Started};
use everstream::limits::Permit;
use everstream::read::Reader;
use everstream::upstream::health::Health;
use everstream::upstream::{Deployment, Routed, Upstream, UpstreamSpec};
use everstream_core::dialect::openai::Envelope;
use everstream_core::event::Surface;
use everstream_core::id::{ProjectId, Seq, StreamId, UnixMillis};
use everstream_core::limits;
use everstream_core::limits::StreamLimits;
use everstream_core::policy::attempt::AttemptPolicy;
use everstream_core::policy::deployment::DeploymentSettings;
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::policy::recovery::{Abilities, OnCut};
use everstream_core::record::{Accepted, Account, Claim};
use everstream_store::LogError;
use everstream_store::config::SegmentConfig;
use everstream_store::segment::SegmentLog;
use everstream_testkit::disk::FaultyDisk;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::board::Board;
use super::check;
use super::disk::ProcessDisk;
use super::log::{Book, SimLog};
use super::provider::Provider;
use super::random::Random;
use super::settings::Settings;
use super::visitor::Visitor;

/// How often streams of the dead are looked for, as in the real program.
pub(crate) const RECOVER_EVERY: Duration = Duration::from_secs(5);

/// What all processes of a host share, and who watches them.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) settings: Settings,
    pub(crate) disk: FaultyDisk,
    pub(crate) provider: Provider,
    pub(crate) book: Arc<Book>,
    pub(crate) board: Arc<Board>,
    /// Virtual time.
    pub(crate) now: Arc<AtomicU64>,
    /// Readers do not dawdle any more.
    pub(crate) hurry: Arc<AtomicBool>,
}

impl Host {
    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::Relaxed))
    }
}

/// A process. Dropping it without [`kill`](Self::kill) is a proper end.
pub(crate) struct Process {
    pub(crate) number: u32,
    pub(crate) disk: ProcessDisk,
    pub(crate) draining: bool,
    /// It gets no CPU, and has not lived through this much time.
    pub(crate) frozen: Option<Duration>,
    pub(crate) generator: Generator,
    pub(crate) log: Arc<SimLog>,
    upstream: Arc<Upstream>,
    health: Arc<Health>,
    host: Host,
    runtime: Runtime,
}

/// A reader that somebody started, and how to make it leave.
pub(crate) struct Seat {
    pub(crate) process: u32,
    pub(crate) reader: usize,
    task: AbortHandle,
}

impl Seat {
    pub(crate) fn leave(&self) {
        self.task.abort();
    }
}

impl Process {
    /// Opens the log, as a start of the program does; recovery runs as soon as time does.
    pub(crate) fn start(host: &Host, number: u32, disk: ProcessDisk) -> Result<Self, LogError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| LogError::Io(error.to_string()))?;
        let entered = runtime.enter();
        let clock = Clock::start_at(host.now());
        let config = SegmentConfig {
            sync: host.settings.sync,
            segment_bytes: host.settings.segment_bytes,
            retain_after_end: host.settings.retain_after_end,
            // The simulation's time is not that of the thread that watches the disk.
            patience: Duration::MAX,
            ..SegmentConfig::new("/data")
        };
        let now = Arc::clone(&host.now);
        let time = Arc::new(move || UnixMillis(now.load(Ordering::Relaxed)));
        let log = SegmentLog::open(config, Arc::new(disk.clone()), time)?;
        let log = SimLog::new(log, number, Arc::clone(disk.gate()), Arc::clone(&host.book));
        let log = Arc::new(log);
        let spec = UpstreamSpec {
            first_event_timeout: host.settings.first_event_timeout,
            event_timeout: host.settings.event_timeout,
            ..UpstreamSpec::new("fake", "http://provider.test/v1")
        };
        let upstream = Upstream::new(spec).map_err(|error| LogError::Io(error.to_string()))?;
        let upstream = upstream.over(host.provider.transport(disk.clone()));
        let config = Config::default();
        let billing = Billing::open(
            &config,
            Path::new("/data"),
            None,
            Arc::<SimLog>::clone(&log),
            clock,
        );
        let billing = billing.map_err(|error| LogError::Io(error.to_string()))?;
        let generator = Generator {
            billing,
            log: Arc::<SimLog>::clone(&log),
            registry: Arc::new(Registry::default()),
            clock,
            node: 1,
            limits: StreamLimits::default(),
            retry_window: limits::RECOVER_RUN_WINDOW,
            changes: broadcast::channel(16).0,
            logs_prompts: false,
            tasks: TaskTracker::new(),
        };
        let settings = DeploymentSettings::default();
        let health = Health::new("sim/m".to_owned(), settings, clock, Arc::default());
        drop(entered);
        Ok(Self {
            number,
            disk,
            draining: false,
            frozen: None,
            generator,
            log,
            upstream: Arc::new(upstream),
            health,
            host: host.clone(),
            runtime,
        })
    }

    /// Begins to look for streams of the dead.
    pub(crate) fn recover(&self) {
        let (generator, host) = (self.generator.clone(), self.host.clone());
        let upstream = Arc::clone(&self.upstream);
        let health = Arc::clone(&self.health);
        self.runtime.spawn(async move {
            let replan = move |accepted: &Accepted| {
                let number = accepted.model.trim_start_matches('s').parse().ok()?;
                let on_disconnect = OnDisconnect::Continue;
                request(
                    &host.provider,
                    &upstream,
                    &health,
                    number,
                    on_disconnect,
                    accepted.claim,
                )
            };
            loop {
                recover(&generator, &replan).await;
                sleep(RECOVER_EVERY).await;
            }
        });
    }

    /// Sends the request that asks for answer `number`, and reads what comes of it.
    pub(crate) fn request(
        &self,
        number: usize,
        on_disconnect: OnDisconnect,
        claim: Option<Claim>,
        pace: Random,
    ) -> Option<Seat> {
        let wish = request(
            &self.host.provider,
            &self.upstream,
            &self.health,
            number,
            on_disconnect,
            claim,
        )?;
        let generator = self.generator.clone();
        let visitor = self.visitor(pace);
        let reader = visitor.reader;
        let task = self.runtime.spawn(async move {
            let started = generator.start(wish).await;
            if visitor.disk.is_dead() {
                return;
            }
            match started {
                Ok(Started::New(attachment)) => {
                    let id = attachment.live().id();
                    visitor.host.board.note(&format!("s{number} began"));
                    check::began(&visitor.host, id, claim);
                    let log = Arc::<SimLog>::clone(&visitor.log);
                    let reader = Reader::new(log, id, Seq::ZERO, Some(attachment));
                    visitor.follow(number, reader, true).await;
                }
                Ok(Started::Claimed(claimed)) if claimed.expired => {}
                Ok(Started::Claimed(claimed)) => {
                    visitor.open(&generator, claimed.stream, Seq::ZERO).await;
                }
                Err(error) => visitor
                    .host
                    .board
                    .note(&format!("s{number}: {:?}", error.code)),
            }
        });
        Some(self.seat(reader, task.abort_handle()))
    }

    /// Reads a stream after `seq`.
    pub(crate) fn join(&self, id: StreamId, seq: Seq, pace: Random) -> Seat {
        let generator = self.generator.clone();
        let visitor = self.visitor(pace);
        let reader = visitor.reader;
        let task = self
            .runtime
            .spawn(async move { visitor.open(&generator, id, seq).await });
        self.seat(reader, task.abort_handle())
    }

    fn visitor(&self, pace: Random) -> Visitor {
        Visitor {
            process: self.number,
            reader: self.host.board.sit(),
            host: self.host.clone(),
            log: Arc::clone(&self.log),
            disk: self.disk.clone(),
            pace,
        }
    }

    fn seat(&self, reader: usize, task: AbortHandle) -> Seat {
        Seat {
            process: self.number,
            reader,
            task,
        }
    }

    /// Lets its tasks run until all of them wait.
    pub(crate) fn run(&self) {
        let host = &self.host;
        self.runtime.block_on(async {
            loop {
                let before = (host.board.noted(), host.book.asked());
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                if before == (host.board.noted(), host.book.asked()) {
                    return;
                }
            }
        });
    }

    /// Lets time pass for it.
    pub(crate) fn pass(&self, time: Duration) {
        self.runtime.block_on(tokio::time::advance(time));
        self.run();
    }

    /// Runs something in it.
    pub(crate) fn block_on<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.block_on(task)
    }

    /// It dies where it stands.
    pub(crate) fn kill(self) {
        let board = Arc::clone(&self.host.board);
        let log: Weak<SimLog> = Arc::downgrade(&self.log);
        let number = self.number;
        self.disk.kill();
        drop(self);
        if log.strong_count() > 0 {
            board.violate(format!("something of p{number} outlives its runtime"));
        }
    }
}

fn request(
    provider: &Provider,
    upstream: &Arc<Upstream>,
    health: &Arc<Health>,
    number: usize,
    on_disconnect: OnDisconnect,
    claim: Option<Claim>,
) -> Option<Request> {
    let script = provider.get(number)?;
    let surface = Surface::ChatCompletions;
    let body = Bytes::from(format!(r#"{{"model":"s{number}"}}"#));
    let envelope = Envelope::parse(&body, surface).ok()?;
    let first = Deployment {
        upstream: Arc::clone(upstream),
        model: format!("s{number}"),
        context_window: None,
        marked: Abilities::default(),
        health: Arc::clone(health),
    };
    let routed = Routed {
        first,
        others: Vec::new(),
        attempts: AttemptPolicy::ONE,
        on_cut: OnCut::Fail,
        shadows: Vec::new(),
    };
    Some(Request {
        project: project()?,
        account: Account::default(),
        surface,
        mode: script.mode,
        model: format!("s{number}"),
        show_usage: true,
        choices: 1,
        body,
        course: Course::new(envelope, script.mode, routed).ok()?,
        timeout: None,
        session: None,
        on_cut: None,
        claim,
        retry_digest: None,
        on_disconnect,
        traceparent: None,
        slot: None,
        permit: Permit::default(),
        hold: None,
        headers: Vec::new(),
    })
}

/// The owner of all streams.
pub(crate) fn project() -> Option<ProjectId> {
    "sim".parse().ok()
}
