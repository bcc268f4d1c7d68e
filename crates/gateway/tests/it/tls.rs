//! The server speaks TLS: versions, what is inside, certificates that change, and clients that have
//! some of their own.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everstream::server::Certificates;
use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{FakeProvider, Gate, Script};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certs::{Authority, Files, connect, unwrapped};
use crate::harness::{Setup, StillTime, until, within};
use crate::talk::{CHAT, answer, answer_to, chat, data, events, get, held, post, read, running};

/// What one request over TLS gives; an error if the server does not want the client, which TLS 1.3
/// tells only then.
async fn health(addr: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<String> {
    let mut stream = connect(addr, config).await?;
    let request = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await?;
    Ok(text)
}

#[tokio::test]
async fn both_versions_of_tls_carry_both_versions_of_http() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue());
    let provider = FakeProvider::start(answer_to).await;
    let gateway = files.start(Setup::new(&provider)).await;
    for (version, number) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = authority.client_of(&[version], None, &["http/1.1"]);
        let stream = connect(gateway.addr, &config).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(number));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        let reply = health(gateway.addr, &config).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        let told = "strict-transport-security: max-age=31536000\r\n";
        assert!(reply.contains(told), "{reply}");
        // Who asks for neither gets what it speaks.
        let config = authority.client_of(&[version], None, &[]);
        assert!(health(gateway.addr, &config).await.is_ok());
        // What is spoken inside is none of these.
        let config = authority.client_of(&[version], None, &["imap"]);
        health(gateway.addr, &config).await.unwrap_err();

        let config = authority.client_of(&[version], None, &["h2", "http/1.1"]);
        let stream = connect(gateway.addr, &config).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut sender = within(sender.ready()).await.unwrap();
        let request = http::Request::post(format!("https://localhost{CHAT}"));
        let (reply, mut body) = sender
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        body.send_data(chat("x").to_string().into(), true).unwrap();
        let mut body = within(reply).await.unwrap().into_body();
        let mut got = Vec::new();
        while let Some(bytes) = within(body.data()).await {
            got.extend_from_slice(&bytes.unwrap());
        }
        let frames = everstream_testkit::sse::sse_frames(&got);
        assert_eq!(data(&frames), answer().expected_data_without_usage());
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_is_read_on_over_tls() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue());
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let mut gateway = files.start(Setup::new(&provider)).await;
    gateway.addr = unwrapped(gateway.addr, authority.client(None)).await;
    let (reply, id, mut seen) = running(&gateway, 3).await;
    let cursor = format!("{id}.{}", seen.len());
    reply.client.cut().unwrap();
    gate.open();
    let rest = read(&gateway, &id, Some(&cursor)).await;
    seen.extend(events(&rest.frames().await));
    let whole = read(&gateway, &id, None).await;
    assert_eq!(seen, events(&whole.frames().await));
}

#[tokio::test]
async fn certificates_change_under_running_streams_and_broken_ones_do_not() {
    let (first, second) = (Authority::new(), Authority::new());
    let files = Files::new(&first.issue());
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let mut gateway = files.start(Setup::new(&provider)).await;
    let addr = gateway.addr;
    gateway.addr = unwrapped(addr, first.client(None)).await;
    let (reply, id, seen) = running(&gateway, 3).await;
    let certificates = gateway.certificates.clone().unwrap();

    let current = certificates.current();
    certificates.reload();
    assert!(Arc::ptr_eq(&current, &certificates.current()), "unchanged");
    let next = second.issue();
    // The key comes a moment later.
    fs::write(files.path("certificate.pem"), &next.certificate).unwrap();
    certificates.reload();
    health(addr, &first.client(None)).await.unwrap();
    fs::write(files.path("key.pem"), &next.key).unwrap();
    certificates.reload();
    health(addr, &first.client(None)).await.unwrap_err();
    health(addr, &second.client(None)).await.unwrap();
    for broken in [
        "",
        "no certificate",
        &first.issue_from_to(2020, 2021).certificate,
    ] {
        fs::write(files.path("certificate.pem"), broken).unwrap();
        certificates.reload();
        health(addr, &second.client(None)).await.unwrap();
    }
    fs::remove_file(files.path("key.pem")).unwrap();
    certificates.reload();
    health(addr, &second.client(None)).await.unwrap();

    gate.open();
    let rest = reply.frames().await;
    gateway.addr = unwrapped(addr, second.client(None)).await;
    let whole = read(&gateway, &id, None).await.frames().await;
    assert_eq!([seen, events(&rest)].concat(), events(&whole));
}

