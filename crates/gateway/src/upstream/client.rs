use std::borrow::Cow;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use everstream_core::dialect::{ProviderDialect, Traits};
use everstream_core::event::Surface;
use everstream_core::frame::http1::{BodyLength, Fields, ResponseHead, request_head};
use everstream_core::provider::{self, Provider};
use everstream_core::secret::Secrets;
use futures_util::future::Either;

use super::body::Body;
use super::connection::{Io, Outgoing, Payload};
use super::dial::Way;
use super::link::{Link, LinkSight};
use super::pool::Pool;
use super::secrets::Kept;
use super::shared;
use super::standing::{Presented, secrets_of};
use super::tls::Tls;
use super::upload::Upload;
use super::{BaseUrl, SpecError, UpstreamError, UpstreamErrorKind, UpstreamSpec};
use crate::roots::TlsError;

/// One provider's API: where it is, how to talk to it, and its idle connections.
pub struct Upstream {
    spec: UpstreamSpec,
    /// Who runs it, if that is known.
    provider: Option<&'static Provider>,
    pub(super) base: BaseUrl,
    pub(super) presented: ArcSwap<Presented>,
    /// Follows the secrets in that which change.
    pub(super) kept: Option<Kept>,
    pub(super) secrets: Secrets,
    pub(super) way: Way,
    pub(super) transport: Option<Transport>,
    pub(super) pool: Pool,
    /// What is asked where HTTP/2 may be spoken.
    pub(super) shared: Option<Arc<shared::Pool>>,
    pub(super) link: Arc<Link>,
}

/// How to connect to an upstream that is no server on the network, but lives in this process: an
/// embedding program's own model, or a script. It has the kinds of a socket's errors, and the same
/// time as a socket.
pub type Transport = Arc<dyn Fn() -> Dialling + Send + Sync>;

/// A connection that is being made.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// What to ask of an upstream.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The path below the base URL, with its slash.
    pub path: &'a str,
    /// Headers beside those of the upstream.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; `None` for methods that have none.
    pub body: Option<Bytes>,
}

/// An answer: its head is there, its body is still to be read.
#[derive(Debug)]
pub struct Response {
    /// Status and headers.
    pub head: ResponseHead,
    /// The rest. Dropping it before its end closes the connection, or its stream of one that others
    /// share, which tells the upstream to stop.
    pub body: Body,
}

impl Upstream {
    /// Checks `spec` and reads its certificates; connects to nothing.
    pub fn new(spec: UpstreamSpec) -> Result<Self, SpecError> {
        let name = || spec.name.clone();
        let base: BaseUrl = (spec.base_url.parse()).map_err(|error| SpecError::BaseUrl {
            name: name(),
            error,
        })?;
        // SDKs are given Anthropic's address without the version, and add it themselves.
        let base = match spec.dialect {
            ProviderDialect::Anthropic => base.versioned("/v1"),
            // Its versions are of single paths.
            ProviderDialect::Cohere => base.without("/v1").without("/v2"),
            ProviderDialect::OpenAiChat
            | ProviderDialect::OpenAiResponses
            | ProviderDialect::Gemini
            | ProviderDialect::Bedrock => base,
        };
        let tls = base
            .is_https()
            .then(|| Tls::new(&base, spec.ca_file.as_deref()));
        let tls = tls.transpose().map_err(|error| match error {
            TlsError::CaFile(reason) => SpecError::CaFile {
                name: name(),
                path: spec.ca_file.clone().unwrap_or_default(),
                reason,
            },
            TlsError::Other(reason) => SpecError::Tls {
                name: name(),
                reason,
            },
        })?;
        let proxy = spec.proxies.on_the_way_to(&base);
        let proxy = proxy.map_err(|reason| SpecError::Proxy {
            name: name(),
            reason,
        })?;
        let reach = spec.reach.as_written(base.host());
        let link = Link::new(&spec.name);
        let secrets = Secrets::default();
        secrets.replace(secrets_of(&spec));
        Ok(Self {
            presented: ArcSwap::from_pointee(Presented::new(&spec, &base)?),
            kept: None,
            secrets,
            provider: spec.provider.or_else(|| provider::at(base.host())),
            pool: Pool::new(spec.idle_connections, spec.idle_timeout),
            shared: (tls.is_some() && spec.http2)
                .then(|| shared::Pool::new(spec.idle_connections, spec.idle_timeout)),
            spec,
            base,
            way: Way { tls, proxy, reach },
            transport: None,
            link,
        })
    }

