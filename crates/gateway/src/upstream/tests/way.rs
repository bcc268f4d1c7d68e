//! The way to an upstream: where its name may lead, and the proxy on it.

use everstream_core::config::Env;
use everstream_core::error::ErrorCode;

use super::*;
use crate::upstream::{Proxies, Reach, SpecError, UpstreamErrorKind};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn spec(host: &str, address: SocketAddr, reach: Reach) -> UpstreamSpec {
    UpstreamSpec {
        reach,
        ..UpstreamSpec::new("test", format!("http://{host}:{}/v1", address.port()))
    }
}

fn proxies(variables: &[(&str, &str)]) -> Proxies {
    Proxies::of(&variables.iter().copied().collect::<Env>())
}

/// Names that every resolver makes 127.0.0.1 of, without asking anybody.
const NAMES: [&str; 3] = ["127.1", "2130706433", "0x7f000001"];

#[tokio::test]
async fn a_name_that_leads_home_is_refused_unless_that_is_allowed() {
    let (listener, address) = listen().await;
    for name in NAMES {
        let refused = Upstream::new(spec(name, address, Reach::Public)).expect("valid");
        let error = Arc::new(refused).send(post("{}")).await;
        let error = error.expect_err("refused");
        assert!(
            matches!(error.kind, UpstreamErrorKind::OutOfReach(Reach::Private)),
            "{error}"
        );
        assert!(error.nothing_was_sent());
        let told = error.into_error();
        assert_eq!(told.code, ErrorCode::UpstreamUnreachable);
        assert!(told.message.contains("allow_private"), "{}", told.message);
        assert!(!told.message.contains("127.0.0.1"), "{}", told.message);
    }
    let allowed = NAMES.map(|name| (name, Reach::Private));
    let written = ["127.0.0.1", "localhost"].map(|host| (host, Reach::Public));
    for (host, reach) in allowed.into_iter().chain(written) {
        let upstream = Arc::new(Upstream::new(spec(host, address, reach)).expect("valid"));
        let (response, _) = both(upstream.send(post("{}")), answer(&listener, OK)).await;
        assert_eq!(response.expect(host).head.status, 200);
    }
}

#[tokio::test]
async fn where_credentials_of_machines_are_nobody_is_called_unasked() {
    let behind = || proxies(&[("ALL_PROXY", "127.0.0.1:9")]);
    for (url, proxies) in [
        ("http://169.254.169.254/v1", Proxies::default()),
        ("https://169.254.169.254/v1", Proxies::default()),
        ("http://169.254.169.254/v1", behind()),
        ("http://[fe80::1]/v1", Proxies::default()),
        ("http://[fe80::1]/v1", behind()),
        ("http://[::ffff:169.254.169.254]/v1", Proxies::default()),
        ("http://[fd00:ec2::254]/v1", behind()),
        // The first one once more, as a name.
        ("http://2852039166/v1", Proxies::default()),
    ] {
        let spec = UpstreamSpec {
            reach: Reach::Private,
            proxies,
            ..UpstreamSpec::new("test", url)
        };
        let upstream = Arc::new(Upstream::new(spec).expect("valid"));
        let error = upstream.send(post("{}")).await.expect_err("refused");
        let is_refused = matches!(error.kind, UpstreamErrorKind::OutOfReach(Reach::LinkLocal));
        assert!(is_refused, "{url}: {error}");
    }
}

#[tokio::test]
async fn a_proxy_connects_and_what_is_said_then_is_not_for_it() {
    let server = super::tls::Server::new().await;
    let (listener, address) = listen().await;
    let url = format!("http://us%65r:p%40ss@{address}/");
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let spec = UpstreamSpec {
            base_url: "https://upstream.example/v1".to_owned(),
            proxies: proxies(&[(name, &url), ("NO_PROXY", "other.example")]),
            ..server.spec()
        };
        let upstream = Arc::new(Upstream::new(spec).expect("valid"));
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let asked = request(&mut stream).await;
            // user:p@ss
            let expected = "CONNECT upstream.example:443 HTTP/1.1\r\nhost: upstream.example:443\r\n\
                            proxy-authorization: Basic dXNlcjpwQHNz\r\n\r\n";
            assert_eq!(asked, expected);
            let agreed = b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n";
            stream.write_all(agreed).await.expect("written");
            let mut stream = server.speak(stream).await.expect("agreed");
            super::tls::request(&mut stream).await;
            super::tls::say(&mut stream, OK).await;
            stream
        };
        let (response, _stream) = both(upstream.send(post("{}")), serve).await;
        let pieces = read_all(&mut response.expect("an answer").body).await;
        assert_eq!(pieces.expect("whole").concat(), b"ok");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_of_without_its_password() {
    let (listener, address) = listen().await;
    let url = format!("http://user:canary@{address}");
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(10_000));
    for (answered, said) in [
        ("HTTP/1.1 407 Who are you\r\n\r\n", "407"),
        ("HTTP/1.0 503 No\r\n\r\n", "it answered 503"),
        ("220 smtp\r\n\r\n", "no proxy"),
        (&long, "too long"),
    ] {
        let spec = UpstreamSpec {
            proxies: proxies(&[("HTTP_PROXY", &url)]),
            ..UpstreamSpec::new("test", "http://upstream.example/v1")
        };
        assert!(!format!("{spec:?} {:?}", spec.proxies).contains("canary"));
        let upstream = Arc::new(Upstream::new(spec).expect("valid"));
        let (error, (_, asked)) =
            both(upstream.send(post("{}")), answer(&listener, answered)).await;
        let error = error.expect_err("refused");
        assert!(asked.starts_with("CONNECT upstream.example:80 "), "{asked}");
        assert!(matches!(error.kind, UpstreamErrorKind::Proxy(_)), "{error}");
        assert!(error.nothing_was_sent());
        let (text, told) = (format!("{error} {error:?}"), error.into_error());
        assert_eq!(told.code, ErrorCode::UpstreamUnreachable);
        assert!(told.message.contains(said), "{}", told.message);
        assert!(!text.contains("canary") && !told.message.contains("canary"));
    }
}

