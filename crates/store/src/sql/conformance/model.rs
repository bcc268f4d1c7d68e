//! The money of the contract as a program: budgets, reserves and the ledger in memory.

use std::collections::BTreeMap;

use everstream_core::id::{StreamId, UnixMillis};

use crate::sql::values::{
    Budget, BudgetId, BudgetState, Held, LedgerEntry, Refusal, ReserveRequest, Reserved,
};

/// Budgets, reserves and the ledger.
#[derive(Clone, Debug, Default)]
pub struct Model {
    budgets: BTreeMap<BudgetId, Budget>,
    holds: BTreeMap<StreamId, Hold>,
    ledger: BTreeMap<StreamId, LedgerEntry>,
}

#[derive(Clone, Debug)]
struct Hold {
    /// With the beginning of the period it counts in.
    budgets: BTreeMap<BudgetId, UnixMillis>,
    amount: u64,
    lease_until: UnixMillis,
}

impl Model {
    /// Makes a budget, or changes its limit.
    pub fn put_budget(&mut self, budget: Budget) {
        self.budgets.insert(budget.id.clone(), budget);
    }

    /// Removes a budget, and says whether it was there.
    pub fn delete_budget(&mut self, id: &BudgetId) -> bool {
        for hold in self.holds.values_mut() {
            hold.budgets.remove(id);
        }
        self.holds.retain(|_, hold| !hold.budgets.is_empty());
        self.budgets.remove(id).is_some()
    }

    /// How a budget stands in the period of `at`, with the reserves that are good at `now`.
    pub fn state(&self, budget: &Budget, at: UnixMillis, now: UnixMillis) -> BudgetState {
        let since = budget.period.start(at);
        let settled = self.ledger.values().filter(|entry| {
            budget.scope.covers(&entry.payer) && budget.period.start(entry.at) == since
        });
        let held = self
            .holds
            .values()
            .filter(|hold| hold.lease_until > now && hold.budgets.get(&budget.id) == Some(&since));
        BudgetState {
            budget: budget.clone(),
            since,
            until: budget.period.end(at),
            spent: settled.map(|entry| entry.cost.0).sum(),
            reserved: held.map(|hold| hold.amount).sum(),
        }
    }

    /// All budgets at `now`.
    pub fn budgets(&self, now: UnixMillis) -> Vec<BudgetState> {
        self.budgets
            .values()
            .map(|budget| self.state(budget, now, now))
            .collect()
    }

    /// As [`Catalog::reserve`](crate::sql::Catalog::reserve).
    pub fn reserve(&mut self, asked: &ReserveRequest) -> Reserved {
        let covering = self
            .budgets
            .values()
            .filter(|b| b.scope.covers(&asked.payer));
        let states: Vec<_> = covering
            .map(|budget| self.state(budget, asked.at, asked.now))
            .collect();
        let held = |amount| {
            let held = |state: &BudgetState| Held {
                budget: state.budget.id.clone(),
                limit: state.budget.limit,
                spent: state.spent,
                reserved: state.reserved + amount,
            };
            Reserved::Held(states.iter().map(held).collect())
        };
        if states.is_empty() {
            return held(0);
        }
        if let Some(hold) = self.holds.get_mut(&asked.stream)
            && hold.lease_until > asked.now
        {
            hold.lease_until = asked.lease_until;
            return held(0);
        }
        let is_used_up = |s: &&BudgetState| s.spent + s.reserved >= s.budget.limit.0;
        if let Some(state) = states.iter().find(is_used_up) {
            return Reserved::Refused(Refusal {
                budget: state.budget.id.clone(),
                limit: state.budget.limit,
                spent: state.spent,
                reserved: state.reserved,
                resets_at: state.until,
            });
        }
        let reserved = held(asked.amount.0);
        let windows = states.iter().map(|s| (s.budget.id.clone(), s.since));
        let hold = Hold {
            budgets: windows.collect(),
            amount: asked.amount.0,
            lease_until: asked.lease_until,
        };
        self.holds.insert(asked.stream, hold);
        reserved
    }

    /// As [`Catalog::renew`](crate::sql::Catalog::renew), for one stream.
    pub fn renew(&mut self, stream: StreamId, now: UnixMillis, until: UnixMillis) -> bool {
        let hold = self.holds.get_mut(&stream);
        let hold = hold.filter(|hold| hold.lease_until > now);
        hold.map(|hold| hold.lease_until = until).is_some()
    }

    /// As [`Catalog::release`](crate::sql::Catalog::release).
    pub fn release(&mut self, stream: StreamId) {
        self.holds.remove(&stream);
    }

    /// As [`Catalog::settle`](crate::sql::Catalog::settle), for one entry: whether it is new.
    pub fn settle(&mut self, entry: &LedgerEntry) -> bool {
        self.holds.remove(&entry.stream);
        let is_new = !self.ledger.contains_key(&entry.stream);
        if is_new {
            self.ledger.insert(entry.stream, entry.clone());
        }
        is_new
    }

    /// When the generation was accepted, if the ledger has it.
    pub fn settled_at(&self, stream: StreamId) -> Option<UnixMillis> {
        self.ledger.get(&stream).map(|entry| entry.at)
    }

    /// As [`Catalog::sweep`](crate::sql::Catalog::sweep).
    pub fn sweep(&mut self, now: UnixMillis) {
        self.holds.retain(|_, hold| hold.lease_until > now);
    }
}
