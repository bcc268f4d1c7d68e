use std::fmt;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::frame::http1::BodyLength;
use futures_core::Stream;

/// The body of a request that is sent as it comes, and never held: the next piece is asked for when
/// the connection took the last one.
pub struct Upload {
    source: Source,
    /// What is left of the length that was announced; `None` where chunks tell the end.
    left: Option<u64>,
    /// What is being written: one piece, between the two lines of its chunk.
    parts: [Bytes; 3],
    ended: bool,
}

/// The pieces of a body. An error says why it breaks off, to whom it may be told.
pub type Source = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

impl Upload {
    /// The body that `source` brings, of a length that may be known.
    pub fn new(source: Source, length: Option<u64>) -> Self {
        Self {
            source,
            left: length,
            parts: Default::default(),
            ended: false,
        }
    }

    pub(super) fn length(&self) -> BodyLength {
        self.left.map_or(BodyLength::Chunked, BodyLength::Known)
    }

    /// Asks for the next piece, to be sent in HTTP/1.1; to be called when the last one is written. False
    /// at the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let had_ended = self.ended;
        let piece = ready!(self.poll_piece(cx))?;
        let chunked = self.left.is_none();
        match piece {
            Some(piece) if chunked => {
                let line = format!("{:x}\r\n", piece.len()).into();
                self.parts = [line, piece, Bytes::from_static(b"\r\n")];
            }
            Some(piece) => self.parts[1] = piece,
            None if chunked && !had_ended => self.parts[0] = Bytes::from_static(b"0\r\n\r\n"),
            None => return Poll::Ready(Ok(false)),
        }
        Poll::Ready(Ok(true))
    }

    /// The next piece as it is; `None` at the end.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Error>> {
        while !self.ended && !self.is_over() {
            match ready!(self.source.as_mut().poll_next(cx)).transpose()? {
                Some(piece) if piece.is_empty() => {}
                Some(piece) => {
                    if let Some(left) = &mut self.left {
                        let size = piece.len() as u64;
                        *left = left
                            .checked_sub(size)
                            .ok_or_else(|| misfit("went on after"))?;
                    }
                    return Poll::Ready(Ok(Some(piece)));
                }
                None => {
                    self.ended = true;
                    if self.left.is_some() {
                        return Poll::Ready(Err(misfit("ended before")));
                    }
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Whether all of an announced length was given.
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    pub(super) fn is_written(&self) -> bool {
        self.parts.iter().all(Bytes::is_empty)
    }

    pub(super) fn slices(&self) -> [IoSlice<'_>; 3] {
        self.parts.each_ref().map(|part| IoSlice::new(part))
    }

    pub(super) fn advance(&mut self, mut written: usize) {
        for part in &mut self.parts {
            let of_part = written.min(part.len());
            part.advance(of_part);
            written -= of_part;
        }
    }
}

fn misfit(how: &str) -> Error {
    let message = format!("The request body {how} the length that was announced for it.");
    Error::new(ErrorCode::InvalidValue, message)
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({:?} left)", self.left)
    }
}
