//! Failed authentications, limited by address.
//!
//! An address that used up its failures is not listened to for a while: neither is it told whether a
//! guess was right. Who showed from there what was good goes on unhindered: many clients may share an
//! address, and one with a wrong key must not shut out the others.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use everstream_core::error::{Error, ErrorCode};
use everstream_core::limits;
use everstream_core::network::customer;
use everstream_core::policy::limit::Quota;
use everstream_core::policy::limit::fields::seconds;
use everstream_core::policy::limit::rate::{Charge, Level, Refusal, reserve};
use quick_cache::sync::Cache;

use crate::clock::Clock;

/// What became of authentications lately, in bounded memory: of more addresses than fit, those are
/// forgotten that have been quiet.
pub(crate) struct Failures {
    /// `None`: there is no limit.
    quota: Option<Quota>,
    levels: Cache<Source, Arc<Mutex<Level>>>,
    /// Keyed hashes of address and credential.
    good: Cache<u64, ()>,
    hasher: RandomState,
    clock: Clock,
}

/// Who is limited together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(customer(address))
    }
}

impl std::fmt::Debug for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Failures")
    }
}

impl Failures {
    /// So many failures a minute from each address; 0 for no limit.
    pub(crate) fn new(per_minute: u32, clock: Clock) -> Self {
        Self {
            quota: Quota::new(per_minute.into(), Duration::from_mins(1)).ok(),
            levels: Cache::new(limits::FAILING_ADDRESSES),
            good: Cache::new(limits::GOOD_CALLERS),
            hasher: RandomState::new(),
            clock,
        }
    }

    /// Whether a credential from there is looked at.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyFailures`]
    pub(crate) fn admit(&self, source: Source, credential: &str) -> Result<(), Error> {
        match self.wait(source) {
            Some(wait) if self.good.get(&self.hash(source, credential)).is_none() => {
                Err(refusal(wait))
            }
            _ => Ok(()),
        }
    }

    /// It was good.
    pub(crate) fn succeeded(&self, source: Source, credential: &str) {
        let hash = self.hash(source, credential);
        if self.quota.is_some() && self.good.get(&hash).is_none() {
            self.good.insert(hash, ());
        }
    }

    /// It was not.
    pub(crate) fn failed(&self, source: Source) {
        let level = self.levels.get_or_insert_with(&source, || {
            Ok::<_, std::convert::Infallible>(Arc::default())
        });
        if let (Some(quota), Ok(level)) = (self.quota, level) {
            let mut level = level.lock().unwrap_or_else(PoisonError::into_inner);
            let level = &mut *level;
            let charge = Charge {
                quota,
                level,
                cost: 1,
            };
            // Many at once may have been let in together; the last of them find nothing left.
            let _spent = reserve(&mut [charge], self.clock.now());
        }
    }

    /// How long until one more failure is allowed, if none is now.
    fn wait(&self, source: Source) -> Option<Duration> {
        let quota = self.quota?;
        let level = self.levels.get(&source)?;
        let mut level = *level.lock().unwrap_or_else(PoisonError::into_inner);
        let charge = Charge {
            quota,
            level: &mut level,
            cost: 1,
        };
        match reserve(&mut [charge], self.clock.now()) {
            Err(Refusal::Wait { wait, .. }) => Some(wait),
            _ => None,
        }
    }

    fn hash(&self, source: Source, credential: &str) -> u64 {
        self.hasher.hash_one((source, credential))
    }
}

fn refusal(wait: Duration) -> Error {
    let message = "Too many requests from this address were refused for their key or signature: until \
                   some time has passed, none is looked at that was not good from there before.";
    Error {
        retry_after: Some(Duration::from_secs(seconds(wait))),
        ..Error::new(ErrorCode::TooManyFailures, message)
    }
}

#[cfg(test)]
mod tests {
    use everstream_core::id::UnixMillis;

    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    fn failures(per_minute: u32) -> Failures {
        Failures::new(per_minute, Clock::start_at(UnixMillis(1_800_000_000_000)))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_not_listened_to_while_its_failures_are_used_up() {
        let failures = failures(3);
        let (bad, other) = (source("203.0.113.9"), source("203.0.113.8"));
        failures.succeeded(bad, "good");
        for _ in 0..3 {
            failures.admit(bad, "guess").unwrap();
            failures.failed(bad);
        }
        let refused = failures.admit(bad, "guess").unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooManyFailures);
        assert_eq!(refused.retry_after, Some(Duration::from_secs(20)));
        assert!(failures.admit(bad, "unseen, and good").is_err());
        assert!(failures.admit(bad, "good").is_ok());
        assert!(failures.admit(other, "guess").is_ok());
        tokio::time::advance(Duration::from_secs(20)).await;
        failures.admit(bad, "guess").unwrap();
        failures.failed(bad);
        assert!(failures.admit(bad, "guess").is_err());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(failures.admit(bad, "guess").is_ok());
    }

    #[tokio::test]
    async fn a_network_of_ipv6_is_one_and_addresses_of_ipv4_are_many() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[tokio::test]
    async fn many_addresses_cost_bounded_memory() {
        let failures = failures(1);
        for n in 0..4 * limits::FAILING_ADDRESSES as u128 {
            let source = Source(std::net::Ipv6Addr::from_bits(n).into());
            failures.failed(source);
            failures.succeeded(source, "key");
        }
        assert!(failures.levels.len() <= limits::FAILING_ADDRESSES);
        assert!(failures.good.len() <= limits::GOOD_CALLERS);
    }

    #[tokio::test]
    async fn without_a_limit_there_is_none() {
        let failures = failures(0);
        for _ in 0..1_000 {
            failures.failed(source("192.0.2.1"));
        }
        assert!(failures.admit(source("192.0.2.1"), "guess").is_ok());
    }
}
