use std::fmt;
use std::ops::Range;

use super::{BodyDecoder, Http1Error};
use crate::limits::{UPSTREAM_HEAD_BYTES, UPSTREAM_HEADERS};

/// Gathers the bytes of a response until its head is whole. Interim (1xx) responses are skipped.
#[derive(Debug)]
pub struct HeadDecoder {
    buffer: Vec<u8>,
    /// No head ends within the first `scanned` bytes of the buffer.
    scanned: usize,
    /// Bytes of interim responses, which count towards the limit.
    skipped: usize,
    bodiless: bool,
}

/// A whole head, and what follows it.
#[derive(Debug)]
pub struct Decoded {
    /// Status and headers.
    pub head: ResponseHead,
    /// Decodes what follows.
    pub body: BodyDecoder,
    /// The bytes that came after the head, still framed: the first input for `body`.
    pub rest: Vec<u8>,
}

impl HeadDecoder {
    /// A decoder for the answer to a request of this method.
    pub fn new(method: &str) -> Self {
        Self {
            buffer: Vec::new(),
            scanned: 0,
            skipped: 0,
            bodiless: method == "HEAD",
        }
    }

    /// Takes all of `input`; `None` until the head is whole. After a head or an error the decoder
    /// is spent.
    pub fn push(&mut self, input: &[u8]) -> Result<Option<Decoded>, Http1Error> {
        self.buffer.extend_from_slice(input);
        loop {
            if is_foreign(&self.buffer) {
                return Err(Http1Error::NotHttp);
            }
            let end = head_end(&self.buffer, self.scanned);
            if self.skipped + end.unwrap_or(self.buffer.len()) > UPSTREAM_HEAD_BYTES {
                return Err(Http1Error::HeadTooLarge);
            }
            let Some(end) = end else {
                self.scanned = self.buffer.len();
                return Ok(None);
            };
            let head = ResponseHead::parse(&self.buffer[..end])?;
            if let Some(mut head) = head.filter(|head| head.status >= 200) {
                let body = head.framing(self.bodiless)?;
                let rest = self.buffer.split_off(end);
                return Ok(Some(Decoded { head, body, rest }));
            }
            // An interim response, or only the empty lines that RFC 9112 section 2.2 allows before
            // a message.
            self.buffer.drain(..end);
            self.scanned = 0;
            self.skipped += end;
        }
    }

    /// The connection ended: `None` when not one byte of a response had come.
    pub fn finish(&self) -> Option<Http1Error> {
        let started = self.skipped > 0 || !self.buffer.is_empty();
        started.then_some(Http1Error::Truncated("its head is incomplete"))
    }
}

/// The end of the first empty line at or after `from`, if there is one.
fn head_end(buffer: &[u8], from: usize) -> Option<usize> {
    // An empty line that straddles `from` begins at most two bytes before it.
    let from = from.saturating_sub(2);
    memchr::memchr_iter(b'\n', &buffer[from..]).find_map(|at| {
        let rest = &buffer[from + at + 1..];
        let blank = [&b"\n"[..], b"\r\n"]
            .into_iter()
            .find(|b| rest.starts_with(b));
        blank.map(|blank| from + at + 1 + blank.len())
    })
}

/// Whether the first bytes show that this is no response, so that nobody waits for its head.
fn is_foreign(buffer: &[u8]) -> bool {
    let blank = buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    let begin = &buffer[blank.count()..];
    let version = b"HTTP/1.";
    !begin.starts_with(&version[..begin.len().min(version.len())])
}

/// Status and headers of a response, in one allocation for their text.
#[derive(Clone)]
pub struct ResponseHead {
    /// The status code, 200 to 999.
    pub status: u16,
    /// Whether the connection may be used again once the body is whole.
    pub keep_alive: bool,
    text: Box<[u8]>,
    fields: Box<[Field]>,
}

