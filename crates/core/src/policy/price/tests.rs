use proptest::prelude::*;

use super::*;
use crate::event::Usage;

fn money(dollars: &str) -> Money {
    dollars.parse().unwrap()
}

fn price() -> Price {
    Price {
        input: money("2.50"),
        output: money("10"),
        cached: Some(money("0.0375")),
        cache_write: Some(money("3.125")),
        audio_input: Some(money("40")),
        reasoning: None,
        audio_output: Some(money("80")),
        request: money("0.0001"),
    }
}

#[test]
fn a_request_costs_the_sum_of_its_parts() {
    let used = Tokens {
        input: 1_000,
        output: 500,
        cached: 600,
        cache_write: 100,
        audio_input: 50,
        reasoning: 300,
        audio_output: 20,
    };
    // 250 x 2500 + 600 x 37.5 + 100 x 3125 + 50 x 40000 + 480 x 10000 + 20 x 80000, and 100000.
    assert_eq!(price().cost(&used), Money(9_460_000));
    assert_eq!(price().cost(&Tokens::default()), money("0.0001"));
}

#[test]
fn a_part_of_a_nano_dollar_is_rounded_up_once() {
    let price = Price {
        input: Money(1),
        output: Money(1),
        ..Price::default()
    };
    let cost = |input, output| {
        price.cost(&Tokens {
            input,
            output,
            ..Tokens::default()
        })
    };
    assert_eq!(cost(0, 0), Money(0));
    assert_eq!(cost(1, 0), Money(1));
    assert_eq!(cost(400_000, 600_000), Money(1));
    assert_eq!(cost(400_000, 600_001), Money(2));
    assert_eq!(cost(u64::MAX, u64::MAX), Money(36_893_488_147_420));
    let dear = Price {
        input: Money(u64::MAX),
        ..price
    };
    assert_eq!(
        dear.cost(&Tokens {
            input: u64::MAX,
            ..Tokens::default()
        }),
        Money(u64::MAX)
    );
}

#[test]
fn usage_is_what_the_provider_counted() {
    let usage = Usage {
        input_tokens: 10,
        output_tokens: 20,
        cached_tokens: 5,
        cache_write_tokens: 1,
        audio_input_tokens: 2,
        audio_output_tokens: 3,
        reasoning_tokens: 7,
        estimated: false,
    };
    let expected = Tokens {
        input: 10,
        output: 20,
        cached: 5,
        cache_write: 1,
        audio_input: 2,
        reasoning: 7,
        audio_output: 3,
    };
    assert_eq!(Tokens::from(&usage), expected);
}

#[test]
fn parts_beyond_the_total_are_paid_for() {
    let used = Tokens {
        input: 10,
        cached: 1_000_000,
        ..Tokens::default()
    };
    let price = Price {
        request: Money::ZERO,
        ..price()
    };
    assert_eq!(price.cost(&used), money("0.0375"));
}

#[test]
fn the_most_special_price_counts() {
    let price = |dollars: &str| Price {
        input: money(dollars),
        ..Price::default()
    };
    let table = PriceTable::new([
        ("gpt-5".to_owned(), price("1")),
        ("gpt-*".to_owned(), price("2")),
        ("gpt-5-mini*".to_owned(), price("3")),
        ("azure/gpt-5".to_owned(), price("4")),
        ("local/*".to_owned(), price("0")),
        ("meta/llama".to_owned(), price("5")),
    ]);
    let found = |upstream, model| table.price(upstream, model).map(|price| price.input);
    assert_eq!(found("openai", "gpt-5"), Some(money("1")));
    assert_eq!(found("openai", "gpt-4o"), Some(money("2")));
    assert_eq!(found("openai", "gpt-5-mini-2026"), Some(money("3")));
    assert_eq!(found("azure", "gpt-5"), Some(money("4")));
    assert_eq!(found("local", "gpt-5"), Some(money("0")));
    assert_eq!(found("local", "é"), Some(money("0")));
    assert_eq!(found("hub", "meta/llama"), Some(money("5")));
    assert_eq!(found("openai", "claude"), None);
    assert_eq!(found("gp", "t-5"), None);
    let all = PriceTable::new([("*".to_owned(), price("9"))]);
    assert_eq!(
        all.price("any", "ünï").map(|price| price.input),
        Some(money("9"))
    );
}

fn any_price() -> impl Strategy<Value = Price> {
    let dear = || proptest::option::of((0u64..100_000_000_000).prop_map(Money));
    let given = || (0u64..100_000_000_000).prop_map(Money);
    (
        given(),
        given(),
        dear(),
        dear(),
        dear(),
        dear(),
        dear(),
        given(),
    )
        .prop_map(
            |(
                input,
                output,
                cached,
                cache_write,
                audio_input,
                reasoning,
                audio_output,
                request,
            )| Price {
                input,
                output,
                cached,
                cache_write,
                audio_input,
                reasoning,
                audio_output,
                request,
            },
        )
}

proptest! {
    /// However the tokens fall on the parts, the reserve is enough.
    #[test]
    fn the_worst_case_is_the_worst(
        price in any_price(),
        parts in proptest::collection::vec(0u64..200_000, 7),
        sound: bool,
    ) {
        let audio = |tokens| if sound { tokens } else { 0 };
        let (cached, cache_write, audio_input) = (parts[0], parts[1], audio(parts[2]));
        let (reasoning, audio_output) = (parts[3], audio(parts[4]));
        let used = Tokens {
            input: cached + cache_write + audio_input + parts[5],
            output: reasoning + audio_output + parts[6],
            cached,
            cache_write,
            audio_input,
            reasoning,
            audio_output,
        };
        let estimate = Estimate { input: used.input, output: used.output, audio: sound };
        prop_assert!(price.cost(&used) <= price.worst_case(&estimate));
    }
}
