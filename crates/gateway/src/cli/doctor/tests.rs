use everstream_core::limits::HEARTBEAT;
use proptest::prelude::*;

use super::checks::{of_head, of_resume, of_wire};
use super::timing::{Timing, judge};
use super::*;

const CREATED: u64 = 1_700_000_000_000;

/// Events that are written every `pause` ms, the first after `wait`, and arrive at the time that
/// `path` makes of it.
fn run(events: u64, wait: u64, pause: u64, path: impl Fn(u64) -> u64) -> Timing {
    let moment = |n: u64| {
        let written = wait + n * pause;
        Moment {
            arrived: Duration::from_millis(path(written)),
            logged: Duration::from_millis(CREATED + written),
        }
    };
    let moments: Vec<Moment> = (0..events).map(moment).collect();
    judge(CREATED, &moments)
}

#[test]
fn an_even_stream_streams_at_any_pace() {
    for pause in [1, 5, 20, 100, 2000] {
        let timing = run(100, 300, pause, |written| written + 80);
        assert!(
            matches!(timing, Timing::Streams { .. }),
            "{pause}: {timing:?}"
        );
        // A network that jitters by some milliseconds, and hiccups once.
        let timing = run(100, 300, pause, |written| {
            let stuck = if (500..550).contains(&written) {
                550
            } else {
                written
            };
            stuck + 80 + written * 7 % 4
        });
        assert!(
            matches!(timing, Timing::Streams { .. }),
            "{pause}: {timing:?}"
        );
    }
}

#[test]
fn what_is_gathered_on_the_way_is_found() {
    for (events, pause, hold) in [
        (100, 20, 200),
        (100, 20, 5000),
        (60, 10, 45),
        (20, 300, 2000),
    ] {
        let timing = run(events, 300, pause, |written| (written / hold + 1) * hold);
        assert!(
            matches!(timing, Timing::HeldBack { .. }),
            "{hold}: {timing:?}"
        );
    }
    let timing = run(33, 100, 20, |_| 10_000);
    let over = Duration::from_millis(640);
    assert_eq!(timing, Timing::HeldBack { lump: 33, over });
    let told = timing.check();
    assert_eq!(told.outcome, Outcome::Bad);
    assert!(
        told.text
            .starts_with("33 events that the gateway wrote over 640ms arrived in one")
    );
}

#[test]
fn lumps_of_the_providers_are_told_from_lumps_on_the_way() {
    let lumps = |n: u64| 300 + n / 20 * 400;
    let moments = (0..60).map(|n| Moment {
        arrived: Duration::from_millis(lumps(n) + 5),
        logged: Duration::from_millis(CREATED + lumps(n)),
    });
    let first = Duration::from_millis(300);
    let (events, pieces) = (60, 3);
    let expected = Timing::ProviderLumps {
        events,
        pieces,
        first,
    };
    assert_eq!(judge(CREATED, &moments.collect::<Vec<_>>()), expected);
    let whole = run(60, 3000, 0, |written| written);
    assert!(
        matches!(whole, Timing::ProviderLumps { pieces: 1, .. }),
        "{whole:?}"
    );
    assert!(
        expected
            .check()
            .text
            .contains("between the gateway and the model")
    );
}

#[test]
fn what_shows_nothing_is_not_called_good() {
    for timing in [run(5, 10, 100, |w| w), run(60, 10, 0, |w| w), judge(0, &[])] {
        assert!(matches!(timing, Timing::Unclear { .. }), "{timing:?}");
        assert_eq!(timing.check().outcome, Outcome::Bad);
    }
}

proptest! {
    #[test]
    fn any_times_are_judged(times in prop::collection::vec((any::<u32>(), any::<u32>()), 0..40)) {
        let moment = |(arrived, logged): (u32, u32)| Moment {
            arrived: Duration::from_millis(arrived.into()),
            logged: Duration::from_millis(logged.into()),
        };
        let moments: Vec<Moment> = times.into_iter().map(moment).collect();
        let _ = judge(7, &moments).check();
    }

    #[test]
    fn events_are_the_same_however_they_are_cut(size in 1usize..40) {
        let body = "retry: 500\ndata: a\nid: s.1\n\n: ping\r\ndata: b\r\ndata:c\r\nid: s.2\r\n\r\ndata: no";
        let mut wire = Wire::default();
        for (n, part) in (0..).zip(body.as_bytes().chunks(size)) {
            wire.push(Duration::from_millis(n), part);
        }
        let data: Vec<&str> = wire.events.iter().map(|event| event.data.as_str()).collect();
        prop_assert_eq!(data, ["a", "b\nc"]);
        prop_assert_eq!(wire.comments, 1);
        prop_assert_eq!(wire.events[1].id.as_deref(), Some("s.2"));
    }
}

