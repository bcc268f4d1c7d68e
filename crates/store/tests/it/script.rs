//! A workload with all that a log does, and the means to say afterwards what must be there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::id::{Seq, StreamId};
use everstream_core::record::{Claim, Record};
use everstream_store::config::{SegmentConfig, Sync};
use everstream_store::conformance::{Time, accepted, claim, end, event, events, id};
use everstream_store::disk::Disk;
use everstream_store::segment::SegmentLog;
use everstream_store::{Created, Lease, LogError, ReadLimit, StreamLog};
use everstream_testkit::disk::FaultyDisk;

pub(crate) const ALL: ReadLimit = ReadLimit {
    events: usize::MAX,
    bytes: usize::MAX,
};

/// What a step did, as far as its caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Acknowledged,
    /// It failed: it may be there, or not.
    Unknown,
}

/// A stream as its writer remembers it.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) id: StreamId,
    pub(crate) claim: Option<Claim>,
    pub(crate) lease: Lease,
    /// One for each append, the first for the creation.
    pub(crate) appends: Vec<(Vec<Record>, Known)>,
    pub(crate) deleted: Option<Known>,
}

impl Written {
    /// All records of the first `appends`, events apart from the rest.
    pub(crate) fn after(&self, appends: usize) -> (Vec<Record>, Vec<Record>) {
        let records = self.appends[..appends]
            .iter()
            .flat_map(|(records, _)| records);
        let records = records.cloned();
        records.partition(|record| matches!(record, Record::Event(_)))
    }

    pub(crate) fn acknowledged(&self) -> usize {
        let known = self
            .appends
            .iter()
            .rposition(|(_, known)| *known == Known::Acknowledged);
        known.map_or(0, |at| at + 1)
    }
}

/// A log on a faulting disk, and what was done to it.
pub(crate) struct Workload {
    pub(crate) disk: FaultyDisk,
    pub(crate) time: Time,
    pub(crate) sync: Sync,
    pub(crate) streams: Vec<Written>,
    /// Whether a step that fails is tried again, as its caller may.
    insists: bool,
    tries: usize,
    log: Option<SegmentLog>,
}

impl Workload {
    pub(crate) fn new(sync: Sync, insists: bool) -> Self {
        Self {
            disk: FaultyDisk::default(),
            time: Time::default(),
            sync,
            streams: Vec::new(),
            insists,
            tries: if insists { 2 } else { 0 },
            log: None,
        }
    }

    pub(crate) fn open(&self) -> Result<SegmentLog, LogError> {
        open(&self.disk, self.sync, &self.time)
    }

    /// Runs the whole script, as far as the disk lets it.
    pub(crate) async fn run(&mut self) {
        if self.reopen().is_err() {
            return;
        }
        self.first_life().await;
        // The process dies, and the next one takes over.
        self.log = None;
        if self.reopen().is_err() {
            return;
        }
        self.second_life().await;
        if let Some(log) = self.log.take() {
            let _ = log.close().await;
        }
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        let opened = self.open();
        let opened = if self.insists {
            opened.or_else(|_| self.open()).or_else(|_| self.open())
        } else {
            opened
        };
        self.log = Some(opened?);
        Ok(())
    }

    async fn first_life(&mut self) {
        self.create(1, Some(claim(1))).await;
        self.create(2, None).await;
        self.append(1, events(id(1), 1, 2)).await;
        self.append(2, vec![event(id(2), 1)]).await;
        self.create(3, None).await;
        self.append(3, vec![event(id(3), 1), end(self.time.now())])
            .await;
        self.append(1, events(id(1), 3, 9)).await;
        self.delete(3).await;
        for seq in 2..6 {
            self.append(2, vec![event(id(2), seq)]).await;
        }
        self.append(1, vec![event(id(1), 10), end(self.time.now())])
            .await;
        self.create(4, Some(claim(4))).await;
    }

    async fn second_life(&mut self) {
        for n in [2, 4] {
            self.lease(n).await;
        }
        self.append(2, events(id(2), 6, 8)).await;
        self.create(5, Some(claim(5))).await;
        self.append(4, vec![event(id(4), 1)]).await;
        self.append(2, vec![end(self.time.now())]).await;
        self.append(4, vec![event(id(4), 2)]).await;
        self.time.pass(Duration::from_secs(1));
        if let Some(log) = &self.log {
            let _ = log.retain().await;
        }
    }

