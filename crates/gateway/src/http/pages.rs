//! Which web pages may use a gateway that asks for no key.
//!
//! Browsers run scripts of strangers, and these can reach loopback. `Origin` tells who calls: it is
//! sent with every POST, DELETE and WebSocket of a script. A page whose own name was made to point
//! to this machine (DNS rebinding) needs no `Origin` for a GET, but then its name is in `Host`.

use std::net::IpAddr;

use axum::extract::Request;
use everstream_core::error::{Error, ErrorCode};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;

use crate::app::App;

/// Refuses what a web page sends that is neither of this machine nor one of `cors_origins`. With
/// keys everybody may send what they like, as a page cannot know one.
pub(super) fn check(app: &App, request: &Request) -> Result<(), Error> {
    let config = &app.config;
    let origins = &config.cors_origins;
    if !app.access.is_open() || origins.iter().any(|origin| origin == "*") {
        return Ok(());
    }
    let remedy = "this gateway has no keys, so pages from elsewhere may not use it. Add the page to \
                  cors_origins, or configure keys.";
    refuse_strangers(request, origins, config.listen.ip(), remedy)
}

/// The same for the listener of operators, which is for no pages but those of this machine.
pub(super) fn check_admin(app: &App, request: &Request) -> Result<(), Error> {
    let admin = &app.config.admin;
    if admin.has_keys() {
        return Ok(());
    }
    let address = admin.listen.address().unwrap_or(app.config.listen);
    let remedy = "this listener has no key, so pages from elsewhere may not use it. Set `key` in \
                  `[admin]`.";
    refuse_strangers(request, &[], address.ip(), remedy)
}

fn refuse_strangers(
    request: &Request,
    origins: &[String],
    own: IpAddr,
    remedy: &str,
) -> Result<(), Error> {
    let refused = |header: &str, what: &str| {
        let message = format!("{what}, and {remedy}");
        Error::new(ErrorCode::Forbidden, message).param(header)
    };
    let is_known = |authority: &Authority| {
        is_here(authority.host(), own)
            || origins.iter().any(|origin| {
                let (_, known) = origin.split_once("://").unwrap_or_default();
                known.eq_ignore_ascii_case(authority.as_str())
            })
    };
    if let Some(origin) = request.headers().get(ORIGIN) {
        let text = origin.to_str().unwrap_or_default();
        let authority = text.split_once("://").map(|(_, rest)| rest.parse());
        if !matches!(&authority, Some(Ok(authority)) if is_known(authority)) {
            return Err(refused("Origin", "Origin names a page of another machine"));
        }
    }
    let host = request.headers().get(HOST);
    let named = match (request.uri().authority(), host) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) => Authority::try_from(host.as_bytes()).ok(),
        // HTTP/1.0, which no browser speaks.
        (None, None) => return Ok(()),
    };
    if named.as_ref().is_some_and(is_known) {
        return Ok(());
    }
    Err(refused("Host", "Host is not a name of this machine"))
}

/// Whether a host is this machine, by a name that nobody can make point elsewhere.
fn is_here(host: &str, own: IpAddr) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return ip.to_canonical().is_loopback() || ip == own;
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}