    /// Connects by `transport` instead of the network.
    #[must_use]
    pub fn over(self, transport: Transport) -> Self {
        Self {
            transport: Some(transport),
            shared: None,
            ..self
        }
    }

    /// Its configured name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its address.
    pub fn base_url(&self) -> &BaseUrl {
        &self.base
    }

    /// What it was made from: timeouts, models, abilities.
    pub fn spec(&self) -> &UpstreamSpec {
        &self.spec
    }

    /// The API in which it is asked for answers of this surface: its own, or the surface's if it has
    /// that beside its own.
    pub fn dialect_for(&self, surface: Surface) -> ProviderDialect {
        if self.speaks(surface.native()) {
            surface.native()
        } else {
            self.spec.dialect
        }
    }

    /// Whether it takes requests of this API.
    pub fn speaks(&self, dialect: ProviderDialect) -> bool {
        let own = self.spec.dialect;
        let also =
            own == ProviderDialect::OpenAiChat && dialect == ProviderDialect::OpenAiResponses;
        own == dialect || (also && self.traits("").responses)
    }

    /// Who runs it, if that is known.
    pub const fn provider(&self) -> Option<&'static Provider> {
        self.provider
    }

    /// How it differs from the API that its dialect comes from, for this model.
    pub fn traits(&self, model: &str) -> Traits {
        let traits = provider::traits(self.provider(), self.spec.dialect, model);
        let usage_in_streams = self.spec.include_usage.unwrap_or(traits.usage_in_streams);
        Traits {
            usage_in_streams,
            ..traits
        }
    }

    /// Where `path`, a dialect's, is asked of this model.
    pub fn path(&self, path: Cow<'static, str>, model: &str) -> Cow<'static, str> {
        provider::path(path, model, self.spec.api_version.as_deref())
    }

    /// What it is and was called with and nobody else may see.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Sends a request and waits for the head of its answer, whatever the status. Only the time to
    /// connect is bounded here; dropping the future ends the request, and its connection if no others
    /// share it.
    ///
    /// The request is written a second time only when the first connection came from the pool and
    /// took no part of it, or when the upstream says that it turned it away unread, as HTTP/2 can.
    pub fn send<'a>(
        self: &'a Arc<Self>,
        request: Request<'a>,
    ) -> impl Future<Output = Result<Response, UpstreamError>> + Send + 'a {
        self.send_with(0, request)
    }

    /// The same with another key than the first: the one at this place.
    pub fn send_with<'a>(
        self: &'a Arc<Self>,
        key: usize,
        request: Request<'a>,
    ) -> impl Future<Output = Result<Response, UpstreamError>> + Send + 'a {
        if self.kept.is_some() {
            Either::Left(Box::pin(self.send_kept(key, request)))
        } else {
            Either::Right(self.send_once(key, request))
        }
    }

    pub(super) fn send_once<'a>(
        self: &'a Arc<Self>,
        key: usize,
        request: Request<'a>,
    ) -> impl Future<Output = Result<Response, UpstreamError>> + Send + 'a {
        let length = match &request.body {
            Some(body) => BodyLength::Known(body.len() as u64),
            None => BodyLength::None,
        };
        let body = Payload::Whole(request.body.clone().unwrap_or_default());
        self.transfer(request, length, body, key)
    }

    /// Sends a request with a body that is on its way itself; that of `request` does not count. Of
    /// the body no more is taken than the upstream takes, and while its answer is read, it goes on
    /// being sent.
    pub fn upload<'a>(
        self: &'a Arc<Self>,
        request: Request<'a>,
        body: Upload,
    ) -> impl Future<Output = Result<Response, UpstreamError>> + Send + 'a {
        let length = body.length();
        self.transfer(request, length, Payload::Streamed(Box::new(body)), 0)
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would hold the request twice"
    )]
    fn transfer<'a>(
        self: &'a Arc<Self>,
        request: Request<'a>,
        length: BodyLength,
        body: Payload,
        key: usize,
    ) -> impl Future<Output = Result<Response, UpstreamError>> + Send + 'a {
        async move {
            let method = request.method;
            // What is boxed is large and rare beside all that waits in a pooled exchange.
            let head = {
                let presented = self.presented();
                if presented.signer.standing() {
                    self.head(&presented, &request, &[], length, key)?
                } else {
                    Box::pin(self.signed_head(&presented, &request, length)).await?
                }
            };
            drop(request);
            let mut outgoing = Outgoing::new(head, body);
            if let Some(connection) = self.pool.take() {
                let result = self.exchange(connection, method, &mut outgoing).await;
                if !matches!(&result, Err(error) if error.nothing_was_sent()) {
                    return result.map(|answer| self.response(answer, outgoing));
                }
            }
            if let Some(shared) = &self.shared {
                return Box::pin(self.send_shared(shared, method, outgoing)).await;
            }
            let connection = Box::pin(self.connect()).await?;
            let result = self.exchange(connection, method, &mut outgoing).await;
            result.map(|answer| self.response(answer, outgoing))
        }
    }

    /// What there is to see of its connections.
    pub fn link(&self) -> LinkSight {
        self.link.sight()
    }

    /// Looks its connections over: closes those that nobody used for too long, or that the upstream
    /// closed, and notes which have fallen silent.
    pub(super) fn watch(&self) {
        self.pool.close_old();
        if let Some(shared) = &self.shared {
            shared.close_old();
        }
        self.link.watch();
    }

    /// Takes leave of the connections that HTTP/2 has and nobody uses.
    pub(super) fn close_idle(&self) {
        if let Some(shared) = &self.shared {
            shared.close_idle();
        }
    }

    #[cfg(test)]
    pub(super) fn connection_over(
        &self,
        stream: tokio::net::TcpStream,
    ) -> super::connection::Connection {
        let stream = super::connection::Stream::Plain(stream);
        super::connection::Connection::new(stream, self.link.dial().made())
    }

    #[cfg(test)]
    pub(super) fn shared_connections(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.len())
    }

    #[cfg(test)]
    pub(super) fn idle_connections(&self) -> usize {
        self.pool.len()
    }

    async fn signed_head(
        &self,
        presented: &Presented,
        request: &Request<'_>,
        length: BodyLength,
    ) -> Result<Vec<u8>, UpstreamError> {
        let target = self.target(request);
        let signed = presented.signer.headers(request, &target).await;
        let signed = signed.map_err(|kind| self.unsent(kind))?;
        self.head(presented, request, &signed, length, 0)
    }

    fn head(
        &self,
        presented: &Presented,
        request: &Request<'_>,
        signed: &[(&'static str, String)],
        length: BodyLength,
        key: usize,
    ) -> Result<Vec<u8>, UpstreamError> {
        let refused = |error| self.unsent(UpstreamErrorKind::Request(error));
        let mut own = Fields::default();
        for (name, value) in request.headers {
            own.push(name, value).map_err(refused)?;
        }
        for (name, value) in signed {
            own.push(name, value).map_err(refused)?;
        }
        let target = self.target(request);
        let standing = presented.fields(key).map_err(|kind| self.unsent(kind))?;
        request_head(request.method, &target, &[standing, &own], length).map_err(refused)
    }

    fn target(&self, request: &Request<'_>) -> String {
        format!("{}{}", self.base.prefix(), request.path)
    }

    /// How many keys take turns; one, too, for an upstream that wants none.
    pub fn keys(&self) -> usize {
        let present = || self.presented().keys();
        self.kept.as_ref().map_or_else(present, |kept| kept.keys)
    }

    pub(super) fn presented(&self) -> Arc<Presented> {
        self.presented.load_full()
    }

    pub(super) fn unsent(&self, kind: UpstreamErrorKind) -> UpstreamError {
        self.error(kind, false)
    }

    pub(super) fn error(&self, kind: UpstreamErrorKind, sent: bool) -> UpstreamError {
        UpstreamError {
            upstream: self.spec.name.clone(),
            base_url: self.base.to_string(),
            kind,
            sent,
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({} at {})", self.spec.name, self.base)
    }
}
