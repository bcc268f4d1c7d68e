//! HTTP/2 (RFC 9113), with upstreams that choose it.
//!
//! A general client has one connection for each host, so that one lost packet holds up all answers,
//! one lost connection ends them all, and requests beyond what the upstream takes wait. Here requests
//! spread over connections with a few answers each, and another is opened before anybody waits.

mod answer;
mod connection;
mod failure;
mod pool;
mod request;
mod sending;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use everstream_core::frame::http1::ResponseHead;
use everstream_core::limits::UPSTREAM_UNREAD_TRIES;
use h2::RecvStream;

pub(super) use answer::Answer;
pub(super) use pool::Pool;

use self::failure::Failure;
use self::pool::{Slot, Turn};
use self::sending::Sending;
use super::body::Body;
use super::connection::{Connection, Outgoing};
use super::{Response, Upstream, UpstreamError, UpstreamErrorKind};

/// Where a request goes.
enum Place {
    /// To a connection that others share.
    Shared(Slot),
    /// To one of its own: the upstream chose HTTP/1.1.
    Own(Connection),
}

impl Upstream {
    /// Sends a request to an upstream that may speak HTTP/2. It is written again, a few times at most,
    /// when it surely was not read.
    pub(super) async fn send_shared(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        method: &str,
        mut outgoing: Outgoing,
    ) -> Result<Response, UpstreamError> {
        let mut tries = 1;
        loop {
            let slot = match self.place(pool).await? {
                Place::Shared(slot) => slot,
                Place::Own(connection) => {
                    let result = self.exchange(connection, method, &mut outgoing).await;
                    return result.map(|answer| self.response(answer, outgoing));
                }
            };
            match exchange(&slot, &mut outgoing).await {
                Ok((head, body, sending)) => {
                    self.refused(head.status);
                    let sending = sending.map(|sending| (sending, outgoing));
                    let answer = Answer::new(Arc::clone(self), body, sending, slot);
                    let body = Body::shared(answer);
                    return Ok(Response { head, body });
                }
                Err(failure) if failure.again && tries < UPSTREAM_UNREAD_TRIES => tries += 1,
                Err(failure) => return Err(self.error(failure.kind, failure.sent)),
            }
        }
    }

    /// Waits for a stream, or for a connection that another request is making, no longer than a
    /// connection may take.
    async fn place(&self, pool: &Arc<Pool>) -> Result<Place, UpstreamError> {
        let limit = self.spec().connect_timeout;
        let placing = async {
            let ticket = match pool.turn().await {
                Turn::Stream(slot) => return Ok(Place::Shared(slot)),
                Turn::Dial(ticket) => ticket,
            };
            let (stream, line) = match self.dial(true).await {
                Ok(dialled) => dialled,
                Err(error) => {
                    ticket.failed();
                    return Err(error);
                }
            };
            match stream.http2() {
                Ok(stream) => {
                    let slot = ticket.open(stream, line).await;
                    slot.map(Place::Shared).map_err(|error| self.unsent(error))
                }
                Err(stream) => {
                    ticket.chose_http1();
                    Ok(Place::Own(Connection::new(stream, line)))
                }
            }
        };
        let placed = tokio::time::timeout(limit, placing).await;
        placed.unwrap_or_else(|_| Err(self.unsent(UpstreamErrorKind::ConnectTimeout(limit))))
    }
}

/// Writes the request and waits for the head of its answer. What is left of the request then goes on
/// with the answer.
async fn exchange(
    slot: &Slot,
    outgoing: &mut Outgoing,
) -> Result<(ResponseHead, RecvStream, Option<Sending>), Failure> {
    let (head, body) = outgoing.parts();
    let request = request::request(head).map_err(Failure::unsendable)?;
    let written = slot.written();
    let unwritten = || slot.written() == written;
    let sent = slot.sender().send_request(request, sending::is_empty(body));
    let (mut response, stream) = sent.map_err(Failure::unopened)?;
    let mut sending = Some(Sending::new(stream));
    let answered = poll_fn(|cx| {
        if let Some(open) = &mut sending
            && let Poll::Ready(done) = open.poll(cx, body)
        {
            // Whatever became of the request, the answer counts, unless its own body broke off.
            if let Err(error) = done {
                return Poll::Ready(Err(Failure::body(error)));
            }
            sending = None;
        }
        let answered = Pin::new(&mut response).poll(cx);
        answered.map_err(|error| Failure::unanswered(error, unwritten(), body))
    });
    let (head, stream) = answered.await?.into_parts();
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let head = ResponseHead::new(head.status.as_u16(), headers).map_err(Failure::head)?;
    Ok((head, stream, sending))
}
