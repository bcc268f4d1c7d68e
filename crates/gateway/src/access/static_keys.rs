//! Keys that stand in the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use everstream_core::config::{Config, key_hash};
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::record::Digest;
use everstream_store::sql::values::Scopes;

use super::Caller;

/// The keys, known by their SHA-256 alone.
#[derive(Debug)]
pub(super) struct StaticKeys {
    by_hash: HashMap<Digest, Caller>,
    on_disconnect: OnDisconnect,
    scopes: Arc<Scopes>,
}

impl StaticKeys {
    pub(super) fn new(config: &Config) -> Self {
        let scopes = Arc::new(Scopes::default());
        let default = config.streams.on_disconnect;
        let by_hash = config.keys.iter().map(|key| {
            let caller = Caller {
                project: key.project.clone(),
                organisation: None,
                key: None,
                scopes: Arc::clone(&scopes),
                on_disconnect: key.on_disconnect.unwrap_or(default),
            };
            (key.hash, caller)
        });
        Self {
            by_hash: by_hash.collect(),
            on_disconnect: default,
            scopes,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// What happens when nobody reads, for keys that do not say.
    pub(super) const fn on_disconnect(&self) -> OnDisconnect {
        self.on_disconnect
    }

    pub(super) fn caller(&self, key: &str) -> Option<Caller> {
        // Nothing is hashed where there is nothing to find.
        let known = !self.by_hash.is_empty();
        known
            .then(|| self.by_hash.get(&key_hash(key)).cloned())
            .flatten()
    }

    /// Who calls when there are no keys.
    pub(super) fn anybody(&self) -> Option<Caller> {
        Some(Caller {
            project: "default".parse().ok()?,
            organisation: None,
            key: None,
            scopes: Arc::clone(&self.scopes),
            on_disconnect: self.on_disconnect,
        })
    }
}
