//! One stream: order, the tail, the end, limits, waiting.

use std::time::Duration;

use everstream_core::event::Status;
use everstream_core::id::{Epoch, Seq};

use super::{
    ALL, Backend, Bytes, Event, Record, UnixMillis, accepted, append, create, dialled, end, event,
    events, fresh, head, id, project, seqs,
};
use crate::config::{MemoryConfig, StreamLimits};
use crate::conformance::Time;
use crate::{Lease, LogError, ReadLimit};

pub(super) async fn pages(backend: &dyn Backend) {
    let (instance, time) = fresh(backend);
    let log = instance.log();
    let mut lease = create(&*log, id(1)).await;
    let empty = log.read(id(1), Seq::ZERO, ALL).await.expect("a page");
    assert!(empty.events.is_empty() && empty.end.is_none() && !empty.tail.ended);
    // Others between, and batches of many sizes.
    let mut last = 0;
    for size in (1..60).chain([200, 1, 1, 300]) {
        let other = id(1000 + last);
        create(&*log, other).await;
        lease = append(&*log, id(1), lease, &events(id(1), last + 1, last + size)).await;
        last += size;
        assert_eq!(lease.tail.seq, Seq::new(last));
    }
    append(&*log, id(1), lease, &[dialled(), end(time.now())]).await;
    assert_eq!(seqs(&*log, id(1), 0).await, (1..=last).collect::<Vec<_>>());
    for most in [1, 7, 512] {
        let mut seen = 0;
        loop {
            let limit = ReadLimit {
                events: most,
                bytes: usize::MAX,
            };
            let page = log
                .read(id(1), Seq::new(seen), limit)
                .await
                .expect("a page");
            assert_eq!(page.tail.seq, Seq::new(last));
            assert!(page.tail.ended && page.end.is_some());
            assert!(page.events.len() <= most);
            for got in &page.events {
                seen += 1;
                assert_eq!(Record::Event(got.clone()), event(id(1), seen));
            }
            if page.events.is_empty() {
                break;
            }
        }
        assert_eq!(seen, last);
    }
    let little = ReadLimit {
        events: 9,
        bytes: 1,
    };
    let page = log.read(id(1), Seq::new(5), little).await.expect("a page");
    assert_eq!(page.events.len(), 1, "at least one, however large");
    let page = log
        .read(id(1), Seq::new(last + 5), ALL)
        .await
        .expect("a page");
    assert!(page.events.is_empty(), "nothing lies beyond the tail");
}

pub(super) async fn any_bytes(backend: &dyn Backend) {
    let (mut instance, _) = fresh(backend);
    let large = vec![b'x'; 3 << 20];
    let all_bytes: Vec<u8> = (0..=255).collect();
    let data: [&[u8]; 6] = [b"", b"\n\r\n", &all_bytes, &large, b"[DONE]", &[0; 9]];
    let records: Vec<_> = (1u64..)
        .zip(data)
        .map(|(seq, data)| {
            Record::Event(Event {
                seq: Seq::new(seq),
                time: UnixMillis(seq * 1_000_000_007),
                name: Bytes::from("n".repeat(data.len() % 7)),
                data: Bytes::copy_from_slice(data),
            })
        })
        .collect();
    let log = instance.log();
    let lease = create(&*log, id(1)).await;
    append(&*log, id(1), lease, &records).await;
    drop(log);
    for _ in 0..2 {
        let log = instance.log();
        let page = log.read(id(1), Seq::ZERO, ALL).await.expect("a page");
        let read: Vec<_> = page.events.into_iter().map(Record::Event).collect();
        assert!(read == records, "events came back changed");
        assert_eq!(
            log.info(id(1)).await.expect("it is there").accepted,
            accepted(None)
        );
        drop(log);
        instance.crash();
    }
}

