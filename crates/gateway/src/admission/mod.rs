//! Admission: how many generations run at once, and who waits to begin one.
//!
//! A request is let in when there is room for one more generation (`limits.max_concurrency`) and one
//! of its deployments has room (`max_concurrency` of its upstream), whose leave it gets together with
//! its [`Slot`]. Else it waits, in one queue for both, so that who waits for a deployment keeps no
//! generation from another one.
//!
//! Whoever gives something back lets in whom there is now room for: one waiter for each place. All of
//! that happens under one lock, so no request begins to wait between the moment that room is made and
//! the moment that those who wait are asked.

mod offer;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstream_core::config::LimitsConfig;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::limits;
use everstream_core::policy::overload::{Entrance, EntranceSight, QueueSettings, Refusal, Ticket};
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::clock::Clock;
use crate::lifecycle;
use crate::upstream::health::{Health, Leave};
use offer::Round;

/// Lets generations begin.
#[derive(Debug)]
pub struct Admission {
    entrance: Mutex<Entrance<Waiter>>,
    clock: Clock,
    retry_after: Duration,
}

/// A place among the generations that run. It is given back when this is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Admission>);

/// What a request is let in with.
#[derive(Debug)]
pub struct Admitted {
    /// For as long as it runs.
    pub slot: Slot,
    /// By way of whom.
    pub way: Way,
}

/// How a request that is let in begins.
#[derive(Debug)]
pub enum Way {
    /// With this one of its deployments, which has room for it, and leave to ask that.
    By(usize, Leave),
    /// None of them takes requests just now, and none for want of room. Why that is so is the
    /// request's answer.
    Shut,
}

/// A request that waits.
#[derive(Debug)]
struct Waiter {
    deployments: Vec<Arc<Health>>,
    tell: oneshot::Sender<Result<Admitted, Refusal>>,
}

/// What came of asking.
enum Asked {
    LetIn(Admitted),
    Waits(Waiting),
}

/// The other end of a [`Waiter`], which waits no more when this is dropped.
struct Waiting {
    admission: Arc<Admission>,
    ticket: Ticket,
    until: UnixMillis,
    /// One of its deployments may take requests again then, of which nobody else would tell.
    reopens: Option<UnixMillis>,
    told: oneshot::Receiver<Result<Admitted, Refusal>>,
}

/// Whom to tell what, once the lock is free.
#[derive(Default)]
struct News {
    called: Vec<(Waiter, Way)>,
    late: Vec<Waiter>,
}

impl Admission {
    /// Nothing runs.
    pub fn new(limits: &LimitsConfig, clock: Clock) -> Arc<Self> {
        let queue = QueueSettings {
            places: limits.queue,
            patience: limits.queue_timeout,
        };
        Arc::new(Self {
            entrance: Mutex::new(Entrance::new(limits.max_concurrency, queue)),
            clock,
            // By then all who wait now were let in, or wait no more.
            retry_after: limits.queue_timeout.min(limits::QUEUE_RETRY_AFTER),
        })
    }

    /// Waits until a generation of the project may begin, by way of one of these deployments, the
    /// preferred ones first. Who drops this waits no more.
    ///
    /// # Errors
    /// When there is no place in the queue, or none became free in time, or by `timeout`.
    pub async fn enter(
        self: &Arc<Self>,
        project: &ProjectId,
        deployments: Vec<Arc<Health>>,
        timeout: Option<Duration>,
    ) -> Result<Admitted, Error> {
        match self.ask(project, deployments, timeout) {
            Ok(Asked::LetIn(admitted)) => Ok(admitted),
            Ok(Asked::Waits(waiting)) => match waiting.wait().await {
                Some(told) => told.map_err(|why| self.refused(why)),
                None => Err(lifecycle::draining()),
            },
            Err(why) => Err(self.refused(why)),
        }
    }

    /// Counts a generation that was let in before, by a process that died.
    pub fn enter_anyway(self: &Arc<Self>) -> Slot {
        self.lock().enter_anyway();
        Slot(Arc::clone(self))
    }

    /// Lets in those for whom there is room. Whatever may have made room calls this.
    pub fn settle(self: &Arc<Self>) {
        let news = self.news(&mut self.lock());
        self.tell(news);
    }

