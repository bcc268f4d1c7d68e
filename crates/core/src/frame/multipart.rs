//! Finding one field in a `multipart/form-data` body (RFC 7578) as its bytes pass by.

use std::ops::Range;

use memchr::memmem;

use crate::limits::{MULTIPART_HEADER_BYTES, MULTIPART_PADDING_BYTES};

/// Looks for the field of one name, in whatever pieces the body comes. It goes on to the end of the
/// body, as a second field of that name could be the one that somebody else reads.
#[derive(Debug)]
pub struct FieldFinder {
    name: &'static str,
    most: usize,
    /// A line break, two dashes, and the boundary.
    delimiter: Vec<u8>,
    /// What is not understood yet.
    tail: Vec<u8>,
    /// The bytes before the tail, and two more: the first delimiter needs no line break before it, so
    /// one is put in front of the body.
    passed: u64,
    state: State,
    found: Option<FoundField>,
}

/// The field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundField {
    /// What it says.
    pub value: String,
    /// Where that stands in the body.
    pub place: Range<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a part that does not matter, or before the first.
    Other,
    /// Behind a delimiter: the end of its line, or of all.
    Border,
    /// In the headers of a part.
    Headers,
    /// In the field.
    Field,
    /// Behind the last delimiter.
    End,
}

impl FieldFinder {
    /// Looks for `name` between these boundaries. A value has at most `most` bytes.
    pub fn new(boundary: &str, name: &'static str, most: usize) -> Self {
        Self {
            name,
            most,
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            tail: b"\r\n".to_vec(),
            passed: 0,
            state: State::Other,
            found: None,
        }
    }

    /// Takes the next piece of the body. After an error the finder is spent.
    pub fn push(&mut self, input: &[u8]) -> Result<(), MultipartError> {
        if self.state == State::End {
            return Ok(());
        }
        self.tail.extend_from_slice(input);
        let mut used = 0;
        while let Some(taken) = self.step(used)? {
            used += taken;
        }
        self.tail.drain(..used);
        self.passed += used as u64;
        Ok(())
    }

    /// The field, as soon as all of it has passed by.
    pub fn found(&self) -> Option<&FoundField> {
        self.found.as_ref()
    }

    /// Whether nothing can be found any more.
    pub fn is_at_end(&self) -> bool {
        self.state == State::End
    }

    /// Understands some more of the tail, from `used` on: how much. `None` waits for more.
    fn step(&mut self, used: usize) -> Result<Option<usize>, MultipartError> {
        let text = &self.tail[used..];
        match self.state {
            State::Other => match memmem::find(text, &self.delimiter) {
                Some(at) => {
                    self.state = State::Border;
                    Ok(Some(at + self.delimiter.len()))
                }
                // The delimiter may have begun.
                None => Ok(Some(text.len().saturating_sub(self.delimiter.len() - 1))
                    .filter(|&taken| taken > 0)),
            },
            State::Border => self.border(used),
            State::Headers => self.headers(used),
            State::Field => self.field(used),
            State::End => Ok(Some(text.len()).filter(|&taken| taken > 0)),
        }
    }

    fn border(&mut self, used: usize) -> Result<Option<usize>, MultipartError> {
        let text = &self.tail[used..];
        if text.starts_with(b"--") {
            self.state = State::End;
            return Ok(Some(2));
        }
        let padding = text.iter().take_while(|b| matches!(b, b' ' | b'\t'));
        let padding = padding.count();
        let rest = &text[padding..];
        if padding > MULTIPART_PADDING_BYTES {
            return Err(MultipartError::Malformed("a boundary's line is too long"));
        }
        if rest.starts_with(b"\r\n") {
            self.state = State::Headers;
            // The line's end stays: where a part has no headers, it is their end too.
            return Ok(Some(padding));
        }
        let may_become = b"\r\n".starts_with(rest) || b"--".starts_with(text);
        if may_become {
            return Ok(None);
        }
        Err(MultipartError::Malformed("a boundary's line goes on"))
    }