pub(super) async fn only_at_the_tail(backend: &dyn Backend) {
    let (instance, _) = fresh(backend);
    let log = instance.log();
    let first = create(&*log, id(1)).await;
    assert_eq!(first.epoch, Epoch::FIRST);
    let exists = log.create(id(1), accepted(None)).await;
    assert!(matches!(exists, Err(LogError::Exists)), "{exists:?}");
    let second = append(&*log, id(1), first, &events(id(1), 1, 3)).await;
    let third = append(&*log, id(1), second, &events(id(1), 4, 4)).await;
    let nothing = append(&*log, id(1), third, &[]).await;
    assert_eq!(nothing, third);
    for (lease, records) in [
        (second, vec![head()]),
        (first, vec![event(id(1), 1), head()]),
        (second, events(id(1), 4, 5)),
    ] {
        let refused = log.append(id(1), lease, &records).await;
        let tail = third.tail;
        let is_right = matches!(refused, Err(LogError::NotAtTail { tail: at }) if at == tail);
        assert!(is_right, "{refused:?}");
    }
    let mut ahead = third;
    ahead.tail.position = ahead.tail.position.plus(1);
    let refused = log.append(id(1), ahead, &[head()]).await;
    assert!(
        matches!(refused, Err(LogError::NotAtTail { .. })),
        "{refused:?}"
    );
    for misfit in [
        events(id(1), 6, 6),
        events(id(1), 4, 4),
        vec![Record::Accepted(accepted(None))],
        vec![event(id(1), 5), event(id(1), 7)],
    ] {
        let refused = log.append(id(1), third, &misfit).await;
        assert!(matches!(refused, Err(LogError::Misfit(_))), "{refused:?}");
    }
    let other = Lease {
        epoch: Epoch::new(9),
        ..third
    };
    let refused = log.append(id(1), other, &events(id(1), 5, 5)).await;
    assert!(
        matches!(
            refused,
            Err(LogError::Fenced {
                newest: Epoch::FIRST
            })
        ),
        "{refused:?}"
    );
    let unknown = log.append(id(2), third, &events(id(2), 5, 5)).await;
    assert!(matches!(unknown, Err(LogError::NotFound)), "{unknown:?}");
    assert_eq!(
        seqs(&*log, id(1), 0).await,
        [1, 2, 3, 4],
        "a refused append left something"
    );
}

pub(super) async fn at_once_or_not_at_all(backend: &dyn Backend) {
    let (instance, time) = fresh(backend);
    let log = instance.log();
    let first = create(&*log, id(1)).await;
    let mut lease = first;
    for n in 1..=40 {
        let records = events(id(1), n, n);
        lease = match log.try_append(id(1), lease, &records) {
            Some(appended) => appended.expect("an append"),
            None => append(&*log, id(1), lease, &records).await,
        };
        assert_eq!(lease.tail.seq, Seq::new(n));
        let newest = seqs(&*log, id(1), n - 1).await;
        assert_eq!(newest, [n], "it is done, and once");
    }
    let refused = log.try_append(id(1), first, &[head()]);
    let is_right = matches!(refused, None | Some(Err(LogError::NotAtTail { .. })));
    assert!(is_right, "{refused:?}");
    let repeated = log.try_append(id(1), first, &events(id(1), 1, 2));
    assert!(matches!(repeated, None | Some(Ok(_))), "{repeated:?}");
    let lease = append(&*log, id(1), lease, &[end(time.now())]).await;
    let refused = log.try_append(id(1), lease, &[head()]);
    let is_right = matches!(refused, None | Some(Err(LogError::Ended)));
    assert!(is_right, "{refused:?}");
    assert_eq!(
        seqs(&*log, id(1), 0).await,
        (1..=40).collect::<Vec<_>>(),
        "a refused append left something"
    );
}

