use std::fmt;

/// Header lines of a request, checked: no value can end its line or begin another.
#[derive(Clone, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// Adds one header.
    ///
    /// # Errors
    /// When the name is no token, when it is one of those that decide where a message ends, or when
    /// the value has a control character. The value is not part of the error: it may be a key.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), RequestError> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(RequestError::Name(name.escape_debug().to_string()));
        }
        if FRAMING.iter().any(|f| f.eq_ignore_ascii_case(name)) {
            return Err(RequestError::Reserved(name.to_owned()));
        }
        if value.bytes().any(|b| b != b'\t' && b.is_ascii_control()) {
            return Err(RequestError::Value(name.to_owned()));
        }
        for part in [name, ": ", value, "\r\n"] {
            self.0.extend_from_slice(part.as_bytes());
        }
        Ok(())
    }
}

impl Fields {
    /// The headers in order, for what writes its request by itself.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = std::str::from_utf8(&self.0).unwrap_or_default();
        text.split_terminator("\r\n")
            .filter_map(|line| line.split_once(": "))
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({} bytes)", self.0.len())
    }
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// After so many bytes.
    Known(u64),
    /// After its last chunk.
    Chunked,
}

/// The head of an HTTP/1.1 request: `fields` in order (`Host` is one of them), then the body's
/// length, unless there is no body.
///
/// # Errors
/// When the method is no token or the target is not an absolute path of visible ASCII.
pub fn request_head(
    method: &str,
    target: &str,
    fields: &[&Fields],
    body: BodyLength,
) -> Result<Vec<u8>, RequestError> {
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(RequestError::Method);
    }
    if !target.starts_with('/') || !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(RequestError::Target);
    }
    let lines: usize = fields.iter().map(|fields| fields.0.len()).sum();
    let mut head = Vec::with_capacity(method.len() + target.len() + lines + 64);
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    for fields in fields {
        head.extend_from_slice(&fields.0);
    }
    match body {
        BodyLength::None => {}
        BodyLength::Known(length) => {
            head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        BodyLength::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

/// Headers that say where a message ends or what becomes of the connection: not the caller's.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A request that must not be written, because a server could read it as something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The method.
    #[error("the method is not a token")]
    Method,
    /// The path and query.
    #[error(
        "the path does not begin with a slash, or has a space, a control or a non-ASCII character"
    )]
    Target,
    /// A header's name.
    #[error("{0:?} is not a header name")]
    Name(String),
    /// A header's value.
    #[error("the value of header {0} has a line break or another control character")]
    Value(String),
    /// A header that the client sets itself.
    #[error("header {0} is set by Everstream itself")]
    Reserved(String),
}
