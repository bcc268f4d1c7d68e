//! Several processes on one directory. A lock excludes two logs of one process too, so they do.

use std::sync::Arc;
use std::time::Duration;

use everstream_core::id::{Epoch, Seq};
use everstream_core::record::{Record, Tail};
use everstream_store::config::{SegmentConfig, Sync};
use everstream_store::conformance::{Time, accepted, claim, end, event, events, id};
use everstream_store::disk::OsDisk;
use everstream_store::segment::SegmentLog;
use everstream_store::{Created, Lease, LogError, StreamLog};
use everstream_testkit::disk::FaultyDisk;

use crate::script::readable;

const SYNCS: [Sync; 3] = [
    Sync::None,
    Sync::Interval(Duration::from_millis(1)),
    Sync::Always,
];

struct Host {
    dir: tempfile::TempDir,
    time: Time,
    sync: Sync,
}

impl Host {
    fn new(sync: Sync) -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            time: Time::default(),
            sync,
        }
    }

    fn process(&self) -> Arc<SegmentLog> {
        let config = SegmentConfig {
            sync: self.sync,
            segment_bytes: 4 << 10,
            retain_after_end: Duration::from_secs(100),
            ..SegmentConfig::new(self.dir.path())
        };
        let log = SegmentLog::open(config, Arc::new(OsDisk), self.time.clock());
        Arc::new(log.expect("a log"))
    }

    fn directories(&self) -> usize {
        let entries = std::fs::read_dir(self.dir.path().join("log")).expect("a directory");
        entries
            .filter(|entry| entry.as_ref().is_ok_and(|e| e.path().is_dir()))
            .count()
    }
}

