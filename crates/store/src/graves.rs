//! What is remembered of streams that are gone.

use std::collections::HashMap;
use std::time::Duration;

use everstream_core::id::{ProjectId, StreamId, UnixMillis};
use everstream_core::limits;
use everstream_core::record::{Claim, Digest};

use crate::{Claimed, LogError};

/// A stream that can no longer be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grave {
    /// Who may know that it existed.
    pub(crate) project: ProjectId,
    /// The `Idempotency-Key` it still holds.
    pub(crate) claim: Option<Box<Claim>>,
    /// When it went.
    pub(crate) at: UnixMillis,
}

/// All tombstones, and who holds which claim, of the living too.
#[derive(Debug)]
pub(crate) struct Graves {
    keep: Duration,
    by_id: HashMap<StreamId, Grave>,
    claims: HashMap<Digest, StreamId>,
}

impl Graves {
    pub(crate) fn new(keep: Duration) -> Self {
        Self {
            keep,
            by_id: HashMap::new(),
            claims: HashMap::new(),
        }
    }

    /// Whether the stream is known to be gone; true a little longer than its time, until the next
    /// [`purge`](Self::purge).
    pub(crate) fn contains(&self, id: StreamId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Why a stream that is not there is not there.
    pub(crate) fn absent(&self, id: StreamId, now: UnixMillis) -> LogError {
        match self.by_id.get(&id) {
            Some(grave) if self.is_kept(grave, now) => LogError::Gone {
                project: grave.project.clone(),
            },
            _ => LogError::NotFound,
        }
    }

    pub(crate) fn bury(&mut self, id: StreamId, grave: Grave) {
        self.by_id.insert(id, grave);
    }

    pub(crate) fn is_kept(&self, grave: &Grave, now: UnixMillis) -> bool {
        now.since(grave.at) < self.keep
    }

    /// Forgets those whose time is over, and the oldest when there are too many.
    pub(crate) fn purge(&mut self, now: UnixMillis) {
        let keep = self.keep;
        let mut oldest = None;
        if self.by_id.len() > limits::TOMBSTONES {
            let mut times: Vec<_> = self.by_id.values().map(|grave| grave.at).collect();
            let excess = times.len() - limits::TOMBSTONES;
            oldest = Some(*times.select_nth_unstable(excess).1);
        }
        let claims = &mut self.claims;
        self.by_id.retain(|id, grave| {
            let kept = now.since(grave.at) < keep && oldest.is_none_or(|oldest| grave.at >= oldest);
            if let Some(claim) = grave.claim.as_ref().filter(|_| !kept)
                && claims.get(&claim.key) == Some(id)
            {
                claims.remove(&claim.key);
            }
            kept
        });
    }

    /// Lets `id` hold the claim on `key`, whoever held it.
    pub(crate) fn claim(&mut self, key: Digest, id: StreamId) {
        self.claims.insert(key, id);
    }

    /// Frees the claim on `key`, if `id` holds it.
    pub(crate) fn release(&mut self, key: Digest, id: StreamId) {
        if self.claims.get(&key) == Some(&id) {
            self.claims.remove(&key);
        }
    }

    /// Who holds the claim on `key`, dead or alive.
    pub(crate) fn holder(&self, key: Digest) -> Option<StreamId> {
        self.claims.get(&key).copied()
    }

    /// The claim on `key` that a stream past retention still holds.
    pub(crate) fn claimed(&self, key: Digest, now: UnixMillis) -> Option<Claimed> {
        let stream = self.holder(key)?;
        let grave = self.by_id.get(&stream)?;
        let claim = **grave.claim.as_ref()?;
        (claim.key == key && self.is_kept(grave, now)).then_some(Claimed {
            stream,
            claim,
            expired: true,
        })
    }
}