#[tokio::test]
async fn a_proxy_that_is_of_no_use_is_named_and_nothing_of_it_repeated() {
    for url in [
        "socks5://user:canary@p:1",
        "https://canary@p:1",
        "http://canary@",
        "http://a:canary",
    ] {
        let spec = UpstreamSpec {
            proxies: proxies(&[("https_proxy", url)]),
            ..UpstreamSpec::new("test", "https://upstream.example/v1")
        };
        let error = Upstream::new(spec).expect_err(url);
        assert!(matches!(error, SpecError::Proxy { .. }), "{error}");
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("HTTPS_PROXY") && !text.contains("canary"),
            "{text}"
        );
    }
}

#[test]
fn who_is_spared_is_called_without_a_proxy() {
    let is_behind = |url: &str, spared: &str| {
        let proxies = proxies(&[("ALL_PROXY", "proxy.example:3128"), ("no_proxy", spared)]);
        let proxy = proxies.on_the_way_to(&url.parse().expect(url));
        proxy.expect("valid").is_some()
    };
    for (url, spared) in [
        ("http://api.example", ""),
        ("http://api.example", "pi.example, other"),
        ("http://api.example", "example.api"),
        ("http://api.example", "api.example:81"),
        ("http://10.1.2.3", "10.2.0.0/16,10.1.2.30"),
        ("http://[2001:db8::1]", "2001:db8:1::/48"),
        ("http://10.1.2.3", "::/0"),
        ("http://api.example", ",.,*."),
        ("http://localhost.example", ""),
    ] {
        assert!(is_behind(url, spared), "{url} {spared}");
    }
    for (url, spared) in [
        ("http://api.example", "*"),
        ("http://api.example", "API.example"),
        ("http://api.example", "other,  example"),
        ("http://api.example", ".example"),
        ("http://api.example", "*.example"),
        ("http://api.example", "api.example:80"),
        ("https://api.example", "api.example:443"),
        ("http://10.1.2.3", "10.1.2.3"),
        ("http://10.1.2.3:81", "10.1.2.3:81"),
        ("http://10.1.2.3", "10.0.0.0/8"),
        ("http://10.1.2.3", "0.0.0.0/0"),
        ("http://[2001:db8::1]", "2001:db8::/32"),
        ("http://[2001:db8::1]", "2001:db8::1"),
        ("http://[2001:db8::1]:81", "[2001:db8::1]:81"),
        // This machine.
        ("http://localhost:11434", ""),
        ("http://models.localhost", ""),
        ("http://127.0.0.1:1", ""),
        ("http://[::1]:1", ""),
    ] {
        assert!(!is_behind(url, spared), "{url} {spared}");
    }
}

#[tokio::test]
async fn as_many_idle_connections_are_kept_as_are_wanted() {
    for (most, kept) in [(0, 0), (1, 1), (2, 2)] {
        let (listener, address) = listen().await;
        let spec = UpstreamSpec {
            idle_connections: most,
            ..spec("127.0.0.1", address, Reach::Public)
        };
        let upstream = Arc::new(Upstream::new(spec).expect("valid"));
        let mut held = Vec::new();
        // Each is under way when the next is sent, which so needs a connection of its own.
        let head = OK.strip_suffix("ok").expect("a body");
        for _ in 0..3 {
            let (response, stream) = both(upstream.send(post("{}")), answer(&listener, head)).await;
            held.push((response.expect("an answer"), stream.0));
        }
        for (response, stream) in &mut held {
            stream.write_all(b"ok").await.expect("written");
            read_all(&mut response.body).await.expect("whole");
        }
        assert_eq!(upstream.idle_connections(), kept);
    }
}
