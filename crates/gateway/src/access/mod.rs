//! Who calls.
//!
//! A caller shows a key of the configuration, one of the catalogue's ([`directory`]), or a token of
//! an issuer that is trusted ([`jwt`]). Nothing is read of a request before that, and nothing of the
//! database for keys that there are not.

mod directory;
mod failures;
mod follow;
mod jwt;
mod origin;
mod pace;
mod presented;
mod projects;
mod signed;
mod signed_body;
mod static_keys;

use std::sync::Arc;

use axum::body::Body;
use everstream_core::config::Config;
use everstream_core::dialect::openai::models_besides;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::ProjectId;
use everstream_core::network::Network;
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::policy::scope::{Api, is_listed};
use everstream_core::sign::api_key::KeyText;
use everstream_core::sign::http::Presented;
use everstream_core::sign::jwt::Token;
use everstream_store::sql::NonceStore;
use everstream_store::sql::values::{Allow, KeyId, OrganisationId, Payer, Scopes};
use http::Request;
use http::request::Parts;

use crate::clock::Clock;
pub use directory::Directory;
use directory::Known;
pub(crate) use failures::{Failures, Source};
pub use follow::{follow, read_all};
pub(crate) use jwt::Tokens;
use origin::Forwarded;
pub use origin::{Peer, client_address};
use pace::Pace;
use presented::presented_key;
pub use presented::{bearer, presents_key};
use signed::{Signatures, is_signed};
use signed_body::Promise;
use static_keys::StaticKeys;

/// Who may call.
#[derive(Debug)]
pub struct Access {
    configured: StaticKeys,
    catalogued: Option<Arc<Directory>>,
    tokens: Option<Tokens>,
    /// A key is needed even while there is none.
    is_closed: bool,
    proxies: Vec<Network>,
    signatures: Signatures,
    failures: Failures,
    pace: Pace,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Owns what it opens, and reads only that.
    pub project: ProjectId,
    /// Who pays for the project, if the catalogue knows it.
    pub organisation: Option<OrganisationId>,
    /// The key it showed, if the catalogue knows it.
    pub key: Option<KeyId>,
    /// What the key may do.
    pub scopes: Arc<Scopes>,
    /// What happens when nobody reads, unless the request says otherwise.
    pub on_disconnect: OnDisconnect,
}

impl Access {
    /// The keys of the configuration, and those of a catalogue.
    pub fn new(config: &Config, catalogued: Option<Arc<Directory>>, clock: Clock) -> Self {
        let shared = catalogued.as_ref().filter(|_| config.database.is_shared());
        let shared = shared.map(|directory| Arc::clone(directory.catalog()) as Arc<dyn NonceStore>);
        Self {
            configured: StaticKeys::new(config),
            catalogued,
            tokens: None,
            is_closed: config.require_keys || !config.jwt_issuers.is_empty(),
            proxies: config.trusted_proxies.clone(),
            signatures: Signatures::new(shared, clock),
            failures: Failures::new(config.limits.failed_authentications, clock),
            pace: Pace::new(),
        }
    }

    /// Lets the bearers of these tokens in as well.
    #[must_use]
    pub(crate) fn with_tokens(self, tokens: Tokens) -> Self {
        let tokens = Some(tokens);
        Self { tokens, ..self }
    }

    /// Whether anybody on this machine may call: there never was a key.
    pub fn is_open(&self) -> bool {
        let none = self.catalogued.as_ref().is_none_or(|keys| keys.is_empty());
        none && self.configured.is_empty() && !self.is_closed
    }

