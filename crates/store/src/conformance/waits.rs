//! Who waits for a stream is woken when it moves.

use std::time::Duration;

use everstream_core::id::Seq;
use everstream_core::record::Tail;
use tokio::time::timeout;

use super::{ALL, Backend, append, create, end, event, fresh, id, whole};

const SOON: Duration = Duration::from_secs(20);

pub(super) async fn waits(backend: &dyn Backend) {
    let (instance, time) = fresh(backend);
    let log = instance.log();
    let lease = create(&*log, id(1)).await;
    let wait = |seen| {
        let log = instance.log();
        tokio::spawn(async move { timeout(SOON, log.wait(id(1), seen)).await })
    };
    let still = timeout(Duration::from_millis(40), log.wait(id(1), lease.tail)).await;
    assert!(still.is_err(), "it waits for nothing");
    let waiting: Vec<_> = (0..50).map(|_| wait(lease.tail)).collect();
    tokio::task::yield_now().await;
    let next = append(&*log, id(1), lease, &[event(id(1), 1)]).await;
    for one in waiting {
        one.await.expect("no panic").expect("a wake-up for each");
    }
    timeout(SOON, log.wait(id(1), lease.tail))
        .await
        .expect("it has moved already");
    let waiting = wait(next.tail);
    append(&*log, id(1), next, &[end(time.now())]).await;
    waiting
        .await
        .expect("no panic")
        .expect("a wake-up at the end");
    timeout(SOON, log.wait(id(1), next.tail))
        .await
        .expect("it has ended");
    timeout(SOON, log.wait(id(9), Tail::default()))
        .await
        .expect("there is no such stream");
    let lease = create(&*log, id(2)).await;
    let log2 = instance.log();
    let waiting = tokio::spawn(async move { timeout(SOON, log2.wait(id(2), lease.tail)).await });
    tokio::task::yield_now().await;
    log.delete(id(2)).await.expect("it is there");
    waiting
        .await
        .expect("no panic")
        .expect("a wake-up at the deletion");
}

pub(super) async fn no_wake_up_is_lost(backend: &dyn Backend) {
    const EVENTS: u64 = 300;
    let (instance, time) = fresh(backend);
    let log = instance.log();
    let mut lease = create(&*log, id(1)).await;
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let log = instance.log();
            tokio::spawn(async move {
                let mut seen = Tail::default();
                while !seen.ended {
                    let after = seen.seq;
                    let page = log.read(id(1), after, ALL).await.expect("a page");
                    let count = page.events.len() as u64;
                    assert_eq!(page.tail.seq, after.plus(count), "a page has a hole");
                    if page.tail.seq == after && !page.tail.ended {
                        timeout(SOON, log.wait(id(1), page.tail))
                            .await
                            .expect("a wake-up");
                    }
                    seen = page.tail;
                }
                seen.seq
            })
        })
        .collect();
    for seq in 1..=EVENTS {
        lease = append(&*log, id(1), lease, &[event(id(1), seq)]).await;
        if seq % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    append(&*log, id(1), lease, &[end(time.now())]).await;
    for reader in readers {
        assert_eq!(reader.await.expect("no panic"), Seq::new(EVENTS));
    }
    whole(&*log, id(2), 1, time.now()).await;
}
