//! JSON Web Tokens in place of API keys. What is checked of them is in `core/src/sign/jwt`; here are
//! the keys of their issuers, and the tokens that were found good.

mod keys;
mod signature;

use std::sync::Arc;

use everstream_core::config::{Config, Env};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::UnixMillis;
use everstream_core::limits::{JWT_BYTES, JWT_CACHE};
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::sign::jwt::{Grant, Identity, Issuer, Jwks, JwtError, Token};
use everstream_store::sql::values::{Allow, Scopes};
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::Caller;
use crate::clock::Clock;
use crate::upstream::SpecError;
pub(crate) use keys::Follower;
use keys::IssuerKeys;
use signature::AwsLc;

/// The tokens of all issuers that are accepted.
pub(crate) struct Tokens {
    issuers: Vec<Trusted>,
    /// Tokens that were found good, by their SHA-256.
    known: Cache<[u8; 32], Arc<Known>>,
    on_disconnect: OnDisconnect,
    clock: Clock,
}

struct Trusted {
    rules: Issuer,
    keys: Arc<IssuerKeys>,
}

struct Known {
    /// The place of its issuer.
    issuer: usize,
    /// It is good for as long as these are its issuer's keys.
    keys: Arc<Jwks>,
    good_until: UnixMillis,
    caller: Caller,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.issuers.iter().map(|issuer| &issuer.rules.name);
        f.debug_set().entries(names).finish()
    }
}

impl Tokens {
    /// The issuers of the configuration, of whose keys nothing is known yet, and what fetches and
    /// follows them; `None` without issuers.
    ///
    /// # Errors
    /// When certificates or addresses are unusable.
    pub(crate) fn new(
        config: &Config,
        env: &Env,
        clock: Clock,
    ) -> Result<Option<(Self, Vec<Follower>)>, SpecError> {
        if config.jwt_issuers.is_empty() {
            return Ok(None);
        }
        let (mut issuers, mut followers) = (Vec::new(), Vec::new());
        for issuer in &config.jwt_issuers {
            let (keys, follower) = keys::follow(issuer, env, clock)?;
            let rules = issuer.rules();
            issuers.push(Trusted { rules, keys });
            followers.push(follower);
        }
        let tokens = Self {
            issuers,
            known: Cache::new(JWT_CACHE),
            on_disconnect: config.streams.on_disconnect,
            clock,
        };
        Ok(Some((tokens, followers)))
    }

    /// The bearer of a token.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`]; [`ErrorCode::AccessUnavailable`] while the keys of its issuer are
    /// not to be had.
    pub(crate) async fn verify(&self, text: &str) -> Result<Caller, Error> {
        if text.len() > JWT_BYTES {
            return Err(refused(JwtError::Malformed("it is too long")));
        }
        let digest = Sha256::digest(text.as_bytes()).into();
        if let Some(known) = self.known.get(&digest)
            && self.is_good(&known)
        {
            return Ok(known.caller.clone());
        }
        let known = Box::pin(self.judge(text)).await?;
        let caller = known.caller.clone();
        self.known.insert(digest, Arc::new(known));
        Ok(caller)
    }

    fn is_good(&self, known: &Known) -> bool {
        let keys = self.issuers[known.issuer].keys.now();
        let same = keys.is_some_and(|keys| Arc::ptr_eq(&keys, &known.keys));
        same && self.clock.now() < known.good_until
    }

    async fn judge(&self, text: &str) -> Result<Known, Error> {
        let token = Token::parse(text).map_err(refused)?;
        let is_its = |issuer: &Trusted| token.issuer() == Some(&issuer.rules.name);
        let place = self.issuers.iter().position(is_its);
        let place = place.ok_or_else(|| refused(JwtError::Issuer))?;
        let Trusted { rules, keys } = &self.issuers[place];
        let mut held = keys.first().await.ok_or_else(unavailable)?;
        let accept = |held: &Jwks| rules.accept(&token, held, &AwsLc, self.clock.now());
        let mut outcome = accept(&held);
        if outcome == Err(JwtError::UnknownKey)
            && let Some(newer) = keys.newer(&held).await
        {
            held = newer;
            outcome = accept(&held);
        }
        let identity = outcome.map_err(refused)?;
        let (subject, project) = (identity.subject.as_deref(), &identity.project);
        tracing::debug!(issuer = %rules.name, subject, %project, "a token was found good");
        Ok(Known {
            issuer: place,
            keys: held,
            good_until: identity.good_until,
            caller: self.caller(identity),
        })
    }

    fn caller(&self, identity: Identity) -> Caller {
        Caller {
            scopes: Arc::new(scopes(&identity)),
            project: identity.project,
            organisation: None,
            key: None,
            on_disconnect: self.on_disconnect,
        }
    }
}

/// What the grants of a token are among the scopes of keys.
fn scopes(identity: &Identity) -> Scopes {
    let mut scopes = Scopes {
        surfaces: Allow::Only(Vec::new()),
        models: Allow::Only(Vec::new()),
        topics: Allow::Only(Vec::new()),
        ..Scopes::default()
    };
    for grant in &identity.grants {
        let (allow, name) = match grant {
            Grant::All => return Scopes::default(),
            Grant::Surface(name) => (&mut scopes.surfaces, name),
            Grant::Model(name) => (&mut scopes.models, name),
            Grant::Topic(name) => (&mut scopes.topics, name),
        };
        if let Allow::Only(names) = allow {
            names.push(name.clone());
        }
    }
    scopes
}

fn refused(error: JwtError) -> Error {
    Error::new(ErrorCode::Unauthorized, error.to_string())
}

fn unavailable() -> Error {
    let message =
        "This token cannot be checked just now, as the keys of its issuer are not to be had.";
    let mut error = Error::new(ErrorCode::AccessUnavailable, message);
    error.retry_after = Some(std::time::Duration::from_secs(1));
    error
}