pub(super) async fn the_end_is_the_last(backend: &dyn Backend) {
    let (mut instance, time) = fresh(backend);
    let log = instance.log();
    let lease = create(&*log, id(1)).await;
    let misfit = log
        .append(id(1), lease, &[end(time.now()), event(id(1), 1)])
        .await;
    assert!(matches!(misfit, Err(LogError::Misfit(_))), "{misfit:?}");
    let ended = append(&*log, id(1), lease, &[event(id(1), 1), end(time.now())]).await;
    assert!(ended.tail.ended);
    drop(log);
    for held in [true, false] {
        let log = instance.log();
        for records in [events(id(1), 2, 2), vec![end(time.now())], vec![head()]] {
            let refused = log.append(id(1), ended, &records).await;
            let is_right = match refused {
                Err(LogError::Ended) => true,
                Err(LogError::Fenced { .. }) => !held,
                _ => false,
            };
            assert!(is_right, "{refused:?}");
        }
        let late = log.append(id(1), lease, &events(id(1), 1, 2)).await;
        assert!(late.is_err(), "{late:?}");
        let lease = log.lease(id(1)).await;
        assert!(matches!(lease, Err(LogError::Ended)), "{lease:?}");
        let page = log.read(id(1), Seq::ZERO, ALL).await.expect("a page");
        assert_eq!(page.end.map(Record::End), Some(end(time.now())));
        assert!(log.orphans().await.is_empty());
        drop(log);
        instance.crash();
    }
}

pub(super) async fn repeats_change_nothing(backend: &dyn Backend) {
    let (instance, time) = fresh(backend);
    let log = instance.log();
    let first = create(&*log, id(1)).await;
    let steps: [&[Record]; 4] = [
        &[dialled()],
        &events(id(1), 1, 3),
        &[event(id(1), 4), head()],
        &[event(id(1), 5), end(time.now())],
    ];
    let mut leases = vec![first];
    for step in steps {
        let lease = *leases.last().expect("the first");
        let next = append(&*log, id(1), lease, step).await;
        leases.push(next);
        for (n, step) in steps.iter().enumerate().take(leases.len() - 1) {
            let again = append(&*log, id(1), leases[n], step).await;
            assert_eq!(again, leases[n + 1], "a repeat moved on differently");
        }
    }
    let audit = log.audit(id(1)).await.expect("an audit");
    assert_eq!(audit.len(), 4, "{audit:?}");
    assert_eq!(seqs(&*log, id(1), 0).await, [1, 2, 3, 4, 5]);
}

pub(super) async fn what_is_known(backend: &dyn Backend) {
    let (instance, time) = fresh(backend);
    let log = instance.log();
    let lease = create(&*log, id(1)).await;
    let status = async || log.info(id(1)).await.expect("it is there").info.status;
    assert_eq!(status().await, Status::Queued);
    let lease = append(&*log, id(1), lease, &[dialled()]).await;
    assert_eq!(status().await, Status::Running);
    let lease = append(&*log, id(1), lease, &[head(), event(id(1), 1)]).await;
    let stat = log.info(id(1)).await.expect("it is there");
    assert_eq!(stat.tail, lease.tail);
    assert_eq!(stat.info.upstream.as_deref(), Some("one"));
    assert_eq!((stat.info.usage, stat.info.ended_at), (None, None));
    append(&*log, id(1), lease, &[end(time.now())]).await;
    let stat = log.info(id(1)).await.expect("it is there");
    let info = stat.info;
    assert_eq!((info.id, &info.project), (id(1), &project("web")));
    assert_eq!(
        (info.status, info.last_seq),
        (Status::Completed, Seq::new(1))
    );
    assert_eq!(
        (info.model.as_str(), info.upstream.as_deref()),
        ("small", Some("two"))
    );
    assert_eq!(info.ended_at, Some(time.now()));
    assert_eq!(info.usage.map(|usage| usage.output_tokens), Some(4));
    assert_eq!(stat.end.as_deref().map(|end| end.at), Some(time.now()));
    create(&*log, id(2)).await;
    let mut found = Vec::new();
    log.scan(&project("web"), &mut |info| {
        found.push((info.id, info.status));
    });
    found.sort_by_key(|(id, _)| *id);
    assert_eq!(found, [(id(1), Status::Completed), (id(2), Status::Queued)]);
    log.scan(&project("other"), &mut |info| {
        panic!("{info:?} is another's")
    });
    let mut all = Vec::new();
    log.scan_all(&mut |info| all.push(info.id));
    all.sort();
    assert_eq!(all, [id(1), id(2)]);
    for (since, found) in [
        (time.now(), 1),
        (time.now().plus(Duration::from_millis(1)), 0),
    ] {
        let mut ended = Vec::new();
        log.ended(since, &mut |id, at| ended.push((id, at)));
        assert_eq!(ended, [(id(1), time.now())][..found]);
    }
    let audit = log.audit(id(1)).await.expect("an audit");
    let expected = [
        Record::Accepted(accepted(None)),
        dialled(),
        head(),
        end(time.now()),
    ];
    assert_eq!(audit, expected);
    for unknown in [log.info(id(3)).await.err(), log.audit(id(3)).await.err()] {
        assert!(matches!(unknown, Some(LogError::NotFound)), "{unknown:?}");
    }
    let unknown = log.read(id(3), Seq::ZERO, ALL).await;
    assert!(matches!(unknown, Err(LogError::NotFound)), "{unknown:?}");
}

