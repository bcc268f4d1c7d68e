use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000);

fn queue(places: usize) -> FairQueue<u32> {
    FairQueue::new(QueueSettings {
        places,
        patience: Duration::from_secs(10),
    })
}

fn project(name: &str) -> ProjectId {
    name.parse().unwrap()
}

fn join(queue: &mut FairQueue<u32>, name: &str, who: u32) -> Result<Option<u32>, Full> {
    let joined = queue.join(NOW, &project(name), None, who);
    joined.map(|joined| joined.displaced)
}

fn call(queue: &mut FairQueue<u32>) -> Option<u32> {
    let (who, ()) = queue.call(|_| Some(()))?;
    Some(who)
}

#[test]
fn projects_take_turns() {
    let mut queue = queue(10);
    for (who, name) in (0..).zip(["a", "a", "a", "b", "c", "b"]) {
        assert_eq!(join(&mut queue, name, who), Ok(None));
    }
    let called = std::iter::from_fn(|| call(&mut queue));
    assert_eq!(called.collect::<Vec<_>>(), [0, 3, 4, 1, 5, 2]);
    assert!(queue.is_empty());
}

#[test]
fn who_cannot_go_keeps_its_turn_and_stops_nobody() {
    let mut queue = queue(10);
    for (who, name) in (0..).zip(["a", "a", "b", "b"]) {
        assert_eq!(join(&mut queue, name, who), Ok(None));
    }
    assert_eq!(queue.call(|_| None::<()>), None);
    assert_eq!(queue.call(|who| (*who == 3).then_some("x")), Some((3, "x")));
    assert_eq!(queue.call(|who| (*who != 0).then_some(())), Some((1, ())));
    assert_eq!([call(&mut queue), call(&mut queue)], [Some(2), Some(0)]);
}

#[test]
fn who_sends_much_makes_room_for_others() {
    let mut queue = queue(3);
    for who in 0..3 {
        assert_eq!(join(&mut queue, "a", who), Ok(None));
    }
    let share = Err(Full { has_share: true });
    assert_eq!(join(&mut queue, "a", 3), share);
    assert_eq!(join(&mut queue, "b", 4), Ok(Some(2)));
    // Now the lines are as even as they can be.
    assert_eq!(join(&mut queue, "b", 5), share);
    assert_eq!(join(&mut queue, "c", 6), Ok(Some(1)));
    // One each, and no share left for a fourth.
    assert_eq!(join(&mut queue, "d", 7), Err(Full { has_share: false }));
    let called = std::iter::from_fn(|| call(&mut queue));
    assert_eq!(called.collect::<Vec<_>>(), [0, 4, 6]);
}

#[test]
fn nobody_waits_for_longer_than_anybody_cares() {
    let mut queue = queue(3);
    let patient = queue.join(NOW, &project("a"), None, 1).unwrap();
    let soon = Some(UnixMillis(1_500));
    let hurried = queue.join(NOW, &project("b"), soon, 2).unwrap();
    assert_eq!(
        [patient.until, hurried.until],
        [UnixMillis(11_000), UnixMillis(1_500)]
    );
    assert!(queue.expire(UnixMillis(1_499)).is_empty());
    assert_eq!(queue.expire(UnixMillis(1_500)), [2]);
    assert_eq!(queue.leave(hurried.ticket), None);
    assert_eq!(queue.expire(UnixMillis(11_000)), [1]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_queue_without_places_refuses() {
    let full = Err(Full { has_share: false });
    assert_eq!(join(&mut queue(0), "a", 1), full);
}

proptest! {
    /// Nobody is lost, nobody is called twice, and no bound is broken.
    #[test]
    fn everybody_leaves_once(steps in proptest::collection::vec((0..6u8, 0..4usize), 0..300)) {
        let names = ["a", "b", "c", "d"];
        let mut queue = queue(6);
        let mut waiting = Vec::new();
        let mut now = 0;
        for (who, (what, which)) in (0..).zip(steps) {
            let mut gone = Vec::new();
            match what {
                0..3 => {
                    let joined = queue.join(UnixMillis(now), &project(names[which]), None, who);
                    if let Ok(joined) = joined {
                        gone.extend(joined.displaced);
                        waiting.push((who, joined.ticket));
                    } else {
                        prop_assert_eq!(waiting.len(), 6);
                    }
                }
                3 => {
                    gone.extend(call(&mut queue));
                    prop_assert!(gone.len() == 1 || waiting.is_empty());
                }
                4 => if let Some((who, ticket)) = waiting.get(which) {
                    gone.extend(queue.leave(*ticket));
                    prop_assert_eq!(&gone, &[*who]);
                },
                _ => {
                    now += which as u64 * 3_000;
                    gone = queue.expire(UnixMillis(now));
                }
            }
            for who in gone {
                let at = waiting.iter().position(|(known, _)| *known == who);
                prop_assert!(at.is_some());
                waiting.remove(at.unwrap_or_default());
            }
            prop_assert_eq!(queue.len(), waiting.len());
            prop_assert!(queue.len() <= 6);
        }
    }
}
