//! An upstream's own refusal of a request that is no generation.

use axum::response::Response;
use everstream_core::dialect::{ClientDialect, hide};
use everstream_core::frame::http1::ResponseHead;
use http::{HeaderValue, header};

use super::error::from_event;
use crate::upstream::Upstream;

/// The upstream's status and words, as the client's API says such things.
pub(super) fn refusal(
    upstream: &Upstream,
    dialect: ClientDialect,
    head: &ResponseHead,
    text: &[u8],
) -> Response {
    let status = head.status;
    let mut fault = upstream.spec().dialect.read_error(status, text);
    if matches!(status, 401 | 403) {
        // Else a client would look for the mistake in its own key.
        fault.message = format!(
            "Upstream `{}` refused this gateway's key: {}",
            upstream.name(),
            fault.message
        );
    }
    let body = hide(dialect.write_error(&fault), &upstream.secrets().all());
    let mut refusal = from_event(body, status);
    let after = head.get_str("retry-after");
    if let Some(after) = after.and_then(|after| HeaderValue::try_from(after).ok()) {
        refusal.headers_mut().insert(header::RETRY_AFTER, after);
    }
    refusal
}
