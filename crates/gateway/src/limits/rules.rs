//! Which limits a request falls under.

use std::net::IpAddr;
use std::sync::Arc;

use everstream_core::config::RateLimitConfig;
use everstream_core::hex::hex;
use everstream_core::limits::LIMIT_NAME_BYTES;
use everstream_core::network::customer;
use everstream_core::policy::limit::bound::Bound;
use everstream_core::policy::limit::slots::store_key;
use everstream_core::policy::limit::{Limit, Subject};
use everstream_core::policy::scope::is_listed;
use everstream_store::counters::Seat;
use sha2::{Digest as _, Sha256};

use super::Asks;
use crate::access::Caller;

/// The rules of the configuration.
#[derive(Debug)]
pub(super) struct Rules(Vec<RateLimitConfig>);

/// The limits that one request falls under, each with the name of its subject. Of several that count the
/// same in the same time, the strictest.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) rates: Vec<(Limit, Arc<str>)>,
    pub(super) slots: Vec<(Subject, Arc<str>, u32)>,
}

impl Rules {
    pub(super) fn new(rules: &[RateLimitConfig]) -> Self {
        Self(rules.to_vec())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn due(&self, asks: &Asks<'_>) -> Due {
        let mut due = Due::default();
        let own = &asks.caller.scopes.limits;
        for subject in [
            Subject::Key,
            Subject::Project,
            Subject::Model,
            Subject::Address,
        ] {
            let own = own.iter().filter(|_| subject == Subject::Key);
            let mut rules = self.0.iter().filter(|rule| rule.per == subject).peekable();
            let mut own = own.peekable();
            if rules.peek().is_none() && own.peek().is_none() {
                continue;
            }
            let Some(name) = name(subject, asks).map(Arc::from) else {
                continue;
            };
            let rules = rules.filter(|rule| matches(rule, &name));
            let bounds = rules.flat_map(|rule| &rule.bounds);
            for bound in own.chain(bounds) {
                due.add(subject, &name, *bound);
            }
        }
        due
    }
}

impl Due {
    pub(super) const fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.slots.is_empty()
    }

    pub(super) fn seats(&self) -> Vec<Seat> {
        let seats = self.slots.iter().map(|(subject, name, limit)| Seat {
            key: store_key(*subject, name),
            limit: *limit,
        });
        seats.collect()
    }

    fn add(&mut self, subject: Subject, name: &Arc<str>, bound: Bound) {
        match bound {
            Bound::Rate(metric, quota, _) => {
                let limit = Limit {
                    subject,
                    metric,
                    quota,
                };
                let same = |known: &&mut (Limit, Arc<str>)| {
                    let known = known.0;
                    let window = known.quota.window() == quota.window();
                    known.subject == subject && known.metric == metric && window
                };
                match self.rates.iter_mut().find(same) {
                    Some((known, _)) if known.quota.units() <= quota.units() => {}
                    Some((known, _)) => *known = limit,
                    None => self.rates.push((limit, Arc::clone(name))),
                }
            }
            Bound::Concurrency(streams) => {
                let mut slots = self.slots.iter_mut();
                match slots.find(|(known, _, _)| *known == subject) {
                    Some((_, _, limit)) => *limit = streams.min(*limit),
                    None => self.slots.push((subject, Arc::clone(name), streams)),
                }
            }
        }
    }
}

fn matches(rule: &RateLimitConfig, name: &str) -> bool {
    let only = rule.only.as_ref();
    only.is_none_or(|names| is_listed(name, names))
}

/// What a subject is called, as far as there is one.
fn name(subject: Subject, asks: &Asks<'_>) -> Option<String> {
    let name = match subject {
        Subject::Key => key_name(asks.caller),
        Subject::Project => asks.caller.project.to_string(),
        Subject::Model => Some((asks.model)()).filter(|name| !name.is_empty())?,
        Subject::Address => address_name(asks.address?),
    };
    let plain = name.len() <= LIMIT_NAME_BYTES && name.bytes().all(|b| b.is_ascii_graphic());
    Some(if plain {
        name
    } else {
        hex(&Sha256::digest(name.as_bytes()))
    })
}

/// Keys of the configuration have no ids: those of one project count as one.
fn key_name(caller: &Caller) -> String {
    match &caller.key {
        Some(key) => key.to_string(),
        None => format!("of-project/{}", caller.project),
    }
}

pub(super) fn address_name(address: IpAddr) -> String {
    match customer(address) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}
