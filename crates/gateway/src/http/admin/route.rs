//! A path for operators: what is taken, what is given, and who does it, in one value. The router and
//! the description are both made of it.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::FromRequestParts as _;
use axum::extract::{Path, Request};
use axum::response::Response;
use everstream_core::config::OperatorRole;
use everstream_core::error::{Error, ErrorCode};
use everstream_store::sql::values::Actor;
use http::{HeaderMap, Method};

use super::Desk;
use super::answer::{Answer, Media};
use super::operator::Operator;
use super::read::{self, Input, Shape};
use crate::access::Directory;
use crate::app::App;
use crate::http::body::read_admin_body;

/// One method of one path.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// What it does, as one sentence.
    pub(super) about: &'static str,
    /// What it takes in the query.
    pub(super) query: fn() -> Shape,
    /// What it takes in the body.
    pub(super) body: fn() -> Shape,
    /// The status and the kinds of bodies that it answers with.
    pub(super) status: u16,
    pub(super) media: fn(&mut schemars::SchemaGenerator) -> Vec<Media>,
    handle: Handle,
}

type Handle = Arc<dyn Fn(Arc<Desk>, Request) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;

/// A request, understood.
pub(super) struct Ask<Q = Nothing, B = Nothing> {
    /// Who asks.
    pub(super) by: Operator,
    /// What the path names.
    pub(super) name: String,
    /// The query.
    pub(super) query: Q,
    /// The body.
    pub(super) body: B,
    /// The headers.
    pub(super) headers: HeaderMap,
    desk: Arc<Desk>,
}

/// Nothing is taken.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
pub(super) struct Nothing {}

impl Route {
    /// A path and who answers on it.
    pub(super) fn new<Q, B, A, R>(
        method: Method,
        path: &'static str,
        about: &'static str,
        handle: fn(Ask<Q, B>) -> R,
    ) -> Self
    where
        Q: Input,
        B: Input,
        A: Answer,
        R: Future<Output = Result<A, Error>> + Send + 'static,
    {
        Self {
            method,
            path,
            about,
            query: Shape::of::<Q>,
            body: Shape::of::<B>,
            status: A::STATUS,
            media: A::media,
            handle: Arc::new(move |desk, request| {
                Box::pin(async move {
                    let ask = Ask::read(desk, request).await?;
                    handle(ask).await.map(A::response)
                })
            }),
        }
    }

    /// Answers a request that was let in.
    pub(super) async fn answer(
        &self,
        desk: Arc<Desk>,
        request: Request,
    ) -> Result<Response, Error> {
        (self.handle)(desk, request).await
    }
}

impl<Q: Input, B: Input> Ask<Q, B> {
    async fn read(desk: Arc<Desk>, request: Request) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        let by = parts
            .extensions
            .remove::<Operator>()
            .ok_or_else(|| Error::new(ErrorCode::Internal, "It is not known who asks."))?;
        if by.role == OperatorRole::Read && parts.method != Method::GET {
            let message = format!("Operator `{}` may look and change nothing.", by.name);
            return Err(Error::new(ErrorCode::Forbidden, message));
        }
        let names = Path::<Vec<(String, String)>>::from_request_parts(&mut parts, &()).await;
        let Path(mut names) = names.map_err(|_| {
            let message = "The path, its percent encoding decoded, is not UTF-8.";
            Error::new(ErrorCode::InvalidValue, message)
        })?;
        let query = read::query(&parts.uri)?;
        let body = read_admin_body(body, &desk.app.config.limits).await?;
        Ok(Self {
            by,
            name: names.pop().map(|(_, name)| name).unwrap_or_default(),
            query,
            body: read::body(&body)?,
            headers: parts.headers,
            desk,
        })
    }
}

impl<Q, B> Ask<Q, B> {
    /// The gateway.
    pub(super) fn app(&self) -> &Arc<App> {
        &self.desk.app
    }

    /// What there is to be asked for.
    pub(super) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// The keys, and the catalogue that they are in.
    pub(super) fn directory(&self) -> Result<&Arc<Directory>, Error> {
        self.app().access.directory().ok_or_else(|| {
            let message = "This gateway has no database: set `url` in `[database]`, or `backend = \
                           \"disk\"` in `[log]`.";
            Error::new(ErrorCode::CatalogUnavailable, message)
        })
    }

    /// Who asks, and when, for the audit log.
    pub(super) fn actor(&self) -> Actor {
        Actor {
            who: self.by.name.to_string(),
            at: self.app().clock.now(),
        }
    }

    /// What the path names, as an id.
    pub(super) fn id<T: std::str::FromStr<Err: std::fmt::Display>>(&self) -> Result<T, Error> {
        self.name.parse().map_err(|error: T::Err| {
            let message = format!("The path names no such thing: {error}.");
            Error::new(ErrorCode::InvalidValue, message)
        })
    }

    /// Writes into the audit log what was done to something that is not in the catalogue. It was done
    /// already, so an audit log that takes nothing is no reason to refuse.
    pub(super) async fn audit(&self, action: &str, target: &str, detail: &str) {
        tracing::info!(
            who = &*self.by.name,
            action,
            target,
            detail,
            "an operator acts"
        );
        let Some(directory) = self.app().access.directory() else {
            return;
        };
        let actor = self.actor();
        let written = directory.catalog().audit(&actor, action, target, detail);
        if let Err(error) = written.await {
            tracing::error!(%error, action, target, "the audit log has no row of this");
        }
    }
}
