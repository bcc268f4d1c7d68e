//! Requests signed with keys of the catalogue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use everstream::access::Directory;
use everstream_core::id::UnixMillis;
use everstream_core::secret::Secret;
use everstream_core::sign::http::{Request, Signer, content_digest};
use everstream_store::sql::values::{KeyId, Scopes};

use crate::catalogued::{self, tester};
use crate::harness::{Gateway, within};

/// Headers, as a client sends them.
pub type Headers = Vec<(String, String)>;

/// A key of project `web`, and the secret that signs.
pub struct Key {
    pub id: KeyId,
    pub secret: Secret,
    host: String,
    nonces: AtomicU64,
}

/// What is signed.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub body: Option<&'a [u8]>,
    /// Seconds that the client's clock is ahead.
    pub ahead: i64,
}

impl<'a> Wish<'a> {
    pub fn get(target: &'a str) -> Self {
        Self {
            method: "GET",
            target,
            body: None,
            ahead: 0,
        }
    }

    pub fn post(target: &'a str, body: &'a [u8]) -> Self {
        Self {
            method: "POST",
            body: Some(body),
            ..Self::get(target)
        }
    }
}

/// The keys of a gateway.
pub fn directory(gateway: &Gateway) -> Arc<Directory> {
    Arc::clone(gateway.app.access.directory().unwrap())
}

impl Key {
    /// Makes the key of this number, and waits until the gateway knows it.
    pub async fn new(gateway: &Gateway, number: u8) -> Self {
        let (id, _) = catalogued::key(gateway, number, Scopes::default()).await;
        Self {
            secret: directory(gateway).master().secret(id.as_str(), 1),
            id,
            host: gateway.addr.to_string(),
            nonces: AtomicU64::new(0),
        }
    }

    /// The same key as somebody has it who calls another address.
    pub fn at(&self, host: &str) -> Self {
        Self {
            id: self.id.clone(),
            secret: Secret::new(self.secret.expose()),
            host: host.to_owned(),
            nonces: AtomicU64::new(1 << 32),
        }
    }

    /// The key with its next secret; the old one is good for so long.
    pub async fn rotate(&self, gateway: &Gateway, overlap: Duration) -> Self {
        let directory = directory(gateway);
        let master = directory.master();
        let hash = catalogued::hash(master, &self.id, 2);
        let now = gateway.app.clock.now();
        let (by, catalog) = (tester(now), directory.catalog());
        let rotated = catalog.rotate_key(&by, &self.id, hash, now.plus(overlap));
        rotated.await.unwrap();
        Self {
            secret: master.secret(self.id.as_str(), 2),
            ..self.at(&self.host)
        }
    }

    /// Ends it.
    pub async fn revoke(&self, gateway: &Gateway) {
        let directory = directory(gateway);
        let by = tester(gateway.app.clock.now());
        let revoked = directory.catalog().revoke_key(&by, &self.id).await;
        revoked.unwrap();
    }

    /// Waits until the gateway knows it, or knows it no more.
    pub async fn knows(&self, gateway: &Gateway, is_so: impl Fn(bool) -> bool) {
        let directory = directory(gateway);
        let known = async {
            loop {
                let known = directory.known(self.id.as_str()).await.unwrap();
                let now = gateway.app.clock.now();
                let live = known.is_some_and(|known| known.signing_numbers(now).next().is_some());
                if is_so(live) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(known).await;
    }

    /// The headers of a signed request.
    pub fn sign(&self, gateway: &Gateway, wish: Wish<'_>) -> Headers {
        let nonce = format!("n-{}", self.nonces.fetch_add(1, Ordering::Relaxed));
        let now = gateway.app.clock.now().0;
        let signer = Signer {
            key_id: self.id.as_str(),
            nonce: &nonce,
            created: UnixMillis(now.saturating_add_signed(wish.ahead * 1000)),
            expires: None,
        };
        let digest = wish.body.map(content_digest);
        let mut headers: Headers = digest
            .map(|digest| ("content-digest".to_owned(), digest))
            .into_iter()
            .collect();
        let request = Request {
            method: wish.method,
            scheme: "http",
            authority: &self.host,
            target: wish.target,
            fields: &headers[..],
        };
        let secret = self.secret.expose().as_bytes();
        let signed = signer.sign(&request, secret).unwrap();
        headers.push(("signature-input".to_owned(), signed.signature_input));
        headers.push(("signature".to_owned(), signed.signature));
        headers
    }
}

/// The same, borrowed.
pub fn borrowed(headers: &Headers) -> Vec<(&str, &str)> {
    let pairs = headers.iter();
    pairs.map(|(name, value)| (&**name, &**value)).collect()
}
