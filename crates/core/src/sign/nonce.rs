//! Replays: a signed request is good for some minutes, and must be taken only once in them.
//!
//! Only nonces of requests that are genuine are claimed, so that nobody else can fill the window.
//! [`ReplayWindow`] is for one process. Where several serve the same keys, the claim is a write to
//! the store they share that succeeds only if [`NonceId::store_key`] is absent, and that expires
//! with the signature (Redis: `SET key 1 NX PXAT <good until>`).

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::id::UnixMillis;

/// A nonce of one key, in a fixed size: 128 bits of SHA-256 over both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NonceId([u8; 16]);

impl NonceId {
    /// The nonce that `key_id` used.
    pub fn new(key_id: &str, nonce: &str) -> Self {
        let mut hash = Sha256::new();
        // The length keeps `ab` + `c` and `a` + `bc` apart.
        hash.update((key_id.len() as u64).to_be_bytes());
        hash.update(key_id);
        hash.update(nonce);
        let hash: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }

    /// The hash, for a store that holds bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key under which a shared store holds it: `everstream:nonce:` and 22 characters.
    pub fn store_key(self) -> String {
        format!("everstream:nonce:{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Why a nonce could not be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It was claimed before.
    #[error("This signed request was received before: sign anew, with a new nonce.")]
    Replayed,
    /// There is no room to remember another one; to accept it would open the door to replays.
    #[error("More signed requests arrive than can be told from replays: try again later.")]
    Full,
}

/// The nonces that were used and could be used again, in bounded memory. It is exact: it refuses
/// each nonce a second time, and no other.
///
/// A new process knows nothing of what an older one accepted. What must hold across restarts needs
/// the shared store.
#[derive(Debug)]
pub struct ReplayWindow {
    seen: BTreeSet<NonceId>,
    /// What can be forgotten after a second (since 1970) is over.
    ends: BTreeMap<u64, Vec<NonceId>>,
    /// All that was good until then, in the same seconds, is forgotten.
    horizon: u64,
    capacity: usize,
}

impl ReplayWindow {
    /// A window that remembers `capacity` nonces, of some 60 bytes each.
    pub const fn new(capacity: usize) -> Self {
        Self {
            seen: BTreeSet::new(),
            ends: BTreeMap::new(),
            horizon: 0,
            capacity,
        }
    }

    /// Claims a nonce whose signature is good at `now` and until `good_until`.
    pub fn claim(
        &mut self,
        nonce: NonceId,
        good_until: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), ReplayError> {
        self.forget(now);
        let end = good_until.0.div_ceil(1000);
        // If the clock was set back, this one may have been claimed and forgotten.
        if end < self.horizon || self.seen.contains(&nonce) {
            return Err(ReplayError::Replayed);
        }
        if self.seen.len() >= self.capacity {
            return Err(ReplayError::Full);
        }
        self.seen.insert(nonce);
        self.ends.entry(end).or_default().push(nonce);
        Ok(())
    }

    /// How many nonces are remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Drops what is no longer good at `now`.
    fn forget(&mut self, now: UnixMillis) {
        // At the very millisecond of its end a signature is still good.
        self.horizon = self.horizon.max(now.0.div_ceil(1000));
        while let Some(first) = self.ends.first_entry() {
            if *first.key() >= self.horizon {
                break;
            }
            for nonce in first.remove() {
                self.seen.remove(&nonce);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn later(seconds: u64) -> UnixMillis {
        UnixMillis(NOW.0 + seconds * 1000)
    }

    #[test]
    fn a_nonce_is_taken_once() {
        let mut window = ReplayWindow::new(8);
        let nonce = NonceId::new("key", "nonce");
        assert_eq!(window.claim(nonce, later(5), NOW), Ok(()));
        assert_eq!(
            window.claim(nonce, later(5), later(5)),
            Err(ReplayError::Replayed)
        );
        assert_eq!(
            window.claim(NonceId::new("key2", "nonce"), later(5), NOW),
            Ok(())
        );
        assert_eq!(
            window.claim(NonceId::new("ke", "ynonce"), later(5), NOW),
            Ok(())
        );
        assert_eq!(window.len(), 3);
    }

    #[test]
    fn a_full_window_refuses_rather_than_forgets() {
        let mut window = ReplayWindow::new(2);
        let nonce = |n: u32| NonceId::new("key", &n.to_string());
        assert_eq!(window.claim(nonce(1), later(1), NOW), Ok(()));
        assert_eq!(window.claim(nonce(2), later(9), NOW), Ok(()));
        assert_eq!(
            window.claim(nonce(3), later(9), NOW),
            Err(ReplayError::Full)
        );
        assert_eq!(
            window.claim(nonce(1), later(1), later(1)),
            Err(ReplayError::Replayed)
        );
        assert_eq!(window.claim(nonce(3), later(9), later(2)), Ok(()));
        assert_eq!(
            window.claim(nonce(2), later(9), later(2)),
            Err(ReplayError::Replayed)
        );
    }

    #[test]
    fn a_clock_set_back_opens_no_door() {
        let mut window = ReplayWindow::new(8);
        let nonce = NonceId::new("key", "nonce");
        assert_eq!(window.claim(nonce, later(5), NOW), Ok(()));
        assert_eq!(
            window.claim(NonceId::new("key", "other"), later(99), later(60)),
            Ok(())
        );
        assert_eq!(window.len(), 1);
        assert_eq!(
            window.claim(nonce, later(5), NOW),
            Err(ReplayError::Replayed)
        );
    }

    #[test]
    fn a_store_key_tells_nothing_and_is_short() {
        let key = NonceId::new("key", &"n".repeat(256)).store_key();
        assert_eq!(key.len(), "everstream:nonce:".len() + 22);
        assert_ne!(key, NonceId::new("key", "n").store_key());
    }

    proptest! {
        /// A list of all nonces ever claimed is the model.
        #[test]
        fn it_is_exact(claims in proptest::collection::vec((0u8..6, 0u64..4_000, 0u64..20_000), 1..80)) {
            let mut window = ReplayWindow::new(6);
            let mut claimed: Vec<(u8, u64)> = Vec::new();
            let mut now = NOW.0;
            for (name, pause, lasts) in claims {
                now += pause;
                let end = now + lasts;
                let used = claimed.iter().any(|&(other, end)| other == name && end >= now);
                let got = window.claim(NonceId::new("k", &name.to_string()), UnixMillis(end), UnixMillis(now));
                match got {
                    Ok(()) => prop_assert!(!used),
                    // It may be remembered to the end of its last second.
                    Err(ReplayError::Replayed) => {
                        let lately = |&(other, end): &(u8, u64)| other == name && end + 1000 > now;
                        prop_assert!(claimed.iter().any(lately));
                    }
                    Err(ReplayError::Full) => prop_assert!(false, "six names fit"),
                }
                if got.is_ok() {
                    claimed.push((name, end));
                }
                prop_assert!(window.len() <= 6);
            }
        }
    }
}
