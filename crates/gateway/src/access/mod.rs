//! Who calls.
//!
//! A caller shows a key of the configuration, one of the catalogue's ([`directory`]), or a token of
//! an issuer that is trusted ([`jwt`]). Nothing is read of a request before that, and nothing of the
//! database for keys that there are not.

mod directory;
mod follow;
mod jwt;
mod origin;
mod presented;
mod projects;
mod static_keys;

use std::sync::Arc;

use everstream_core::config::Config;
use everstream_core::dialect::openai::models_besides;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::ProjectId;
use everstream_core::network::Network;
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::policy::scope::{Api, is_listed};
use everstream_core::sign::api_key::KeyText;
use everstream_core::sign::jwt::Token;
use everstream_store::sql::values::{Allow, KeyId, OrganisationId, Payer, Scopes};
use http::request::Parts;

pub use directory::Directory;
pub use follow::{follow, read_all};
pub(crate) use jwt::Tokens;
pub(crate) use origin::Forwarded;
pub use origin::{Peer, client_address};
use presented::presented_key;
pub use presented::{bearer, presents_key};
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
    pub fn new(config: &Config, catalogued: Option<Arc<Directory>>) -> Self {
        Self {
            configured: StaticKeys::new(config),
            catalogued,
            tokens: None,
            is_closed: config.require_keys || !config.jwt_issuers.is_empty(),
            proxies: config.trusted_proxies.clone(),
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

    /// Notes what a trusted proxy says of a request's client, for [`client_address`].
    pub fn locate<B>(&self, request: &mut http::Request<B>) {
        if self.proxies.is_empty() {
            return;
        }
        let peer = request.extensions().get::<Peer>().copied();
        let said = peer.and_then(|peer| Forwarded::of(peer, request.headers(), &self.proxies));
        if let Some(said) = said {
            request.extensions_mut().insert(said);
        }
    }

    /// Who sent this request.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`]; [`ErrorCode::AccessUnavailable`] when the database that would know
    /// the key does not answer.
    pub async fn authenticate(&self, parts: &Parts) -> Result<Caller, Error> {
        let Some(key) = presented_key(&parts.headers) else {
            return self.stranger(missing);
        };
        if let Some(caller) = self.configured.caller(key) {
            return Ok(caller);
        }
        if let Some(bearer) = self.bearer_of_token(key).await {
            return bearer;
        }
        let Some(directory) = &self.catalogued else {
            return self.stranger(unknown);
        };
        let Some(text) = KeyText::parse(key) else {
            return self.stranger(unknown);
        };
        let key = directory.verify(text).await?;
        Ok(Caller {
            project: key.project.clone(),
            organisation: Some(key.organisation.clone()),
            key: Some(key.id.clone()),
            scopes: Arc::clone(&key.scopes),
            on_disconnect: self.configured.on_disconnect(),
        })
    }

    /// Who bears a token. `None` if the text is meant to be none.
    async fn bearer_of_token(&self, text: &str) -> Option<Result<Caller, Error>> {
        let tokens = self.tokens.as_ref().filter(|_| Token::is_meant(text))?;
        let bearer = tokens.verify(text).await;
        let (Ok(caller), Some(directory)) = (&bearer, &self.catalogued) else {
            return Some(bearer);
        };
        let payer = directory.payer(&caller.project).await;
        Some(payer.and_then(|organisation| {
            let mut caller = bearer?;
            caller.organisation = organisation;
            Ok(caller)
        }))
    }

    /// Whoever shows no key that is known: while there is none at all, everybody is let in.
    fn stranger(&self, refusal: fn() -> Error) -> Result<Caller, Error> {
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

fn missing() -> Error {
    let message = "No API key: send it as `Authorization: Bearer <key>`, `x-api-key` or \
                   `x-goog-api-key`.";
    Error::new(ErrorCode::Unauthorized, message)
}

fn unknown() -> Error {
    let message = "This API key is not known here. Check that it is one of this gateway's \
                   keys, not a provider's.";
    Error::new(ErrorCode::Unauthorized, message)
}

#[cfg(test)]
mod tests;
