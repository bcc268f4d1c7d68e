//! The key that a request shows.

use http::HeaderMap;

/// Whether these headers hold a key, known or not.
pub fn presents_key(headers: &HeaderMap) -> bool {
    presented_key(headers).is_some()
}

/// The key as each dialect's SDK sends it: `Authorization: Bearer`, `x-api-key`, `api-key` or
/// `x-goog-api-key`.
pub(super) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get("authorization").and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case("bearer ").then(|| key.trim())
    });
    bearer.or_else(|| {
        headers
            .get("x-api-key")
            .or_else(|| headers.get("api-key"))
            .or_else(|| headers.get("x-goog-api-key"))?
            .to_str()
            .ok()
    })
}
