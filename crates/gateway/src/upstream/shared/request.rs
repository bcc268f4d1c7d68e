use everstream_core::frame::http1::RequestError;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{Method, Request};

/// Headers whose values are no secret and much the same in all requests: what is sent of them is
/// remembered for the next request. All others may be keys, which compression must not give away
/// (RFC 7541, section 7.1).
const COMMON: [HeaderName; 5] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::USER_AGENT,
];

/// The request whose head in HTTP/1.1 this is, for HTTP/2.
pub(super) fn request(head: &[u8]) -> Result<Request<()>, RequestError> {
    let head = str::from_utf8(head).map_err(|_| RequestError::Target)?;
    let mut lines = head.split_terminator("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = Method::from_bytes(words.next().unwrap_or_default().as_bytes());
    let target = words.next().unwrap_or_default();
    let mut request = Request::new(());
    *request.method_mut() = method.map_err(|_| RequestError::Method)?;
    let mut authority = None;
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| RequestError::Name(name.to_owned()))?;
        match name {
            header::HOST => authority = Some(value),
            // The end of a stream says where a body ends.
            header::TRANSFER_ENCODING => {}
            name => {
                let mut value = HeaderValue::from_bytes(value.as_bytes())
                    .map_err(|_| RequestError::Value(name.to_string()))?;
                value.set_sensitive(!COMMON.contains(&name));
                request.headers_mut().append(name, value);
            }
        }
    }
    let uri = Uri::builder()
        .scheme(Scheme::HTTPS)
        .authority(authority.unwrap_or_default())
        .path_and_query(target)
        .build();
    let uri = uri.map_err(|_| RequestError::Target)?;
    // A fragment would be lost.
    if uri.path_and_query().is_none_or(|kept| kept != target) {
        return Err(RequestError::Target);
    }
    *request.uri_mut() = uri;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use everstream_core::frame::http1::{BodyLength, Fields, request_head};

    use super::*;

    fn converted(target: &str, fields: &[(&str, &str)], body: BodyLength) -> Request<()> {
        let mut lines = Fields::default();
        for (name, value) in fields {
            lines.push(name, value).expect("a header");
        }
        let head = request_head("POST", target, &[&lines], body).expect("a head");
        request(&head).expect("a request")
    }

    #[test]
    fn a_head_becomes_pseudo_headers_and_headers() {
        let fields = [
            ("Host", "api.example:8443"),
            ("Authorization", "Bearer sk-canary"),
            ("x-team", "one: two"),
            ("x-team", ""),
            ("Content-Type", "application/json"),
        ];
        let request = converted("/v1/chat?a=b%20c", &fields, BodyLength::Known(2));
        assert_eq!(request.method(), Method::POST);
        let expected = "https://api.example:8443/v1/chat?a=b%20c";
        assert_eq!(request.uri().to_string(), expected);
        let headers = request.headers();
        let headers = headers.iter().map(|(name, value)| {
            let text = value.to_str().expect("ASCII");
            (name.as_str(), text, value.is_sensitive())
        });
        let expected = [
            ("authorization", "Bearer sk-canary", true),
            ("x-team", "one: two", true),
            ("x-team", "", true),
            ("content-type", "application/json", false),
            ("content-length", "2", false),
        ];
        assert_eq!(headers.collect::<Vec<_>>(), expected);
        assert!(!format!("{request:?}").contains("canary"));
    }

    #[test]
    fn what_belongs_to_connections_is_left_out() {
        let request = converted("/", &[("host", "a.example")], BodyLength::Chunked);
        assert!(request.headers().is_empty(), "{request:?}");
    }

    #[test]
    fn what_http_2_would_send_otherwise_is_refused() {
        for (target, host) in [("/a#b", "a.example"), ("/", "two hosts"), ("/", "")] {
            let mut fields = Fields::default();
            fields.push("host", host).expect("a header");
            let head = request_head("GET", target, &[&fields], BodyLength::None).expect("a head");
            let refused = request(&head).expect_err("not to be sent");
            assert_eq!(refused, RequestError::Target, "{target} at {host}");
        }
    }
}
