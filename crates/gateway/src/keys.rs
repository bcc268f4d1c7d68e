//! Who calls: the keys that clients show.

use std::collections::HashMap;

use everstream_core::config::{Config, key_hash};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::ProjectId;
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::record::Digest;
use http::HeaderMap;

/// Who may call. Keys are known by their SHA-256 alone.
#[derive(Debug)]
pub struct Keys {
    by_hash: HashMap<Digest, Caller>,
    /// Who calls when no key is configured: loopback only.
    open: Option<Caller>,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Owns what it opens, and reads only that.
    pub project: ProjectId,
    /// What happens when nobody reads, unless the request says otherwise.
    pub on_disconnect: OnDisconnect,
}

impl Keys {
    /// The static keys of the configuration.
    pub fn new(config: &Config) -> Self {
        let default = config.streams.on_disconnect;
        let by_hash = config.keys.iter().map(|key| {
            let on_disconnect = key.on_disconnect.unwrap_or(default);
            (
                key.hash,
                Caller {
                    project: key.project.clone(),
                    on_disconnect,
                },
            )
        });
        let by_hash: HashMap<_, _> = by_hash.collect();
        let open = by_hash.is_empty().then(|| "default".parse().ok()).flatten();
        let open = open.map(|project| Caller {
            project,
            on_disconnect: default,
        });
        Self { by_hash, open }
    }

    /// Whether anybody may call.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Who sent these headers. Keys come as each dialect's SDK sends them: `Authorization: Bearer`,
    /// `x-api-key`, `api-key` or `x-goog-api-key`.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        if let Some(caller) = &self.open {
            return Ok(caller.clone());
        }
        let missing = || {
            let message = "No API key: send it as `Authorization: Bearer <key>`, `x-api-key` or \
                 `x-goog-api-key`.";
            Error::new(ErrorCode::Unauthorized, message)
        };
        let key = presented_key(headers).ok_or_else(missing)?;
        let caller = self.by_hash.get(&key_hash(key));
        caller.cloned().ok_or_else(|| {
            let message = "This API key is not known here. Check that it is one of this gateway's \
                           keys, not a provider's.";
            Error::new(ErrorCode::Unauthorized, message)
        })
    }
}

/// Whether these headers hold a key, known or not.
pub fn presents_key(headers: &HeaderMap) -> bool {
    presented_key(headers).is_some()
}

/// The key in `Authorization: Bearer <key>` (RFC 6750, section 2.1).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?;
    let (scheme, key) = value.to_str().ok()?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case("bearer ").then(|| key.trim())
}

fn presented_key(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).or_else(|| {
        headers
            .get("x-api-key")
            .or_else(|| headers.get("api-key"))
            .or_else(|| headers.get("x-goog-api-key"))?
            .to_str()
            .ok()
    })
}
