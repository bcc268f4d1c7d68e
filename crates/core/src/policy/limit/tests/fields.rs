use super::super::fields::*;
use super::super::rate::Standing;
use super::*;

fn shown(metric: Metric, units: u64, remaining: u64, reset: u64) -> Shown {
    Shown {
        limit: Limit {
            subject: Subject::Key,
            metric,
            quota: quota(units, 60),
        },
        standing: Standing {
            remaining,
            reset: Duration::from_millis(reset),
        },
    }
}

#[test]
fn the_drafts_fields() {
    let shown = [
        shown(Metric::Requests, 100, 50, 29_001),
        shown(Metric::InputTokens, 9_000, 0, 60_000),
    ];
    assert_eq!(
        policy(&shown),
        "\"key-requests-60s\";q=100;w=60, \"key-input-tokens-60s\";q=9000;qu=\"tokens\";w=60"
    );
    assert_eq!(
        standing(&shown),
        "\"key-requests-60s\";r=50;t=30, \"key-input-tokens-60s\";r=0;t=60"
    );
    for value in [policy(&shown), standing(&shown)] {
        let list: sfv::List = sfv::Parser::new(&value).parse().unwrap();
        let again = list
            .iter()
            .fold(sfv::ListSerializer::new(), |mut serializer, member| {
                serializer.members([member]);
                serializer
            });
        let again = again.finish().unwrap();
        assert_eq!(again, value);
    }
    assert_eq!(policy(&[]), "");
}

#[test]
fn openais_fields_show_the_tightest() {
    let shown = [
        shown(Metric::Requests, 100, 50, 1_000),
        shown(Metric::Requests, 1_000, 40, 360_000),
        shown(Metric::InputTokens, 9_000, 8_000, 90_951),
        shown(Metric::OutputTokens, 3_000, 2_500, 17),
    ];
    let fields = openai(&shown);
    let field = |name| {
        fields
            .iter()
            .find(|(field, _)| *field == name)
            .unwrap()
            .1
            .as_str()
    };
    assert_eq!(fields.len(), 6);
    assert_eq!(field("x-ratelimit-limit-requests"), "1000");
    assert_eq!(field("x-ratelimit-remaining-requests"), "40");
    assert_eq!(field("x-ratelimit-reset-requests"), "6m0s");
    assert_eq!(field("x-ratelimit-limit-tokens"), "3000");
    assert_eq!(field("x-ratelimit-remaining-tokens"), "2500");
    assert_eq!(field("x-ratelimit-reset-tokens"), "17ms");
    assert_eq!(openai(&[]), []);
}

#[test]
fn resets_are_written_as_openai_does() {
    for (millis, text) in [
        (0, "0ms"),
        (12, "12ms"),
        (1_000, "1s"),
        (1_500, "1.5s"),
        (8_640, "8.64s"),
        (60_000, "1m0s"),
        (90_951, "1m30.951s"),
        (3_600_000, "1h0m0s"),
        (86_461_001, "24h1m1.001s"),
    ] {
        let fields = openai(&[shown(Metric::Requests, 1, 0, millis)]);
        assert_eq!(fields[2].1, text);
    }
}

#[test]
fn seconds_are_rounded_up() {
    let rounded = |millis| seconds(Duration::from_millis(millis));
    assert_eq!([0, 1, 999, 1_000, 1_001].map(rounded), [0, 1, 1, 1, 2]);
}