async fn create(log: &SegmentLog, n: u64) -> Lease {
    match log.create(id(n), accepted(None)).await {
        Ok(Created::New(lease)) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_stream_is_followed_and_taken_over_when_it_dies() {
    for sync in SYNCS {
        let host = Host::new(sync);
        let old = host.process();
        let mut lease = create(&old, 1).await;
        let new = host.process();
        lease = old
            .append(id(1), lease, &events(id(1), 1, 2))
            .await
            .unwrap();
        assert_eq!(readable(&*new, id(1)).await.0, events(id(1), 1, 2));
        assert!(new.orphans().await.is_empty());
        let held = new.lease(id(1)).await;
        assert!(matches!(held, Err(LogError::Held)), "{held:?}");
        let taken = new.create(id(1), accepted(None)).await;
        assert!(matches!(taken, Err(LogError::Exists)), "{taken:?}");
        // A reader of the new process follows, over many segments.
        let reader = Arc::clone(&new);
        let reader = tokio::spawn(async move {
            let mut seen = Tail::default();
            let mut got = Vec::new();
            while !seen.ended {
                reader.wait(id(1), seen).await;
                let page = reader
                    .read(id(1), seen.seq, crate::script::ALL)
                    .await
                    .unwrap();
                got.extend(page.events.into_iter().map(Record::Event));
                seen = page.tail;
            }
            got
        });
        for seq in 3..200 {
            lease = old
                .append(id(1), lease, &[event(id(1), seq)])
                .await
                .unwrap();
            if seq % 20 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        drop(old);
        assert_eq!(new.orphans().await, [id(1)]);
        let next = new.lease(id(1)).await.unwrap();
        assert_eq!((next.epoch, next.tail.seq), (Epoch::new(2), Seq::new(199)));
        let late = new.append(id(1), lease, &[event(id(1), 200)]).await;
        assert!(matches!(late, Err(LogError::Fenced { .. })), "{late:?}");
        let next = new.append(id(1), next, &[event(id(1), 200)]).await.unwrap();
        new.append(id(1), next, &[end(host.time.now())])
            .await
            .unwrap();
        let got = tokio::time::timeout(Duration::from_secs(30), reader).await;
        assert!(
            got.expect("it ends").unwrap() == events(id(1), 1, 200),
            "events differ"
        );
    }
}

#[tokio::test]
async fn a_stream_passes_through_three_processes_and_a_fourth_reads_it_all() {
    for sync in SYNCS {
        let host = Host::new(sync);
        let first = host.process();
        let watcher = host.process();
        let mut lease = create(&first, 1).await;
        lease = first
            .append(id(1), lease, &events(id(1), 1, 9))
            .await
            .unwrap();
        let second = host.process();
        drop(first);
        // Whoever asks first adopts: the watcher must then leave the stream alone.
        assert_eq!(second.orphans().await, [id(1)]);
        assert!(watcher.orphans().await.is_empty());
        let held = watcher.lease(id(1)).await;
        assert!(matches!(held, Err(LogError::Held)), "{held:?}");
        let fenced = second.append(id(1), lease, &[event(id(1), 10)]).await;
        assert!(matches!(fenced, Err(LogError::Fenced { .. })), "{fenced:?}");
        lease = second.lease(id(1)).await.unwrap();
        second
            .append(id(1), lease, &events(id(1), 10, 12))
            .await
            .unwrap();
        assert_eq!(readable(&*watcher, id(1)).await.0, events(id(1), 1, 12));
        drop(second);
        let late = host.process();
        assert_eq!(late.orphans().await, [id(1)]);
        let lease = late.lease(id(1)).await.unwrap();
        assert_eq!(lease.epoch, Epoch::new(3));
        let records = [event(id(1), 13), end(host.time.now())];
        late.append(id(1), lease, &records).await.unwrap();
        for log in [&watcher, &late, &host.process()] {
            assert_eq!(readable(&**log, id(1)).await.0, events(id(1), 1, 13));
            assert_eq!(log.audit(id(1)).await.unwrap().len(), 4);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_has_one_holder_among_all_processes() {
    for sync in SYNCS {
        let host = Host::new(sync);
        let logs = [host.process(), host.process(), host.process()];
        for round in 0..10u8 {
            let racers: Vec<_> = (0..9u64)
                .map(|racer| {
                    let log = Arc::clone(&logs[usize::try_from(racer % 3).unwrap()]);
                    let id = id(u64::from(round) * 100 + racer);
                    tokio::spawn(async move { log.create(id, accepted(Some(claim(round)))).await })
                })
                .collect();
            let mut won = 0;
            let mut holders = Vec::new();
            for racer in racers {
                match racer.await.unwrap().unwrap() {
                    Created::New(_) => won += 1,
                    Created::Claimed(claimed) => holders.push(claimed.stream),
                }
            }
            assert_eq!(won, 1, "{sync:?}");
            holders.dedup();
            assert_eq!(holders.len(), 1, "{sync:?}: {holders:?}");
            for log in &logs {
                let held = log.claimed(claim(round).key).await.unwrap();
                assert_eq!(held.stream, holders[0]);
            }
        }
    }
}

#[tokio::test]
async fn what_a_peer_drops_is_gone_for_all() {
    let host = Host::new(Sync::None);
    let (one, two) = (host.process(), host.process());
    let lease = create(&one, 1).await;
    one.append(id(1), lease, &[event(id(1), 1), end(host.time.now())])
        .await
        .unwrap();
    create(&one, 2).await;
    assert_eq!(readable(&*two, id(1)).await.0.len(), 1);
    one.delete(id(1)).await.unwrap();
    let _ = two.info(id(9)).await;
    let gone = two.read(id(1), Seq::ZERO, crate::script::ALL).await;
    assert!(matches!(gone, Err(LogError::Gone { .. })), "{gone:?}");
    two.delete(id(2)).await.unwrap();
    let _ = one.info(id(9)).await;
    let gone = one.info(id(2)).await;
    assert!(matches!(gone, Err(LogError::Gone { .. })), "{gone:?}");
}

#[tokio::test]
async fn directories_of_the_dead_go_when_they_are_empty() {
    let host = Host::new(Sync::None);
    for n in 1..6 {
        let log = host.process();
        let lease = create(&log, n).await;
        let records = [event(id(n), 1), end(host.time.now())];
        log.append(id(n), lease, &records).await.unwrap();
        if n % 2 == 0 {
            log.close().await.unwrap();
        }
    }
    for _ in 0..4 {
        host.process();
    }
    assert!(
        host.directories() <= 7,
        "{} directories",
        host.directories()
    );
    host.time.pass(Duration::from_secs(100));
    let log = host.process();
    assert_eq!(log.retain().await.unwrap().streams, 5);
    assert_eq!(host.directories(), 1);
    drop(log);
    let log = host.process();
    let gone = log.info(id(3)).await;
    assert!(matches!(gone, Err(LogError::Gone { .. })), "{gone:?}");
}

#[tokio::test]
async fn a_process_may_start_while_another_looks_for_the_dead() {
    let (disk, time) = (FaultyDisk::default(), Time::default());
    let open = || {
        let config = SegmentConfig::new("/data");
        SegmentLog::open(config, Arc::new(disk.clone()), time.clock()).unwrap()
    };
    let log = Arc::new(open());
    let looking = Arc::clone(&log);
    let stop = tokio_util_stop();
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            runtime.block_on(looking.orphans());
        }
    });
    let mut running = Vec::new();
    for n in 0..40 {
        let other = open();
        create(&other, n).await;
        running.push(other);
        if n % 3 == 0 {
            running.clear();
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    thread.join().unwrap();
    for n in 0..40 {
        log.info(id(n)).await.unwrap();
    }
    let live = 39 % 3;
    assert_eq!(log.orphans().await.len(), 40 - live);
}

fn tokio_util_stop() -> Arc<std::sync::atomic::AtomicBool> {
    Arc::default()
}