pub(super) async fn limits(backend: &dyn Backend) {
    let config = MemoryConfig {
        limits: StreamLimits {
            event_bytes: 100,
            stream_bytes: 500,
            stream_events: 10,
        },
        ..MemoryConfig::default()
    };
    let time = Time::default();
    let instance = backend.open(config, time.clock());
    let log = instance.log();
    let sized = |seq, size| {
        let Record::Event(event) = event(id(1), seq) else {
            unreachable!("it is an event");
        };
        let data = Bytes::from(vec![b'.'; size]);
        Record::Event(Event { data, ..event })
    };
    let mut lease = create(&*log, id(1)).await;
    let refused = log
        .append(id(1), lease, &[sized(1, 101)])
        .await
        .expect_err("too large");
    let is_right = matches!(
        refused,
        LogError::EventTooLarge {
            size: 101,
            limit: 100
        }
    );
    assert!(
        is_right && refused.to_string().contains("limits.event_bytes"),
        "{refused}"
    );
    for seq in 1..=5 {
        lease = append(&*log, id(1), lease, &[sized(seq, 100)]).await;
    }
    let refused = log
        .append(id(1), lease, &[sized(6, 1)])
        .await
        .expect_err("too large");
    assert!(
        refused.to_string().contains("limits.stream_bytes = 500"),
        "{refused}"
    );
    for seq in 6..=10 {
        lease = append(&*log, id(1), lease, &[sized(seq, 0)]).await;
    }
    let refused = log
        .append(id(1), lease, &[sized(11, 0)])
        .await
        .expect_err("too many");
    assert!(
        refused.to_string().contains("limits.stream_events = 10"),
        "{refused}"
    );
    append(&*log, id(1), lease, &[head(), end(time.now())]).await;
}

pub(super) async fn one_appender_wins(backend: &dyn Backend) {
    let (instance, _) = fresh(backend);
    let log = instance.log();
    let mut lease = create(&*log, id(1)).await;
    for round in 1..=20 {
        let (go, _) = tokio::sync::broadcast::channel::<()>(1);
        let tasks: Vec<_> = (0..8)
            .map(|racer| {
                let (log, mut go) = (instance.log(), go.subscribe());
                tokio::spawn(async move {
                    let _ = go.recv().await;
                    let Record::Event(mut event) = event(id(1), round) else {
                        unreachable!("it is an event");
                    };
                    event.data = Bytes::from(format!("racer {racer}"));
                    log.append(id(1), lease, &[Record::Event(event)]).await
                })
            })
            .collect();
        drop(go);
        let mut won = Vec::new();
        for task in tasks {
            match task.await.expect("no panic") {
                Ok(lease) => won.push(lease),
                Err(LogError::NotAtTail { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(won.len(), 1, "{won:?}");
        lease = won[0];
    }
    let page = log.read(id(1), Seq::ZERO, ALL).await.expect("a page");
    assert_eq!(page.events.len(), 20);
}
