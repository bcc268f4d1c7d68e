//! Crashes, and how streams go.

use std::time::Duration;

use everstream_core::id::{Epoch, Seq};
use everstream_core::record::Record;

use super::{
    ALL, Backend, Bytes, Event, Time, append, create, dialled, end, event, events, fresh, id,
    project, seqs, whole,
};
use crate::config::MemoryConfig;
use crate::{LogError, Retained};

pub(super) async fn crashes(backend: &dyn Backend) {
    let (mut instance, time) = fresh(backend);
    let log = instance.log();
    let mut lease = create(&*log, id(1)).await;
    lease = append(&*log, id(1), lease, &[dialled()]).await;
    lease = append(&*log, id(1), lease, &events(id(1), 1, 5)).await;
    whole(&*log, id(2), 3, time.now()).await;
    let held = log.lease(id(1)).await;
    assert!(matches!(held, Err(LogError::Held)), "{held:?}");
    assert!(log.orphans().await.is_empty());
    drop(log);
    let mut next = 6;
    for round in 2..6 {
        instance.crash();
        let log = instance.log();
        assert_eq!(log.orphans().await, [id(1)]);
        let fenced = log.append(id(1), lease, &events(id(1), next, next)).await;
        assert!(matches!(fenced, Err(LogError::Fenced { .. })), "{fenced:?}");
        let leased = log.lease(id(1)).await.expect("the writer is dead");
        assert_eq!(leased.epoch, Epoch::new(round));
        assert_eq!(leased.tail.seq, Seq::new(next - 1));
        assert!(log.orphans().await.is_empty());
        let held = log.lease(id(1)).await;
        assert!(matches!(held, Err(LogError::Held)), "{held:?}");
        let fenced = log.append(id(1), lease, &events(id(1), next, next)).await;
        let newest = leased.epoch;
        let is_right = matches!(fenced, Err(LogError::Fenced { newest: n }) if n == newest);
        assert!(is_right, "{fenced:?}");
        lease = append(&*log, id(1), leased, &events(id(1), next, next)).await;
        lease = append(&*log, id(1), lease, &events(id(1), next + 1, next + 1)).await;
        next += 2;
        assert_eq!(seqs(&*log, id(1), 0).await, (1..next).collect::<Vec<_>>());
        assert_eq!(seqs(&*log, id(1), 4).await, (5..next).collect::<Vec<_>>());
    }
    let log = instance.log();
    append(&*log, id(1), lease, &[end(time.now())]).await;
    let audit = log.audit(id(1)).await.expect("an audit");
    let leases = audit
        .iter()
        .filter(|record| **record == Record::Leased)
        .count();
    assert_eq!((audit.len(), leases), (7, 4), "{audit:?}");
    drop(log);
    instance.crash();
    let log = instance.log();
    assert!(log.orphans().await.is_empty());
    assert_eq!(seqs(&*log, id(1), 0).await, (1..next).collect::<Vec<_>>());
    assert_eq!(seqs(&*log, id(2), 0).await, [1, 2, 3]);
}

pub(super) async fn retention(backend: &dyn Backend) {
    let time = Time::default();
    let config = MemoryConfig {
        retain_after_end: Duration::from_secs(100),
        tombstone_for: Duration::from_secs(1000),
        ..MemoryConfig::default()
    };
    let mut instance = backend.open(config, time.clock());
    let log = instance.log();
    whole(&*log, id(1), 10, time.now()).await;
    time.pass(Duration::from_secs(99));
    assert_eq!(log.retain().await.expect("no failure"), Retained::default());
    assert_eq!(seqs(&*log, id(1), 8).await, [9, 10]);
    time.pass(Duration::from_secs(1));
    let retained = log.retain().await.expect("no failure");
    assert!(retained.streams == 1 && retained.bytes > 0, "{retained:?}");
    let lease = create(&*log, id(2)).await;
    drop(log);
    for _ in 0..3 {
        let log = instance.log();
        for gone in [
            log.read(id(1), Seq::ZERO, ALL).await.err(),
            log.info(id(1)).await.err(),
            log.audit(id(1)).await.err(),
            log.lease(id(1)).await.err(),
            log.append(id(1), lease, &[dialled()]).await.err(),
        ] {
            let is_right =
                matches!(&gone, Some(LogError::Gone { project: p }) if *p == project("web"));
            assert!(is_right, "{gone:?}");
        }
        log.scan(&project("web"), &mut |info| assert_eq!(info.id, id(2)));
        drop(log);
        instance.crash();
    }
    time.pass(Duration::from_secs(999));
    let log = instance.log();
    let kept = log.retain().await.expect("no failure");
    assert_eq!(kept.streams, 0, "a stream that runs is never dropped");
    let gone = log.info(id(1)).await;
    assert!(matches!(gone, Err(LogError::Gone { .. })), "{gone:?}");
    time.pass(Duration::from_secs(1));
    drop(log);
    for _ in 0..2 {
        let log = instance.log();
        let forgotten = log.info(id(1)).await;
        assert!(
            matches!(forgotten, Err(LogError::NotFound)),
            "{forgotten:?}"
        );
        drop(log);
        instance.crash();
    }
}

