//! What is asked of an upstream about a run that does not need its connection.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use everstream_core::dialect::{Handle, HandleCall};
use everstream_core::error::ErrorCode;
use everstream_core::frame::http1::ResponseHead;
use everstream_core::limits;
use everstream_core::writer::Breakage;
use tokio::time::timeout;

use crate::upstream::{Request, Response, Upstream, UpstreamError};

/// What an upstream is asked.
pub(super) struct Call {
    pub(super) upstream: Arc<Upstream>,
    pub(super) method: &'static str,
    pub(super) path: Cow<'static, str>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<Bytes>,
    /// It runs the same request under the same key once.
    pub(super) keyed: bool,
    /// The place of the upstream's key to ask with.
    pub(super) key: usize,
}

/// An upstream that was asked, and the place of its key that it was asked with.
pub(super) type Asked = (Arc<Upstream>, usize);

impl Call {
    /// Who is asked.
    pub(super) fn asked(&self) -> Asked {
        (Arc::clone(&self.upstream), self.key)
    }

    pub(super) async fn send(self) -> Result<Response, UpstreamError> {
        let headers = self.headers.iter();
        let headers: Vec<_> = headers.map(|(name, value)| (*name, &**value)).collect();
        let request = Request {
            method: self.method,
            path: &self.path,
            headers: &headers,
            body: self.body,
        };
        self.upstream.send_with(self.key, request).await
    }
}

/// The call about a stream of the upstream's own, with the key that began it.
pub(super) fn call((upstream, key): Asked, asked: HandleCall) -> Call {
    let HandleCall { method, path, body } = asked;
    let accept = match method {
        "GET" => "text/event-stream",
        _ => "application/json",
    };
    Call {
        path: upstream.path(path.into(), ""),
        upstream,
        method,
        headers: vec![
            ("accept", accept.to_owned()),
            ("accept-encoding", "identity".to_owned()),
        ],
        body,
        keyed: false,
        key,
    }
}

/// By what an answer can be found again whose head this is.
pub(super) fn handle(head: &ResponseHead) -> Option<Handle> {
    let stream = head.get_str("everstream-stream-id");
    let found = Handle::of_head(stream, head.get_str("content-location"));
    // A refusal is no run.
    found.filter(|_| (200..300).contains(&head.status))
}

/// Stops a run. Whether that is heard makes no difference to whoever wanted it: its stream has ended.
pub(super) async fn cancel((upstream, key): Asked, handle: Handle) {
    let cancelling = async {
        let mut response = call((Arc::clone(&upstream), key), handle.cancel())
            .send()
            .await?;
        // Read to its end, so that the connection can be used again.
        while response.body.read().await?.is_some() {}
        Ok::<_, UpstreamError>(response.head.status)
    };
    match timeout(limits::UPSTREAM_CANCEL_TIMEOUT, cancelling).await {
        Ok(Ok(status)) => {
            tracing::debug!(upstream = upstream.name(), status, "a run was cancelled");
        }
        Ok(Err(error)) => tracing::warn!(%error, "a run could not be cancelled"),
        Err(_) => {
            tracing::warn!(
                upstream = upstream.name(),
                "a run could not be cancelled in time"
            );
        }
    }
}

/// There is nobody to find an answer at.
pub(super) fn nobody() -> Breakage {
    Breakage {
        code: ErrorCode::UpstreamInvalid,
        message: "The upstream of this answer is not configured any more.".to_owned(),
        nothing_ran: false,
        retry_after: None,
    }
}
