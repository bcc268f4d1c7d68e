//! Signed requests (RFC 9421): a caller proves that it has a key's secret without sending it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::UnixMillis;
use everstream_core::limits;
use everstream_core::sign::http::{
    ClockWindow, Fields, Presented, Request, SignatureError, Verified,
};
use everstream_core::sign::nonce::{NonceId, ReplayError, ReplayWindow};
use everstream_store::sql::NonceStore;
use http::HeaderMap;
use http::request::Parts;
use tokio::time::timeout;

use super::Directory;
use super::directory::Known;
use super::origin::{Forwarded, Peer};
use super::signed_body::Promise;
use crate::clock::Clock;

/// Verifies signed requests, and takes each of them once.
pub(super) struct Signatures {
    seen: Mutex<ReplayWindow>,
    /// Where other gateways with the same keys look, too.
    shared: Option<Arc<dyn NonceStore>>,
    /// When the shared ones were tidied last.
    pruned: AtomicU64,
    clock: Clock,
}

impl std::fmt::Debug for Signatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signatures")
    }
}

impl Signatures {
    pub(super) fn new(shared: Option<Arc<dyn NonceStore>>, clock: Clock) -> Self {
        Self {
            seen: Mutex::new(ReplayWindow::new(limits::NONCES)),
            shared,
            pruned: AtomicU64::default(),
            clock,
        }
    }

    /// The key that signed this request, which was not received before. From then on its body is
    /// checked by whoever reads it.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSignature`], [`ErrorCode::Replayed`], or [`ErrorCode::AccessUnavailable`]
    /// when only the database would know, and it does not answer.
    pub(super) async fn verify(
        &self,
        directory: &Directory,
        parts: &Parts,
        presented: &Presented,
    ) -> Result<Arc<Known>, Error> {
        let known = directory.known(presented.key_id()).await?;
        let known = known.ok_or_else(|| refusal(&SignatureError::Mismatch))?;
        let now = self.clock.now();
        let verified = verify(directory, parts, presented, (&known, now))?;
        let promise = parts.extensions.get::<Promise>().ok_or_else(|| {
            let message = "The body of a signed request cannot be checked here.";
            Error::new(ErrorCode::Internal, message)
        })?;
        promise.make(verified.body_check())?;
        self.claim(&verified, now).await?;
        Ok(known)
    }

    async fn claim(&self, verified: &Verified, now: UnixMillis) -> Result<(), Error> {
        let nonce = NonceId::new(&verified.key_id, &verified.nonce);
        let good_until = verified.good_until;
        self.claim_here(nonce, good_until, now)
            .map_err(|error| match error {
                ReplayError::Replayed => replayed(),
                ReplayError::Full => Error {
                    retry_after: Some(limits::SIGNATURES_FULL_PAUSE),
                    ..Error::new(ErrorCode::AccessUnavailable, error.to_string())
                },
            })?;
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let first = timeout(
            limits::NONCE_PATIENCE,
            shared.claim_nonce(nonce, good_until),
        )
        .await;
        match first {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(replayed()),
            // Without its database a gateway goes on, and knows what it has seen itself.
            Ok(Err(error)) => tracing::warn!(%error, "replays to other gateways are not seen"),
            Err(_) => tracing::warn!("replays to other gateways are not seen: no answer in time"),
        }
        self.prune(shared, now);
        Ok(())
    }

    fn claim_here(
        &self,
        nonce: NonceId,
        good_until: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), ReplayError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.claim(nonce, good_until, now)
    }

    /// Now and then forgets nonces that are too old.
    fn prune(&self, shared: &Arc<dyn NonceStore>, now: UnixMillis) {
        let last = self.pruned.load(Ordering::Relaxed);
        let is_due = now.since(UnixMillis(last)) >= limits::NONCES_PRUNED_EVERY;
        let swap = |last| {
            self.pruned
                .compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed)
        };
        if !is_due || swap(last).is_err() {
            return;
        }
        let shared = Arc::clone(shared);
        // The clocks of those who share it may be apart.
        let before = UnixMillis(now.0.saturating_sub(limits::CLOCK_SKEW.as_secs() * 1000));
        tokio::spawn(async move {
            if let Err(error) = shared.prune_nonces(before).await {
                tracing::debug!(%error, "old nonces are still there");
            }
        });
    }
}

