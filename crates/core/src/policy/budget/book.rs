//! The book of all budgets: what was spent, and what running requests hold.
//!
//! A request reserves the most it may cost on the accounts of its key, its project and its
//! organisation, is settled with what it did cost, and counts in the periods in which it was
//! accepted. A hold is a lease: if its stream does not renew it, because its process died, it lapses
//! and binds no money. What comes late is still counted, once.
//!
//! A request is accepted while there is money left, if less than it holds: so one budget can be
//! overrun by less than one request's reserve, however many run at once. A rule with a
//! [stop](Rule::stop) is not overrun at all: each stream is granted what is surely there, and must
//! end when that is used up and there is no [more](Book::extend).
//!
//! In a shared store an account is a row of `spent` and `reserved`, a hold is a row by stream id, and
//! each operation here is one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Money, Period};
use crate::id::{StreamId, UnixMillis};

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payer {
    /// An API key.
    Key,
    /// A project.
    Project,
    /// An organisation.
    Organisation,
}

/// One payer's budget in one period.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountId {
    /// The period, first in order so that old accounts stand together.
    pub period: Period,
    /// Whose it is.
    pub payer: Payer,
    /// Its name.
    pub name: Arc<str>,
}

/// What may be spent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// From here on no request is accepted.
    pub limit: Money,
    /// From here on no running stream goes on: usually the limit.
    pub stop: Option<Money>,
    /// Per cent of the limit at which somebody is to be told.
    pub alerts: Vec<u8>,
}

/// What became of a budget so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The newest rule.
    pub rule: Rule,
    /// Settled.
    pub spent: Money,
    /// Held by running requests.
    pub reserved: Money,
}

/// An account that a request is to be charged to.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which account; it is opened if need be.
    pub account: AccountId,
    /// Its rule.
    pub rule: Rule,
}

/// A request may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it may cost before it must [ask for more](Book::extend) or stop; `None` if nothing
    /// stops it.
    pub allowance: Option<Money>,
}

/// A budget is used up; `wish` is its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Which wish.
    pub wish: usize,
}

/// An alert threshold that was reached just now. Each is, once in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// The account.
    pub account: AccountId,
    /// Per cent of its limit.
    pub percent: u8,
}

/// Why nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSettled {
    /// It was counted before.
    Already,
    /// The book knows no such stream, or has forgotten it: the durable ledger must say whether it
    /// was counted.
    Unknown,
}

/// All budgets.
#[derive(Clone, Debug, Default)]
pub struct Book {
    accounts: BTreeMap<AccountId, Account>,
    holds: BTreeMap<StreamId, Hold>,
    /// Live holds, by their end.
    live: BTreeSet<(UnixMillis, StreamId)>,
    /// The others, by their end: kept so that nothing is counted twice.
    past: BTreeSet<(UnixMillis, StreamId)>,
}

#[derive(Clone, Debug)]
struct Hold {
    accounts: Vec<AccountId>,
    /// What binds money while the hold is live.
    amount: Money,
    /// What is surely there; it matters where there is a stop.
    granted: Money,
    until: UnixMillis,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    Lapsed,
    Settled,
}

impl Book {
    /// Opens an account with what is known of it, or replaces what was known.
    pub fn open(&mut self, id: AccountId, account: Account) {
        self.accounts.insert(id, account);
    }

    /// Lets a request hold `amount` on all accounts until `until`, or changes nothing. What costs
    /// nothing is always let through. A stream that has a hold keeps the one it has.
    pub fn reserve(
        &mut self,
        stream: StreamId,
        wishes: &[Wish],
        amount: Money,
        until: UnixMillis,
    ) -> Result<Grant, Exhausted> {
        if let Some(hold) = self.holds.get(&stream) {
            return Ok(self.grant(hold));
        }
        let exhausted = |wish: &Wish| {
            let account = self.accounts.get(&wish.account);
            let bound = account.map_or(Money::ZERO, Account::bound);
            amount > Money::ZERO && bound >= wish.rule.limit
        };
        if let Some(wish) = wishes.iter().position(exhausted) {
            return Err(Exhausted { wish });
        }
        let mut granted = amount;
        for Wish { account, rule } in wishes {
            let account = self.accounts.entry(account.clone()).or_default();
            account.rule.clone_from(rule);
            if let Some(stop) = rule.stop {
                granted = granted.min(stop.less(account.bound()));
            }
            account.reserved = account.reserved.plus(amount);
        }
        let hold = Hold {
            accounts: wishes.iter().map(|wish| wish.account.clone()).collect(),
            amount,
            granted,
            until,
            state: State::Live,
        };
        let grant = self.grant(&hold);
        self.holds.insert(stream, hold);
        self.live.insert((until, stream));
        Ok(grant)
    }

