//! The little that is asked of the HTTP API of Vault and OpenBao.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use everstream_core::config::VaultConfig;
use everstream_core::dialect::{hide, redact};
use everstream_core::limits::{SECRET_BYTES, UPSTREAM_MESSAGE_CHARS, VAULT_TIMEOUT};
use everstream_core::policy::secrets::Failure;
use everstream_core::provider::Auth;
use everstream_core::secret::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::pace::Trouble;
use crate::upstream::{Reach, Request, SpecError, Upstream, UpstreamSpec};

/// A connection to one Vault.
pub(super) struct Client {
    upstream: Arc<Upstream>,
    namespace: Option<String>,
}

/// What Vault answers, as far as it matters.
#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    pub(super) lease_id: String,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    #[serde(default)]
    pub(super) data: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) auth: Option<Login>,
}

/// What comes of a login or its renewal.
#[derive(Deserialize)]
pub(super) struct Login {
    pub(super) client_token: String,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// A question to Vault.
pub(super) struct Question<'a> {
    /// The path below `/v1/`.
    pub(super) path: &'a str,
    /// Who asks.
    pub(super) token: Option<&'a Secret>,
    /// What is posted; without it, the path is read.
    pub(super) body: Option<Value>,
}

impl Client {
    pub(super) fn new(config: &VaultConfig) -> Result<Self, SpecError> {
        let address = config.address.as_deref().unwrap_or_default();
        let upstream = Upstream::new(UpstreamSpec {
            auth: Some(Auth::None),
            // Vaults are inside the network, and operators name them.
            reach: Reach::Private,
            ca_file: config.ca_file.clone(),
            connect_timeout: VAULT_TIMEOUT / 2,
            ..UpstreamSpec::new("Vault", format!("{address}/v1"))
        })?;
        Ok(Self {
            upstream: Arc::new(upstream),
            namespace: config.namespace.clone(),
        })
    }

    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Answer, Trouble> {
        let (path, token) = (question.path, question.token.cloned());
        let asked = tokio::time::timeout(VAULT_TIMEOUT, Box::pin(self.exchange(question))).await;
        let late = || {
            Err(Trouble::unanswered(format!(
                "no answer within {VAULT_TIMEOUT:?}"
            )))
        };
        let (status, text) = asked.unwrap_or_else(|_| late())?;
        if !(200..300).contains(&status) {
            return Err(refusal(status, &text, token.as_slice()));
        }
        // A parser's error would quote what it read.
        let unusable = || Trouble::unanswered(format!("the answer at {path} is not Vault's"));
        serde_json::from_slice(&text).map_err(|_| unusable())
    }

    async fn exchange(&self, question: Question<'_>) -> Result<(u16, Vec<u8>), Trouble> {
        let broken = |error: crate::upstream::UpstreamError| Trouble::unanswered(error.to_string());
        let mut headers = vec![("accept", "application/json"), ("x-vault-request", "true")];
        headers.extend(
            question
                .token
                .map(|token| ("x-vault-token", token.expose())),
        );
        let namespace = self.namespace.as_deref();
        headers.extend(namespace.map(|namespace| ("x-vault-namespace", namespace)));
        if question.body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let request = Request {
            method: if question.body.is_some() {
                "POST"
            } else {
                "GET"
            },
            path: &format!("/{}", question.path),
            headers: &headers,
            body: question.body.map(|body| Bytes::from(body.to_string())),
        };
        let mut response = self.upstream.send(request).await.map_err(broken)?;
        let mut text = Vec::new();
        while let Some(piece) = response.body.read().await.map_err(broken)? {
            if text.len() + piece.len() > SECRET_BYTES {
                return Err(Trouble::unanswered("the answer is too large"));
            }
            text.extend_from_slice(&piece);
        }
        Ok((response.head.status, text))
    }
}

/// What a refusal says. Vault is sealed, busy or in trouble with 429 and from 472 on.
fn refusal(status: u16, text: &[u8], secrets: &[Secret]) -> Trouble {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default)]
        errors: Vec<String>,
    }
    let said = serde_json::from_slice::<Refusal>(text).map(|refusal| refusal.errors.join("; "));
    let said = said.unwrap_or_default();
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().take(UPSTREAM_MESSAGE_CHARS).collect();
    let said = hide(redact(&said).into_owned().into(), secrets);
    let said = match (status, &*said) {
        (404, b"") => "nothing is there".into(),
        _ => String::from_utf8_lossy(&said),
    };
    let failure = match status {
        400..=428 if status != 412 => Failure::Refused,
        _ => Failure::Unanswered,
    };
    Trouble {
        failure,
        denied: status == 403,
        text: format!("Vault answered {status}: {said}"),
    }
}

/// The fields of a secret: of KV version 2, those of its newest version.
pub(super) fn fields(data: Option<Map<String, Value>>) -> BTreeMap<String, Secret> {
    let mut data = data.unwrap_or_default();
    let versioned = (data.get("metadata"))
        .is_some_and(|metadata| metadata.get("version").is_some_and(Value::is_u64));
    if versioned {
        data = match data.remove("data") {
            Some(Value::Object(inner)) => inner,
            _ => Map::new(),
        };
    }
    let texts = data.into_iter().filter_map(|(name, value)| match value {
        Value::String(text) if !text.is_empty() => Some((name, Secret::new(text))),
        _ => None,
    });
    texts.collect()
}
