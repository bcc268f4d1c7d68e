use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::*;

fn deployment(name: &str) -> Deployment<'_> {
    Deployment {
        name,
        priority: 0,
        weight: 1,
        price: 0,
        in_flight: 0,
        latency_micros: 0,
        share: 1_000,
        unavailable: false,
        trial: Trial::None,
    }
}

const ALL: [Strategy; 6] = [
    Strategy::Priority,
    Strategy::Weighted,
    Strategy::LeastBusy,
    Strategy::Latency,
    Strategy::Cheapest,
    Strategy::Sticky,
];

/// How often each comes first.
fn firsts(strategy: Strategy, deployments: &[Deployment<'_>]) -> Vec<u32> {
    let mut firsts = vec![0; deployments.len()];
    for seed in 0..10_000 {
        firsts[order(strategy, deployments, seed, seed * 7)[0]] += 1;
    }
    firsts
}

#[test]
fn the_order_of_the_configuration() {
    let deployments = ["a", "b", "c"].map(deployment);
    assert_eq!(firsts(Strategy::Priority, &deployments), [10_000, 0, 0]);
    assert_eq!(order(Strategy::Priority, &deployments, 1, 2), [0, 1, 2]);
}

#[test]
fn priority_stands_above_every_strategy() {
    for strategy in ALL {
        let mut deployments = ["a", "b", "c"].map(deployment);
        deployments[0].priority = 2;
        deployments[1].priority = 1;
        for seed in 0..100 {
            assert_eq!(order(strategy, &deployments, seed, seed), [2, 1, 0]);
        }
    }
}

#[test]
fn weights_are_shares() {
    let mut deployments = ["a", "b", "c"].map(deployment);
    deployments[0].weight = 7;
    deployments[1].weight = 2;
    for strategy in [Strategy::Weighted, Strategy::Sticky] {
        let firsts = firsts(strategy, &deployments);
        for (first, expected) in firsts.iter().zip([7_000, 2_000, 1_000]) {
            assert!(first.abs_diff(expected) < 250, "{strategy:?}: {firsts:?}");
        }
    }
}

#[test]
fn a_weight_of_zero_is_the_last_resort() {
    for strategy in ALL {
        let mut deployments = ["a", "b"].map(deployment);
        deployments[0].weight = 0;
        for seed in 0..100 {
            assert_eq!(order(strategy, &deployments, seed, seed), [1, 0]);
        }
    }
}

#[test]
fn the_least_busy_for_its_weight() {
    let mut deployments = ["a", "b", "c"].map(deployment);
    deployments[0].in_flight = 5;
    deployments[1].in_flight = 9;
    deployments[1].weight = 10;
    deployments[2].in_flight = 2;
    assert_eq!(order(Strategy::LeastBusy, &deployments, 0, 0), [1, 2, 0]);
}

#[test]
fn the_quickest_of_two_spares_the_slowest_without_crowding_the_best() {
    let mut deployments = ["a", "b", "c", "d"].map(deployment);
    for (deployment, millis) in deployments.iter_mut().zip([100, 200, 300, 4_000]) {
        deployment.latency_micros = millis * 1_000;
    }
    let firsts = firsts(Strategy::Latency, &deployments);
    assert!(firsts[0].abs_diff(5_000) < 250, "{firsts:?}");
    assert!(firsts[1] > 3_000 && firsts[3] == 0, "{firsts:?}");
}

#[test]
fn the_cheapest() {
    let mut deployments = ["a", "b", "c"].map(deployment);
    for (deployment, price) in deployments.iter_mut().zip([3, 1, 2]) {
        deployment.price = price;
    }
    assert_eq!(order(Strategy::Cheapest, &deployments, 0, 0), [1, 2, 0]);
}

#[test]
fn sticky_requests_move_only_from_what_is_gone() {
    let deployments = ["a", "b", "c", "d"].map(deployment);
    let fewer = ["a", "b", "d"].map(deployment);
    for key in 0..1_000 {
        let before = order(Strategy::Sticky, &deployments, key, key * 3);
        assert_eq!(
            before,
            order(Strategy::Sticky, &deployments, key, key * 5 + 1)
        );
        let after = order(Strategy::Sticky, &fewer, key, 9);
        let names = |deployments: &[Deployment<'_>], order: Vec<usize>| {
            let names = order.into_iter().map(|at| deployments[at].name.to_owned());
            names.filter(|name| name != "c").collect::<Vec<_>>()
        };
        assert_eq!(names(&deployments, before), names(&fewer, after));
    }
}

#[test]
fn one_that_came_back_gets_its_share() {
    for strategy in ALL {
        let mut deployments = ["a", "b"].map(deployment);
        deployments[0].price = 1;
        deployments[0].share = 100;
        deployments[1].in_flight = 3;
        let firsts = firsts(strategy, &deployments);
        assert!(firsts[0] < 1_200, "{strategy:?}: {firsts:?}");
    }
}

proptest! {
    #[test]
    fn nobody_is_left_out_and_who_cannot_comes_last(
        rows in proptest::collection::vec((0..3u32, 0..4u32, any::<bool>(), 0..=1_000u32, 0..9u32), 0..9),
        strategy in 0..6usize,
        key: u64,
        seed: u64,
    ) {
        let names: Vec<String> = (0..rows.len()).map(|at| at.to_string()).collect();
        let deployments: Vec<_> = rows.iter().zip(&names).map(|(row, name)| Deployment {
            priority: row.0,
            weight: row.1,
            unavailable: row.2,
            share: row.3,
            in_flight: row.4,
            ..deployment(name)
        }).collect();
        let order = order(ALL[strategy], &deployments, key, seed);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..rows.len()).collect::<Vec<_>>());
        let rank = |at: &usize| (deployments[*at].unavailable, deployments[*at].priority);
        prop_assert!(order.windows(2).all(|pair| rank(&pair[0]) <= rank(&pair[1])));
    }
}

#[test]
fn who_is_on_trial_comes_first_or_after_all_others() {
    for strategy in ALL {
        let mut deployments = ["a", "b", "c", "d"].map(deployment);
        deployments[1].priority = 9;
        deployments[1].trial = Trial::Drawn;
        deployments[0].trial = Trial::PassedOver;
        deployments[3].weight = 0;
        for seed in 0..100 {
            assert_eq!(order(strategy, &deployments, seed, seed), [1, 2, 3, 0]);
        }
        deployments[1].unavailable = true;
        assert_eq!(order(strategy, &deployments, 1, 1), [2, 3, 0, 1]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn shares_are_kept_and_a_session_stays_where_it_is(
        one in 0..=60_u32,
        two in 0..=40_u32,
        grown in 0..=40_u32,
        salt: u64,
    ) {
        let mut counts = [0_u32; 3];
        for request in 0..5_000 {
            let session = salt.wrapping_add(request);
            let place = draw("m", [one, two], Some(session), request);
            prop_assert_eq!(place, draw("m", [one, two], Some(session), request * 31 + 7));
            prop_assert_eq!(place, draw("m", [one, two], None, session));
            counts[place.unwrap_or(2)] += 1;
            if place == Some(0) {
                prop_assert_eq!(draw("m", [one + grown], Some(session), 0), Some(0));
            }
        }
        for (count, share) in counts.iter().zip([one, two, 100 - one - two]) {
            prop_assert!(count.abs_diff(share * 50) < 200, "{counts:?}");
        }
    }
}
