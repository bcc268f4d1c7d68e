use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use everstream_core::dialect::{ClientDialect, hide};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::frame::http1::ResponseHead;
use everstream_core::limits;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep, timeout};

use super::record::Record;
use crate::http::refusal::refusal;
use crate::http::respond::streaming_headers;
use crate::upstream::{self, Upstream, UpstreamError};

/// The headers of an answer that are passed on.
const PASSED_BACK: [HeaderName; 7] = [
    header::ACCEPT_RANGES,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::RETRY_AFTER,
];

/// The response that an upstream's answer becomes: a refusal in full, anything else as it comes.
pub(super) async fn respond(
    upstream: &Arc<Upstream>,
    answer: upstream::Response,
    mut record: Record,
) -> Result<Response, Error> {
    let upstream::Response { head, body } = answer;
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = head.get_str("content-type").unwrap_or_default();
    let is_events = kind.starts_with("text/event-stream");
    record.answered(head.status, is_events || kind.contains("json"));
    if status.is_redirection() {
        let message = format!(
            "Upstream `{}` answered with a redirect ({status}), which is not followed.",
            upstream.name()
        );
        return Err(record.failed(Error::new(ErrorCode::UpstreamInvalid, message)));
    }
    if !status.is_success() {
        let text = refused(upstream, body, &mut record).await;
        let text = text.map_err(|error| record.failed(error))?;
        record.ended("refused");
        return Ok(refusal(upstream, ClientDialect::OpenAiChat, &head, &text));
    }
    let body = RelayBody::new(body, record, upstream);
    let mut response = Response::new(axum::body::Body::new(body));
    *response.status_mut() = status;
    for name in PASSED_BACK {
        if let Some(value) = header_of(&head, &name, upstream) {
            response.headers_mut().insert(name, value);
        }
    }
    if is_events {
        streaming_headers(response.headers_mut());
    }
    Ok(response)
}

fn header_of(head: &ResponseHead, name: &HeaderName, upstream: &Upstream) -> Option<HeaderValue> {
    let value = Bytes::copy_from_slice(head.get(name.as_str())?);
    HeaderValue::from_maybe_shared(hide(value, &upstream.secrets().all())).ok()
}

/// The text of a refusal, as far as it matters.
async fn refused(
    upstream: &Upstream,
    mut body: upstream::Body,
    record: &mut Record,
) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let reading = async {
        while let Some(piece) = body.read().await.map_err(UpstreamError::into_error)? {
            record.received(&piece);
            let room = limits::UPSTREAM_ERROR_BYTES - text.len();
            text.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                break;
            }
        }
        Ok(())
    };
    let read = timeout(upstream.spec().event_timeout, reading).await;
    read.unwrap_or_else(|_| Err(stalled(upstream.name())))?;
    Ok(text)
}

fn stalled(upstream: &str) -> Error {
    let message = format!("Upstream `{upstream}` stopped in the middle of its answer.");
    Error::new(ErrorCode::UpstreamTimeout, message)
}

/// An answer on its way to the client. If it breaks off, the response does too, so that nobody takes
/// a part for the whole; if the client goes, the upstream is hung up.
struct RelayBody {
    body: upstream::Body,
    record: Record,
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    upstream: String,
}

impl RelayBody {
    fn new(body: upstream::Body, record: Record, upstream: &Upstream) -> Self {
        let mut relayed = Self {
            body,
            record,
            patience: upstream.spec().event_timeout,
            silence: None,
            upstream: upstream.name().to_owned(),
        };
        relayed.note_end();
        relayed
    }

    /// Who knows the length does not ask for what follows the last byte.
    fn note_end(&mut self) {
        if self.body.is_at_end() {
            self.record.ended("completed");
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let patience = self.patience;
        let silence = (self.silence).get_or_insert_with(|| Box::pin(sleep(patience)));
        silence.as_mut().poll(cx).map(|()| stalled(&self.upstream))
    }
}

impl Body for RelayBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let error = match self.body.poll_read(cx) {
            Poll::Ready(Ok(Some(piece))) => {
                self.silence = None;
                self.record.received(&piece);
                self.note_end();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            Poll::Ready(Ok(None)) => {
                self.note_end();
                return Poll::Ready(None);
            }
            Poll::Ready(Err(error)) => error.into_error(),
            Poll::Pending => match self.poll_silence(cx) {
                Poll::Ready(error) => error,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(Some(Err(self.record.failed(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_at_end()
    }
}
