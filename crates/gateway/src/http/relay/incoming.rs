use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use everstream_core::config::LimitsConfig;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::frame::multipart::{FieldFinder, FoundField, MultipartError};
use everstream_core::limits;
use everstream_core::units::show_duration;
use futures_core::Stream;
use http_body::Body as _;
use tokio::time::{Sleep, sleep};

use crate::http::body::{cause, throw_away};
use crate::upstream::Upload;

/// How far an upload is, for those who wait for its answer.
#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: AtomicU64,
    waiting: AtomicBool,
    ended: AtomicBool,
}

impl Counters {
    /// Bytes of the body that the upstream asked for.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether it is the client's turn.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether the client has sent all.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// A client's body on its way to an upstream: bounded in size, and in silence.
pub(super) struct Incoming {
    /// Gone at its end.
    body: Option<Body>,
    /// What was read to find a field, and is to be sent first.
    held: VecDeque<Bytes>,
    finder: Option<FieldFinder>,
    counters: Arc<Counters>,
    length: Option<u64>,
    /// How much more there may be.
    left: u64,
    most: u64,
    most_held: usize,
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// A body within these limits.
    pub(super) fn new(
        body: Body,
        limits: &LimitsConfig,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let length = body.size_hint().exact();
        let incoming = Self {
            body: Some(body),
            held: VecDeque::new(),
            finder: None,
            counters,
            length,
            left: limits.upload_bytes,
            most: limits.upload_bytes,
            most_held: limits.request_body_bytes,
            patience: limits.request_read_timeout,
            silence: None,
        };
        if length.is_some_and(|length| length > limits.upload_bytes) {
            return Err(incoming.too_large());
        }
        Ok(incoming)
    }

    /// Reads on until the field of this name has passed by; what is read until then is held. `None`
    /// if the body has none.
    pub(super) async fn find(
        &mut self,
        boundary: &str,
        name: &'static str,
    ) -> Result<Option<FoundField>, Error> {
        self.finder = Some(FieldFinder::new(boundary, name, limits::MODEL_BYTES));
        let mut held = 0;
        loop {
            let finder = self.finder.as_ref();
            let found = finder.and_then(FieldFinder::found).cloned();
            // However the pieces fall, the same bodies are refused.
            let read = found.as_ref().map_or(held, |found| found.place.end);
            if read > self.most_held as u64 {
                let message = format!(
                    "There is no `{name}` in the first {} bytes of the body \
                     (limits.request_body_bytes): put it before the file.",
                    self.most_held
                );
                return Err(Error::new(ErrorCode::InvalidValue, message).param(name));
            }
            if found.is_some() || finder.is_some_and(FieldFinder::is_at_end) {
                return Ok(found);
            }
            let Some(piece) = poll_fn(|cx| self.poll_piece(cx)).await.transpose()? else {
                return Ok(None);
            };
            held += piece.len() as u64;
            self.held.push_back(piece);
        }
    }

    /// Puts `text` in a place of what is held.
    pub(super) fn replace(&mut self, place: &Range<u64>, text: &str) {
        let mut start = 0;
        let mut held = VecDeque::with_capacity(self.held.len() + 2);
        for piece in self.held.drain(..) {
            let end = start + piece.len() as u64;
            // Both are within the piece, which is a buffer in memory.
            let cut =
                |at: u64| usize::try_from(at.clamp(start, end) - start).unwrap_or(piece.len());
            held.push_back(piece.slice(..cut(place.start)));
            if (start..end).contains(&place.start) {
                held.push_back(Bytes::copy_from_slice(text.as_bytes()));
            }
            held.push_back(piece.slice(cut(place.end)..));
            start = end;
        }
        self.held = held;
        let added = text.len() as u64;
        self.length = self
            .length
            .map(|length| length + added - (place.end - place.start));
    }

    /// What the upstream is sent.
    pub(super) fn into_upload(self) -> Upload {
        let length = self.length;
        Upload::new(Box::pin(self), length)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                return self.poll_silence(cx).map(|error| Some(Err(error)));
            };
            self.silence = None;
            self.counters.waiting.store(false, Ordering::Relaxed);
            match frame {
                None => {
                    self.body = None;
                    self.counters.ended.store(true, Ordering::Relaxed);
                }
                Some(Err(error)) => {
                    self.body = None;
                    let error = cause(&error).unwrap_or_else(|| {
                        let message = "The request body ended before it was whole.";
                        Error::new(ErrorCode::InvalidValue, message)
                    });
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => {
                    // What is not data is a trailer, and no API has any.
                    if let Ok(piece) = frame.into_data() {
                        // Who knows the length does not ask for what follows the last byte.
                        let ended = body.is_end_stream();
                        self.counters.ended.store(ended, Ordering::Relaxed);
                        return Poll::Ready(Some(self.check(piece)));
                    }
                }
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.counters.waiting.store(true, Ordering::Relaxed);
        let patience = self.patience;
        let silence = (self.silence).get_or_insert_with(|| Box::pin(sleep(patience)));
        silence.as_mut().poll(cx).map(|()| {
            self.body = None;
            let message = format!(
                "The request body paused for longer than limits.request_read_timeout = {}.",
                show_duration(patience)
            );
            Error::new(ErrorCode::RequestTimeout, message)
        })
    }

    fn check(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        let left = self.left.checked_sub(piece.len() as u64);
        self.left = left.ok_or_else(|| self.too_large())?;
        if let Some(finder) = &mut self.finder {
            finder.push(&piece).map_err(malformed)?;
        }
        Ok(piece)
    }

    fn too_large(&self) -> Error {
        let message = format!(
            "The request body is larger than limits.upload_bytes = {}.",
            self.most
        );
        Error::new(ErrorCode::BodyTooLarge, message)
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match self.held.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None => self.poll_piece(cx),
        };
        if let Poll::Ready(Some(Ok(piece))) = &next {
            self.counters.add(piece.len());
        }
        next
    }
}

/// Who is refused while it sends gets to read why.
impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            throw_away(body, self.patience);
        }
    }
}

fn malformed(error: MultipartError) -> Error {
    let refused = Error::new(ErrorCode::InvalidValue, format!("{error}."));
    match error {
        MultipartError::Malformed(_) => refused,
        MultipartError::Twice(name)
        | MultipartError::TooLong(name, _)
        | MultipartError::NotText(name) => refused.param(name),
    }
}
