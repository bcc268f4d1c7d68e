//! The key that a request shows.

use http::HeaderMap;

use super::signed::is_signed;

/// Whether these headers hold a key or a signature, good or not.
pub fn presents_key(headers: &HeaderMap) -> bool {
    presented_key(headers).is_some() || is_signed(headers)
}

/// The key in `Authorization: Bearer <key>` (RFC 6750, section 2.1).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?;
    let (scheme, key) = value.to_str().ok()?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case("bearer ").then(|| key.trim())
}

/// The key as each dialect's SDK sends it: `Authorization: Bearer`, `x-api-key`, `api-key` or
/// `x-goog-api-key`.
pub(super) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).or_else(|| {
        headers
            .get("x-api-key")
            .or_else(|| headers.get("api-key"))
            .or_else(|| headers.get("x-goog-api-key"))?
            .to_str()
            .ok()
    })
}
