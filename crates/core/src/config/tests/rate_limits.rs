use super::*;
use crate::policy::limit::Subject;

#[test]
fn rules_are_read() {
    let config = parse(
        "[[rate_limits]]\nper = \"key\"\nbounds = [\"requests=60/1m\", \"concurrency=5\"]\n\
         [[rate_limits]]\nper = \"model\"\nonly = [\"gpt-*\"]\nbounds = [\"input-tokens=9/1h\"]\n\
         [database]\nshared_limits = false\n[limits]\nassumed_output_tokens = 7",
        &[],
    )
    .unwrap();
    let [first, second] = &config.rate_limits[..] else {
        panic!("{:?}", config.rate_limits)
    };
    assert_eq!((first.per, &first.only), (Subject::Key, &None));
    let bounds: Vec<_> = first.bounds.iter().map(ToString::to_string).collect();
    assert_eq!(bounds, ["requests=60/1m", "concurrency=5"]);
    assert_eq!(second.per, Subject::Model);
    assert_eq!(second.only.as_deref(), Some(&["gpt-*".to_owned()][..]));
    assert_eq!(config.limits.assumed_output_tokens, 7);
    assert!(!config.database.shared_limits && Config::default().database.shared_limits);
}

#[test]
fn mistakes_say_what_is_wrong() {
    for (rule, expected) in [
        ("per = \"key\"", "it limits nothing"),
        ("bounds = [\"requests=1/1s\"]", "per"),
        (
            "per = \"keys\"\nbounds = [\"requests=1/1s\"]",
            "did you mean",
        ),
        (
            "per = \"key\"\nbounds = [\"tokens=1/1s\"]",
            "input-tokens=100000/1h",
        ),
        (
            "per = \"key\"\nbounds = [\"requests=1/1\"]",
            "a duration needs a unit",
        ),
        (
            "per = \"key\"\nonly = []\nbounds = [\"requests=1/1s\"]",
            "the list is empty",
        ),
        (
            "per = \"key\"\nonly = [\"a b\"]\nbounds = [\"requests=1/1s\"]",
            "not a name",
        ),
    ] {
        let found = mistakes(&format!("[[rate_limits]]\n{rule}"), &[]).join("\n");
        assert!(found.contains(expected), "{rule}: {found}");
    }
}
