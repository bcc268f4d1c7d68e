//! Tokens for a service account of Google's: OAuth 2.0 by a signed assertion (RFC 7523), or from the
//! metadata server of the machine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use everstream_core::dialect::redact;
use everstream_core::limits::{
    TOKEN_MARGIN, TOKEN_TIMEOUT, UPSTREAM_ERROR_BYTES, UPSTREAM_MESSAGE_CHARS,
};
use everstream_core::provider::Auth;
use everstream_core::secret::Secret;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Proxies, Reach, Request, SpecError, Upstream, UpstreamSpec};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const METADATA_HOST: &str = "metadata.google.internal";
const METADATA_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// The longest that Google lets an assertion live.
const ASSERTION_LIFE: u64 = 3_600;

/// Tokens of one account, fetched when they are needed and kept until shortly before their end.
pub(super) struct Tokens {
    endpoint: Arc<Upstream>,
    /// `None` for the machine's own account.
    account: Option<Account>,
    held: Mutex<Option<Held>>,
}

struct Held {
    token: Secret,
    renew_at: Instant,
    ends_at: Instant,
}

/// The key of a service account.
struct Account {
    email: String,
    key_id: String,
    key: KeyPair,
    /// Where tokens are asked for, which is also who the assertion is for.
    audience: String,
}

impl Tokens {
    /// Reads the key, if there is a file with one; connects to nothing.
    pub(super) fn new(spec: &UpstreamSpec) -> Result<Self, SpecError> {
        let account = spec.credentials.as_deref().map(|path| {
            Account::read(path).map_err(|reason| SpecError::Credentials {
                name: spec.name.clone(),
                path: path.to_owned(),
                reason,
            })
        });
        let account = account.transpose()?;
        let address = if let Some(account) = &account {
            account.audience.clone()
        } else {
            let host = spec.metadata_host.as_deref().unwrap_or(METADATA_HOST);
            format!("http://{host}{METADATA_PATH}")
        };
        // The metadata server is of this machine, and behind no proxy.
        let (reach, proxies) = match &account {
            Some(_) => (spec.reach, spec.proxies.clone()),
            None => (Reach::LinkLocal, Proxies::default()),
        };
        let endpoint = Upstream::new(UpstreamSpec {
            auth: Some(Auth::None),
            reach,
            proxies,
            ca_file: spec.ca_file.clone(),
            connect_timeout: spec.connect_timeout,
            ..UpstreamSpec::new(format!("{} (tokens)", spec.name), address)
        })?;
        Ok(Self {
            endpoint: Arc::new(endpoint),
            account,
            held: Mutex::new(None),
        })
    }

    /// A token that is good for a while. Who comes while one is being fetched waits for it.
    ///
    /// # Errors
    /// Half a sentence about why there is none.
    pub(super) async fn get(&self) -> Result<Secret, String> {
        let mut held = self.held.lock().await;
        let now = Instant::now();
        if let Some(held) = &*held
            && now < held.renew_at
        {
            return Ok(held.token.clone());
        }
        // Boxed, as it asks by what this is a part of.
        let fetched = tokio::time::timeout(TOKEN_TIMEOUT, Box::pin(self.fetch())).await;
        let late = || Err(format!("no answer within {TOKEN_TIMEOUT:?}"));
        match fetched.unwrap_or_else(|_| late()) {
            Ok(token) => {
                let life = Duration::from_secs(token.expires_in);
                let ends_at = now.checked_add(life).unwrap_or(now);
                let fresh = Held {
                    token: Secret::new(token.access_token),
                    renew_at: ends_at.checked_sub(TOKEN_MARGIN).unwrap_or(now),
                    ends_at,
                };
                Ok(held.insert(fresh).token.clone())
            }
            Err(reason) => match &*held {
                Some(held) if now < held.ends_at => Ok(held.token.clone()),
                _ => Err(reason),
            },
        }
    }

    /// The token was refused: the next request gets a new one.
    pub(super) fn refused(&self) {
        // Whoever holds the lock is fetching one already.
        if let Ok(mut held) = self.held.try_lock() {
            *held = None;
        }
    }

    async fn fetch(&self) -> Result<Token, String> {
        let (method, headers, body) = match &self.account {
            Some(account) => {
                let assertion = account.assertion()?;
                let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
                let form = format!("grant_type={grant}&assertion={assertion}");
                let headers = [("content-type", "application/x-www-form-urlencoded")];
                ("POST", headers, Some(Bytes::from(form)))
            }
            None => ("GET", [("metadata-flavor", "Google")], None),
        };
        let request = Request {
            method,
            path: "",
            headers: &headers,
            body,
        };
        let sent = self.endpoint.send(request).await;
        let mut response = sent.map_err(|error| error.to_string())?;
        let mut text = Vec::new();
        while let Some(piece) = response.body.read().await.map_err(|e| e.to_string())? {
            if text.len() + piece.len() > UPSTREAM_ERROR_BYTES {
                return Err("the answer with the token is too large".to_owned());
            }
            text.extend_from_slice(&piece);
        }
        match response.head.status {
            200 => serde_json::from_slice(&text)
                .map_err(|_| "the answer to the request for one holds none".to_owned()),
            status => Err(refusal(status, &text)),
        }
    }
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    expires_in: u64,
}

/// What a refusal (RFC 6749, section 5.2) says.
fn refusal(status: u16, text: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    match serde_json::from_slice::<Refusal>(text) {
        Ok(refusal) => {
            let reason = format!("{} {}", refusal.error, refusal.error_description);
            let reason: String = reason.trim().chars().take(UPSTREAM_MESSAGE_CHARS).collect();
            format!("it was refused with status {status}: {}", redact(&reason))
        }
        Err(_) => format!("it was refused with status {status}"),
    }
}

impl Account {
    /// Reads the file that Google gives out for a service account. Errors say nothing of its content.
    fn read(path: &Path) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct File {
            client_email: String,
            private_key: String,
            #[serde(default)]
            private_key_id: String,
            token_uri: String,
        }
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        let unusable = "it is not the JSON file of a service account's key: `client_email`, \
                        `private_key` and `token_uri` have to be in it";
        let file: File = serde_json::from_slice(&text).map_err(|_| unusable.to_owned())?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes());
        let key = key.map_err(|_| "its `private_key` is no PEM of PKCS #8".to_owned())?;
        let key = KeyPair::from_pkcs8(key.secret_pkcs8_der())
            .map_err(|_| "its `private_key` is no RSA key that can be used".to_owned())?;
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id,
            key,
            audience: file.token_uri,
        })
    }

    /// A JSON Web Token that says who we are, signed with RS256 (RFC 7515).
    fn assertion(&self) -> Result<String, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.audience,
            "iat": now,
            "exp": now + ASSERTION_LIFE,
        });
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let (header, claims) = (header.to_string(), claims.to_string());
        let signed = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        let result = (self.key).sign(
            &RSA_PKCS1_SHA256,
            &random,
            signed.as_bytes(),
            &mut signature,
        );
        result.map_err(|_| "the request for it could not be signed".to_owned())?;
        Ok(format!("{signed}.{}", encode(&signature)))
    }
}

#[cfg(test)]
mod tests;
