//! The test of the contract: what [`StreamLog`] promises, held against any backend.
//!
//! A backend implements [`Backend`] and calls [`run`], which panics at the first promise that is
//! not kept.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use everstream_core::event::{Event, Mode, Status, Surface, Usage};
use everstream_core::id::{ProjectId, Seq, StreamId, UnixMillis};
use everstream_core::record::{Accepted, Claim, Dialled, Digest, End, Head, Record};

use crate::config::{Clock, MemoryConfig};
use crate::{Created, Lease, ReadLimit, StreamLog};

mod claims;
mod lives;
mod streams;
mod waits;

/// What is under test.
pub trait Backend {
    /// Opens an empty log.
    fn open(&self, config: MemoryConfig, clock: Clock) -> Box<dyn Instance>;
}

/// One log under test.
pub trait Instance {
    /// The log as it is now.
    fn log(&self) -> Arc<dyn StreamLog>;

    /// Its process dies without a word, and the log is opened by the next one. Whoever holds a
    /// [`log`](Self::log) has let go of it.
    fn crash(&mut self);
}

/// A clock that goes when it is told to.
#[derive(Clone, Debug)]
pub struct Time(Arc<AtomicU64>);

impl Default for Time {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000_000)))
    }
}

impl Time {
    /// Goes on.
    pub fn pass(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Ordering::Relaxed);
    }

    /// Now.
    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }

    /// What a log takes the time from.
    pub fn clock(&self) -> Clock {
        let time = self.clone();
        Arc::new(move || time.now())
    }
}

type Case = for<'a> fn(&'a dyn Backend) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Holds every promise against `backend`, with the name of each case on standard error before it.
pub async fn run(backend: &dyn Backend) {
    let cases: [(&str, Case); 19] = [
        ("pages", |b| Box::pin(streams::pages(b))),
        ("any bytes", |b| Box::pin(streams::any_bytes(b))),
        ("only at the tail", |b| {
            Box::pin(streams::only_at_the_tail(b))
        }),
        ("at once or not at all", |b| {
            Box::pin(streams::at_once_or_not_at_all(b))
        }),
        ("the end is the last", |b| {
            Box::pin(streams::the_end_is_the_last(b))
        }),
        ("repeats", |b| Box::pin(streams::repeats_change_nothing(b))),
        ("what is known", |b| Box::pin(streams::what_is_known(b))),
        ("limits", |b| Box::pin(streams::limits(b))),
        ("one appender wins", |b| {
            Box::pin(streams::one_appender_wins(b))
        }),
        ("waits", |b| Box::pin(waits::waits(b))),
        ("no wake-up is lost", |b| {
            Box::pin(waits::no_wake_up_is_lost(b))
        }),
        ("claims", |b| Box::pin(claims::claims(b))),
        ("one claimant wins", |b| {
            Box::pin(claims::one_claimant_wins(b))
        }),
        ("released claims", |b| Box::pin(claims::released_claims(b))),
        ("crashes", |b| Box::pin(lives::crashes(b))),
        ("retention", |b| Box::pin(lives::retention(b))),
        ("size", |b| Box::pin(lives::size(b))),
        ("deletion", |b| Box::pin(lives::deletion(b))),
        ("closing", |b| Box::pin(lives::closing(b))),
    ];
    for (name, case) in cases {
        eprintln!("conformance: {name}");
        case(backend).await;
    }
}

/// Everything.
const ALL: ReadLimit = ReadLimit {
    events: usize::MAX,
    bytes: usize::MAX,
};

fn fresh(backend: &dyn Backend) -> (Box<dyn Instance>, Time) {
    let time = Time::default();
    let instance = backend.open(MemoryConfig::default(), time.clock());
    (instance, time)
}

/// A stream's id in tests.
pub fn id(n: u64) -> StreamId {
    StreamId::new(1, n)
}

/// A project.
pub fn project(name: &str) -> ProjectId {
    name.parse().expect("a sound name")
}

/// A first record.
pub fn accepted(claim: Option<Claim>) -> Arc<Accepted> {
    Arc::new(Accepted {
        project: project("web"),
        account: everstream_core::record::Account::default(),
        surface: Surface::ChatCompletions,
        mode: Mode::Stream,
        model: "small".to_owned(),
        created_at: UnixMillis(1_700_000_000_000),
        claim,
        include_usage: true,
        deadline: None,
        session: None,
        on_cut: None,
        headers: Vec::new(),
        request: Bytes::from_static(b"{\"model\":\"small\", \"x\" : 1}\n"),
    })
}

/// A claim on a key.
pub fn claim(key: u8) -> Claim {
    Claim {
        key: Digest([key; 32]),
        fingerprint: Digest([0xee; 32]),
    }
}

/// The event with this seq: its data tells it from all others.
pub fn event(stream: StreamId, seq: u64) -> Record {
    Record::Event(Event {
        seq: Seq::new(seq),
        time: UnixMillis(1_700_000_000_000 + seq),
        name: Bytes::new(),
        data: Bytes::from(format!("{{\"stream\":\"{stream}\",\"seq\":{seq}}}")),
    })
}

/// The events from `first` to `last`.
pub fn events(stream: StreamId, first: u64, last: u64) -> Vec<Record> {
    (first..=last).map(|seq| event(stream, seq)).collect()
}

/// A terminal record.
pub fn end(at: UnixMillis) -> Record {
    Record::End(Arc::new(End {
        status: Status::Completed,
        reason: None,
        http_status: None,
        retry_after: None,
        upstream: Some("two".to_owned()),
        usage: Usage {
            input_tokens: 3,
            output_tokens: 4,
            ..Usage::default()
        },
        release_claim: false,
        at,
    }))
}

fn dialled() -> Record {
    Record::Dialled(Dialled {
        attempt: 1,
        upstream: "one".to_owned(),
        model: "small-1".to_owned(),
    })
}

fn head() -> Record {
    Record::Head(Head {
        status: 200,
        request_id: Some("req_1".to_owned()),
        handle: None,
    })
}

async fn create(log: &dyn StreamLog, id: StreamId) -> Lease {
    match log.create(id, accepted(None)).await {
        Ok(Created::New(lease)) => lease,
        other => panic!("cannot create {id}: {other:?}"),
    }
}

async fn append(log: &dyn StreamLog, id: StreamId, lease: Lease, records: &[Record]) -> Lease {
    let appended = log.append(id, lease, records).await;
    appended.unwrap_or_else(|error| panic!("cannot append to {id}: {error}"))
}

/// A stream of `count` events, ended at `at`.
async fn whole(log: &dyn StreamLog, id: StreamId, count: u64, at: UnixMillis) -> Lease {
    let lease = create(log, id).await;
    let lease = append(log, id, lease, &events(id, 1, count)).await;
    append(log, id, lease, &[end(at)]).await
}

async fn seqs(log: &dyn StreamLog, id: StreamId, after: u64) -> Vec<u64> {
    let page = log.read(id, Seq::new(after), ALL).await;
    let events = page
        .unwrap_or_else(|error| panic!("cannot read {id}: {error}"))
        .events;
    for one in &events {
        let expected = event(id, one.seq.get());
        assert_eq!(
            Record::Event(one.clone()),
            expected,
            "another event came back"
        );
    }
    events.iter().map(|event| event.seq.get()).collect()
}
