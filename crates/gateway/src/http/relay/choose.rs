//! To whom a request goes that is passed through.

use std::borrow::Cow;
use std::sync::Arc;

use everstream_core::dialect::ProviderDialect;
use everstream_core::error::{Error, ErrorCode};
use http::HeaderMap;
use http::request::Parts;

use crate::app::App;
use crate::pipeline;
use crate::upstream::{Route, Upstream};

/// The header, and the parameter, by which a client names an upstream.
const HEADER: &str = "everstream-upstream";
const PARAMETER: &str = "upstream=";

/// The upstream of a model, if it has this API.
pub(in crate::http) fn by_model(app: &App, model: &str, path: &str) -> Result<Route, Error> {
    if model.is_empty() {
        return Err(Error::new(ErrorCode::InvalidValue, "`model` is empty.").param("model"));
    }
    let route = pipeline::route(&app.models, model, ProviderDialect::OpenAiChat)?;
    speaks(&route.upstream, path, "model")?;
    Ok(route)
}

/// The upstream that the client names, or else the first that speaks OpenAI's API.
pub(in crate::http) fn by_name(app: &App, parts: &Parts) -> Result<Arc<Upstream>, Error> {
    let mut query = parts.uri.query().unwrap_or_default().split('&');
    let in_query = query.find_map(|pair| pair.strip_prefix(PARAMETER));
    let Some(name) = in_query.or_else(|| in_header(&parts.headers)) else {
        let mut upstreams = app.models.upstreams();
        let first = upstreams.find(|upstream| speaks_openai(upstream));
        return first.cloned().ok_or_else(|| {
            let message = format!(
                "No upstream speaks OpenAI's API, so none has {}; nothing was sent.",
                parts.uri.path()
            );
            Error::new(ErrorCode::Untranslatable, message)
        });
    };
    let mut upstreams = app.models.upstreams();
    let named = upstreams.find(|upstream| upstream.name() == name);
    let named = named.ok_or_else(|| {
        let names: Vec<_> = app.models.upstreams().map(|u| u.name()).collect();
        let message = format!(
            "Everstream-Upstream names no upstream: there are `{}`.",
            names.join("`, `")
        );
        Error::new(ErrorCode::InvalidValue, message).param("Everstream-Upstream")
    })?;
    speaks(named, parts.uri.path(), "Everstream-Upstream")?;
    Ok(Arc::clone(named))
}

fn in_header(headers: &HeaderMap) -> Option<&str> {
    headers.get(HEADER)?.to_str().ok()
}

fn speaks_openai(upstream: &Upstream) -> bool {
    matches!(
        upstream.spec().dialect,
        ProviderDialect::OpenAiChat | ProviderDialect::OpenAiResponses
    )
}

fn speaks(upstream: &Upstream, path: &str, param: &str) -> Result<(), Error> {
    // The form of reranking is Cohere's.
    let own = upstream.spec().dialect == ProviderDialect::Cohere && path == "/v1/rerank";
    if own || speaks_openai(upstream) {
        return Ok(());
    }
    let message = format!(
        "Upstream `{}` does not speak OpenAI's API and has no {path}; nothing was sent.",
        upstream.name()
    );
    Err(Error::new(ErrorCode::Untranslatable, message).param(param))
}

/// Where `target`, which is below `/v1` here, is at an upstream.
pub(super) fn place(upstream: &Upstream, target: String, model: Option<&str>) -> Cow<'static, str> {
    let target = match upstream.spec().dialect {
        // Its address has no version.
        ProviderDialect::Cohere => format!("/v2{target}"),
        _ => target,
    };
    upstream.path(target.into(), model.unwrap_or_default())
}

/// What of a query is the upstream's.
pub(super) fn passed_query(query: &str) -> Result<String, Error> {
    if !query.bytes().all(|b| b.is_ascii_graphic()) {
        let message = "The query string has characters that must be %-encoded.";
        return Err(Error::new(ErrorCode::InvalidValue, message));
    }
    let pairs = query.split('&').filter(|pair| !pair.starts_with(PARAMETER));
    Ok(pairs.collect::<Vec<_>>().join("&"))
}
