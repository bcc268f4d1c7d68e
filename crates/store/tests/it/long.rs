//! A long stream costs what its events cost, and no more.

use everstream_core::id::Seq;
use everstream_store::config::{SegmentConfig, Sync};
use everstream_store::conformance::{Time, accepted, event, id};
use everstream_store::segment::SegmentLog;
use everstream_store::{Created, LogError, ReadLimit, StreamLog};
use everstream_testkit::disk::FaultyDisk;
use std::sync::Arc;

const EVENTS: u64 = 50_000;
const PAGE: usize = 512;

#[tokio::test]
async fn a_sequential_read_of_a_long_stream_is_linear() {
    let (disk, time) = (FaultyDisk::default(), Time::default());
    let config = SegmentConfig {
        sync: Sync::None,
        segment_bytes: 2 << 20,
        ..SegmentConfig::new("/data")
    };
    let log = SegmentLog::open(config, Arc::new(disk.clone()), time.clock()).unwrap();
    let mut leases = Vec::new();
    for n in [1, 2] {
        let Ok(Created::New(lease)) = log.create(id(n), accepted(None)).await else {
            panic!("not created");
        };
        leases.push(lease);
    }
    // Two streams by turns, so that no two batches of one lie side by side.
    for seq in 1..=EVENTS {
        for (n, lease) in (1..).zip(&mut leases) {
            *lease = log
                .append(id(n), *lease, &[event(id(n), seq)])
                .await
                .unwrap();
        }
    }
    let read_all = async |from: u64| {
        let before = disk.reads();
        let mut seen = from;
        while seen < EVENTS {
            let limit = ReadLimit {
                events: PAGE,
                bytes: usize::MAX,
            };
            let page = log.read(id(1), Seq::new(seen), limit).await.unwrap();
            assert!(!page.events.is_empty());
            for got in page.events {
                seen += 1;
                assert_eq!(got.seq, Seq::new(seen));
            }
        }
        disk.reads() - before
    };
    // Each batch is read once, and its link once or, at the places known, twice.
    let reads = read_all(0).await;
    assert!(reads < EVENTS * 5 / 2, "{reads} reads for {EVENTS} events");
    let reads = read_all(EVENTS - 20_000).await;
    assert!(reads < 20_000 * 5 / 2, "{reads} reads for the last 20,000");
    // Whoever follows at the tail reads only what is new.
    let before = disk.reads();
    for seq in EVENTS + 1..=EVENTS + 100 {
        leases[0] = log
            .append(id(1), leases[0], &[event(id(1), seq)])
            .await
            .unwrap();
        let limit = ReadLimit {
            events: PAGE,
            bytes: usize::MAX,
        };
        let page = log.read(id(1), Seq::new(seq - 1), limit).await.unwrap();
        assert_eq!(page.events.len(), 1);
    }
    assert_eq!(disk.reads() - before, 100, "one read for each new event");
    let before = disk.reads();
    log.delete(id(1)).await.unwrap();
    assert_eq!(disk.reads(), before, "what is forgotten is not read");
    let gone = log.info(id(1)).await;
    assert!(matches!(gone, Err(LogError::Gone { .. })), "{gone:?}");
}

#[tokio::test]
async fn a_reader_behind_a_live_writer_reads_each_link_once() {
    let (disk, time) = (FaultyDisk::default(), Time::default());
    let config = SegmentConfig::new("/data");
    let log = SegmentLog::open(config, Arc::new(disk.clone()), time.clock()).unwrap();
    let Ok(Created::New(mut lease)) = log.create(id(1), accepted(None)).await else {
        panic!("not created");
    };
    let mut written = 0;
    let mut seen = 0;
    let before = disk.reads();
    // The writer makes two steps while the reader makes one.
    while seen < 6_000 {
        if written < 12_000 {
            for _ in 0..128 {
                written += 1;
                lease = log
                    .append(id(1), lease, &[event(id(1), written)])
                    .await
                    .unwrap();
            }
        }
        let limit = ReadLimit {
            events: 64,
            bytes: usize::MAX,
        };
        let page = log.read(id(1), Seq::new(seen), limit).await.unwrap();
        seen += page.events.len() as u64;
    }
    let reads = disk.reads() - before;
    assert!(reads < written * 2, "{reads} reads for {written} events");
}
