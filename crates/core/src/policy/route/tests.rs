use super::*;
use proptest::prelude::*;

fn models(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn aliases(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter().map(|&(a, b)| (a.to_owned(), b.to_owned()));
    pairs.collect()
}

fn known<'a>(name: &'a str, models: &'a [String]) -> Candidate<'a> {
    Candidate {
        name,
        models: Some(models),
        native: true,
    }
}

fn unknown(name: &str) -> Candidate<'_> {
    Candidate {
        name,
        models: None,
        native: true,
    }
}

fn choice(upstream: usize, model: &str) -> Choice<'_> {
    Choice { upstream, model }
}

#[test]
fn each_rule_beats_the_later_ones() {
    let (a, b) = (models(&["x", "shared"]), models(&["shared", "a/x", "z"]));
    let upstreams = [known("a", &a), known("b", &b), unknown("c")];
    let aliases = aliases(&[("z", "b/other"), ("loop", "loop"), ("chain", "z")]);
    let route = |model| route(model, &aliases, &upstreams);
    assert_eq!(
        route("z"),
        Ok(choice(1, "other")),
        "an alias beats a listed name"
    );
    assert_eq!(
        route("a/x"),
        Ok(choice(0, "x")),
        "a prefix beats a listed name"
    );
    assert_eq!(
        route("shared"),
        Ok(choice(0, "shared")),
        "the first in order"
    );
    assert_eq!(
        route("b/q/r"),
        Ok(choice(1, "q/r")),
        "a model may have slashes"
    );
    assert_eq!(route("new"), Ok(choice(2, "new")), "the only unknown list");
    assert_eq!(
        route("loop"),
        Ok(choice(2, "loop")),
        "an alias of itself ends"
    );
    assert_eq!(
        route("chain"),
        Ok(choice(1, "z")),
        "an alias is not followed twice"
    );
    assert_eq!(
        route("a/"),
        Ok(choice(2, "a/")),
        "an empty model is no prefix"
    );
}

#[test]
fn a_single_upstream_gets_every_name() {
    let list = models(&["x"]);
    assert_eq!(
        route("y", &BTreeMap::new(), &[known("a", &list)]),
        Ok(choice(0, "y"))
    );
}

#[test]
fn two_unknown_lists_decide_nothing_and_are_named() {
    let list = models(&["llama-3.3-70b"]);
    let upstreams = [unknown("a"), known("b", &list), unknown("c")];
    let error = route("llama3.3-70b", &BTreeMap::new(), &upstreams).expect_err("no rule applies");
    assert_eq!(error.nearest, ["llama-3.3-70b"]);
    assert_eq!(error.unlisted, ["a", "c"]);
}

#[test]
fn the_nearest_names_are_few_alike_and_different() {
    let a = models(&["gpt-4o", "gpt-4o-mini", "text-embedding-3-small"]);
    let b = models(&["openai/gpt-4o", "gpt-4o", "whisper-1"]);
    let upstreams = [known("a", &a), known("b", &b)];
    let aliases = aliases(&[("gpt-fast", "gpt-4o-mini")]);
    let error = route("GPT-4", &aliases, &upstreams).expect_err("not there");
    assert_eq!(error.nearest, ["gpt-4o", "openai/gpt-4o", "gpt-4o-mini"]);
    assert!(route(&"g".repeat(1 << 20), &aliases, &upstreams).is_err());
}

#[test]
fn without_upstreams_nothing_is_found() {
    assert!(route("x", &BTreeMap::new(), &[]).is_err());
}

proptest! {
    #[test]
    fn a_listed_name_without_a_slash_goes_to_the_first_that_lists_it(
        lists in prop::collection::vec(
            prop::option::of(prop::collection::vec("[a-c]{1,2}", 0..4)), 1..5),
        model in "[a-c]{1,2}",
    ) {
        let names: Vec<String> = (0..lists.len()).map(|n| format!("u{n}")).collect();
        let upstreams: Vec<_> = names.iter().zip(&lists)
            .map(|(name, models)| Candidate { name, models: models.as_deref(), native: true })
            .collect();
        let first = lists.iter().position(|l| l.as_ref().is_some_and(|l| l.contains(&model)));
        let unlisted = lists.iter().filter(|list| list.is_none()).count();
        let aliases = BTreeMap::new();
        match (route(&model, &aliases, &upstreams), first) {
            (Ok(choice), Some(first)) => prop_assert_eq!(choice.upstream, first),
            (Ok(choice), None) => prop_assert!(
                lists.len() == 1 || (unlisted == 1 && lists[choice.upstream].is_none())),
            (Err(error), first) => {
                prop_assert!(first.is_none() && lists.len() > 1 && unlisted != 1);
                prop_assert_eq!(error.unlisted.len(), unlisted);
            }
        }
    }

    #[test]
    fn a_prefix_always_decides(model in "\\PC{1,12}") {
        let list = Vec::new();
        let upstreams = [unknown("a"), known("b", &list), unknown("c")];
        let (name, aliases) = (format!("b/{model}"), BTreeMap::new());
        prop_assert_eq!(route(&name, &aliases, &upstreams), Ok(choice(1, &model)));
    }
}

#[test]
fn a_name_that_nobody_claims_goes_to_the_requests_own_dialect() {
    let (a, b) = (models(&["gpt"]), models(&["claude"]));
    let foreign = |candidate| Candidate {
        native: false,
        ..candidate
    };
    let none = BTreeMap::new();
    let upstreams = [foreign(known("a", &a)), known("b", &b)];
    assert_eq!(
        route("claude-new", &none, &upstreams),
        Ok(choice(1, "claude-new"))
    );
    assert_eq!(route("gpt", &none, &upstreams), Ok(choice(0, "gpt")));
    let upstreams = [foreign(unknown("a")), known("b", &b), unknown("c")];
    assert_eq!(route("new", &none, &upstreams), Ok(choice(2, "new")));
}
