//! Bytes that rot cost the streams they belong to.

use everstream_core::record::Record;
use everstream_store::config::Sync;
use everstream_store::conformance::{Time, accepted, end, event, events, id};
use everstream_store::{Created, LogError, StreamLog};
use everstream_testkit::disk::{FaultyDisk, Loss};

use crate::script::{open, readable};

const STREAMS: u64 = 3;

/// Three streams that share segments; the last runs when the process dies.
async fn written() -> (FaultyDisk, Time) {
    let (disk, time) = (FaultyDisk::default(), Time::default());
    let log = open(&disk, Sync::None, &time).unwrap();
    let mut leases = Vec::new();
    for n in 1..=STREAMS {
        let Ok(Created::New(lease)) = log.create(id(n), accepted(None)).await else {
            panic!("not created");
        };
        leases.push(lease);
    }
    for seq in 1..=3 {
        for (n, lease) in (1..).zip(&mut leases) {
            *lease = log
                .append(id(n), *lease, &[event(id(n), seq)])
                .await
                .unwrap();
        }
    }
    for (n, lease) in (1..STREAMS).zip(leases) {
        log.append(id(n), lease, &[end(time.now())]).await.unwrap();
    }
    (disk, time)
}

#[tokio::test]
async fn a_rotten_byte_costs_one_stream_at_most() {
    let (disk, _) = written().await;
    let segments = disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.ends_with_seg());
    for (path, bytes) in segments {
        for offset in 0..bytes.len() {
            let (disk, time) = written().await;
            disk.restart(Loss::Kill);
            disk.rot(&path, offset, 0x41);
            let context = format!("{} at {offset}", path.display());
            let log = open(&disk, Sync::None, &time).unwrap();
            let mut hit = 0;
            for n in 1..=STREAMS {
                let (events_read, error) = readable(&log, id(n)).await;
                let all = events(id(n), 1, 3);
                assert!(all.starts_with(&events_read), "{context}: {events_read:?}");
                let is_whole = error.is_none() && events_read == all;
                let audit = log.audit(id(n)).await;
                let is_known = audit.is_ok_and(|audit| {
                    let is_ended = matches!(audit.last(), Some(Record::End(_)));
                    is_ended == (n < STREAMS)
                });
                hit += u64::from(!is_whole || !is_known);
                let is_right = match error {
                    None | Some(LogError::NotFound) => true,
                    Some(LogError::Damaged(why)) => why.contains("segment"),
                    Some(_) => false,
                };
                assert!(is_right, "{context}");
            }
            assert!(hit <= 1, "{context}: {hit} streams are hit");
            for orphan in log.orphans().await {
                let lease = log.lease(orphan).await.unwrap();
                log.append(orphan, lease, &[end(time.now())]).await.unwrap();
            }
            assert!(log.orphans().await.is_empty(), "{context}");
        }
    }
}

trait EndsWithSeg {
    fn ends_with_seg(&self) -> bool;
}

impl EndsWithSeg for std::path::PathBuf {
    fn ends_with_seg(&self) -> bool {
        self.extension().is_some_and(|extension| extension == "seg")
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_at_every_length() {
    let (disk, _) = written().await;
    let (path, whole) = disk
        .files()
        .into_iter()
        .rfind(|(path, _)| path.ends_with_seg())
        .unwrap();
    for cut in 0..whole.len() {
        let (disk, time) = written().await;
        disk.restart(Loss::Kill);
        disk.cut(&path, cut);
        let log = open(&disk, Sync::None, &time).unwrap();
        for n in 1..=STREAMS {
            let (events_read, error) = readable(&log, id(n)).await;
            assert!(error.is_none(), "cut at {cut}: {error:?}");
            assert!(
                events(id(n), 1, 3).starts_with(&events_read),
                "cut at {cut}"
            );
        }
        for orphan in log.orphans().await {
            let lease = log.lease(orphan).await.unwrap();
            let next = event(orphan, lease.tail.seq.get() + 1);
            log.append(orphan, lease, &[next, end(time.now())])
                .await
                .unwrap();
        }
        drop(log);
        disk.restart(Loss::Kill);
        let log = open(&disk, Sync::None, &time).unwrap();
        assert!(log.orphans().await.is_empty(), "cut at {cut}");
        for n in 1..=STREAMS {
            let (_, error) = readable(&log, id(n)).await;
            assert!(error.is_none(), "cut at {cut}: {error:?}");
        }
    }
}
