use std::io::Write;
use std::time::Duration;

use everstream_core::error::ErrorCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::upstream::{SpecError, UpstreamErrorKind};

/// A certificate authority of this test's own, and a server of that authority for 127.0.0.1.
pub(super) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    ca_file: NamedTempFile,
}

impl Server {
    pub(super) async fn new() -> Self {
        Self::offering(&["http/1.1"]).await
    }

    /// One that agrees to these protocols, the first of them before others.
    pub(super) async fn offering(protocols: &[&str]) -> Self {
        let mut ca = CertificateParams::new(Vec::new()).expect("no names");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(ca, key).expect("a root");
        let mut ca_file = NamedTempFile::new().expect("a file");
        ca_file.write_all(ca.pem().as_bytes()).expect("written");
        let key = KeyPair::generate().expect("a key");
        let names = ["127.0.0.1", "upstream.example"].map(str::to_owned);
        let leaf = CertificateParams::new(names).expect("an address and a name");
        let leaf = leaf.signed_by(&key, &ca).expect("signed");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("known versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::from(key))
            .expect("a pair");
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        let (listener, address) = listen().await;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self {
            listener,
            address,
            acceptor,
            ca_file,
        }
    }

    pub(super) fn spec(&self) -> UpstreamSpec {
        let mut spec = UpstreamSpec::new("test", format!("https://{}/v1", self.address));
        spec.ca_file = Some(self.ca_file.path().to_owned());
        spec
    }

    pub(super) async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (stream, _) = self.listener.accept().await?;
        self.speak(stream).await
    }

    pub(super) async fn speak(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}

/// Reads up to the end of a request whose body is `{}`.
pub(super) async fn request(stream: &mut TlsStream<TcpStream>) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n{}") {
        let read = stream.read_buf(&mut text).await.expect("a request");
        assert!(read > 0, "closed early");
    }
}

pub(super) async fn say(stream: &mut TlsStream<TcpStream>, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("written");
    stream.flush().await.expect("flushed");
}

#[tokio::test]
async fn a_private_authority_is_trusted_by_its_file_and_connections_are_used_again() {
    let server = Server::new().await;
    let upstream = Arc::new(Upstream::new(server.spec()).expect("valid"));
    let client = async {
        for _ in 0..2 {
            let mut response = upstream.send(post("{}")).await.expect("an answer");
            let pieces = read_all(&mut response.body).await.expect("whole");
            assert_eq!(pieces.concat(), b"hello");
            assert_eq!(upstream.idle_connections(), 1);
        }
    };
    let serve = async {
        let mut stream = server.accept().await.expect("agreed");
        let session: &ServerConnection = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            request(&mut stream).await;
            say(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            )
            .await;
        }
        stream
    };
    both(client, serve).await;
}

#[tokio::test]
async fn many_records_of_one_burst_are_few_pieces() {
    let server = Server::new().await;
    let upstream = Arc::new(Upstream::new(server.spec()).expect("valid"));
    let serve = async {
        let mut stream = server.accept().await.expect("agreed");
        request(&mut stream).await;
        say(
            &mut stream,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
        stream
    };
    let (response, mut stream) = both(upstream.send(post("{}")), serve).await;
    let mut body = response.expect("a head").body;
    for _ in 0..100 {
        say(&mut stream, "10\r\n0123456789abcdef\r\n").await;
    }
    say(&mut stream, "0\r\n\r\n").await;
    let pieces = read_all(&mut body).await.expect("whole");
    assert_eq!(pieces.concat(), b"0123456789abcdef".repeat(100));
    assert!(pieces.len() < 10, "{} pieces of 101 records", pieces.len());
}

#[tokio::test]
async fn an_unknown_authority_is_refused_before_the_request() {
    let server = Server::new().await;
    let mut spec = server.spec();
    spec.ca_file = None;
    let upstream = Arc::new(Upstream::new(spec).expect("valid"));
    let (error, accepted) = both(upstream.send(post("{}")), server.accept()).await;
    let error = error.expect_err("not trusted");
    assert!(matches!(error.kind, UpstreamErrorKind::Tls(_)), "{error}");
    assert!(error.nothing_was_sent());
    assert!(error.to_string().contains("ca_file"), "{error}");
    accepted.expect_err("the client hung up");
}

#[tokio::test]
async fn a_connection_cut_without_a_tls_goodbye_does_not_end_an_answer() {
    let server = Server::new().await;
    let upstream = Arc::new(Upstream::new(server.spec()).expect("valid"));
    let serve = async {
        let mut stream = server.accept().await.expect("agreed");
        request(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\n\r\nabc").await;
    };
    let (response, ()) = both(upstream.send(post("{}")), serve).await;
    let error = read_all(&mut response.expect("a head").body)
        .await
        .expect_err("cut");
    assert!(error.code() == ErrorCode::UpstreamCut, "{error}");
}

#[tokio::test]
async fn a_proper_goodbye_ends_an_answer_without_a_length() {
    let server = Server::new().await;
    let upstream = Arc::new(Upstream::new(server.spec()).expect("valid"));
    let serve = async {
        let mut stream = server.accept().await.expect("agreed");
        request(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\n\r\nabc").await;
        stream.shutdown().await.expect("said goodbye");
    };
    let (response, ()) = both(upstream.send(post("{}")), serve).await;
    let pieces = read_all(&mut response.expect("a head").body).await;
    assert_eq!(pieces.expect("whole").concat(), b"abc");
}

#[tokio::test(start_paused = true)]
async fn the_connect_timeout_covers_the_handshake() {
    let (_listener, address) = listen().await;
    let mut spec = UpstreamSpec::new("test", format!("https://{address}/v1"));
    spec.connect_timeout = Duration::from_secs(3);
    let upstream = Arc::new(Upstream::new(spec).expect("valid"));
    let error = upstream.send(post("{}")).await.expect_err("nobody answers");
    assert!(
        matches!(error.kind, UpstreamErrorKind::ConnectTimeout(limit) if limit.as_secs() == 3),
        "{error}"
    );
    assert!(error.nothing_was_sent());
}

#[tokio::test]
async fn tls_spoken_to_a_plain_port_and_the_reverse_are_told() {
    let (listener, address) = listen().await;
    let spec = UpstreamSpec::new("test", format!("https://{address}/v1"));
    let to_plain = Arc::new(Upstream::new(spec).expect("valid"));
    let (error, _) = both(to_plain.send(post("{}")), async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .expect("written");
        stream
    })
    .await;
    let error = error.expect_err("no TLS there");
    assert!(matches!(error.kind, UpstreamErrorKind::Tls(_)), "{error}");

    let server = Server::new().await;
    let to_tls = upstream(server.address);
    let (error, _) = both(to_tls.send(post("{}")), server.accept()).await;
    let error = error.expect_err("no plain HTTP there");
    assert!(
        matches!(error.kind, UpstreamErrorKind::Protocol(_)),
        "{error}"
    );
}

#[test]
fn a_ca_file_that_cannot_be_used_is_named() {
    let mut empty = NamedTempFile::new().expect("a file");
    empty.write_all(b"no certificate").expect("written");
    for path in [empty.path().to_owned(), "/nonexistent/ca.pem".into()] {
        let mut spec = UpstreamSpec::new("test", "https://127.0.0.1/v1");
        spec.ca_file = Some(path.clone());
        let error = Upstream::new(spec).expect_err("refused");
        assert!(matches!(error, SpecError::CaFile { .. }), "{error}");
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}
