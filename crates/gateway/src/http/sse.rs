//! Server-sent events as the body of a response: a stream's, or a program's own.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use everstream_core::event::Surface;
use everstream_core::frame::sse::{HEARTBEAT, SseMessage};
use everstream_core::limits;
use futures_core::Stream;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::form::Form;
use crate::read::{Read, Reader};

/// The events of a stream from a reader's position on, with heartbeats between them.
pub(super) struct SseBody {
    reader: Reader,
    surface: Surface,
    form: Form,
    first: Option<Bytes>,
    heartbeat: Heartbeat,
    over: bool,
}

impl SseBody {
    /// The body that begins with `first` (whole events, or a heartbeat) and goes on with `reader`.
    pub(super) fn new(
        reader: Reader,
        surface: Surface,
        form: Form,
        first: Option<Bytes>,
        silence: Duration,
    ) -> Self {
        Self {
            reader,
            surface,
            form,
            first,
            heartbeat: Heartbeat::new(silence),
            over: false,
        }
    }
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let bytes = match self.reader.poll_next(cx) {
            Poll::Ready(Read::Events(batch, before)) => self.form.events(&batch, before),
            Poll::Ready(Read::Ended(_)) => {
                self.over = true;
                match self.form.end() {
                    Some(end) => end,
                    None => return Poll::Ready(None),
                }
            }
            Poll::Ready(Read::Lost(error)) => {
                // Not logged, so it has no id: a reader that comes back gets what the log says.
                self.over = true;
                let error = error.stream(self.reader.stream());
                let event = self.surface.lost_event(&error, self.reader.seen());
                self.form.last(&event)
            }
            Poll::Pending => {
                ready!(self.heartbeat.poll(cx));
                self.form.heartbeat()
            }
        };
        self.heartbeat.beat();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// A response of messages of any origin. Each goes out as soon as it is ready; in silence there is a
/// comment, so that no proxy hangs up.
///
/// ```
/// use everstream::sse::{Sse, SseMessage};
/// use futures_util::stream;
///
/// async fn prices() -> Sse<impl stream::Stream<Item = SseMessage>> {
///     let price = SseMessage::new().event("price").data("12").id("1");
///     Sse::new(stream::iter([price]))
/// }
/// ```
#[derive(Debug)]
pub struct Sse<S> {
    messages: S,
    silence: Duration,
}

impl<S> Sse<S> {
    /// The messages of a stream, and a comment after 15 seconds without one.
    pub fn new(messages: S) -> Self {
        Self {
            messages,
            silence: limits::HEARTBEAT,
        }
    }

    /// Sets the time of silence after which a comment is sent.
    #[must_use]
    pub fn heartbeat(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }
}

impl<S> IntoResponse for Sse<S>
where
    S: Stream<Item = SseMessage> + Send + 'static,
{
    fn into_response(self) -> Response {
        super::respond::streamed(
            axum::body::Body::new(Messages {
                messages: Box::pin(self.messages),
                heartbeat: Heartbeat::new(self.silence),
            }),
            Form::Frames,
        )
    }
}

struct Messages<S> {
    messages: Pin<Box<S>>,
    heartbeat: Heartbeat,
}

impl<S: Stream<Item = SseMessage>> Body for Messages<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.messages.as_mut().poll_next(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(message)) => message.to_bytes(),
            Poll::Pending => {
                ready!(self.heartbeat.poll(cx));
                Bytes::from_static(HEARTBEAT)
            }
        };
        self.heartbeat.beat();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// Rings after a time of silence. Setting a timer costs more than reading the clock, so it is set
/// anew only when it rings.
pub struct Heartbeat {
    silence: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Heartbeat {
    /// Rings `silence` from now.
    pub fn new(silence: Duration) -> Self {
        Self {
            silence,
            last: Instant::now(),
            timer: Box::pin(sleep(silence)),
        }
    }

    /// Something was sent.
    pub fn beat(&mut self) {
        self.last = Instant::now();
    }

    /// Ready when nothing was sent for the time of silence.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let due = self.last + self.silence;
            let now = Instant::now();
            if due <= now {
                self.timer.as_mut().reset(now + self.silence);
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }
}
