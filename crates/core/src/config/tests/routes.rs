use super::*;
use crate::policy::hedge::HedgeAfter;
use crate::policy::recovery::OnCut;
use crate::policy::select::Strategy;

const UPSTREAMS: &str = "[[upstreams]]\nname = \"one\"\nbase_url = \"http://localhost:1/v1\"\n\
    [[upstreams]]\nname = \"two\"\nbase_url = \"http://localhost:2/v1\"\nprovider = \"vllm\"\n";

fn routes(text: &str) -> Result<Vec<RouteConfig>, String> {
    let config = parse(&format!("{UPSTREAMS}{text}"), &[]);
    config
        .map(|config| config.routes)
        .map_err(|e| e.to_string())
}

#[test]
fn a_route_has_deployments_and_good_defaults() {
    let routes = routes(
        r#"
[[routes]]
model = "m"
[[routes.deployments]]
upstream = "one"
[[routes.deployments]]
upstream = "two"
model = "other"
priority = 1
weight = 3
context_window = 128000

[[routes]]
model = "n"
strategy = "sticky"
attempts = 2
idempotent = true
hedge_after = "p95"
on_cut = "recover"
[[routes.deployments]]
upstream = "two"
continues = true
deterministic = true
"#,
    )
    .unwrap();
    let [first, second] = &routes[..] else {
        panic!("{routes:?}")
    };
    assert_eq!(
        (first.strategy, first.attempts, first.idempotent),
        (Strategy::Priority, 4, false)
    );
    assert_eq!(
        (first.hedge_after, second.hedge_after),
        (None, Some(HedgeAfter::Percentile(95)))
    );
    let [one, two] = &first.deployments[..] else {
        panic!("{first:?}")
    };
    assert_eq!((one.model.as_deref(), one.weight), (None, 1));
    assert_eq!((two.model.as_deref(), two.weight), (Some("other"), 3));
    assert_eq!(two.priority, 1);
    assert_eq!(
        (one.context_window, two.context_window),
        (None, Some(128_000))
    );
    assert_eq!(
        (second.strategy, second.attempts, second.idempotent),
        (Strategy::Sticky, 2, true)
    );
    assert_eq!((first.on_cut, second.on_cut), (OnCut::Fail, OnCut::Recover));
    let able = |at: &DeploymentConfig| (at.continues, at.deterministic);
    assert_eq!(able(&first.deployments[0]), (false, false));
    assert_eq!(able(&second.deployments[0]), (true, true));
}

#[test]
fn a_route_that_leads_nowhere_is_refused_with_its_line() {
    let at = UPSTREAMS.lines().count() + 1;
    for (text, line, says) in [
        ("[[routes]]\nmodel = \"m\"", at, "the route leads nowhere"),
        (
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"tow\"",
            at + 3,
            "did you mean `two`",
        ),
        (
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\n\
             [[routes.deployments]]\nupstream = \"one\"\nmodel = \"m\"",
            at + 4,
            "are on the route already",
        ),
        (
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\n\
             [[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"",
            at + 5,
            "the same as at",
        ),
        (
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\n\
             [aliases]\nm = \"two/x\"",
            at + 1,
            "an alias of the same name",
        ),
        (
            "[[routes]]\nmodel = \"m\"\nstrategy = \"randomly\"",
            at + 2,
            "no such choice",
        ),
        (
            "[[routes]]\nmodel = \"m\"\nhedge_after = \"p100\"",
            at + 2,
            "a percentile from `p50` to `p99`",
        ),
        (
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\nshadow = 5",
            at,
            "the route leads nowhere",
        ),
        (
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\ncanary = 60\n\
             [[routes.deployments]]\nupstream = \"two\"\ncanary = 41",
            at + 7,
            "more than 100 percent",
        ),
        (
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\n\
             [[routes.deployments]]\nupstream = \"two\"\ncanary = 1\nshadow = 1",
            at + 6,
            "it is a `shadow`, too",
        ),
        (
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\nweigth = 1",
            at + 4,
            "did you mean `weight`",
        ),
    ] {
        let mistakes = routes(text).unwrap_err();
        assert!(mistakes.contains(says), "{text}: {mistakes}");
        assert!(
            mistakes.contains(&format!(":{line}:")),
            "{text}: {mistakes}"
        );
    }
}

#[test]
fn who_has_no_words_for_a_beginning_does_not_continue() {
    const CLAUDE: &str = "[[upstreams]]\nname = \"claude\"\nprovider = \"anthropic\"\n";
    let marked = |upstream: &str, model: &str| {
        let route = format!(
            "{CLAUDE}[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"{upstream}\"\n\
             model = \"{model}\"\ncontinues = true"
        );
        routes(&route)
    };
    for (upstream, model) in [("two", "m"), ("claude", "claude-sonnet-4-5")] {
        assert!(marked(upstream, model).is_ok(), "{upstream} {model}");
    }
    let line = UPSTREAMS.lines().count() + CLAUDE.lines().count() + 6;
    for (upstream, model) in [("one", "m"), ("claude", "claude-opus-4-6")] {
        let mistakes = marked(upstream, model).unwrap_err();
        assert!(mistakes.contains(&format!(":{line}:")), "{mistakes}");
        assert!(mistakes.contains("no words to go on"), "{mistakes}");
    }
}