#[derive(Clone)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl ResponseHead {
    /// The head of an answer whose protocol has no text of its own, such as HTTP/2. Its connection can be
    /// used again.
    ///
    /// # Errors
    /// When it is larger than the limits for heads.
    pub fn new<'a>(
        status: u16,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, Http1Error> {
        let (mut text, mut fields) = (Vec::new(), Vec::new());
        for (name, value) in headers {
            let start = text.len();
            text.extend_from_slice(name.as_bytes());
            let middle = text.len();
            text.extend_from_slice(value);
            if text.len() > UPSTREAM_HEAD_BYTES {
                return Err(Http1Error::HeadTooLarge);
            }
            fields.push(Field {
                name: start..middle,
                value: middle..text.len(),
            });
        }
        if fields.len() > UPSTREAM_HEADERS {
            return Err(Http1Error::TooManyHeaders);
        }
        Ok(Self {
            status,
            keep_alive: true,
            text: text.into(),
            fields: fields.into(),
        })
    }

    /// The value of the first header of this name, in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut fields = self.iter();
        fields.find_map(|(n, value)| n.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The same as text, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// All headers in order, names as they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| {
            let name = &self.text[field.name.clone()];
            let name = std::str::from_utf8(name).unwrap_or_default();
            (name, &self.text[field.value.clone()])
        })
    }

    /// The members of a comma-separated list, over all headers of this name.
    fn list<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let members = fields.flat_map(|(_, value)| value.split(|&b| b == b','));
        members.map(<[u8]>::trim_ascii)
    }

    /// The head in `text`, which ends with an empty line; `None` if there is nothing before that.
    fn parse(text: &[u8]) -> Result<Option<Self>, Http1Error> {
        let mut headers = [httparse::EMPTY_HEADER; UPSTREAM_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        if response.parse(text).map_err(syntax)?.is_partial() {
            return Ok(None);
        }
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return Err(Http1Error::NotHttp);
        };
        if status < 100 {
            return Err(Http1Error::Head("its status is below 100"));
        }
        if status == 101 {
            return Err(Http1Error::Head(
                "it switches protocols, which nobody asked",
            ));
        }
        let place = |part: &[u8]| {
            let start = part.as_ptr().addr() - text.as_ptr().addr();
            start..start + part.len()
        };
        let fields = response.headers.iter().map(|header| Field {
            name: place(header.name.as_bytes()),
            value: place(header.value),
        });
        let mut head = Self {
            status,
            keep_alive: false,
            text: text.into(),
            fields: fields.collect(),
        };
        head.keep_alive = match version {
            0 => head.connection("keep-alive") && !head.connection("close"),
            _ => !head.connection("close"),
        };
        if version == 0 && head.get("transfer-encoding").is_some() {
            return Err(Http1Error::Framing("HTTP/1.0 with Transfer-Encoding"));
        }
        Ok(Some(head))
    }

    fn connection(&self, option: &str) -> bool {
        self.list("connection")
            .any(|member| member.eq_ignore_ascii_case(option.as_bytes()))
    }

    /// RFC 9112 section 6.3.
    fn framing(&mut self, bodiless: bool) -> Result<BodyDecoder, Http1Error> {
        if bodiless || matches!(self.status, 204 | 304) {
            return Ok(BodyDecoder::empty());
        }
        let length = self.content_length()?;
        let codings: Vec<&[u8]> = self.list("transfer-encoding").collect();
        let chunked = matches!(codings[..], [one] if one.eq_ignore_ascii_case(b"chunked"));
        match (!codings.is_empty(), length) {
            (true, Some(_)) => Err(Http1Error::Framing(
                "both Transfer-Encoding and Content-Length",
            )),
            (true, None) if chunked => Ok(BodyDecoder::chunked()),
            (true, None) => Err(Http1Error::Framing(
                "a Transfer-Encoding other than chunked",
            )),
            (false, Some(length)) => Ok(BodyDecoder::length(length)),
            (false, None) => {
                self.keep_alive = false;
                Ok(BodyDecoder::until_close())
            }
        }
    }

    fn content_length(&self) -> Result<Option<u64>, Http1Error> {
        let mut length = None;
        for member in self.list("content-length") {
            let digits = !member.is_empty() && member.iter().all(u8::is_ascii_digit);
            let value = std::str::from_utf8(member).ok().filter(|_| digits);
            let value = value.and_then(|text| text.parse().ok());
            let value = value.ok_or(Http1Error::Framing("Content-Length is not a number"))?;
            if length.is_some_and(|known: u64| known != value) {
                return Err(Http1Error::Framing("two Content-Lengths that differ"));
            }
            length = Some(value);
        }
        Ok(length)
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Header values may hold cookies and other secrets of the upstream's.
        let names: Vec<_> = self.iter().map(|(name, _)| name).collect();
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("keep_alive", &self.keep_alive)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

fn syntax(error: httparse::Error) -> Http1Error {
    match error {
        httparse::Error::TooManyHeaders => Http1Error::TooManyHeaders,
        httparse::Error::Version => Http1Error::NotHttp,
        httparse::Error::HeaderName => Http1Error::Head("a header's name"),
        httparse::Error::HeaderValue => Http1Error::Head("a header's value"),
        httparse::Error::NewLine => Http1Error::Head("a line's end"),
        httparse::Error::Status => Http1Error::Head("the status line"),
        httparse::Error::Token => Http1Error::Head("a character that cannot stand there"),
    }
}
