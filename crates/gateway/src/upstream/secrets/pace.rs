//! The loop around everything that is lent or may change.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstream_core::policy::secrets::{Failure, Hurry, Life, Next, Term};
use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;

use crate::clock::Clock;
use crate::random;

/// The longest sleep, for times that are too far away for a timer.
const NAP: Duration = Duration::from_hours(1);

/// Something that is fetched, and perhaps renewed.
pub(crate) trait Lent: Send {
    /// Fetches it, and makes it known.
    fn replace(&mut self) -> impl Future<Output = Result<Life, Trouble>> + Send;

    /// Gets it more time.
    fn renew(&mut self) -> impl Future<Output = Result<Duration, Trouble>> + Send;

    /// Comes back when it has to be fetched anew, as what it hangs on is another.
    fn superseded(&mut self) -> impl Future<Output = ()> + Send;
}

/// Why something could not be had, in words without anything secret.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    /// Whoever asked may not, or is not known any more.
    pub(crate) denied: bool,
    pub(crate) text: String,
}

impl Trouble {
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self {
            failure: Failure::Refused,
            denied: false,
            text: text.into(),
        }
    }

    pub(crate) fn unanswered(text: impl Into<String>) -> Self {
        Self {
            failure: Failure::Unanswered,
            denied: false,
            text: text.into(),
        }
    }
}

/// When one of them is due, and who waits for it.
pub(crate) struct Pace {
    /// What it is about, for the log.
    what: String,
    clock: Clock,
    term: Mutex<Term>,
    wake: Notify,
    rounds: watch::Sender<Rounds>,
}

#[derive(Clone, Copy, Default)]
struct Rounds {
    done: u64,
    /// Whether there was ever a yes or a no.
    decided: bool,
}

impl Pace {
    pub(crate) fn new(what: String, clock: Clock) -> Self {
        Self {
            what,
            clock,
            term: Mutex::default(),
            wake: Notify::new(),
            rounds: watch::Sender::default(),
        }
    }

    /// Fetches and renews when it is time.
    pub(crate) async fn run(&self, mut lent: impl Lent) {
        let mut trouble = None;
        loop {
            let next = self.term().next(self.clock.now());
            let outcome = match next {
                Next::Wait(until) => {
                    let until = until.min(self.clock.now().plus(NAP));
                    tokio::select! {
                        () = sleep_until(self.clock.instant(until)) => {}
                        () = self.wake.notified() => {}
                        () = lent.superseded() => self.term().replace(self.clock.now()),
                    }
                    continue;
                }
                Next::Renew => {
                    (lent.renew().await).map(|time| self.term().renewed(self.clock.now(), time))
                }
                Next::Replace => {
                    (lent.replace().await).map(|life| self.term().replaced(self.clock.now(), life))
                }
            };
            let refused = self.judge(outcome, &mut trouble);
            let decided = trouble.is_none() || refused && next == Next::Replace;
            self.rounds.send_modify(|rounds| {
                rounds.done += 1;
                rounds.decided |= decided;
            });
        }
    }

    /// Looks at what came of it; true if it was a no. The same trouble is logged once.
    fn judge(&self, outcome: Result<(), Trouble>, trouble: &mut Option<String>) -> bool {
        let what = &self.what;
        let Err(Trouble { failure, text, .. }) = outcome else {
            if trouble.take().is_some() {
                tracing::info!("{what}: it is there again");
            }
            return false;
        };
        let random = random::u64().unwrap_or_default();
        self.term().failed(self.clock.now(), failure, random);
        if trouble.as_ref() != Some(&text) {
            tracing::warn!("{what}: {text}");
        }
        *trouble = Some(text);
        failure == Failure::Refused
    }

    /// Makes it due, unless it just was.
    pub(crate) fn hurry(&self) -> Hurry {
        let hurry = self.term().hurry(self.clock.now());
        if hurry == Hurry::Begun {
            self.wake.notify_one();
        }
        hurry
    }

    /// The same, and waits until that is done.
    pub(crate) async fn hurried(&self) {
        let mut rounds = self.rounds.subscribe();
        if self.hurry() != Hurry::TooSoon {
            let _closed = rounds.changed().await;
        }
    }

    /// Waits until it was had, or clearly refused.
    pub(crate) async fn decided(&self) {
        let mut rounds = self.rounds.subscribe();
        let _closed = rounds.wait_for(|rounds| rounds.decided).await;
    }

    fn term(&self) -> MutexGuard<'_, Term> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
