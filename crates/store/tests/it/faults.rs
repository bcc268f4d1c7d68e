//! Every change of the disk that the script makes fails once.

use std::io::ErrorKind;

use everstream_core::record::Record;
use everstream_store::config::Sync;
use everstream_store::conformance::{Time, accepted, event, events, id};
use everstream_store::{Created, LogError, StreamLog};
use everstream_testkit::disk::{Fault, FaultyDisk, Loss};

use crate::script::{Workload, open, readable};

/// A caller that tries again gets everything done, and all of it is there afterwards.
async fn fails(sync: Sync, kind: ErrorKind, loss: Loss) {
    let mut at = 1;
    loop {
        let mut workload = Workload::new(sync, true);
        workload.disk.set_fault(Fault::FailAt(at, kind));
        workload.run().await;
        let is_over = workload.disk.changes() < at;
        let context = format!("{sync:?}, {kind:?}, {loss:?}, change {at} failed");
        workload.disk.restart(loss);
        let log = workload
            .open()
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(workload.streams.len(), 5, "{context}");
        for stream in &workload.streams {
            let (events, error) = readable(&log, stream.id).await;
            if stream.deleted.is_some() {
                assert!(
                    matches!(error, Some(LogError::Gone { .. })),
                    "{context}: {error:?}"
                );
                continue;
            }
            assert!(error.is_none(), "{context}, {}: {error:?}", stream.id);
            let audit = log.audit(stream.id).await;
            let audit = audit.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(
                (events, audit),
                stream.after(stream.appends.len()),
                "{context}"
            );
        }
        if is_over {
            break;
        }
        at += 1;
    }
    assert!(at > 40, "the script makes only {at} changes");
}

#[tokio::test]
async fn a_failure_is_an_error_and_a_second_try_succeeds() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        fails(Sync::None, kind, Loss::Kill).await;
        fails(Sync::Always, kind, Loss::Kill).await;
        for seed in 0..4 {
            fails(Sync::Always, kind, Loss::Power(seed)).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing_behind() {
    let (disk, time) = (FaultyDisk::default(), Time::default());
    let log = open(&disk, Sync::None, &time).unwrap();
    let Ok(Created::New(lease)) = log.create(id(1), accepted(None)).await else {
        panic!("not created");
    };
    disk.set_fault(Fault::FailAt(1, ErrorKind::StorageFull));
    let full = log.append(id(1), lease, &events(id(1), 1, 9)).await;
    assert!(matches!(full, Err(LogError::Full(_))), "{full:?}");
    assert_eq!(readable(&log, id(1)).await.0, []);
    let lease = log.append(id(1), lease, &[event(id(1), 1)]).await.unwrap();
    log.append(id(1), lease, &[event(id(1), 2)]).await.unwrap();
    drop(log);
    disk.restart(Loss::Kill);
    let log = open(&disk, Sync::None, &time).unwrap();
    assert_eq!(readable(&log, id(1)).await.0, events(id(1), 1, 2));
}

#[tokio::test]
async fn what_waits_for_the_device_is_seen_by_nobody() {
    let (disk, time) = (FaultyDisk::default(), Time::default());
    let log = std::sync::Arc::new(open(&disk, Sync::Always, &time).unwrap());
    let peer = open(&disk, Sync::Always, &time).unwrap();
    let Ok(Created::New(lease)) = log.create(id(1), accepted(None)).await else {
        panic!("not created");
    };
    disk.hold_syncs();
    let writer = std::sync::Arc::clone(&log);
    let waiting = tokio::spawn(async move {
        let records: Vec<Record> = events(id(1), 1, 3);
        writer.append(id(1), lease, &records).await
    });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    for log in [&*log, &peer] {
        assert_eq!(log.info(id(1)).await.unwrap().tail, lease.tail);
        assert_eq!(readable(log, id(1)).await.0, []);
    }
    disk.release_syncs();
    let lease = waiting.await.unwrap().unwrap();
    for log in [&*log, &peer] {
        assert_eq!(log.info(id(1)).await.unwrap().tail, lease.tail);
        assert_eq!(readable(log, id(1)).await.0, events(id(1), 1, 3));
    }
}
