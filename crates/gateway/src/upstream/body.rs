use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use everstream_core::frame::http1::{BodyDecoder, BodyState, Http1Error, ResponseHead};

use super::connection::{Connection, Outgoing, Unwritten};
use super::shared::Answer;
use super::{Upstream, UpstreamError, UpstreamErrorKind};

/// The body of an answer, read piece by piece.
pub struct Body(Way);

#[expect(
    clippy::large_enum_variant,
    reason = "HTTP/1.1 is the way of most, and pays for no box"
)]
enum Way {
    Http1(Http1),
    Http2(Box<Answer>),
}

/// What comes on a connection of its own.
struct Http1 {
    upstream: Arc<Upstream>,
    /// Gone once the answer has ended, one way or the other.
    connection: Option<Connection>,
    /// Why it did not end properly.
    failure: Option<Http1Error>,
    /// What is left of the request, if the answer began before it was written.
    outgoing: Option<Outgoing>,
    decoder: BodyDecoder,
    /// What came together with the head.
    early: Option<Bytes>,
    reusable: bool,
    promised: Option<Duration>,
}

impl Body {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        connection: Connection,
        outgoing: Outgoing,
        head: &ResponseHead,
        decoder: BodyDecoder,
        rest: Vec<u8>,
    ) -> Self {
        Self(Way::Http1(Http1::new(
            upstream, connection, outgoing, head, decoder, rest,
        )))
    }

    /// One that comes on a connection which others share.
    pub(super) fn shared(answer: Answer) -> Self {
        Self(Way::Http2(Box::new(answer)))
    }

    /// All that one read of the socket brings, without HTTP's framing; `None` at the proper end,
    /// when the connection has gone back to the pool by itself. An answer that stops before its end
    /// is an error, after all that came of it was given.
    ///
    /// Dropping the future loses nothing.
    pub async fn read(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// Like [`read`](Self::read), for use in a `poll` function.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, UpstreamError>> {
        match &mut self.0 {
            Way::Http1(body) => body.poll_read(cx),
            Way::Http2(answer) => answer.poll_read(cx),
        }
    }

    /// Whether all was read, up to the proper end.
    pub fn is_at_end(&self) -> bool {
        match &self.0 {
            Way::Http1(body) => body.is_at_end(),
            Way::Http2(answer) => answer.is_at_end(),
        }
    }
}

impl Http1 {
    fn new(
        upstream: Arc<Upstream>,
        connection: Connection,
        outgoing: Outgoing,
        head: &ResponseHead,
        mut decoder: BodyDecoder,
        mut rest: Vec<u8>,
    ) -> Self {
        let early = piece(decoder.push(&mut rest));
        let mut body = Self {
            upstream,
            connection: Some(connection),
            failure: None,
            outgoing: Some(outgoing),
            decoder,
            early,
            reusable: head.keep_alive,
            promised: promised_lifetime(head),
        };
        body.settle();
        body
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, UpstreamError>> {
        if let Some(piece) = self.early.take() {
            return Poll::Ready(Ok(Some(piece)));
        }
        loop {
            let Some(connection) = &mut self.connection else {
                let ended = self.failure.map_or(Ok(None), |failure| {
                    let kind = UpstreamErrorKind::Protocol(failure);
                    Err(self.upstream.error(kind, true))
                });
                return Poll::Ready(ended);
            };
            if let Some(outgoing) = &mut self.outgoing
                && let Poll::Ready(Err(unwritten)) = outgoing.poll(cx, connection)
            {
                self.outgoing = None;
                match unwritten {
                    // The answer counts, not whether the upstream wanted all of the request.
                    Unwritten::Connection(_) => {}
                    Unwritten::Body(error) => {
                        self.close(Some(Http1Error::Truncated("its request broke off")));
                        let kind = UpstreamErrorKind::Body(Box::new(error));
                        return Poll::Ready(Err(self.upstream.error(kind, true)));
                    }
                }
            }
            let decoder = &mut self.decoder;
            let read =
                connection.poll_read(cx, |input| (input.is_empty(), piece(decoder.push(input))));
            match ready!(read) {
                Ok((true, _)) => self.close(self.decoder.finish().err()),
                Ok((false, piece)) => {
                    self.settle();
                    if piece.is_some() {
                        return Poll::Ready(Ok(piece));
                    }
                }
                Err(error) => {
                    self.close(Some(Http1Error::Truncated("the connection broke")));
                    let kind = UpstreamErrorKind::Reset(error);
                    return Poll::Ready(Err(self.upstream.error(kind, true)));
                }
            }
        }
    }

    fn is_at_end(&self) -> bool {
        self.early.is_none() && self.connection.is_none() && self.failure.is_none()
    }

    /// Lets go of the connection as soon as the answer is whole or its framing broken.
    fn settle(&mut self) {
        match self.decoder.state() {
            BodyState::Open => {}
            BodyState::Failed(error) => self.close(Some(error)),
            BodyState::Done => {
                let written = self.outgoing.as_ref().is_some_and(Outgoing::is_done);
                let reusable = self.reusable && written && !self.decoder.surplus();
                if let Some(connection) = self.connection.take().filter(|_| reusable) {
                    self.upstream.release(connection, self.promised);
                }
            }
        }
    }

    fn close(&mut self, failure: Option<Http1Error>) {
        self.connection = None;
        self.failure = failure;
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Http1(Http1 {
                upstream, decoder, ..
            }) => write!(f, "Body(of {upstream:?}, {:?})", decoder.state()),
            Way::Http2(answer) => answer.fmt(f),
        }
    }
}

fn piece(bytes: &[u8]) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes))
}

/// `Keep-Alive: timeout=5` says how long the upstream keeps an idle connection.
fn promised_lifetime(head: &ResponseHead) -> Option<Duration> {
    let mut parameters = head.get_str("keep-alive")?.split(',');
    let seconds = parameters.find_map(|p| p.trim().strip_prefix("timeout="))?;
    seconds.parse().ok().map(Duration::from_secs)
}