fn head(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let whole = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("transfer-encoding", "chunked"),
        ("everstream-stream-id", "s"),
    ];
    let kept = whole
        .iter()
        .filter(|(name, _)| changes.iter().all(|(n, _)| n != name));
    let changed = changes.iter().filter(|(_, value)| !value.is_empty());
    let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    kept.chain(changed).map(own).collect()
}

#[test]
fn headers_that_proxies_disturb_are_seen() {
    assert_eq!(of_head(&head(&[]))[0].outcome, Outcome::Good);
    for (change, outcome, said) in [
        (
            ("content-type", "text/event-stream; charset=utf-8"),
            Outcome::Good,
            "not compressed",
        ),
        (("content-type", "text/plain"), Outcome::Bad, "text/plain"),
        (("content-encoding", "gzip"), Outcome::Bad, "compress"),
        (("content-length", "812"), Outcome::Bad, "812"),
        (("transfer-encoding", ""), Outcome::Odd, "HTTP/1.0"),
        (("cache-control", "no-cache"), Outcome::Odd, "no-transform"),
        (("x-accel-buffering", ""), Outcome::Odd, "nginx"),
        (("everstream-stream-id", ""), Outcome::Bad, "come back"),
    ] {
        let found = of_head(&head(&[change]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].outcome, outcome, "{change:?}");
        assert!(found[0].text.contains(said), "{}", found[0].text);
    }
    let proxied = of_head(&head(&[("server", "nginx\u{1b}"), ("via", "1.1 x")]));
    assert_eq!(
        proxied[1].text,
        "signs of server: nginx\u{fffd}, via: 1.1 x"
    );
}

/// What is found in a body that comes at these times.
fn found(pieces: &[(u64, &str)]) -> Vec<(&'static str, Outcome)> {
    let mut wire = Wire::default();
    for (seconds, piece) in pieces {
        wire.push(Duration::from_secs(*seconds), piece.as_bytes());
    }
    let found = of_wire(&wire, Some("s"));
    found
        .iter()
        .map(|check| (check.about, check.outcome))
        .collect()
}

#[test]
fn ids_retry_heartbeats_and_the_end_are_looked_at() {
    let (first, done) = (
        "retry: 9\ndata: a\nid: s.1\n\n",
        "data: [DONE]\nid: s.2\n\n",
    );
    let all = |ids, retry, heartbeat, end| {
        vec![
            ("ids", ids),
            ("retry", retry),
            ("heartbeat", heartbeat),
            ("end", end),
        ]
    };
    let (good, odd, bad) = (Outcome::Good, Outcome::Odd, Outcome::Bad);
    assert_eq!(found(&[(1, first), (2, done)]), all(good, good, good, good));
    assert_eq!(
        found(&[(1, first), (15, ": ping\n"), (29, done)]),
        all(good, good, good, good)
    );
    let late = HEARTBEAT.as_secs() + 3;
    assert_eq!(
        found(&[(1, first), (late, done)]),
        all(good, good, odd, good)
    );
    assert_eq!(
        found(&[(61, first), (62, done)]),
        all(good, good, bad, good)
    );
    assert_eq!(found(&[(1, first)]), all(good, good, good, bad));
    let lost = "data: [DONE]\nid: s.3\n\n";
    assert_eq!(found(&[(1, first), (2, lost)]), all(bad, good, good, good));
    let bare = "data: a\n\ndata: [DONE]\n\n";
    assert_eq!(found(&[(1, bare)]), all(bad, bad, good, good));
    let other = first.replace("s.1", "t.1");
    assert_eq!(found(&[(1, &other), (2, done)])[0], ("ids", bad));
}

#[test]
fn a_resumed_answer_has_to_be_the_rest() {
    let mut wire = Wire::default();
    let body = (1..=4).map(|n| format!("data: {n}\nid: s.{n}\n\n"));
    let body = body.collect::<Vec<_>>().concat();
    wire.push(Duration::ZERO, body.as_bytes());
    let events = wire.events;
    assert_eq!(of_resume(2, &events, &events[2..]).outcome, Outcome::Good);
    for wrong in [&events[1..], &events[3..], &events[..2]] {
        assert_eq!(of_resume(2, &events, wrong).outcome, Outcome::Bad);
    }
}
