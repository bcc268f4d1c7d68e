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
pub struct FairQueue<T> {
    settings: QueueSettings,
    /// In the order of their turns. None is empty.
    lines: VecDeque<Line<T>>,
    waiting: usize,
    next: u64,
}

#[derive(Debug)]
struct Line<T> {
    project: ProjectId,
    places: VecDeque<Place<T>>,
}

#[derive(Debug)]
struct Place<T> {
    ticket: Ticket,
    until: UnixMillis,
    who: T,
}

/// Somebody's place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A place that was taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Joined<T> {
    /// To give it up.
    pub ticket: Ticket,
    /// How long it can be kept.
    pub until: UnixMillis,
    /// Who had to go for it, another project's newest.
    pub displaced: Option<T>,
}

/// There is no place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The project has its share of the places.
    pub has_share: bool,
}

impl<T> FairQueue<T> {
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
    /// over.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn join(
        &mut self,
        now: UnixMillis,
        project: &ProjectId,
        deadline: Option<UnixMillis>,
        who: T,
    ) -> Result<Joined<T>, Full> {
        let until = now.plus(self.settings.patience);
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        let mut displaced = None;
        if self.waiting >= self.settings.places {
            let own = self.waiting_of(project);
            let place = self.displace(own);
            let full = Full { has_share: own > 0 };
            displaced = Some(place.ok_or(full)?.who);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting += 1;
        let place = Place { ticket, until, who };
        match self.lines.iter_mut().find(|line| line.project == *project) {
            Some(line) => line.places.push_back(place),
            None => self.lines.push_back(Line {
                project: project.clone(),
                places: VecDeque::from([place]),
            }),
        }
        Ok(Joined {
            ticket,
            until,
            displaced,
        })
    }

    /// Who goes next: of the project whose turn it is, whoever came first, of those that can go; and
    /// what `can` gave it for the way.
    pub fn call<R>(&mut self, mut can: impl FnMut(&T) -> Option<R>) -> Option<(T, R)> {
        let (nth, at, given) = self.lines.iter().enumerate().find_map(|(nth, line)| {
            let mut places = line.places.iter().enumerate();
            let found = places.find_map(|(at, place)| Some((at, can(&place.who)?)));
            found.map(|(at, given)| (nth, at, given))
        })?;
        // A project of which nobody can go keeps its turn.
        let mut line = self.lines.remove(nth)?;
        let place = line.places.remove(at)?;
        if !line.places.is_empty() {
            self.lines.push_back(line);
        }
        self.waiting -= 1;
        Some((place.who, given))
    }

    /// Gives up a place, unless its owner was called or displaced, or it is over.
    pub fn leave(&mut self, ticket: Ticket) -> Option<T> {
        self.remove(|place| place.ticket == ticket).pop()
    }

    /// Those whose time is over.
    pub fn expire(&mut self, now: UnixMillis) -> Vec<T> {
        self.remove(|place| place.until <= now)
    }

    /// Sends everybody away.
    pub fn clear(&mut self) -> Vec<T> {
        self.remove(|_| true)
    }

    /// How many wait.
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    fn waiting_of(&self, project: &ProjectId) -> usize {
        let line = self.lines.iter().find(|line| line.project == *project);
        line.map_or(0, |line| line.places.len())
    }

    /// The newest place of the longest line, if that is longer than one of `own` places will be.
    fn displace(&mut self, own: usize) -> Option<Place<T>> {
        let longest = self.lines.iter_mut().max_by_key(|line| line.places.len())?;
        if longest.places.len() <= own + 1 {
            return None;
        }
        self.waiting -= 1;
        longest.places.pop_back()
    }

    fn remove(&mut self, such: impl Fn(&Place<T>) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for line in &mut self.lines {
            if !line.places.iter().any(&such) {
                continue;
            }
            for place in std::mem::take(&mut line.places) {
                if such(&place) {
                    removed.push(place.who);
                } else {
                    line.places.push_back(place);
                }
            }
        }
        self.lines.retain(|line| !line.places.is_empty());
        self.waiting -= removed.len();
        removed
    }
}

#[cfg(test)]
mod tests;
