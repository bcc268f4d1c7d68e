//! Every change of the disk that the script makes fails once.

use std::io::ErrorKind;

use everstream_core::record::Record;
use everstream_store::config::Sync;
use everstream_store::conformance::{Time, accepted, end, event, events, id};
use everstream_store::{Created, LogError, StreamLog};
use everstream_testkit::disk::{Fault, FaultyDisk, Held, Loss};

use crate::script::{Workload, open, readable};

/// A caller that tries again gets everything done, and all of it is there afterwards.
async fn fails(sync: Sync, times: u64, kind: ErrorKind, loss: Loss) {
    let mut at = 1;
    loop {
        let mut workload = Workload::new(sync, true);
        workload.disk.set_fault(Fault::FailAt(at, times, kind));
        workload.run().await;
        let is_over = workload.disk.changes() < at;
        let context = format!("{sync:?}, {kind:?}, {loss:?}, {times} changes from {at} on failed");
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
    for (times, kind) in [
        (1, ErrorKind::Other),
        (2, ErrorKind::Other),
        (1, ErrorKind::StorageFull),
    ] {
        fails(Sync::None, times, kind, Loss::Kill).await;
        fails(Sync::Always, times, kind, Loss::Kill).await;
        for seed in 0..4 {
            fails(Sync::Always, times, kind, Loss::Power(seed)).await;
        }
    }
}

#[tokio::test]
async fn what_failed_never_comes_back() {
    let (disk, time) = (FaultyDisk::default(), Time::default());
    let log = open(&disk, Sync::Always, &time).unwrap();
    let Ok(Created::New(lease)) = log.create(id(1), accepted(None)).await else {
        panic!("not created");
    };
    // The write succeeds; the sync fails, and so does the attempt to cut what was written.
    disk.set_fault(Fault::FailAt(2, 2, ErrorKind::Other));
    let failed = log
        .append(id(1), lease, &[event(id(1), 1), end(time.now())])
        .await;
    assert!(matches!(failed, Err(LogError::Io(_))), "{failed:?}");
    assert_eq!(disk.changes(), 3);
    assert_eq!(log.info(id(1)).await.unwrap().tail, lease.tail);
    let records = [Record::Leased, event(id(1), 1)];
    log.append(id(1), lease, &records).await.unwrap();
    drop(log);
    disk.restart(Loss::Kill);
    let log = open(&disk, Sync::Always, &time).unwrap();
    assert_eq!(log.orphans().await, [id(1)], "the end that failed counts");
    assert_eq!(readable(&log, id(1)).await.0, [event(id(1), 1)]);
    assert_eq!(log.audit(id(1)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing_behind() {
    let (disk, time) = (FaultyDisk::default(), Time::default());
    let log = open(&disk, Sync::None, &time).unwrap();
    let Ok(Created::New(lease)) = log.create(id(1), accepted(None)).await else {
        panic!("not created");
    };
    disk.set_fault(Fault::FailAt(1, 1, ErrorKind::StorageFull));
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
    disk.hold(Held::Syncs);
    let writer = std::sync::Arc::clone(&log);
    let waiting = tokio::spawn(async move {
        let records: Vec<Record> = events(id(1), 1, 3);
        writer.append(id(1), lease, &records).await
    });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    for log in [&*log, &peer] {
        let tail = log.info(id(1)).await.map(|stat| stat.tail);
        seen.push((tail.ok(), readable(log, id(1)).await.0));
    }
    // A log cannot be dropped while a sync is held, as a failed assertion would.
    disk.release();
    let unseen = (Some(lease.tail), Vec::new());
    assert_eq!(seen, [unseen.clone(), unseen]);
    let lease = waiting.await.unwrap().unwrap();
    for log in [&*log, &peer] {
        assert_eq!(log.info(id(1)).await.unwrap().tail, lease.tail);
        assert_eq!(readable(log, id(1)).await.0, events(id(1), 1, 3));
    }
}

#[tokio::test]
async fn a_full_disk_is_freed_by_retention() {
    let (disk, time) = (FaultyDisk::default(), Time::default());
    let log = open(&disk, Sync::None, &time).unwrap();
    for n in 1..9 {
        let Ok(Created::New(lease)) = log.create(id(n), accepted(None)).await else {
            panic!("not created");
        };
        let records = [event(id(n), 1), end(time.now())];
        log.append(id(n), lease, &records).await.unwrap();
    }
    time.pass(everstream_core::limits::RETENTION);
    // The tombstones do not fit before something is removed.
    disk.set_fault(Fault::FailAt(1, 1, ErrorKind::StorageFull));
    assert_eq!(log.retain().await.unwrap().streams, 8);
    let segments = disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "seg"));
    assert_eq!(segments.count(), 0);
    drop(log);
    disk.restart(Loss::Kill);
    let log = open(&disk, Sync::None, &time).unwrap();
    for n in 1..9 {
        let gone = log.info(id(n)).await;
        assert!(matches!(gone, Err(LogError::Gone { .. })), "{gone:?}");
    }
}