pub(super) async fn size(backend: &dyn Backend) {
    const MAX: u64 = 1 << 20;
    let time = Time::default();
    let config = MemoryConfig {
        max_bytes: MAX,
        ..MemoryConfig::default()
    };
    let instance = backend.open(config, time.clock());
    let log = instance.log();
    let filler = |id, seq| {
        let Record::Event(event) = event(id, seq) else {
            unreachable!("it is an event");
        };
        let data = Bytes::from(vec![b'.'; 32 << 10]);
        Record::Event(Event { data, ..event })
    };
    // Four times what fits, with the streams that ended longest ago making room.
    let first_running = create(&*log, id(1)).await;
    for n in 2..130 {
        time.pass(Duration::from_secs(1));
        let lease = create(&*log, id(n)).await;
        append(&*log, id(n), lease, &[filler(id(n), 1), end(time.now())]).await;
        assert!(log.info(id(n)).await.is_ok());
    }
    assert!(
        log.info(id(1)).await.is_ok(),
        "a stream that runs is never dropped"
    );
    // The first few may share their fate with the one that runs.
    let gone = log.info(id(20)).await;
    assert!(matches!(gone, Err(LogError::Gone { .. })), "{gone:?}");
    // What runs cannot make room.
    let mut lease = create(&*log, id(200)).await;
    let full = loop {
        let next = filler(id(200), lease.tail.seq.get() + 1);
        match log.append(id(200), lease, &[next]).await {
            Ok(moved) => lease = moved,
            Err(error) => break error,
        }
        assert!(lease.tail.seq.get() < 40, "the bound does not hold");
    };
    assert!(matches!(full, LogError::Full(_)), "{full}");
    assert!(full.to_string().contains("log.max_bytes"), "{full}");
    let refused = log.create(id(201), super::accepted(None)).await;
    assert!(
        refused.is_ok() || matches!(refused, Err(LogError::Full(_))),
        "{refused:?}"
    );
    append(&*log, id(200), lease, &[end(time.now())]).await;
    append(&*log, id(1), first_running, &[end(time.now())]).await;
    create(&*log, id(202)).await;
}

pub(super) async fn deletion(backend: &dyn Backend) {
    let (mut instance, time) = fresh(backend);
    let log = instance.log();
    whole(&*log, id(1), 2, time.now()).await;
    let lease = create(&*log, id(2)).await;
    whole(&*log, id(3), 2, time.now()).await;
    for n in [1, 2] {
        log.delete(id(n)).await.expect("it is there");
        let again = log.delete(id(n)).await;
        assert!(matches!(again, Err(LogError::Gone { .. })), "{again:?}");
    }
    let unknown = log.delete(id(9)).await;
    assert!(matches!(unknown, Err(LogError::NotFound)), "{unknown:?}");
    let gone = log.append(id(2), lease, &[event(id(2), 1)]).await;
    assert!(matches!(gone, Err(LogError::Gone { .. })), "{gone:?}");
    let taken = log.create(id(1), super::accepted(None)).await;
    assert!(matches!(taken, Err(LogError::Exists)), "{taken:?}");
    drop(log);
    for _ in 0..2 {
        instance.crash();
        let log = instance.log();
        for n in [1, 2] {
            let gone = log.read(id(n), Seq::ZERO, ALL).await;
            assert!(matches!(gone, Err(LogError::Gone { .. })), "{gone:?}");
        }
        assert_eq!(seqs(&*log, id(3), 0).await, [1, 2]);
        assert!(log.orphans().await.is_empty());
    }
}

pub(super) async fn closing(backend: &dyn Backend) {
    let (instance, _) = fresh(backend);
    let log = instance.log();
    let lease = create(&*log, id(1)).await;
    let waiting = instance.log();
    let waiting = tokio::spawn(async move { waiting.wait(id(1), lease.tail).await });
    tokio::task::yield_now().await;
    log.close().await.expect("no failure");
    log.close().await.expect("twice is as good as once");
    let woken = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    woken.expect("who waits is let go").expect("no panic");
    for closed in [
        log.append(id(1), lease, &[event(id(1), 1)]).await.err(),
        log.create(id(2), super::accepted(None)).await.err(),
        log.read(id(1), Seq::ZERO, ALL).await.err(),
        log.lease(id(1)).await.err(),
        log.retain().await.err(),
        log.delete(id(1)).await.err(),
    ] {
        assert!(matches!(closed, Some(LogError::Closed)), "{closed:?}");
    }
    assert!(log.orphans().await.is_empty());
}
