use serde_json::json;

use super::*;

#[test]
fn a_name_says_how_a_bench_model_answers() {
    let bench = |tokens, millis, per_write| {
        let interval = Duration::from_millis(millis);
        Some(Bench {
            tokens,
            interval,
            per_write,
        })
    };
    assert_eq!(Bench::of("bench-5-400"), bench(5, 400, 1));
    assert_eq!(Bench::of("bench-5000-0-x8"), bench(5000, 0, 8));
    for model in [
        "bench",
        "bench-5",
        "bench-5-0-8",
        "bench-5-0-x0",
        "bench-5-0-x8-1",
        "fake-5-0",
    ] {
        assert_eq!(Bench::of(model), None, "{model}");
    }
}

#[test]
fn a_stamp_reads_as_it_was_written() {
    let stamp = Stamp {
        stream: 0xdead_beef,
        number: 17,
        nanos: u64::MAX - 1,
    };
    assert_eq!(stamp.text(), "deadbeef.00000011.fffffffffffffffe ");
    assert_eq!(
        Stamp::read(format!("{}tail", stamp.text()).as_bytes()),
        Some(stamp)
    );
    for broken in [
        "",
        "deadbeef.00000011.fffffffffffffff",
        "deadbeef,00000011.fffffffffffffffe ",
    ] {
        assert_eq!(Stamp::read(broken.as_bytes()), None, "{broken}");
    }
}

#[test]
fn pauses_stay_within_a_quarter_of_the_interval() {
    let bench = Bench::of("bench-9-400").unwrap();
    let pauses: Vec<_> = (0..1000).map(|n| bench.pause(7, n).as_millis()).collect();
    assert!(pauses.iter().all(|pause| (300..=500).contains(pause)));
    let mean = pauses.iter().sum::<u128>() / 1000;
    assert!((390..=410).contains(&mean), "{mean}");
}

#[test]
fn tokens_are_stamped_while_they_are_written() {
    let asked = json!({"model": "bench-3-0", "user": "0000002a", "stream": true});
    let script = Bench::of("bench-3-0")
        .unwrap()
        .answer(&asked, Kind::Chat, 1, &Arc::default());
    let before = now_nanos();
    let stamps: Vec<Stamp> = script
        .steps
        .filter_map(|step| match step {
            Step::Event(block) => {
                let at = memchr::memmem::find(&block, b"\"content\":\"")? + 11;
                Stamp::read(&block[at..])
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        stamps.iter().map(|s| s.number).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(stamps.iter().all(|s| s.stream == 0x2a && s.nanos >= before));
}

#[test]
fn a_write_waits_until_what_was_written_before_has_arrived() {
    let flights = Flights::new(2);
    let needed: Vec<u64> = (0..6).map(|n| flights.before(n, 1)).collect();
    assert_eq!(needed, [0, 0, 1, 2, 3, 4]);
    let needed = [0, 8, 16, 24].map(|n| flights.before(n, 8));
    assert_eq!(needed, [0, 0, 8, 16]);
    assert!(Flights::new(0).of(1).is_none());
}