/// The signature of a request, if it has one that is meant for this gateway: by its tag or, where no
/// key is shown, as the only one. Proxies may add signatures of their own.
pub(super) fn presented(parts: &Parts, shows_key: bool) -> Result<Option<Presented>, Error> {
    if !is_signed(&parts.headers) {
        return Ok(None);
    }
    let (fields, authority) = (Headers(&parts.headers), authority(parts));
    let request = request(parts, &fields, &authority);
    match Presented::read(&request) {
        Ok(Some(presented)) if shows_key && !presented.is_tagged() => Ok(None),
        Err(_) if shows_key && !names_us(&parts.headers) => Ok(None),
        other => other.map_err(|error| refusal(&error)),
    }
}

/// Whether a request may be signed.
pub(super) fn is_signed(headers: &HeaderMap) -> bool {
    headers.contains_key("signature-input") || headers.contains_key("signature")
}

fn names_us(headers: &HeaderMap) -> bool {
    let inputs = headers.get_all("signature-input").iter();
    let mut texts = inputs.filter_map(|input| input.to_str().ok());
    texts.any(|input| input.contains("tag=\"everstream\""))
}

/// While a key is rotated, two secrets sign.
fn verify(
    directory: &Directory,
    parts: &Parts,
    presented: &Presented,
    (known, now): (&Known, UnixMillis),
) -> Result<Verified, Error> {
    let (fields, authority) = (Headers(&parts.headers), authority(parts));
    let request = request(parts, &fields, &authority);
    let mut outcome = Err(SignatureError::Mismatch);
    for number in known.signing_numbers(now) {
        let secret = directory.master().secret(known.id.as_str(), number);
        let secret = secret.expose().as_bytes();
        outcome = presented.verify(&request, secret, now, ClockWindow::default());
        if outcome != Err(SignatureError::Mismatch) {
            break;
        }
    }
    outcome.map_err(|error| refusal(&error))
}

/// A request as its client addressed it.
fn request<'a>(
    parts: &'a Parts,
    fields: &'a Headers<'a>,
    authority: &'a str,
) -> Request<'a, Headers<'a>> {
    // A router around this one may have shortened the path.
    let original = parts.extensions.get::<axum::extract::OriginalUri>();
    let uri = original.map_or(&parts.uri, |original| &original.0);
    let forwarded = parts.extensions.get::<Forwarded>();
    let said = forwarded.and_then(|forwarded| forwarded.is_tls);
    let peer = parts.extensions.get::<Peer>();
    let is_tls = said.or_else(|| peer.map(|peer| peer.is_tls));
    let is_tls = is_tls.unwrap_or_else(|| uri.scheme_str() == Some("https"));
    Request {
        method: parts.method.as_str(),
        scheme: if is_tls { "https" } else { "http" },
        authority,
        target: uri.path_and_query().map_or("", |target| target.as_str()),
        fields,
    }
}

/// Whom the client addressed. Empty, which no client signs, if it does not say so once.
fn authority(parts: &Parts) -> String {
    let forwarded = parts.extensions.get::<Forwarded>();
    if let Some(host) = forwarded.and_then(|forwarded| forwarded.host.as_ref()) {
        return host.clone();
    }
    if let Some(authority) = parts.uri.authority() {
        return authority.as_str().to_owned();
    }
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    match (host, hosts.next()) {
        (Some(host), None) => host.to_owned(),
        _ => String::new(),
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Fields for Headers<'_> {
    fn each(&self, name: &str, see: &mut dyn FnMut(&[u8])) {
        let values = self.0.get_all(name).iter();
        values.for_each(|value| see(value.as_bytes()));
    }
}

/// What a client is told of a signature that is not good.
pub(super) fn refusal(error: &SignatureError) -> Error {
    Error::new(ErrorCode::InvalidSignature, error.to_string())
}

fn replayed() -> Error {
    Error::new(ErrorCode::Replayed, ReplayError::Replayed.to_string())
}