#[tokio::test]
async fn clients_show_the_certificates_that_are_asked_of_them() {
    let (authority, clients, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let files = Files::new(&authority.issue()).of_clients(&clients);
    let provider = FakeProvider::start(answer_to).await;
    let known = clients.issue();
    let expired = clients.issue_from_to(2020, 2021);
    let unknown = stranger.issue();
    for (auth, without) in [("required", false), ("optional", true)] {
        let toml = files.toml(&format!("client_auth = \"{auth}\""));
        let gateway = Setup::new(&provider).config(&toml).start().await;
        for version in [&TLS12, &TLS13] {
            let asks = async |identity| {
                let config = authority.client_of(&[version], identity, &["http/1.1"]);
                health(gateway.addr, &config).await.is_ok()
            };
            assert!(asks(Some(&known)).await, "{auth}");
            assert_eq!(asks(None).await, without, "{auth}");
            assert!(!asks(Some(&unknown)).await, "{auth}: of a stranger");
            assert!(!asks(Some(&expired)).await, "{auth}: expired");
        }
    }
}

#[tokio::test]
async fn sessions_are_resumed_but_for_clients_with_certificates() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let provider = FakeProvider::start(answer_to).await;
    let known = clients.issue();
    let plain = Files::new(&authority.issue());
    let mutual = Files::new(&authority.issue()).of_clients(&clients);
    for (files, identity, resumed) in [
        (plain, None, HandshakeKind::Resumed),
        (mutual, Some(&known), HandshakeKind::Full),
    ] {
        let gateway = files.start(Setup::new(&provider)).await;
        for version in [&TLS12, &TLS13] {
            let config = authority.client_of(&[version], identity, &["http/1.1"]);
            health(gateway.addr, &config).await.unwrap();
            let stream = connect(gateway.addr, &config).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(resumed));
            // Tickets of before are worth nothing.
            files.write(&authority.issue());
            gateway.certificates.as_ref().unwrap().reload();
            let stream = connect(gateway.addr, &config).await.unwrap();
            let kind = stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_and_who_dribbles_is_given_up() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue());
    let provider = FakeProvider::start(answer_to).await;
    let gateway = files.start(Setup::new(&provider)).await;
    let body = "x".repeat(30_000);
    let plain = post(&gateway, CHAT, &chat(&body), &[]).await;
    assert_eq!(plain.head.status, 400);
    let said = plain.body().await;
    assert_eq!(said, "TLS is spoken here: the URL begins with https://.\n");
    let mut garbage = TcpStream::connect(gateway.addr).await.unwrap();
    garbage.write_all(&[0x80; 64]).await.unwrap();
    let mut said = Vec::new();
    // An alert, or nothing.
    let _ = within(garbage.read_to_end(&mut said)).await;
    assert!(said.len() <= 7, "{said:?}");

    let time = StillTime::begin();
    for start in [
        &b""[..],
        b"\x16\x03\x01",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut slow = TcpStream::connect(gateway.addr).await.unwrap();
        slow.write_all(start).await.unwrap();
        health(gateway.addr, &authority.client(None)).await.unwrap();
        time.pass(Duration::from_secs(31)).await;
        let mut said = Vec::new();
        let end = within(slow.read_to_end(&mut said)).await;
        assert!(end.is_err() || said.is_empty(), "{start:?}: {said:?}");
    }
    // Agreed, and then silent.
    let mut silent = connect(gateway.addr, &authority.client(None))
        .await
        .unwrap();
    health(gateway.addr, &authority.client(None)).await.unwrap();
    time.pass(Duration::from_secs(31)).await;
    let mut said = Vec::new();
    let _ = within(silent.read_to_end(&mut said)).await;
    assert!(said.is_empty(), "{said:?}");
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go_though_tls_holds_the_rest() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue());
    let large = everstream_testkit::provider::ChatAnswer::new(vec!["x".repeat(4 << 10); 2048]);
    let provider = FakeProvider::start(move |_| Script::chat_stream(&large)).await;
    let config = "[streams]\nwrite_stall = \"1s\"\non_disconnect = \"continue\"";
    let gateway = files.start(Setup::new(&provider).config(config)).await;
    let time = StillTime::begin();
    let mut stalled = connect(gateway.addr, &authority.client(None))
        .await
        .unwrap();
    let body = chat("x").to_string();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stalled.write_all(request.as_bytes()).await.unwrap();
    within(provider.wait_for_calls(1)).await;
    let registry = &gateway.app.generator.registry;
    within(async {
        while !registry.is_empty() {
            time.pass(Duration::from_millis(500)).await;
        }
    })
    .await;
    time.pass(Duration::from_secs(2)).await;
    let mut got = Vec::new();
    let end = within(stalled.read_to_end(&mut got)).await;
    let is_whole = got.ends_with(b"\r\n0\r\n\r\n");
    assert!(!is_whole && end.is_err(), "{} bytes", got.len());
}

