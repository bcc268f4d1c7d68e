use proptest::prelude::*;

use super::super::rate::*;
use super::*;
use crate::id::UnixMillis;

const NOW: u64 = 1_800_000_000_000;

fn take(quota: Quota, level: &mut Level, cost: u64, now: u64) -> Result<(), Refusal> {
    let charge = Charge { quota, level, cost };
    reserve(&mut [charge], UnixMillis(now))
}

fn wait(millis: u64) -> Result<(), Refusal> {
    let wait = Duration::from_millis(millis);
    Err(Refusal::Wait { charge: 0, wait })
}

#[test]
fn a_burst_and_then_the_rate() {
    let (quota, mut level) = (quota(3, 60), Level::default());
    for _ in 0..3 {
        assert_eq!(take(quota, &mut level, 1, NOW), Ok(()));
    }
    assert_eq!(take(quota, &mut level, 1, NOW), wait(20_000));
    assert_eq!(take(quota, &mut level, 2, NOW), wait(40_000));
    assert_eq!(take(quota, &mut level, 1, NOW + 19_999), wait(1));
    assert_eq!(take(quota, &mut level, 1, NOW + 20_000), Ok(()));
    assert_eq!(take(quota, &mut level, 1, NOW + 20_000), wait(20_000));
    assert_eq!(take(quota, &mut level, 3, NOW + 80_000), Ok(()));
    assert!(!level.is_idle(quota, UnixMillis(NOW + 139_999)));
    assert!(level.is_idle(quota, UnixMillis(NOW + 140_000)));
}

/// Seven in a minute is no whole number of milliseconds each.
#[test]
fn nothing_is_lost_to_rounding() {
    let (quota, mut level) = (quota(7, 60), Level::default());
    for minute in 0..1_000 {
        let now = NOW + minute * 60_000;
        for _ in 0..7 {
            assert_eq!(take(quota, &mut level, 1, now), Ok(()));
        }
        assert!(take(quota, &mut level, 1, now).is_err());
    }
}

#[test]
fn what_is_more_than_the_quota_never_passes() {
    let (quota, mut level) = (quota(10, 60), Level::default());
    let refused = take(quota, &mut level, 11, NOW);
    assert_eq!(refused, Err(Refusal::TooLarge { charge: 0 }));
    assert_eq!(level, Level::default());
    assert_eq!(take(quota, &mut level, 10, NOW), Ok(()));
}

#[test]
fn a_refused_request_uses_up_nothing_anywhere() {
    let (minute, day) = (quota(10, 60), quota(12, 86_400));
    let mut levels = [Level::default(); 2];
    let reserve_both = |levels: &mut [Level; 2], cost, now| {
        let [first, second] = levels;
        let charges = &mut [
            Charge {
                quota: minute,
                level: first,
                cost,
            },
            Charge {
                quota: day,
                level: second,
                cost,
            },
        ];
        reserve(charges, UnixMillis(now))
    };
    assert_eq!(reserve_both(&mut levels, 10, NOW), Ok(()));
    let before = levels;
    let refused = reserve_both(&mut levels, 5, NOW + 60_000);
    // Three more than there are, of which one comes every two hours, and a minute has passed.
    let wait = Duration::from_mins(3 * 120 - 1);
    assert_eq!(refused, Err(Refusal::Wait { charge: 1, wait }));
    assert_eq!(levels, before);
    let refused = reserve_both(&mut levels, 11, NOW + 60_000);
    assert_eq!(refused, Err(Refusal::TooLarge { charge: 0 }));
    assert_eq!(levels, before);
    assert_eq!(reserve_both(&mut levels, 2, NOW + 60_000), Ok(()));
}

#[test]
fn a_reserve_is_corrected_down_and_up() {
    let (quota, mut level) = (quota(100, 60), Level::default());
    assert_eq!(take(quota, &mut level, 100, NOW), Ok(()));
    assert_eq!(peek(quota, &level, UnixMillis(NOW)).remaining, 0);
    correct(quota, &mut level, 100, 30, UnixMillis(NOW));
    let standing = peek(quota, &level, UnixMillis(NOW));
    let reset = Duration::from_secs(18);
    assert_eq!(
        standing,
        Standing {
            remaining: 70,
            reset
        }
    );
    correct(quota, &mut level, 0, 130, UnixMillis(NOW));
    assert_eq!(peek(quota, &level, UnixMillis(NOW)).remaining, 0);
    assert_eq!(take(quota, &mut level, 0, NOW), wait(36_000));
    assert_eq!(take(quota, &mut level, 40, NOW), wait(60_000));
    assert_eq!(take(quota, &mut level, 40, NOW + 60_000), Ok(()));
    correct(quota, &mut level, 40, 0, UnixMillis(NOW + 60_000));
    assert_eq!(peek(quota, &level, UnixMillis(NOW + 60_000)).remaining, 40);
}

#[test]
fn a_reserve_that_was_paid_off_gives_no_credit() {
    let (quota, mut level) = (quota(100, 60), Level::default());
    assert_eq!(take(quota, &mut level, 100, NOW), Ok(()));
    correct(quota, &mut level, 100, 0, UnixMillis(NOW + 60_000));
    assert_eq!(peek(quota, &level, UnixMillis(NOW + 60_000)).remaining, 100);
    assert!(take(quota, &mut level, 101, NOW + 60_000).is_err());
}

#[test]
fn a_clock_set_back_stands_still() {
    let (quota, mut level) = (quota(2, 60), Level::default());
    assert_eq!(take(quota, &mut level, 2, NOW), Ok(()));
    assert_eq!(take(quota, &mut level, 1, NOW - 500_000), wait(30_000));
    correct(quota, &mut level, 1, 0, UnixMillis(NOW - 500_000));
    assert_eq!(level.at, UnixMillis(NOW));
    assert_eq!(peek(quota, &level, UnixMillis(NOW)).remaining, 1);
}

