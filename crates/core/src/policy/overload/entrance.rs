use crate::id::{ProjectId, UnixMillis};
use crate::policy::overload::{FairQueue, Full, Joined, QueueSettings, Ticket};

/// Where requests come in: a bounded number of them run at once, and those beyond wait in a
/// [`FairQueue`] until one ends. `T` is who waits.
///
/// Every request that was let in is followed by one [`end`](Self::end). Whoever may have made room
/// asks for the [`next`](Self::next) until there is none: then nobody waits who could run.
#[derive(Debug)]
pub struct Entrance<T> {
    most: Option<u32>,
    running: u32,
    queue: FairQueue<T>,
    shed: Shed,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Its project has its share of a queue that is full.
    Share,
    /// The queue is full.
    Full,
    /// It waited for as long as it may.
    Late,
}

/// How many were refused since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    /// For [`Refusal::Share`].
    pub share: u64,
    /// For [`Refusal::Full`].
    pub full: u64,
    /// For [`Refusal::Late`].
    pub late: u64,
}

/// What an operator sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntranceSight {
    /// How many may run; `None` if as many as come.
    pub most: Option<u32>,
    /// How many run.
    pub running: u32,
    /// How many wait.
    pub waiting: usize,
    /// How many were refused.
    pub shed: Shed,
}

impl<T> Entrance<T> {
    /// Nobody runs or waits. `most` may run at once.
    pub fn new(most: Option<u32>, queue: QueueSettings) -> Self {
        Self {
            most,
            running: 0,
            queue: FairQueue::new(queue),
            shed: Shed::default(),
        }
    }

    /// Lets a request in if there is room and it `can` run, with what that gave it. Asked after
    /// [`next`](Self::next), so that it overtakes nobody.
    pub fn enter<R>(&mut self, can: impl FnOnce() -> Option<R>) -> Option<R> {
        let given = self.has_room().then(can).flatten();
        self.running += u32::from(given.is_some());
        given
    }

    /// Lets one in that was let in before, by a process that died, whether there is room or not.
    pub fn enter_anyway(&mut self) {
        self.running += 1;
    }

    /// Lets a request wait, at most until `deadline`.
    ///
    /// # Errors
    /// Why it may not.
    pub fn wait(
        &mut self,
        now: UnixMillis,
        project: &ProjectId,
        deadline: Option<UnixMillis>,
        who: T,
    ) -> Result<Joined<T>, Refusal> {
        let joined = self.queue.join(now, project, deadline, who);
        match &joined {
            Ok(Joined {
                displaced: Some(_), ..
            })
            | Err(Full { has_share: true }) => self.shed.share += 1,
            Err(Full { has_share: false }) => self.shed.full += 1,
            Ok(_) => {}
        }
        joined.map_err(|full| {
            if full.has_share {
                Refusal::Share
            } else {
                Refusal::Full
            }
        })
    }

    /// The next of those who wait, if there is room for one that `can` run, with what that gave it.
    /// It is let in.
    pub fn next<R>(&mut self, can: impl FnMut(&T) -> Option<R>) -> Option<(T, R)> {
        let called = self.has_room().then(|| self.queue.call(can)).flatten();
        self.running += u32::from(called.is_some());
        called
    }

    /// Those who waited for as long as they may.
    pub fn late(&mut self, now: UnixMillis) -> Vec<T> {
        let late = self.queue.expire(now);
        self.shed.late += late.len() as u64;
        late
    }

    /// One that was let in is over.
    pub fn end(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// One waits no more, by itself.
    pub fn leave(&mut self, ticket: Ticket) -> Option<T> {
        self.queue.leave(ticket)
    }

    /// Sends all away who wait.
    pub fn clear(&mut self) -> Vec<T> {
        self.queue.clear()
    }

    /// Whether nobody waits.
    pub const fn is_calm(&self) -> bool {
        self.queue.is_empty()
    }

    /// What an operator sees.
    pub const fn sight(&self) -> EntranceSight {
        EntranceSight {
            most: self.most,
            running: self.running,
            waiting: self.queue.len(),
            shed: self.shed,
        }
    }

    fn has_room(&self) -> bool {
        self.most.is_none_or(|most| self.running < most)
    }
}

#[cfg(test)]
mod tests;
