use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use everstream_core::frame::http1::Http1Error;
use everstream_core::limits::UPSTREAM_READ_BYTES;
use h2::RecvStream;

use super::failure::cut;
use super::pool::Slot;
use super::sending::Sending;
use crate::upstream::connection::Outgoing;
use crate::upstream::{Upstream, UpstreamError, UpstreamErrorKind};

/// The body of an answer on a connection that others share.
pub(in crate::upstream) struct Answer {
    upstream: Arc<Upstream>,
    /// Gone once the answer has ended, one way or the other.
    open: Option<Open>,
    /// Why it did not end properly.
    failure: Option<Http1Error>,
}

/// In the order in which it is dropped: the stream ends before its place is free.
struct Open {
    body: RecvStream,
    /// What is left of the request, if the answer began before it was written.
    sending: Option<(Sending, Outgoing)>,
    _slot: Slot,
}

impl Answer {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        body: RecvStream,
        sending: Option<(Sending, Outgoing)>,
        slot: Slot,
    ) -> Self {
        let mut answer = Self {
            upstream,
            open: Some(Open {
                body,
                sending,
                _slot: slot,
            }),
            failure: None,
        };
        answer.settle();
        answer
    }

    /// As [`Body::poll_read`](crate::upstream::Body::poll_read): all that came meanwhile is one piece,
    /// and what was given may be sent anew.
    pub(in crate::upstream) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, UpstreamError>> {
        let Some(open) = &mut self.open else {
            let ended = self.failure.map_or(Ok(None), |failure| {
                let kind = UpstreamErrorKind::Protocol(failure);
                Err(self.upstream.error(kind, true))
            });
            return Poll::Ready(ended);
        };
        if let Some((sending, outgoing)) = &mut open.sending
            && let Poll::Ready(sent) = sending.poll(cx, outgoing.parts().1)
        {
            open.sending = None;
            if let Err(error) = sent {
                let kind = UpstreamErrorKind::Body(Box::new(error));
                return Poll::Ready(Err(self.fail(kind, "its request broke off")));
            }
        }
        match ready!(open.poll_gather(cx)) {
            Ok(Some(piece)) => {
                self.settle();
                Poll::Ready(Ok(Some(piece)))
            }
            Ok(None) => {
                self.open = None;
                Poll::Ready(Ok(None))
            }
            Err(error) => Poll::Ready(Err(self.fail(cut(error), "the connection broke"))),
        }
    }

    pub(in crate::upstream) fn is_at_end(&self) -> bool {
        self.open.is_none() && self.failure.is_none()
    }

    /// Lets go of the stream as soon as the answer is whole.
    fn settle(&mut self) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.body.is_end_stream())
        {
            self.open = None;
        }
    }

    fn fail(&mut self, kind: UpstreamErrorKind, later: &'static str) -> UpstreamError {
        self.open = None;
        self.failure = Some(Http1Error::Truncated(later));
        self.upstream.error(kind, true)
    }
}

impl Open {
    /// Takes what is there, up to what one read of a socket brings, and copies it, so that a small event
    /// does not keep a large buffer. `None` at the end.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, h2::Error>> {
        let mut piece = Vec::new();
        loop {
            match self.body.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    self.body.flow_control().release_capacity(data.len())?;
                    piece.extend_from_slice(&data);
                    if piece.len() < UPSTREAM_READ_BYTES {
                        continue;
                    }
                }
                // After a piece it is told again.
                Poll::Ready(Some(Err(error))) if piece.is_empty() => {
                    return Poll::Ready(Err(error));
                }
                // Trailers say nothing that is needed.
                Poll::Ready(None) if piece.is_empty() => return Poll::Ready(Ok(None)),
                Poll::Pending if piece.is_empty() => return Poll::Pending,
                _ => {}
            }
            return Poll::Ready(Ok(Some(piece.into())));
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.open.is_some() { "open" } else { "ended" };
        write!(f, "Body(of {:?}, {state}, HTTP/2)", self.upstream)
    }
}
