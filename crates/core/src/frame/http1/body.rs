use std::ops::Range;

use super::Http1Error;
use crate::limits::{UPSTREAM_CHUNK_EXTENSION_BYTES, UPSTREAM_TRAILER_BYTES};

/// Where a body ends, and how much of it is still to come.
#[derive(Debug)]
pub struct BodyDecoder {
    framing: Framing,
    failed: Option<Http1Error>,
    surplus: bool,
}

/// What a [`BodyDecoder`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// More bytes.
    Open,
    /// Nothing: the body is whole.
    Done,
    /// Nothing: the framing is broken, and where the answer would end is unknown.
    Failed(Http1Error),
}

#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl BodyDecoder {
    pub(super) fn empty() -> Self {
        Self::length(0)
    }

    pub(super) fn length(bytes: u64) -> Self {
        Self::new(Framing::Length(bytes))
    }

    pub(super) fn chunked() -> Self {
        Self::new(Framing::Chunked(Chunked::Size { size: 0, digits: 0 }))
    }

    pub(super) fn until_close() -> Self {
        Self::new(Framing::UntilClose)
    }

    fn new(framing: Framing) -> Self {
        Self {
            framing,
            failed: None,
            surplus: false,
        }
    }

    /// Takes all of `input` and gives the body bytes in it. They lie together: several chunks are
    /// moved up against the first, which itself stays where it is. What came before a framing
    /// error is still given; the error is in [`state`](Self::state) then.
    pub fn push<'a>(&mut self, input: &'a mut [u8]) -> &'a [u8] {
        if self.failed.is_some() {
            return &[];
        }
        match &mut self.framing {
            Framing::UntilClose => input,
            Framing::Length(left) => {
                let take = clamp(*left, input.len());
                *left -= take as u64;
                self.surplus |= take < input.len();
                &input[..take]
            }
            Framing::Chunked(chunked) => {
                let (body, used, result) = chunked.push(input);
                self.failed = result.err();
                self.surplus |= used < input.len();
                &input[body]
            }
        }
    }

    /// Whether the body is whole, broken or still open.
    pub fn state(&self) -> BodyState {
        match (&self.failed, &self.framing) {
            (Some(error), _) => BodyState::Failed(*error),
            (None, Framing::Length(0) | Framing::Chunked(Chunked::Done)) => BodyState::Done,
            (None, _) => BodyState::Open,
        }
    }

    /// The connection ended: was the body whole?
    pub fn finish(&self) -> Result<(), Http1Error> {
        match (self.state(), &self.framing) {
            (BodyState::Failed(error), _) => Err(error),
            (BodyState::Done, _) | (_, Framing::UntilClose) => Ok(()),
            (BodyState::Open, Framing::Length(_)) => Err(Http1Error::Truncated(
                "its body is shorter than its Content-Length",
            )),
            (BodyState::Open, Framing::Chunked(_)) => {
                Err(Http1Error::Truncated("its last chunk never came"))
            }
        }
    }

    /// Whether bytes came after the end, which belong to no answer: the connection cannot be used
    /// again.
    pub fn surplus(&self) -> bool {
        self.surplus
    }
}

/// The place in a chunked body (RFC 9112 section 7.1), byte by byte.
#[derive(Debug)]
enum Chunked {
    Size { size: u64, digits: u8 },
    Extension { size: u64, bytes: usize },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart { bytes: usize },
    Trailer { bytes: usize },
    TrailerLf { bytes: usize },
    EndLf,
    Done,
}

impl Chunked {
    /// The body bytes as a range of `input`, how much of `input` belongs to the body's framing, and
    /// whether it holds.
    fn push(&mut self, input: &mut [u8]) -> (Range<usize>, usize, Result<(), Http1Error>) {
        let (mut at, mut start, mut end) = (0, 0, 0);
        while at < input.len() {
            match self {
                Self::Done => break,
                Self::Data { left } => {
                    let run = clamp(*left, input.len() - at);
                    if start == end {
                        (start, end) = (at, at);
                    } else {
                        input.copy_within(at..at + run, end);
                    }
                    (at, end) = (at + run, end + run);
                    *left -= run as u64;
                    if *left == 0 {
                        *self = Self::DataCr;
                    }
                }
                _ => match self.line_byte(input[at]) {
                    Ok(next) => {
                        *self = next;
                        at += 1;
                    }
                    Err(error) => return (start..end, at, Err(error)),
                },
            }
        }
        (start..end, at, Ok(()))
    }

    /// The state after one byte that is not data.
    fn line_byte(&self, byte: u8) -> Result<Self, Http1Error> {
        let error = match (self, byte) {
            (&Self::SizeLf { size: 0 }, b'\n') => return Ok(Self::TrailerStart { bytes: 0 }),
            (&Self::SizeLf { size }, b'\n') => return Ok(Self::Data { left: size }),
            (Self::DataLf, b'\n') => return Ok(Self::Size { size: 0, digits: 0 }),
            (&Self::TrailerLf { bytes }, b'\n') => return Ok(Self::TrailerStart { bytes }),
            (Self::EndLf, b'\n') => return Ok(Self::Done),
            (_, b'\n') => "a line ends without CR",
            (&Self::Size { size, digits }, _) => return Self::size_byte(size, digits, byte),
            (&Self::Extension { size, .. }, b'\r') => return Ok(Self::SizeLf { size }),
            (&Self::Extension { size, bytes }, _) if bytes < UPSTREAM_CHUNK_EXTENSION_BYTES => {
                let bytes = bytes + 1;
                return Ok(Self::Extension { size, bytes });
            }
            (Self::Extension { .. }, _) => "a chunk extension is too long",
            (Self::DataCr, b'\r') => return Ok(Self::DataLf),
            (Self::DataCr, _) => "a chunk is longer than its size says",
            (Self::TrailerStart { .. }, b'\r') => return Ok(Self::EndLf),
            (&Self::Trailer { bytes }, b'\r') => return Ok(Self::TrailerLf { bytes }),
            (&(Self::TrailerStart { bytes } | Self::Trailer { bytes }), _)
                if bytes < UPSTREAM_TRAILER_BYTES =>
            {
                return Ok(Self::Trailer { bytes: bytes + 1 });
            }
            (Self::TrailerStart { .. } | Self::Trailer { .. }, _) => "the trailers are too long",
            _ => "a CR without its LF",
        };
        Err(Http1Error::Chunk(error))
    }

    fn size_byte(size: u64, digits: u8, byte: u8) -> Result<Self, Http1Error> {
        let error = match (char::from(byte).to_digit(16), byte) {
            (Some(digit), _) if digits < 16 => {
                let size = size << 4 | u64::from(digit);
                let digits = digits + 1;
                return Ok(Self::Size { size, digits });
            }
            (Some(_), _) => "a chunk size has more than 16 digits",
            (None, b'\r') if digits > 0 => return Ok(Self::SizeLf { size }),
            (None, b';' | b' ' | b'\t') if digits > 0 => {
                return Ok(Self::Extension { size, bytes: 0 });
            }
            (None, _) => "a chunk size is not a number",
        };
        Err(Http1Error::Chunk(error))
    }
}

/// `wanted`, or all `available` if that is less.
fn clamp(wanted: u64, available: usize) -> usize {
    usize::try_from(wanted).map_or(available, |wanted| wanted.min(available))
}
