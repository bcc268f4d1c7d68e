use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::url::BaseUrl;
use crate::roots::{TlsError, client_config};

/// What ALPN calls HTTP/2 over TLS (RFC 9113, section 3.2).
pub(super) const HTTP2: &[u8] = b"h2";

/// How to speak TLS with one upstream.
#[derive(Clone)]
pub(super) struct Tls {
    /// HTTP/1.1 inside.
    pub(super) connector: TlsConnector,
    /// HTTP/2 inside, or HTTP/1.1, as the upstream likes it.
    pub(super) either: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Tls {
    /// TLS 1.2 or newer. Trusted are the system's roots (Mozilla's where the system has none) and the
    /// certificates of `ca_file`.
    pub(super) fn new(base: &BaseUrl, ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let mut config = client_config(ca_file)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut either = config.clone();
        either.alpn_protocols.insert(0, HTTP2.to_vec());
        let name = ServerName::try_from(base.host().to_owned())
            .map_err(|error| TlsError::Other(error.to_string()))?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            either: TlsConnector::from(Arc::new(either)),
            name,
        })
    }
}