    fn headers(&mut self, used: usize) -> Result<Option<usize>, MultipartError> {
        let text = &self.tail[used..];
        let Some(end) = memmem::find(text, b"\r\n\r\n") else {
            if text.len() > MULTIPART_HEADER_BYTES {
                return Err(MultipartError::Malformed("a part's headers are too long"));
            }
            return Ok(None);
        };
        let wanted = is_named(&text[..end], self.name)?;
        if wanted && self.found.is_some() {
            return Err(MultipartError::Twice(self.name));
        }
        // The line break before the value may be that of the delimiter, if the value is empty.
        self.state = if wanted { State::Field } else { State::Other };
        Ok(Some(end + 2))
    }

    fn field(&mut self, used: usize) -> Result<Option<usize>, MultipartError> {
        let text = &self.tail[used..];
        // The line break that ends the headers comes first.
        let Some(at) = memmem::find(&text[2..], &self.delimiter) else {
            if text.len() > self.most + 2 + self.delimiter.len() {
                return Err(MultipartError::TooLong(self.name, self.most));
            }
            return Ok(None);
        };
        if at > self.most {
            return Err(MultipartError::TooLong(self.name, self.most));
        }
        let value = String::from_utf8(text[2..2 + at].to_vec());
        let value = value.map_err(|_| MultipartError::NotText(self.name))?;
        // Two bytes were put before the body, and two are before the value.
        let start = self.passed + used as u64;
        let place = start..start + at as u64;
        self.found = Some(FoundField { value, place });
        self.state = State::Border;
        Ok(Some(2 + at + self.delimiter.len()))
    }
}

/// The boundary that a `Content-Type` names; `None` if it is another type, breaks RFC 2046, or could be
/// read as naming another one.
pub fn boundary(content_type: &str) -> Option<&str> {
    let kind = content_type.split(';').next().unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut boundaries = parameters(content_type).filter(|(key, _)| is_parameter(key, "boundary"));
    let (key, boundary) = boundaries.next()?;
    if key.contains('*') || boundaries.next().is_some() {
        return None;
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    let fits = (1..=70).contains(&boundary.len()) && boundary.bytes().all(allowed);
    fits.then_some(boundary)
}

/// Whether the headers of a part give it this name. What others could read as another name than is
/// read here is refused: whoever hides the field from the gateway would have it all the same.
fn is_named(headers: &[u8], name: &str) -> Result<bool, MultipartError> {
    let text = String::from_utf8_lossy(headers);
    let mut lines = text.split("\r\n");
    let is_odd = |line: &str| line.starts_with([' ', '\t']) || line.contains(['\r', '\n']);
    let mut dispositions = lines.clone().filter_map(|line| {
        let (header, value) = line.split_once(':')?;
        header
            .trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    });
    let disposition = dispositions.next().unwrap_or_default();
    let mut names = parameters(disposition).filter(|(key, _)| is_parameter(key, "name"));
    let (key, found) = names.next().unwrap_or_default();
    let is_doubtful = key.contains('*') || found.contains('\\');
    if is_doubtful || names.next().is_some() || dispositions.next().is_some() || lines.any(is_odd) {
        let why = "a part's name could be read in two ways";
        return Err(MultipartError::Malformed(why));
    }
    Ok(!key.is_empty() && found == name)
}

/// Whether a parameter's key is this one, perhaps in the form of RFC 5987 or in pieces (RFC 2231).
fn is_parameter(key: &str, name: &str) -> bool {
    let key = key.split('*').next().unwrap_or_default().trim_end();
    key.eq_ignore_ascii_case(name)
}

/// The parameters of a header's value: names, and values without their quotes. A semicolon within
/// quotes ends nothing.
fn parameters(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut left = value.split_once(';').unwrap_or_default().1;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = left.find(|c| {
            let ends = c == ';' && !quoted;
            quoted ^= c == '"' && !escaped;
            escaped = c == '\\' && quoted && !escaped;
            ends
        });
        let (parameter, rest) = left.split_at(end.unwrap_or(left.len()));
        left = rest.strip_prefix(';').unwrap_or_default();
        let (key, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        Some((key.trim(), bare.unwrap_or(value)))
    })
}

/// A body that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// It breaks RFC 2046.
    #[error("the multipart body is malformed: {0}")]
    Malformed(&'static str),
    /// The field stands twice.
    #[error("the multipart body has `{0}` twice")]
    Twice(&'static str),
    /// The field's value is longer than it may be.
    #[error("`{0}` is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// The field's value is not UTF-8.
    #[error("`{0}` is not text")]
    NotText(&'static str),
}

#[cfg(test)]
mod tests;
