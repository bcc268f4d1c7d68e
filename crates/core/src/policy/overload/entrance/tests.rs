use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const MOST: u32 = 3;
const PLACES: usize = 5;
const PATIENCE: u64 = 4_000;

/// One that waits, or runs: it needs its own upstream to have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who {
    nth: usize,
    project: usize,
    upstream: usize,
    until: u64,
}

/// The same without any cleverness: one list, searched anew each time.
#[derive(Default)]
struct Model {
    running: Vec<Who>,
    waiting: Vec<Who>,
    /// Whose turn it is, of those who wait.
    turns: VecDeque<usize>,
    shed: Shed,
}

impl Model {
    fn has_room(&self, who: &Who, open: [bool; 2]) -> bool {
        self.running.len() < MOST as usize && open[who.upstream]
    }

    fn next(&mut self, open: [bool; 2]) -> Option<Who> {
        let turns = self.turns.iter();
        let mut found = turns.filter_map(|project| {
            let mut of_project = self.waiting.iter().filter(|who| who.project == *project);
            of_project.find(|who| self.has_room(who, open)).copied()
        });
        let who = found.next()?;
        self.remove(|known| known.nth == who.nth);
        if self.turns.contains(&who.project) {
            self.turns.retain(|project| *project != who.project);
            self.turns.push_back(who.project);
        }
        self.running.push(who);
        Some(who)
    }

    fn of(&self, project: usize) -> usize {
        let of_project = |who: &&Who| who.project == project;
        self.waiting.iter().filter(of_project).count()
    }

    fn join(&mut self, who: Who) -> Result<Option<Who>, Refusal> {
        let mut displaced = None;
        if self.waiting.len() == PLACES {
            let own = self.of(who.project);
            let most = (0..NAMES.len()).map(|project| self.of(project)).max();
            if most.unwrap_or_default() <= own + 1 {
                let share = own > 0;
                self.shed.share += u64::from(share);
                self.shed.full += u64::from(!share);
                return Err(if share { Refusal::Share } else { Refusal::Full });
            }
            // Of lines of the same length it is the last one that gives.
            let longest = self.turns.iter().copied();
            let longest = longest.max_by_key(|project| self.of(*project)).unwrap();
            let newest = self.waiting.iter().rev().find(|who| who.project == longest);
            let newest = *newest.unwrap();
            self.remove(|known| known.nth == newest.nth);
            self.shed.share += 1;
            displaced = Some(newest);
        }
        self.waiting.push(who);
        if !self.turns.contains(&who.project) {
            self.turns.push_back(who.project);
        }
        Ok(displaced)
    }

    fn remove(&mut self, such: impl Fn(&Who) -> bool) {
        self.waiting.retain(|who| !such(who));
        let waiting = &self.waiting;
        self.turns
            .retain(|project| waiting.iter().any(|who| who.project == *project));
    }
}

fn entrance() -> Entrance<Who> {
    let queue = QueueSettings {
        places: PLACES,
        patience: Duration::from_millis(PATIENCE),
    };
    Entrance::new(Some(MOST), queue)
}

fn project(nth: usize) -> ProjectId {
    NAMES[nth].parse().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        project: usize,
        upstream: usize,
        patience: Option<u64>,
    },
    End(usize),
    Leave(usize),
    Pass(u64),
    Toggle(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let ask = (0..3usize, 0..2usize, proptest::option::of(0..6_000u64));
    let ask = ask.prop_map(|(project, upstream, patience)| Step::Ask {
        project,
        upstream,
        patience,
    });
    prop_oneof![
        6 => ask,
        3 => (0..8usize).prop_map(Step::End),
        1 => (0..8usize).prop_map(Step::Leave),
        2 => (0..3_000u64).prop_map(Step::Pass),
        1 => (0..2usize).prop_map(Step::Toggle),
    ]
}

