//! The process, or the machine, dies in every change of the disk that the script makes.

use std::time::Duration;

use everstream_core::record::Record;
use everstream_store::config::Sync;
use everstream_store::conformance::{accepted, end, id};
use everstream_store::{Created, LogError, StreamLog};
use everstream_testkit::disk::{Fault, Loss};

use crate::script::{Known, Workload, Written, readable};

/// What of a stream must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Every acknowledged record.
    Acknowledged,
    /// Nothing but what was written, in order.
    Prefix,
}

async fn dies(sync: Sync, loss: Loss) {
    let promise = match (sync, loss) {
        (_, Loss::Kill) | (Sync::Always, _) => Promise::Acknowledged,
        _ => Promise::Prefix,
    };
    let mut stop = 1;
    loop {
        let mut workload = Workload::new(sync, false);
        workload.disk.set_fault(Fault::StopAt(stop));
        workload.run().await;
        let is_over = workload.disk.changes() < stop;
        workload.disk.restart(loss);
        let context = format!("{sync:?}, {loss:?}, stopped at change {stop}");
        check(&workload, promise, &context).await;
        if is_over {
            break;
        }
        stop += 1;
    }
    assert!(stop > 40, "the script makes only {stop} changes");
}

/// What holds after a restart, and after what a recovery does then, and another restart.
async fn check(workload: &Workload, promise: Promise, context: &str) {
    let log = workload
        .open()
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut found = Vec::new();
    for stream in &workload.streams {
        found.push(holds(&log, stream, promise, context).await);
    }
    let mut orphans = log.orphans().await;
    orphans.sort();
    let mut running = Vec::new();
    for (stream, found) in workload.streams.iter().zip(&found) {
        match found {
            Found::Whole(_, audit) if !is_ended(audit) => running.push(stream.id),
            // What is damaged must be resolved too, unless its end can be read.
            Found::Damaged if orphans.contains(&stream.id) => running.push(stream.id),
            _ => {}
        }
    }
    running.sort();
    assert_eq!(orphans, running, "{context}: orphans");
    for id in &orphans {
        let lease = log
            .lease(*id)
            .await
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        let ended = log.append(*id, lease, &[end(workload.time.now())]).await;
        ended.unwrap_or_else(|error| panic!("{context}: {error}"));
    }
    log.close()
        .await
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    drop(log);
    workload.disk.restart(Loss::Power(7));
    let log = workload
        .open()
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(
        log.orphans().await.is_empty(),
        "{context}: orphans came back"
    );
    for (stream, found) in workload.streams.iter().zip(found) {
        let Found::Whole(events, mut audit) = found else {
            continue;
        };
        if orphans.contains(&stream.id) {
            audit.extend([Record::Leased, end(workload.time.now())]);
        }
        let (again, error) = readable(&log, stream.id).await;
        assert_eq!(
            (again, error.map(|e| e.to_string())),
            (events, None),
            "{context}: changed"
        );
        let again = log
            .audit(stream.id)
            .await
            .unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!(again, audit, "{context}: changed");
    }
    works(&log, context).await;
}

fn is_ended(audit: &[Record]) -> bool {
    matches!(audit.last(), Some(Record::End(_)))
}

/// What there is of a stream.
enum Found {
    /// Its events, and the rest.
    Whole(Vec<Record>, Vec<Record>),
    Damaged,
    Absent,
}

async fn holds(log: &dyn StreamLog, stream: &Written, promise: Promise, context: &str) -> Found {
    let context = format!("{context}, {}", stream.id);
    let (events, error) = readable(log, stream.id).await;
    let (all, _) = stream.after(stream.appends.len());
    assert!(
        all.starts_with(&events),
        "{context}: {events:?} was not written"
    );
    let Some(error) = error else {
        assert_ne!(
            stream.deleted,
            Some(Known::Acknowledged),
            "{context}: came back"
        );
        let audit = match log.audit(stream.id).await {
            Ok(audit) => audit,
            Err(LogError::Damaged(_)) if promise == Promise::Prefix => return Found::Damaged,
            Err(error) => panic!("{context}: {error}"),
        };
        let found = (events, audit);
        let mut states = (0..=stream.appends.len()).map(|n| stream.after(n));
        let state = states.position(|state| state == found);
        let state = state.unwrap_or_else(|| panic!("{context}: {found:?} is half an append"));
        let acknowledged = stream.acknowledged();
        let is_kept = promise == Promise::Prefix || state >= acknowledged;
        assert!(is_kept, "{context}: {state} of {acknowledged} appends");
        if let Some(claim) = stream.claim {
            let held = log.claimed(claim.key).await;
            assert_eq!(
                held.map(|held| held.stream),
                Some(stream.id),
                "{context}: claim"
            );
        }
        return Found::Whole(found.0, found.1);
    };
    let may_be_gone = stream.deleted.is_some();
    let may_be_missing = promise == Promise::Prefix || stream.acknowledged() == 0;
    let is_right = match error {
        LogError::Gone { .. } => may_be_gone,
        LogError::NotFound => may_be_missing,
        LogError::Damaged(_) => promise == Promise::Prefix,
        _ => false,
    };
    assert!(is_right, "{context}: {error}");
    if matches!(error, LogError::Damaged(_)) {
        Found::Damaged
    } else {
        Found::Absent
    }
}

/// The log takes new streams as ever.
async fn works(log: &dyn StreamLog, context: &str) {
    let created = log.create(id(99), accepted(None)).await;
    let Ok(Created::New(lease)) = created else {
        panic!("{context}: {created:?}");
    };
    let records = everstream_store::conformance::events(id(99), 1, 5);
    log.append(id(99), lease, &records)
        .await
        .unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(readable(log, id(99)).await.0, records, "{context}");
}

#[tokio::test]
async fn a_killed_process_loses_nothing() {
    for sync in [Sync::None, Sync::Interval(Duration::ZERO), Sync::Always] {
        dies(sync, Loss::Kill).await;
    }
}

#[tokio::test]
async fn a_power_loss_takes_nothing_that_was_synced() {
    for seed in 0..12 {
        dies(Sync::Always, Loss::Power(seed)).await;
    }
}

#[tokio::test]
async fn a_power_loss_leaves_only_what_was_written() {
    for seed in 0..6 {
        dies(Sync::None, Loss::Power(seed)).await;
        dies(Sync::Interval(Duration::ZERO), Loss::Power(seed)).await;
    }
}