    /// Says that the stream lives: its hold lasts until `until`, also if it had lapsed.
    pub fn renew(&mut self, stream: StreamId, until: UnixMillis) {
        let Some(hold) = self.holds.get_mut(&stream) else {
            return;
        };
        if hold.state == State::Settled {
            return;
        }
        self.past.remove(&(hold.until, stream));
        self.live.remove(&(hold.until, stream));
        self.live.insert((until, stream));
        hold.until = until;
        if hold.state == State::Lapsed {
            hold.state = State::Live;
            let amount = hold.amount;
            for id in &hold.accounts {
                let account = self.accounts.entry(id.clone()).or_default();
                account.reserved = account.reserved.plus(amount);
            }
        }
    }

    /// Lets a live stream cost up to `more` beyond its allowance, and says how much more: with
    /// nothing, it must stop.
    pub fn extend(&mut self, stream: StreamId, more: Money) -> Money {
        let Some(hold) = self.holds.get(&stream) else {
            return Money::ZERO;
        };
        if hold.state != State::Live {
            return Money::ZERO;
        }
        let room = |id: &AccountId| {
            let account = self.accounts.get(id)?;
            let others = account.bound().less(hold.amount);
            Some(account.rule.stop?.less(others.plus(hold.granted)))
        };
        let extra = hold.accounts.iter().filter_map(room).fold(more, Money::min);
        let granted = hold.granted.plus(extra);
        let growth = granted.less(hold.amount);
        for id in &hold.accounts {
            let account = self.accounts.entry(id.clone()).or_default();
            account.reserved = account.reserved.plus(growth);
        }
        if let Some(hold) = self.holds.get_mut(&stream) {
            hold.granted = granted;
            hold.amount = hold.amount.plus(growth);
        }
        extra
    }

    /// Counts what a stream did cost instead of what it held, once, and says which thresholds that
    /// reached.
    pub fn settle(&mut self, stream: StreamId, cost: Money) -> Result<Vec<Crossed>, NotSettled> {
        let Some(state) = self.holds.get(&stream).map(|hold| hold.state) else {
            return Err(NotSettled::Unknown);
        };
        if state == State::Settled {
            return Err(NotSettled::Already);
        }
        self.release(stream);
        let mut crossed = Vec::new();
        if let Some(hold) = self.holds.get_mut(&stream) {
            hold.state = State::Settled;
            for id in &hold.accounts {
                let account = self.accounts.entry(id.clone()).or_default();
                let percents = account.spend(cost);
                crossed.extend(percents.map(|percent| Crossed {
                    account: id.clone(),
                    percent,
                }));
            }
        }
        Ok(crossed)
    }

    /// Frees what a stream holds, as nothing ran. Should there be a cost after all, it can still be
    /// settled.
    pub fn release(&mut self, stream: StreamId) {
        let Some(hold) = self.holds.get_mut(&stream) else {
            return;
        };
        if hold.state != State::Live {
            return;
        }
        hold.state = State::Lapsed;
        self.live.remove(&(hold.until, stream));
        self.past.insert((hold.until, stream));
        let amount = hold.amount;
        for id in &hold.accounts {
            let account = self.accounts.entry(id.clone()).or_default();
            account.reserved = account.reserved.less(amount);
        }
    }

    /// Frees what is held by streams that did not renew in time.
    pub fn expire(&mut self, now: UnixMillis) {
        while let Some(&(until, stream)) = self.live.first() {
            if until > now {
                break;
            }
            self.release(stream);
        }
    }

    /// Forgets streams that hold nothing and whose hold would have ended before `before`, and
    /// accounts whose period did and on which nothing is held. For what is forgotten the durable
    /// ledger has to know what was settled.
    pub fn forget(&mut self, before: UnixMillis) {
        while let Some(&(until, stream)) = self.past.first() {
            if until >= before {
                break;
            }
            self.past.pop_first();
            self.holds.remove(&stream);
        }
        let kept = |id: &AccountId, account: &mut Account| {
            id.period.end() >= before || account.reserved > Money::ZERO
        };
        self.accounts.retain(kept);
    }

    /// What became of an account.
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }

    fn grant(&self, hold: &Hold) -> Grant {
        let stops = |id: &AccountId| self.accounts.get(id).is_some_and(|a| a.rule.stop.is_some());
        let allowance = hold.accounts.iter().any(stops).then_some(hold.granted);
        Grant { allowance }
    }
}

impl Account {
    /// What can be spent by no other.
    fn bound(&self) -> Money {
        self.spent.plus(self.reserved)
    }

    /// Counts a cost, and tells the thresholds that it reached.
    fn spend(&mut self, cost: Money) -> impl Iterator<Item = u8> + '_ {
        let before = self.spent;
        self.spent = before.plus(cost);
        let after = self.spent;
        let limit = self.rule.limit;
        let reached = move |spent: Money, percent: u8| {
            u128::from(spent.0) * 100 >= u128::from(limit.0) * u128::from(percent)
        };
        let alerts = self.rule.alerts.iter().copied();
        alerts.filter(move |&percent| reached(after, percent) && !reached(before, percent))
    }
}