    /// Sends those away who wait: the process is about to end.
    pub fn drain(&self) {
        let waiting = self.lock().clear();
        // They are told nothing, and know why.
        drop(waiting);
    }

    /// What there is to see of it.
    pub fn sight(&self) -> EntranceSight {
        self.lock().sight()
    }

    fn ask(
        self: &Arc<Self>,
        project: &ProjectId,
        deployments: Vec<Arc<Health>>,
        timeout: Option<Duration>,
    ) -> Result<Asked, Refusal> {
        let mut entrance = self.lock();
        let news = self.news(&mut entrance);
        let entered = entrance.enter(|| Round::default().offer(&deployments));
        if let Some(way) = entered {
            drop(entrance);
            self.tell(news);
            let slot = Slot(Arc::clone(self));
            return Ok(Asked::LetIn(Admitted { slot, way }));
        }
        let now = self.clock.now();
        let reopens = offer::reopens(&deployments).map(|rest| now.plus(rest));
        let (tell, told) = oneshot::channel();
        let waiter = Waiter { deployments, tell };
        let deadline = timeout.map(|timeout| now.plus(timeout));
        let joined = entrance.wait(now, project, deadline, waiter);
        drop(entrance);
        self.tell(news);
        let joined = joined?;
        if let Some(displaced) = joined.displaced {
            displaced.refuse(Refusal::Share);
        }
        Ok(Asked::Waits(Waiting {
            admission: Arc::clone(self),
            ticket: joined.ticket,
            until: joined.until,
            reopens,
            told,
        }))
    }

    /// Those whose time is over, and those for whom there is room.
    fn news(&self, entrance: &mut Entrance<Waiter>) -> News {
        let mut news = News::default();
        if entrance.is_calm() {
            return news;
        }
        news.late = entrance.late(self.clock.now());
        let mut round = Round::default();
        while let Some(called) = entrance.next(|waiter| round.offer(&waiter.deployments)) {
            news.called.push(called);
        }
        news
    }

    fn tell(self: &Arc<Self>, news: News) {
        for waiter in news.late {
            waiter.refuse(Refusal::Late);
        }
        for (waiter, way) in news.called {
            let slot = Slot(Arc::clone(self));
            // One who has just left drops it here, which is giving it back.
            let _left = waiter.tell.send(Ok(Admitted { slot, way }));
        }
    }

    fn refused(&self, why: Refusal) -> Error {
        let (code, message) = match why {
            Refusal::Share => (
                ErrorCode::TooManyWaiting,
                "Too much runs already, and this project's requests have their share of the places \
                 in the queue (limits.queue).",
            ),
            Refusal::Full => (
                ErrorCode::Overloaded,
                "Too much runs already, and the queue is full (limits.queue).",
            ),
            Refusal::Late => (
                ErrorCode::Overloaded,
                "Too much runs already, and no place was free for as long as the request may wait \
                 (limits.queue_timeout, or its own timeout).",
            ),
        };
        let mut error = Error::new(code, message);
        error.retry_after = Some(self.retry_after);
        error
    }

    fn lock(&self) -> MutexGuard<'_, Entrance<Waiter>> {
        // Nothing that runs under the lock can leave it half changed.
        self.entrance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    fn refuse(self, why: Refusal) {
        // It may have left.
        let _left = self.tell.send(Err(why));
    }
}

impl Waiting {
    /// `None` if nobody tells any more.
    async fn wait(mut self) -> Option<Result<Admitted, Refusal>> {
        let clock = self.admission.clock;
        let mut alarm = self.until.min(self.reopens.unwrap_or(self.until));
        loop {
            tokio::select! {
                biased;
                told = &mut self.told => return told.ok(),
                () = sleep_until(clock.instant(alarm)) => {
                    self.admission.settle();
                    alarm = self.until;
                }
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waiter = self.admission.lock().leave(self.ticket);
        drop(waiter);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut entrance = self.0.lock();
        entrance.end();
        let news = self.0.news(&mut entrance);
        drop(entrance);
        self.0.tell(news);
    }
}
