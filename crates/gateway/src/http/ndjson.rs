//! A stream as newline-delimited JSON: one line an event, an empty line for a heartbeat, and a last
//! line that says how it ended.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body::Frame;
use serde_json::json;

use super::page;
use super::respond::{self, About};
use super::sse::Heartbeat;
use crate::app::App;
use crate::read::{Read, Reader};

/// The response.
pub(super) fn ndjson(app: &App, reader: Reader, about: &About) -> Response {
    let stream = reader.stream();
    let heartbeat = Heartbeat::new(app.config.streams.heartbeat);
    let mut response = Body::new(Lines {
        reader,
        heartbeat,
        over: false,
    })
    .into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    respond::streaming_headers(headers);
    respond::describe(headers, stream, about);
    response
}

struct Lines {
    reader: Reader,
    heartbeat: Heartbeat,
    over: bool,
}

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let lines = match self.reader.poll_next(cx) {
            Poll::Ready(Read::Events(batch, before)) => {
                let mut lines = String::new();
                for event in batch.events_after(before) {
                    lines.push_str(&json!(page::event(event)).to_string());
                    lines.push('\n');
                }
                lines
            }
            Poll::Ready(Read::Ended(end)) => {
                self.over = true;
                format!("{}\n", json!({ "end": page::end(&end) }))
            }
            Poll::Ready(Read::Lost(error)) => {
                self.over = true;
                let code = error.code.as_str();
                format!(
                    "{}\n",
                    json!({ "error": { "code": code, "message": error.message } })
                )
            }
            Poll::Pending => {
                ready!(self.heartbeat.poll(cx));
                "\n".to_owned()
            }
        };
        self.heartbeat.beat();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(lines)))))
    }
}