#[test]
fn files_that_are_of_no_use_are_named_at_the_start() {
    let authority = Authority::new();
    let (good, other) = (authority.issue(), authority.issue());
    let files = Files::new(&good);
    let says = |files: &Files, parts: &[&str]| {
        let error = Certificates::load(&files.tls).err().expect("refused");
        let error = error.to_string();
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("PRIVATE KEY-----"), "{error}");
    };
    assert!(Certificates::load(&files.tls).unwrap().is_some());
    for (from, to, said) in [(2020, 2021, "has expired"), (3000, 4000, "not valid yet")] {
        files.write(&authority.issue_from_to(from, to));
        says(&files, &["tls.certificate (", "certificate.pem", said]);
    }
    files.write(&good);
    fs::write(files.path("key.pem"), &other.key).unwrap();
    says(&files, &["tls.key (", "not the key of tls.certificate"]);
    fs::write(files.path("key.pem"), &good.certificate).unwrap();
    says(&files, &["tls.key (", "no private key"]);
    files.write(&good);
    fs::write(files.path("certificate.pem"), "nothing").unwrap();
    says(&files, &["tls.certificate (", "no certificate"]);
    fs::remove_file(files.path("certificate.pem")).unwrap();
    says(&files, &["tls.certificate (", "No such file"]);
    let files = Files::new(&good).of_clients(&authority);
    fs::write(files.path("clients.pem"), "").unwrap();
    says(&files, &["tls.client_ca (", "no certificate"]);
}

#[tokio::test]
async fn what_a_browser_may_open_says_what_not_to_do_with_it() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    for path in [
        "/healthz",
        "/v1/models",
        "/v1/streams",
        "/nowhere",
        "/v1/files/x/content",
    ] {
        let reply = get(&gateway, path, &[]).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        let policy = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(reply.header("content-security-policy"), policy, "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        // Without TLS browsers do not heed it, and a name may be shared with who has none.
        assert_eq!(reply.head.header("strict-transport-security"), None);
    }
    let bearer = format!("Bearer {}", crate::harness::KEY_ONE);
    let stream = post(&gateway, CHAT, &chat("x"), &[("authorization", &bearer)]).await;
    assert_eq!(stream.header("x-content-type-options"), "nosniff");
    assert_eq!(stream.head.header("content-security-policy"), None);
    let (_, end) = {
        let mut stream = stream;
        within(stream.client.read_body()).await.unwrap()
    };
    assert_eq!(end, BodyEnd::Clean);
    until(|| gateway.app.generator.registry.is_empty()).await;
}
