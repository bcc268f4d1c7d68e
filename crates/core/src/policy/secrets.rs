//! When what was lent is renewed, when it is replaced, and how soon after a failure: for tokens and
//! leases of Vault's, and for secrets that are looked at now and then.

use std::time::Duration;

use super::backoff::Backoff;
use crate::id::UnixMillis;
use crate::limits::{SECRET_HURRY_EVERY, SECRET_RENEW_LEAST};

/// The time of one secret or token. It never ends the use of what is held: while there is nothing
/// newer, the old one is better than none.
#[derive(Clone, Debug)]
pub struct Term {
    /// When something is to be done.
    due_at: UnixMillis,
    /// Until when it can be renewed, and how long it was good when it was new.
    renewable: Option<Renewable>,
    failed: u32,
    hurry: Option<Hurried>,
}

#[derive(Clone, Copy, Debug)]
struct Renewable {
    until: UnixMillis,
    first: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Hurried {
    at: UnixMillis,
    done: bool,
}

/// How long something is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Until somebody changes it; it is looked at again after this time.
    Watched(Duration),
    /// This long.
    Lent {
        /// From now on.
        time: Duration,
        /// Whether that can be made longer.
        renewable: bool,
    },
    /// For ever.
    Endless,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing before this time.
    Wait(UnixMillis),
    /// To ask for more time.
    Renew,
    /// To fetch it anew.
    Replace,
}

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There was a clear no.
    Refused,
    /// There was no answer, or none that says yes or no.
    Unanswered,
}

/// What becomes of a wish to look at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurry {
    /// It is due now.
    Begun,
    /// It was wished for already, and is not done yet.
    UnderWay,
    /// It was looked at early not long ago.
    TooSoon,
}

impl Default for Term {
    /// Nothing is held: it is to be fetched at once.
    fn default() -> Self {
        Self {
            due_at: UnixMillis(0),
            renewable: None,
            failed: 0,
            hurry: None,
        }
    }
}

impl Term {
    /// What is to be done now.
    pub fn next(&self, now: UnixMillis) -> Next {
        if now < self.due_at {
            Next::Wait(self.due_at)
        } else if self.renewable.is_some_and(|lent| now < lent.until) {
            Next::Renew
        } else {
            Next::Replace
        }
    }

    /// It was fetched.
    pub fn replaced(&mut self, now: UnixMillis, life: Life) {
        self.done();
        self.failed = 0;
        self.renewable = None;
        self.due_at = match life {
            Life::Endless => UnixMillis(u64::MAX),
            Life::Watched(time) => now.plus(time),
            Life::Lent { time, renewable } => {
                self.renewable = renewable.then(|| Renewable {
                    until: now.plus(time),
                    first: time,
                });
                due(now, time)
            }
        };
    }

    /// It was given this much more time. Less than half of what it had when it was new is a sign that
    /// it comes to its longest life, so that it is replaced next.
    pub fn renewed(&mut self, now: UnixMillis, time: Duration) {
        self.done();
        self.failed = 0;
        self.due_at = due(now, time);
        self.renewable = self.renewable.filter(|lent| time >= lent.first / 2);
        if let Some(lent) = &mut self.renewable {
            lent.until = now.plus(time);
        }
    }

    /// That came to nothing: it is tried again after a pause. Who refuses to renew is asked for another
    /// at once. `random` is any number, evenly spread.
    pub fn failed(&mut self, now: UnixMillis, why: Failure, random: u64) {
        self.done();
        if why == Failure::Refused && self.renewable.take().is_some() {
            self.due_at = now;
            return;
        }
        self.failed += 1;
        let pause = Backoff::default().pause(self.failed, random);
        self.due_at = now.plus(pause.max(SECRET_RENEW_LEAST));
    }

    /// What it hangs on is another: it is to be fetched anew at once.
    pub fn replace(&mut self, now: UnixMillis) {
        self.renewable = None;
        self.due_at = now;
    }

    /// Somebody refuses it: it is to be fetched anew at once, unless it just was.
    pub fn hurry(&mut self, now: UnixMillis) -> Hurry {
        match self.hurry {
            Some(Hurried { done: false, .. }) => Hurry::UnderWay,
            Some(last) if now.since(last.at) < SECRET_HURRY_EVERY => Hurry::TooSoon,
            _ => {
                self.hurry = Some(Hurried {
                    at: now,
                    done: false,
                });
                self.replace(now);
                Hurry::Begun
            }
        }
    }

    fn done(&mut self) {
        if let Some(hurry) = &mut self.hurry {
            hurry.done = true;
        }
    }
}

/// After two thirds of its time, so that a third is left for trying again.
fn due(now: UnixMillis, time: Duration) -> UnixMillis {
    now.plus((time / 3).saturating_mul(2).max(SECRET_RENEW_LEAST))
}

#[cfg(test)]
mod tests;