    async fn create(&mut self, n: u64, claim: Option<Claim>) {
        let Some(log) = &self.log else { return };
        let record = accepted(claim);
        let mut created = log.create(id(n), Arc::clone(&record)).await;
        for _ in 0..self.tries {
            if created.is_ok() {
                break;
            }
            created = log.create(id(n), Arc::clone(&record)).await;
        }
        let (lease, known) = match created {
            Ok(Created::New(lease)) => (lease, Known::Acknowledged),
            Ok(Created::Claimed(claimed)) => panic!("claimed by nobody: {claimed:?}"),
            Err(error) => {
                assert!(!self.insists, "a second try failed: {error}");
                let epoch = everstream_core::id::Epoch::FIRST;
                let tail = everstream_core::record::Tail::default();
                (Lease { epoch, tail }, Known::Unknown)
            }
        };
        self.streams.push(Written {
            id: id(n),
            claim,
            lease,
            appends: vec![(vec![Record::Accepted(record)], known)],
            deleted: None,
        });
    }

    async fn append(&mut self, n: u64, records: Vec<Record>) {
        let Some(log) = &self.log else { return };
        let stream = self.streams.iter_mut().find(|stream| stream.id == id(n));
        let Some(stream) = stream.filter(|stream| stream.is_sound()) else {
            return;
        };
        let mut appended = log.append(stream.id, stream.lease, &records).await;
        for _ in 0..self.tries {
            if appended.is_ok() {
                break;
            }
            appended = log.append(stream.id, stream.lease, &records).await;
        }
        let known = match appended {
            Ok(lease) => {
                stream.lease = lease;
                Known::Acknowledged
            }
            Err(error) => {
                assert!(!self.insists, "a second try failed: {error}");
                Known::Unknown
            }
        };
        stream.appends.push((records, known));
    }

    async fn lease(&mut self, n: u64) {
        let Some(log) = &self.log else { return };
        let stream = self.streams.iter_mut().find(|stream| stream.id == id(n));
        let Some(stream) = stream.filter(|stream| stream.is_sound()) else {
            return;
        };
        let mut leased = log.lease(stream.id).await;
        for _ in 0..self.tries {
            if leased.is_ok() {
                break;
            }
            leased = log.lease(stream.id).await;
        }
        let known = match leased {
            Ok(lease) => {
                stream.lease = lease;
                Known::Acknowledged
            }
            Err(error) => {
                assert!(!self.insists, "a second try failed: {error}");
                Known::Unknown
            }
        };
        stream.appends.push((vec![Record::Leased], known));
    }

    async fn delete(&mut self, n: u64) {
        let Some(log) = &self.log else { return };
        let stream = self.streams.iter_mut().find(|stream| stream.id == id(n));
        let Some(stream) = stream.filter(|stream| stream.is_sound()) else {
            return;
        };
        let mut deleted = log.delete(stream.id).await;
        for _ in 0..self.tries {
            if deleted.is_ok() {
                break;
            }
            deleted = log.delete(stream.id).await;
        }
        stream.deleted = Some(match deleted {
            Ok(()) => Known::Acknowledged,
            Err(error) => {
                assert!(!self.insists, "a second try failed: {error}");
                Known::Unknown
            }
        });
    }
}

impl Written {
    fn is_sound(&self) -> bool {
        self.appends
            .iter()
            .all(|(_, known)| *known == Known::Acknowledged)
    }
}

/// A log with segments so small that the script fills several.
pub(crate) fn open(disk: &FaultyDisk, sync: Sync, time: &Time) -> Result<SegmentLog, LogError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let config = SegmentConfig {
        sync,
        segment_bytes: 700,
        ..SegmentConfig::new(Path::new("/data"))
    };
    SegmentLog::open(config, disk, time.clock())
}

/// What a stream holds: its events, up to where they can be read, and why no further.
pub(crate) async fn readable(log: &dyn StreamLog, id: StreamId) -> (Vec<Record>, Option<LogError>) {
    let mut events = Vec::new();
    loop {
        let after = Seq::new(events.len() as u64);
        match log.read(id, after, ReadLimit { events: 3, ..ALL }).await {
            Ok(page) if page.events.is_empty() => {
                assert_eq!(page.tail.seq, after, "the tail is elsewhere");
                return (events, None);
            }
            Ok(page) => events.extend(page.events.into_iter().map(Record::Event)),
            Err(error) => return (events, Some(error)),
        }
    }
}
