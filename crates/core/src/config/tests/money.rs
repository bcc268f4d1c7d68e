use super::*;
use crate::money::Money;

const UPSTREAMS: &str = "[[upstreams]]\nname = \"one\"\nbase_url = \"http://localhost:1/v1\"\n\
    [[upstreams]]\nname = \"two\"\nbase_url = \"http://localhost:2/v1\"\n";

#[test]
fn prices_are_dollars_and_the_special_one_counts() {
    let config = parse(
        &format!(
            "{UPSTREAMS}[[prices]]\nmodel = \"gpt-*\"\ninput = \"2.50\"\noutput = \"10\"\n\
             cached = \"0.0375\"\nrequest = \"0.001\"\n\
             [[prices]]\nmodel = \"gpt-5\"\nupstream = \"two\"\ninput = \"3\"\n\
             [budgets]\nunpriced = \"refuse\"\nhard_stop = true\npassed_through = \"0.5\"\n"
        ),
        &[],
    );
    let config = config.unwrap();
    let table = config.price_table();
    let price = table.price("one", "gpt-5").unwrap();
    assert_eq!(price.input, Money(2_500_000_000));
    assert_eq!(price.cached, Some(Money(37_500_000)));
    assert_eq!(price.request, Money(1_000_000));
    assert_eq!(price.reasoning, None);
    let price = table.price("two", "gpt-5").unwrap();
    assert_eq!(
        (price.input, price.output),
        (Money(3_000_000_000), Money::ZERO)
    );
    assert_eq!(table.price("one", "llama"), None);
    let budgets = &config.budgets;
    assert!(budgets.hard_stop && budgets.unpriced == Otherwise::Refuse);
    assert_eq!(budgets.when_unavailable, Otherwise::Allow);
    assert_eq!(budgets.passed_through, Money(500_000_000));
}

#[test]
fn prices_for_nothing_and_of_odd_amounts_are_refused() {
    for (text, says) in [
        (
            "[[prices]]\nmodel = \"m\"\ninput = \"2,5\"",
            "prices[0].input",
        ),
        ("[[prices]]\nmodel = \"m\"\ninput = \"-1\"", "in dollars"),
        (
            "[[prices]]\nmodel = \"m\"\nupstream = \"tow\"",
            "did you mean `two`",
        ),
        (
            "[[prices]]\nmodel = \"m\"\n[[prices]]\nmodel = \"m\"",
            "has a price already",
        ),
        (
            "[[prices]]\nmodel = \"m\"\nupstream = \"one\"\n[[routes]]\nmodel = \"m\"\n\
             strategy = \"cheapest\"\n[[routes.deployments]]\nupstream = \"one\"\n\
             [[routes.deployments]]\nupstream = \"two\"",
            "this has no price",
        ),
    ] {
        let found = mistakes(&format!("{UPSTREAMS}{text}"), &[]);
        assert!(
            found.len() == 1 && found[0].contains(says),
            "{text}: {found:?}"
        );
    }
}
