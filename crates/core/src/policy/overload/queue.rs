use std::collections::VecDeque;
use std::time::Duration;

use crate::id::{ProjectId, UnixMillis};

/// The bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Most that wait in all. Zero: nobody waits.
    pub places: usize,
    /// The longest that one waits.
    pub patience: Duration,
}

/// A queue in which projects take turns, so that one that sends much makes only itself wait. When it
/// is full, the project with most in it gives up its newest place to one that has fewer.
#[derive(Debug)]
pub struct FairQueue {
    settings: QueueSettings,
    /// In the order of their turns. None is empty.
    lines: VecDeque<Line>,
    waiting: usize,
    next: u64,
}

#[derive(Debug)]
struct Line {
    project: ProjectId,
    places: VecDeque<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    ticket: Ticket,
    until: UnixMillis,
}

/// Somebody's place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// There is no place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl FairQueue {
    /// An empty queue.
    pub fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            lines: VecDeque::new(),
            waiting: 0,
            next: 0,
        }
    }

    /// Takes a place at the end of the project's line, until `deadline` or the queue's patience is
    /// over. Another project's place may have to go for it, which is the second ticket.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn join(
        &mut self,
        now: UnixMillis,
        project: &ProjectId,
        deadline: Option<UnixMillis>,
    ) -> Result<(Ticket, Option<Ticket>), Full> {
        let until = now.plus(self.settings.patience);
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        if until <= now {
            return Err(Full);
        }
        let mut displaced = None;
        if self.waiting >= self.settings.places {
            displaced = Some(self.displace(project).ok_or(Full)?);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting += 1;
        let place = Place { ticket, until };
        match self.lines.iter_mut().find(|line| line.project == *project) {
            Some(line) => line.places.push_back(place),
            None => self.lines.push_back(Line {
                project: project.clone(),
                places: VecDeque::from([place]),
            }),
        }
        Ok((ticket, displaced))
    }

    /// Who goes next.
    pub fn call(&mut self) -> Option<Ticket> {
        let mut line = self.lines.pop_front()?;
        let place = line.places.pop_front();
        if !line.places.is_empty() {
            self.lines.push_back(line);
        }
        self.waiting -= usize::from(place.is_some());
        place.map(|place| place.ticket)
    }

    /// Gives up a place. False if it was called, displaced or expired before.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.remove(|place| place.ticket == ticket).pop().is_some()
    }

    /// Gives up the places whose time is over.
    pub fn expire(&mut self, now: UnixMillis) -> Vec<Ticket> {
        self.remove(|place| place.until <= now)
    }

    /// How many wait.
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The newest place of the longest line, if that is longer than the project's own will be.
    fn displace(&mut self, project: &ProjectId) -> Option<Ticket> {
        let own = self.lines.iter().find(|line| line.project == *project);
        let own = own.map_or(0, |line| line.places.len());
        let longest = self.lines.iter_mut().max_by_key(|line| line.places.len())?;
        if longest.places.len() <= own + 1 {
            return None;
        }
        let place = longest.places.pop_back()?;
        self.waiting -= 1;
        Some(place.ticket)
    }

    fn remove(&mut self, such: impl Fn(&Place) -> bool) -> Vec<Ticket> {
        let mut removed = Vec::new();
        for line in &mut self.lines {
            line.places.retain(|place| {
                let goes = such(place);
                if goes {
                    removed.push(place.ticket);
                }
                !goes
            });
        }
        self.lines.retain(|line| !line.places.is_empty());
        self.waiting -= removed.len();
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn queue(places: usize) -> FairQueue {
        FairQueue::new(QueueSettings {
            places,
            patience: Duration::from_secs(10),
        })
    }

    fn project(name: &str) -> ProjectId {
        name.parse().unwrap()
    }

    fn join(queue: &mut FairQueue, name: &str) -> Result<(Ticket, Option<Ticket>), Full> {
        queue.join(NOW, &project(name), None)
    }

    #[test]
    fn projects_take_turns() {
        let mut queue = queue(10);
        let mut names = Vec::new();
        for name in ["a", "a", "a", "b", "c", "b"] {
            names.push((join(&mut queue, name).unwrap().0, name));
        }
        let mut called = Vec::new();
        while let Some(ticket) = queue.call() {
            let (_, name) = names.iter().find(|(known, _)| *known == ticket).unwrap();
            called.push(*name);
        }
        assert_eq!(called, ["a", "b", "c", "a", "b", "a"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn who_sends_much_makes_room_for_others() {
        let mut queue = queue(3);
        let first = join(&mut queue, "a").unwrap().0;
        let second = join(&mut queue, "a").unwrap().0;
        let third = join(&mut queue, "a").unwrap().0;
        assert_eq!(join(&mut queue, "a"), Err(Full));
        let (other, displaced) = join(&mut queue, "b").unwrap();
        assert_eq!(displaced, Some(third));
        // Now the lines are as even as they can be.
        assert_eq!(join(&mut queue, "b"), Err(Full));
        assert!(!queue.leave(third));
        assert_eq!(
            [queue.call(), queue.call(), queue.call(), queue.call()],
            [Some(first), Some(other), Some(second), None]
        );
    }

    #[test]
    fn nobody_waits_for_longer_than_anybody_cares() {
        let mut queue = queue(3);
        let ticket = join(&mut queue, "a").unwrap().0;
        let soon = Some(UnixMillis(1_500));
        let hurried = queue.join(NOW, &project("b"), soon).unwrap().0;
        assert_eq!(queue.join(NOW, &project("c"), Some(NOW)), Err(Full));
        assert_eq!(queue.expire(UnixMillis(1_499)), []);
        assert_eq!(queue.expire(UnixMillis(1_500)), [hurried]);
        assert_eq!(queue.expire(UnixMillis(11_000)), [ticket]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_queue_without_places_refuses() {
        assert_eq!(join(&mut queue(0), "a"), Err(Full));
    }

    proptest! {
        /// Nobody is lost, nobody is called twice, and no bound is broken.
        #[test]
        fn every_ticket_leaves_once(steps in proptest::collection::vec((0..5u8, 0..4usize), 0..300)) {
            let names = ["a", "b", "c", "d"];
            let mut queue = queue(6);
            let mut waiting = Vec::new();
            let mut now = 0;
            for (what, which) in steps {
                match what {
                    0..3 => {
                        let joined = queue.join(UnixMillis(now), &project(names[which]), None);
                        if let Ok((ticket, displaced)) = joined {
                            waiting.retain(|known| Some(*known) != displaced);
                            waiting.push(ticket);
                        } else {
                            prop_assert_eq!(waiting.len(), 6);
                        }
                    }
                    3 => match queue.call() {
                        Some(ticket) => {
                            let at = waiting.iter().position(|known| *known == ticket);
                            prop_assert!(at.is_some());
                            waiting.remove(at.unwrap_or_default());
                        }
                        None => prop_assert!(waiting.is_empty()),
                    },
                    _ => {
                        now += which as u64 * 3_000;
                        for ticket in queue.expire(UnixMillis(now)) {
                            prop_assert!(waiting.contains(&ticket));
                            waiting.retain(|known| *known != ticket);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), waiting.len());
                prop_assert!(queue.len() <= 6);
            }
        }
    }
}