    /// The keys of the catalogue, if there is one.
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        self.catalogued.as_ref()
    }

    /// Prepares a request for [`authenticate`](Self::authenticate), before anything is read of it:
    /// notes what a trusted proxy says of its client, and has the body of a signed one checked.
    pub fn receive(&self, mut request: Request<Body>) -> Request<Body> {
        if !self.proxies.is_empty() {
            let peer = request.extensions().get::<Peer>().copied();
            let said = peer.and_then(|peer| Forwarded::of(peer, request.headers(), &self.proxies));
            if let Some(said) = said {
                request.extensions_mut().insert(said);
            }
        }
        if !is_signed(request.headers()) || request.extensions().get::<Promise>().is_some() {
            return request;
        }
        let (mut parts, body) = request.into_parts();
        let (promise, body) = Promise::of(body);
        parts.extensions.insert(promise);
        Request::from_parts(parts, body)
    }

    /// Who sent this request. Who is refused hears of it when it is its turn.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`], [`ErrorCode::InvalidSignature`] or [`ErrorCode::Replayed`];
    /// [`ErrorCode::TooManyFailures`] when there were too many of these;
    /// [`ErrorCode::AccessUnavailable`] when the database that would know the key does not answer.
    pub async fn authenticate(&self, parts: &Parts) -> Result<Caller, Error> {
        let source = client_address(parts).map(Source::of);
        let caller = self.identify(parts, source).await;
        if source.is_some() && caller.as_ref().is_err_and(is_refusal) {
            self.pace.turn().await;
        }
        caller
    }

    async fn identify(&self, parts: &Parts, source: Option<Source>) -> Result<Caller, Error> {
        let key = presented_key(&parts.headers);
        let signature = signed::presented(parts, key.is_some());
        let credential = match (&signature, key) {
            (Ok(None), None) => return self.stranger(missing),
            (Ok(None), Some(key)) => key,
            (Ok(Some(signature)), _) => signature.key_id(),
            (Err(_), _) => "",
        };
        if let Some(source) = source {
            self.failures.admit(source, credential)?;
        }
        let caller = match &signature {
            Ok(None) => self.holder(credential).await,
            Ok(Some(signature)) => self.signer(parts, signature).await,
            Err(error) => Err(error.clone()),
        };
        match (source, &caller) {
            (Some(source), Ok(_)) => self.failures.succeeded(source, credential),
            (Some(source), Err(error)) if error.code.status() == 401 => {
                self.failures.failed(source);
            }
            _ => {}
        }
        caller
    }

    /// Who has this key.
    async fn holder(&self, key: &str) -> Result<Caller, Error> {
        if let Some(caller) = self.configured.caller(key) {
            return Ok(caller);
        }
        if let Some(tokens) = self.tokens.as_ref().filter(|_| Token::is_meant(key)) {
            return self.bearer_of_token(tokens, key).await;
        }
        let Some(directory) = &self.catalogued else {
            return self.stranger(unknown);
        };
        let Some(text) = KeyText::parse(key) else {
            return self.stranger(unknown);
        };
        Ok(self.caller(&*directory.verify(text).await?))
    }

    /// Who signed this request.
    async fn signer(&self, parts: &Parts, signature: &Presented) -> Result<Caller, Error> {
        let Some(directory) = &self.catalogued else {
            return self.stranger(unsignable);
        };
        let key = self.signatures.verify(directory, parts, signature).await;
        match key {
            Ok(key) => Ok(self.caller(&key)),
            Err(error) => self.stranger(|| error),
        }
    }

    fn caller(&self, key: &Known) -> Caller {
        Caller {
            project: key.project.clone(),
            organisation: Some(key.organisation.clone()),
            key: Some(key.id.clone()),
            scopes: Arc::clone(&key.scopes),
            on_disconnect: self.configured.on_disconnect(),
        }
    }

    /// Who bears a token. What is known of its project counts as for keys.
    async fn bearer_of_token(&self, tokens: &Tokens, text: &str) -> Result<Caller, Error> {
        let mut caller = tokens.verify(text).await?;
        if let Some(directory) = &self.catalogued {
            caller.organisation = directory.payer(&caller.project).await?;
        }
        Ok(caller)
    }

    /// Whoever shows no key that is known: while there is none at all, everybody is let in.
    fn stranger(&self, refusal: impl FnOnce() -> Error) -> Result<Caller, Error> {
        let open = self.is_open().then(|| self.configured.anybody());
        open.flatten().ok_or_else(refusal)
    }
}

impl Caller {
    /// Who is to pay for what it asks.
    pub fn payer(&self) -> Payer {
        Payer {
            organisation: self.organisation.clone(),
            project: self.project.clone(),
            key: self.key.clone(),
        }
    }

    /// Checks that its key may use an API.
    pub fn may_use(&self, api: impl Into<Api>) -> Result<(), Error> {
        allowed(&self.scopes.surfaces, api.into().as_str(), "API")
    }

    /// Checks that its key may ask a model, by the name that the client gives it. `None` is one that
    /// nobody can tell here: the provider's default, or what a file names.
    pub fn may_ask(&self, model: Option<&str>) -> Result<(), Error> {
        match (model, &self.scopes.models) {
            (Some(model), models) => allowed(models, model, "model"),
            (None, Allow::All) => Ok(()),
            (None, Allow::Only(_)) => {
                let message = "This key may not ask every model, and it cannot be told which this \
                               request asks: name one, if its API has a place for that.";
                Err(Error::new(ErrorCode::Forbidden, message).param("model"))
            }
        }
    }

    /// Checks that its key may ask all models that a body names beside the one it asks for.
    pub fn may_ask_besides(&self, body: &[u8]) -> Result<(), Error> {
        if self.scopes.models == Allow::All {
            return Ok(());
        }
        let models = models_besides(body)?;
        models
            .iter()
            .try_for_each(|model| self.may_ask(Some(model)))
    }
}

fn allowed(allow: &Allow, name: &str, what: &str) -> Result<(), Error> {
    let Allow::Only(names) = allow else {
        return Ok(());
    };
    if is_listed(name, names) {
        return Ok(());
    }
    let others = match &**names {
        [] => "none".to_owned(),
        names => format!("`{}`", names.join("`, `")),
    };
    let message = format!("This key may not use the {what} `{name}`; it may use {others}.");
    Err(Error::new(ErrorCode::Forbidden, message))
}

/// Whether it is the caller that is at fault, and not a database.
fn is_refusal(error: &Error) -> bool {
    error.code.status() == 401 || error.code == ErrorCode::TooManyFailures
}

fn missing() -> Error {
    let message = "No API key: send it as `Authorization: Bearer <key>`, `x-api-key` or \
                   `x-goog-api-key`, or sign the request.";
    Error::new(ErrorCode::Unauthorized, message)
}

fn unsignable() -> Error {
    let message = "Signed requests need a key of the database, and this gateway has none: it knows \
                   its keys by their hashes alone.";
    Error::new(ErrorCode::InvalidSignature, message)
}

fn unknown() -> Error {
    let message = "This API key is not known here. Check that it is one of this gateway's \
                   keys, not a provider's.";
    Error::new(ErrorCode::Unauthorized, message)
}

#[cfg(test)]
mod tests;
