//! `Idempotency-Key`s.

use everstream_core::record::{End, Record};

use super::{Backend, Time, accepted, append, claim, end, event, fresh, id, whole};
use crate::config::MemoryConfig;
use crate::{Claimed, Created, LogError};
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn claims(backend: &dyn Backend) {
    let time = Time::default();
    let config = MemoryConfig {
        retain_after_end: Duration::from_mins(1),
        tombstone_for: Duration::from_mins(10),
        ..MemoryConfig::default()
    };
    let mut instance = backend.open(config, time.clock());
    let log = instance.log();
    assert_eq!(log.claimed(claim(1).key).await, None);
    let created = log.create(id(1), accepted(Some(claim(1)))).await;
    let Ok(Created::New(lease)) = created else {
        panic!("{created:?}");
    };
    let held = Claimed {
        stream: id(1),
        claim: claim(1),
        expired: false,
    };
    let again = log
        .create(id(2), accepted(Some(claim(1))))
        .await
        .expect("no failure");
    assert_eq!(again, Created::Claimed(held));
    let missing = log.info(id(2)).await;
    assert!(
        matches!(missing, Err(LogError::NotFound)),
        "something was created"
    );
    whole(&*log, id(2), 1, time.now()).await;
    append(&*log, id(1), lease, &[event(id(1), 1), end(time.now())]).await;
    drop(log);
    for _ in 0..2 {
        assert_eq!(
            instance.log().claimed(claim(1).key).await,
            Some(held),
            "kept after the end"
        );
        instance.crash();
    }
    time.pass(Duration::from_secs(61));
    assert_eq!(
        instance.log().retain().await.expect("no failure").streams,
        2
    );
    let expired = Claimed {
        expired: true,
        ..held
    };
    for _ in 0..2 {
        let log = instance.log();
        assert_eq!(log.claimed(claim(1).key).await, Some(expired));
        let again = log
            .create(id(3), accepted(Some(claim(1))))
            .await
            .expect("no failure");
        assert_eq!(again, Created::Claimed(expired));
        drop(log);
        instance.crash();
    }
    time.pass(Duration::from_mins(10));
    let log = instance.log();
    assert_eq!(
        log.claimed(claim(1).key).await,
        None,
        "free after the tombstone"
    );
    let created = log.create(id(3), accepted(Some(claim(1)))).await;
    assert!(matches!(created, Ok(Created::New(_))), "{created:?}");
    assert_eq!(
        log.claimed(claim(1).key).await.map(|held| held.stream),
        Some(id(3))
    );
}

pub(super) async fn one_claimant_wins(backend: &dyn Backend) {
    let (instance, _) = fresh(backend);
    for round in 0..20u8 {
        let tasks: Vec<_> = (0..8)
            .map(|racer| {
                let log = instance.log();
                let id = id(u64::from(round) * 100 + racer);
                tokio::spawn(
                    async move { (id, log.create(id, accepted(Some(claim(round)))).await) },
                )
            })
            .collect();
        let (mut won, mut lost) = (Vec::new(), Vec::new());
        for task in tasks {
            match task.await.expect("no panic") {
                (id, Ok(Created::New(_))) => won.push(id),
                (_, Ok(Created::Claimed(claimed))) => lost.push(claimed.stream),
                (_, Err(error)) => panic!("{error}"),
            }
        }
        assert_eq!(won.len(), 1, "{won:?}");
        assert!(
            lost.iter().all(|holder| *holder == won[0]),
            "{won:?} {lost:?}"
        );
    }
}

pub(super) async fn released_claims(backend: &dyn Backend) {
    let (mut instance, time) = fresh(backend);
    let log = instance.log();
    let released = |at| {
        let Record::End(record) = end(at) else {
            unreachable!("it is an end");
        };
        Record::End(Arc::new(End {
            release_claim: true,
            ..(*record).clone()
        }))
    };
    for n in 1..=3 {
        let created = log.create(id(n), accepted(Some(claim(1)))).await;
        let Ok(Created::New(lease)) = created else {
            panic!("{created:?}");
        };
        append(&*log, id(n), lease, &[released(time.now())]).await;
        assert_eq!(log.claimed(claim(1).key).await, None);
    }
    let created = log.create(id(4), accepted(Some(claim(1)))).await;
    assert!(matches!(created, Ok(Created::New(_))), "{created:?}");
    whole(&*log, id(5), 1, time.now()).await;
    drop(log);
    instance.crash();
    let held = instance.log().claimed(claim(1).key).await;
    assert_eq!(held.map(|held| held.stream), Some(id(4)));
    let stat = instance.log().info(id(1)).await.expect("it is there");
    assert_eq!(
        stat.accepted.claim,
        Some(claim(1)),
        "what was accepted does not change"
    );
}
