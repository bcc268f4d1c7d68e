use std::sync::Arc;

use bytes::Bytes;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::frame::http1::ResponseHead;
use everstream_core::limits;

use super::{Request, Upstream, UpstreamError};

impl Upstream {
    /// A question with a short answer that is no generation: posts `body`, and gives the head and the
    /// whole body of what comes back, whatever the status.
    ///
    /// # Errors
    /// When there is no answer, or one that is longer than `UPSTREAM_ERROR_BYTES`.
    pub async fn ask(
        self: &Arc<Self>,
        path: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(ResponseHead, Bytes), Error> {
        let failed = UpstreamError::into_error;
        let mut all = vec![
            ("content-type", "application/json"),
            ("accept", "application/json"),
        ];
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let request = Request {
            method: "POST",
            path,
            headers: &all,
            body: Some(body),
        };
        let mut response = self.send(request).await.map_err(failed)?;
        let mut text = Vec::new();
        while let Some(piece) = response.body.read().await.map_err(failed)? {
            if text.len() + piece.len() > limits::UPSTREAM_ERROR_BYTES {
                let message = format!("Upstream `{}` answered at great length.", self.name());
                return Err(Error::new(ErrorCode::UpstreamInvalid, message));
            }
            text.extend_from_slice(&piece);
        }
        Ok((response.head, text.into()))
    }
}
