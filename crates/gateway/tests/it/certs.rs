//! Certificates of authorities that only a test knows, and the gateways and clients that have them.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use everstream_core::config::TlsConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Gateway, Setup, within};

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for 127.0.0.1, or for whatever client.
    pub fn issue(&self) -> Identity {
        self.issue_from_to(2020, 4000)
    }

    /// The same with the years of its life.
    pub fn issue_from_to(&self, from: i32, to: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        leaf.not_before = date_time_ymd(from, 1, 1);
        leaf.not_after = date_time_ymd(to, 1, 1);
        Identity {
            certificate: leaf.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that trusts it and speaks one of `versions`.
    pub fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
        alpn: &[&str],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A client that trusts it.
    pub fn client(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        self.client_of(rustls::ALL_VERSIONS, identity, &["http/1.1"])
    }
}

/// The files that `[tls]` names.
pub struct Files {
    dir: TempDir,
    pub tls: TlsConfig,
}

impl Files {
    pub fn new(identity: &Identity) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut tls = everstream_core::config::Config::default().tls;
        tls.certificate = Some(dir.path().join("certificate.pem"));
        tls.key = Some(dir.path().join("key.pem"));
        let files = Self { dir, tls };
        files.write(identity);
        files
    }

    /// Clients have to show a certificate of `authority`.
    pub fn of_clients(mut self, authority: &Authority) -> Self {
        let path = self.dir.path().join("clients.pem");
        fs::write(&path, authority.pem()).unwrap();
        self.tls.client_ca = Some(path);
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts another identity in their place.
    pub fn write(&self, identity: &Identity) {
        fs::write(self.path("certificate.pem"), &identity.certificate).unwrap();
        fs::write(self.path("key.pem"), &identity.key).unwrap();
    }

    /// `[tls]`, and what more is in it.
    pub fn toml(&self, more: &str) -> String {
        let line = |name: &str, path: &Option<PathBuf>| match path {
            Some(path) => format!("{name} = {:?}\n", path.to_str().unwrap()),
            None => String::new(),
        };
        format!(
            "[tls]\n{}{}{}{more}\n",
            line("certificate", &self.tls.certificate),
            line("key", &self.tls.key),
            line("client_ca", &self.tls.client_ca),
        )
    }

    /// `setup` with them.
    pub async fn start(&self, setup: Setup) -> Gateway {
        setup.config(&self.toml("")).start().await
    }
}

/// Agrees on TLS with who listens at `addr`.
pub async fn connect(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    within(connector.connect(name, socket)).await
}

/// An address at which `addr` is spoken to in the clear: TLS is added on the way.
pub async fn unwrapped(addr: SocketAddr, config: Arc<ClientConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                if let Ok(mut server) = connect(addr, &config).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    bridge
}