proptest! {
    #[test]
    fn it_is_the_model(steps in proptest::collection::vec(step(), 0..400)) {
        let (mut entrance, mut model) = (entrance(), Model::default());
        let (mut now, mut open) = (0, [true, true]);
        let mut tickets = Vec::new();
        for (nth, step) in steps.into_iter().enumerate() {
            match step {
                Step::Ask { project: from, upstream, patience } => {
                    let until = patience.map_or(PATIENCE, |own| own.min(PATIENCE));
                    let who = Who { nth, project: from, upstream, until: now + until };
                    let enters = model.has_room(&who, open);
                    let entered = entrance.enter(|| open[upstream].then_some(upstream));
                    prop_assert_eq!(entered, enters.then_some(upstream));
                    if enters {
                        model.running.push(who);
                    } else {
                        let deadline = patience.map(|own| UnixMillis(now + own));
                        let joined = entrance.wait(UnixMillis(now), &project(from), deadline, who);
                        let told = joined.as_ref().map(|joined| joined.displaced);
                        prop_assert_eq!(told.map_err(|refusal| *refusal), model.join(who));
                        if let Ok(joined) = joined {
                            prop_assert_eq!(joined.until, UnixMillis(who.until));
                            tickets.push((nth, joined.ticket));
                        }
                    }
                }
                Step::End(at) if at < model.running.len() => {
                    model.running.remove(at);
                    entrance.end();
                }
                Step::Leave(at) if at < tickets.len() => {
                    let (nth, ticket) = tickets.remove(at);
                    let gone = entrance.leave(ticket);
                    let waited = model.waiting.iter().find(|who| who.nth == nth);
                    prop_assert_eq!(gone.as_ref(), waited);
                    model.remove(|who| who.nth == nth);
                }
                Step::End(_) | Step::Leave(_) => {}
                Step::Pass(time) => now += time,
                Step::Toggle(upstream) => open[upstream] = !open[upstream],
            }
            let mut late = entrance.late(UnixMillis(now));
            late.sort_by_key(|who| who.nth);
            let due = model.waiting.iter().filter(|who| who.until <= now);
            prop_assert_eq!(&late, &due.copied().collect::<Vec<_>>());
            model.remove(|who| who.until <= now);
            model.shed.late += late.len() as u64;
            loop {
                let next = entrance.next(|who| open[who.upstream].then_some(who.upstream));
                let expected = model.next(open).map(|who| (who, who.upstream));
                prop_assert_eq!(next, expected);
                if next.is_none() {
                    break;
                }
            }
            let sight = entrance.sight();
            prop_assert_eq!(sight.running as usize, model.running.len());
            prop_assert_eq!(sight.waiting, model.waiting.len());
            prop_assert_eq!(sight.shed, model.shed);
            prop_assert!(sight.running <= MOST && sight.waiting <= PLACES);
            // Nobody waits who could run.
            prop_assert!(!model.waiting.iter().any(|who| model.has_room(who, open)));
        }
    }

    /// However much one project sends, another's request waits for at most one turn of each project.
    #[test]
    fn nobody_starves(flood in 1..5usize, places in 5..50usize) {
        let queue = QueueSettings { places, patience: Duration::from_secs(10) };
        let mut entrance = Entrance::new(Some(1), queue);
        prop_assert!(entrance.enter(|| Some(())).is_some());
        for _ in 0..flood * places {
            let _refused_at_last = entrance.wait(UnixMillis(0), &project(0), None, 0);
        }
        prop_assert!(entrance.wait(UnixMillis(0), &project(1), None, 1).is_ok());
        prop_assert!(entrance.wait(UnixMillis(0), &project(2), None, 2).is_ok());
        let mut served = Vec::new();
        for _ in 0..3 {
            entrance.end();
            served.extend(entrance.next(|_| Some(())).map(|(who, ())| who));
            // The flood goes on.
            let _refused_at_last = entrance.wait(UnixMillis(0), &project(0), None, 0);
        }
        prop_assert_eq!(served, [0, 1, 2]);
    }
}

#[test]
fn one_that_was_let_in_before_takes_a_place_that_there_is_not() {
    let mut entrance = entrance();
    for _ in 0..=MOST {
        entrance.enter_anyway();
    }
    entrance.end();
    assert_eq!(entrance.enter(|| Some(())), None);
    entrance.end();
    assert_eq!(entrance.enter(|| Some(())), Some(()));
}
