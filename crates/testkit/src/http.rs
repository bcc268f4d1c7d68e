//! The little of HTTP/1.1 that the fake provider and the raw client share (RFC 9112). Strict: what
//! a real peer might forgive is an error here, because a test wants to know.

use std::io;

use bytes::{Buf, BytesMut};

/// Most headers of a head.
pub(crate) const MAX_HEADERS: usize = 128;

/// Headers in the order they came, names in lower case.
pub(crate) type Headers = Vec<(String, String)>;

/// The first value of the header `name` (lower case).
pub(crate) fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

pub(crate) fn own_headers(headers: &[httparse::Header<'_>]) -> Headers {
    let own = |h: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(h.value).into_owned();
        (h.name.to_ascii_lowercase(), value)
    };
    headers.iter().map(own).collect()
}

pub(crate) fn malformed(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// How far the reading of a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing more belongs to it.
    Done,
    /// So many bytes are missing.
    Length(u64),
    /// All until the peer closes.
    UntilClose,
    /// Before a chunk's size line.
    ChunkSize,
    /// Within a chunk: so many bytes are missing.
    ChunkData(u64),
    /// Before the line end that closes a chunk.
    ChunkEnd,
    /// Within the trailers after the last chunk.
    Trailers,
}

impl Body {
    /// The body that these headers announce, or `otherwise` when they announce none.
    pub(crate) fn announced(headers: &Headers, otherwise: Self) -> io::Result<Self> {
        match (
            header(headers, "transfer-encoding"),
            header(headers, "content-length"),
        ) {
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Self::ChunkSize),
            (Some(_), Some(_)) => Err(malformed("Transfer-Encoding beside Content-Length")),
            (Some(coding), None) => Err(malformed(format!("Transfer-Encoding: {coding}"))),
            (None, Some(length)) => match length.parse() {
                Ok(0) => Ok(Self::Done),
                Ok(length) => Ok(Self::Length(length)),
                Err(_) => Err(malformed(format!("Content-Length: {length}"))),
            },
            (None, None) => Ok(otherwise),
        }
    }

    /// Moves what `inbound` holds of the body over to `out`, without the chunks' framing.
    pub(crate) fn take(&mut self, inbound: &mut BytesMut, out: &mut BytesMut) -> io::Result<()> {
        let mut at = 0;
        let taken = self.take_from(inbound, &mut at, out);
        inbound.advance(at);
        taken
    }

    fn take_from(&mut self, bytes: &[u8], at: &mut usize, out: &mut BytesMut) -> io::Result<()> {
        loop {
            let rest = &bytes[*at..];
            match *self {
                Self::Done => return Ok(()),
                Self::UntilClose => {
                    out.extend_from_slice(rest);
                    *at = bytes.len();
                    return Ok(());
                }
                Self::Length(left) | Self::ChunkData(left) => {
                    let here = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    out.extend_from_slice(&rest[..here]);
                    *at += here;
                    let left = left - here as u64;
                    *self = match *self {
                        Self::Length(_) if left == 0 => Self::Done,
                        Self::Length(_) => Self::Length(left),
                        _ if left == 0 => Self::ChunkEnd,
                        _ => Self::ChunkData(left),
                    };
                    if left > 0 {
                        return Ok(());
                    }
                }
                Self::ChunkSize | Self::ChunkEnd | Self::Trailers => {
                    let Some(end) = memchr::memmem::find(rest, b"\r\n") else {
                        return Ok(());
                    };
                    *at += end + 2;
                    *self = self.after_line(&rest[..end])?;
                }
            }
        }
    }

    fn after_line(self, line: &[u8]) -> io::Result<Self> {
        match self {
            Self::ChunkSize => {
                let digits = std::str::from_utf8(line).unwrap_or_default();
                match u64::from_str_radix(digits, 16) {
                    Ok(0) => Ok(Self::Trailers),
                    Ok(size) => Ok(Self::ChunkData(size)),
                    Err(_) => {
                        let line = String::from_utf8_lossy(line);
                        Err(malformed(format!("a chunk size that is none: {line:?}")))
                    }
                }
            }
            Self::ChunkEnd if line.is_empty() => Ok(Self::ChunkSize),
            Self::ChunkEnd => Err(malformed("a chunk is longer than its size")),
            _ if line.is_empty() => Ok(Self::Done),
            _ => Ok(Self::Trailers),
        }
    }
}