#[test]
fn extremes_do_not_overflow() {
    let (quota, mut level) = (quota(1 << 31, 2_147_483), Level::default());
    assert_eq!(take(quota, &mut level, 1 << 31, NOW), Ok(()));
    correct(quota, &mut level, 0, u64::MAX, UnixMillis(NOW));
    assert_eq!(level.debt, u64::MAX);
    assert!(take(quota, &mut level, 1, NOW).is_err());
    assert_eq!(peek(quota, &level, UnixMillis(u64::MAX)).remaining, 1 << 31);
    correct(quota, &mut level, u64::MAX, 0, UnixMillis(NOW));
    assert_eq!(level.debt, 0);
}

/// The algorithm as one would explain it: a heap of sand that loses a little each millisecond.
struct Model {
    units: u64,
    window: u64,
    heap: i128,
}

impl Model {
    fn pass(&mut self, millis: u64) {
        for _ in 0..millis {
            self.heap = (self.heap - i128::from(self.units)).max(0);
        }
    }

    fn grain(&self, units: u64) -> i128 {
        i128::from(units) * i128::from(self.window)
    }

    fn fits(&self, cost: u64) -> bool {
        self.heap + self.grain(cost) <= self.grain(self.units)
    }

    /// Milliseconds until it fits, by trying.
    fn wait(&self, cost: u64) -> u64 {
        let mut later = Self { ..*self };
        let mut wait = 0;
        while !later.fits(cost) {
            later.pass(1);
            wait += 1;
        }
        wait
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Reserve(u64),
    /// Which of the open reservations, and what it really was.
    Settle(prop::sample::Index, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1u64..900).prop_map(Step::Pass),
        4 => (0u64..25).prop_map(Step::Reserve),
        3 => (any::<prop::sample::Index>(), 0u64..25).prop_map(|(which, actual)| Step::Settle(which, actual)),
    ]
}

proptest! {
    #[test]
    fn it_decides_as_the_model_does(
        windows in proptest::collection::vec((1u64..30, 1u64..4), 1..4),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let quotas: Vec<Quota> = windows.iter().map(|&(units, seconds)| quota(units, seconds)).collect();
        let mut levels = vec![Level::default(); quotas.len()];
        let mut models: Vec<Model> = windows
            .iter()
            .map(|&(units, seconds)| Model { units, window: seconds * 1000, heap: 0 })
            .collect();
        let mut open: Vec<u64> = Vec::new();
        let mut now = NOW;
        for step in steps {
            match step {
                Step::Pass(millis) => {
                    now += millis;
                    models.iter_mut().for_each(|model| model.pass(millis));
                }
                Step::Reserve(cost) => {
                    let before = levels.clone();
                    let mut charges: Vec<_> = levels
                        .iter_mut()
                        .zip(&quotas)
                        .map(|(level, &quota)| Charge { quota, level, cost })
                        .collect();
                    let got = reserve(&mut charges, UnixMillis(now));
                    let too_large = models.iter().position(|model| cost > model.units);
                    let expected = match too_large {
                        Some(charge) => Err(Refusal::TooLarge { charge }),
                        None => match models.iter().map(|model| model.wait(cost)).max() {
                            None | Some(0) => Ok(()),
                            Some(wait) => {
                                let charge = models.iter().rposition(|model| model.wait(cost) == wait);
                                let (charge, wait) = (charge.unwrap(), Duration::from_millis(wait));
                                Err(Refusal::Wait { charge, wait })
                            }
                        },
                    };
                    prop_assert_eq!(got, expected);
                    if got.is_ok() {
                        open.push(cost);
                        for model in &mut models {
                            model.heap += model.grain(cost);
                        }
                    } else {
                        prop_assert_eq!(&levels, &before);
                    }
                }
                Step::Settle(which, actual) if !open.is_empty() => {
                    let reserved = open.swap_remove(which.index(open.len()));
                    for ((level, &quota), model) in levels.iter_mut().zip(&quotas).zip(&mut models) {
                        correct(quota, level, reserved, actual, UnixMillis(now));
                        model.heap = (model.heap + model.grain(actual) - model.grain(reserved)).max(0);
                    }
                }
                Step::Settle(..) => {}
            }
            for ((level, &quota), model) in levels.iter().zip(&quotas).zip(&models) {
                let standing = peek(quota, level, UnixMillis(now));
                let room = (model.grain(model.units) - model.heap).max(0);
                prop_assert_eq!(i128::from(standing.remaining), room / i128::from(model.window));
            }
        }
    }

    /// Whatever is reserved and corrected down, what was really used stays within quota + rate x
    /// time, counted from the start.
    #[test]
    fn use_stays_within_quota_and_rate(
        units in 1u64..40,
        seconds in 1u64..5,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let quota = quota(units, seconds);
        let mut level = Level::default();
        let (mut open, mut used, mut now) = (Vec::new(), 0, NOW);
        for step in steps {
            match step {
                Step::Pass(millis) => now += millis,
                Step::Reserve(cost) => {
                    if take(quota, &mut level, cost, now).is_ok() {
                        open.push(cost);
                    }
                }
                Step::Settle(which, actual) if !open.is_empty() => {
                    let reserved: u64 = open.swap_remove(which.index(open.len()));
                    let actual = actual.min(reserved);
                    correct(quota, &mut level, reserved, actual, UnixMillis(now));
                    used += actual;
                }
                Step::Settle(..) => {}
            }
            let spoken_for = used + open.iter().sum::<u64>();
            let allowed = units * seconds * 1000 + (now - NOW) * units;
            prop_assert!(spoken_for * seconds * 1000 <= allowed);
        }
    }
}
