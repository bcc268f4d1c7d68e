//! Upstreams that speak `WebSocket`.

use std::sync::Arc;

use bytes::Bytes;
use everstream_core::limits;
use http::{HeaderName, HeaderValue, Response, Uri, header};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tungstenite::handshake::client::generate_key;
use tungstenite::protocol::WebSocketConfig;

use super::{Io, Upstream, UpstreamError, UpstreamErrorKind};

/// An open WebSocket.
pub type Socket = WebSocketStream<Box<dyn Io>>;

/// Why there is no WebSocket.
#[derive(Debug)]
pub enum SocketError {
    /// The upstream answered with a status of its own.
    Refused {
        /// The status.
        status: u16,
        /// What it said, as far as it came with the head.
        body: Bytes,
    },
    /// There was no answer, or none that is WebSocket.
    Failed(UpstreamError),
}

impl Upstream {
    /// Opens a WebSocket at `path` below the base URL, with the headers of all requests and these.
    pub async fn open_socket(
        self: &Arc<Self>,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Socket, SocketError> {
        let presented = self.presented();
        let standing = presented.fields(0);
        let standing = standing.map_err(|kind| SocketError::Failed(self.unsent(kind)))?;
        let own = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let request = self.upgrade(path, standing.iter().chain(own));
        let request = request.map_err(|error| {
            let kind = std::io::Error::new(std::io::ErrorKind::InvalidInput, error);
            SocketError::Failed(self.unsent(UpstreamErrorKind::Write(kind)))
        })?;
        let connection = self.connect().await.map_err(SocketError::Failed)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits::REALTIME_MESSAGE_BYTES))
            .max_frame_size(Some(limits::REALTIME_MESSAGE_BYTES))
            .read_buffer_size(limits::WS_READ_BUFFER_BYTES)
            .write_buffer_size(limits::REALTIME_WRITE_BYTES);
        let shaking = client_async_with_config(request, connection.into_io(), Some(config));
        let limit = self.spec().connect_timeout;
        match tokio::time::timeout(limit, shaking).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(tungstenite::Error::Http(response))) => {
                self.refused(response.status().as_u16());
                Err(refused(*response))
            }
            Ok(Err(error)) => {
                let kind = UpstreamErrorKind::Socket(Box::new(error));
                Err(SocketError::Failed(self.error(kind, true)))
            }
            Err(_) => {
                let kind = UpstreamErrorKind::ConnectTimeout(limit);
                Err(SocketError::Failed(self.error(kind, true)))
            }
        }
    }

    fn upgrade<'h>(
        &self,
        path: &str,
        headers: impl Iterator<Item = (&'h str, &'h str)>,
    ) -> Result<http::Request<()>, http::Error> {
        let base = self.base_url();
        // The library looks at the scheme, and writes the path alone.
        let target = format!("ws://{}{}{path}", base.authority(), base.prefix());
        let target: Uri = target.parse()?;
        let mut request = http::Request::get(target)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key())
            .body(())?;
        for (name, value) in headers {
            let name = HeaderName::try_from(name)?;
            if !matches!(name, header::CONTENT_TYPE | header::ACCEPT_ENCODING) {
                let mut value = HeaderValue::try_from(value)?;
                value.set_sensitive(true);
                request.headers_mut().insert(name, value);
            }
        }
        Ok(request)
    }
}

fn refused(response: Response<Option<Vec<u8>>>) -> SocketError {
    SocketError::Refused {
        status: response.status().as_u16(),
        body: response.into_body().unwrap_or_default().into(),
    }
}
