//! One request and its answer over HTTP/1.1.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use everstream_core::frame::http1::{Decoded, HeadDecoder};
use tokio::time::Instant;

use super::body::Body;
use super::connection::{Connection, Outgoing, Stream, Unwritten};
use super::dial::{dial, unreachable};
use super::link::Line;
use super::{Response, Upstream, UpstreamError, UpstreamErrorKind};

impl Upstream {
    /// A new connection for HTTP/1.1.
    pub(super) async fn connect(&self) -> Result<Connection, UpstreamError> {
        let (stream, line) = self.dial(false).await?;
        Ok(Connection::new(stream, line))
    }

    /// A new connection; `http2` says whether that is offered.
    pub(super) async fn dial(&self, http2: bool) -> Result<(Stream, Line), UpstreamError> {
        let place = self.link.dial();
        let limit = self.spec().connect_timeout;
        let dialling = async {
            let Some(transport) = &self.transport else {
                return dial(&self.base, &self.way, http2, Instant::now() + limit).await;
            };
            let own = transport().await.map(Stream::Own);
            own.map_err(unreachable)
        };
        let result = tokio::time::timeout(limit, dialling).await;
        let result = result.unwrap_or(Err(UpstreamErrorKind::ConnectTimeout(limit)));
        let stream = result.map_err(|kind| self.unsent(kind))?;
        Ok((stream, place.made()))
    }

    /// Writes the request and reads the head of the answer at the same time: an upstream may answer
    /// before it has read a large body, and may wait for its answer to be taken.
    pub(super) async fn exchange(
        &self,
        mut connection: Connection,
        method: &str,
        outgoing: &mut Outgoing,
    ) -> Result<(Connection, Decoded), UpstreamError> {
        let mut decoder = HeadDecoder::new(method);
        let mut unwritten = None;
        let result = poll_fn(|cx| {
            if unwritten.is_none()
                && let Poll::Ready(Err(why)) = outgoing.poll(cx, &mut connection)
            {
                match why {
                    Unwritten::Body(error) => {
                        return Poll::Ready(Err(UpstreamErrorKind::Body(Box::new(error))));
                    }
                    Unwritten::Connection(error) if !outgoing.started() => {
                        return Poll::Ready(Err(UpstreamErrorKind::Write(error)));
                    }
                    // Who stops reading a request may have said why before.
                    Unwritten::Connection(error) => unwritten = Some(error),
                }
            }
            poll_head(cx, &mut connection, &mut decoder).map_err(|broken| match unwritten.take() {
                Some(error) => UpstreamErrorKind::Write(error),
                None => broken,
            })
        })
        .await;
        match result {
            Ok(answer) => Ok((connection, answer)),
            Err(kind) => Err(self.error(kind, outgoing.started())),
        }
    }

    pub(super) fn response(
        self: &Arc<Self>,
        (connection, answer): (Connection, Decoded),
        outgoing: Outgoing,
    ) -> Response {
        let Decoded { head, body, rest } = answer;
        self.refused(head.status);
        let body = Body::new(Arc::clone(self), connection, outgoing, &head, body, rest);
        Response { head, body }
    }

    /// Takes back a connection whose answer was read to its end.
    pub(super) fn release(&self, connection: Connection, promised: Option<Duration>) {
        self.pool.put(connection, promised);
    }
}

fn poll_head(
    cx: &mut Context<'_>,
    connection: &mut Connection,
    decoder: &mut HeadDecoder,
) -> Poll<Result<Decoded, UpstreamErrorKind>> {
    loop {
        let read = connection.poll_read(cx, |input| match input {
            [] => Err(decoder
                .finish()
                .map_or(UpstreamErrorKind::Closed, UpstreamErrorKind::Protocol)),
            _ => decoder.push(input).map_err(UpstreamErrorKind::Protocol),
        });
        if let Some(decoded) = ready!(read).map_err(UpstreamErrorKind::Reset)?? {
            return Poll::Ready(Ok(decoded));
        }
    }
}
