//! RFC 9421, appendix B, and RFC 9530, appendix B. Left out of the former are B.2.2, which covers
//! one parameter of the query, and B.2.4, which signs a response: neither is supported here.

use super::*;

const DIGEST: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

/// The request of B.2.
fn test_request() -> Message {
    let head = [
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-digest", DIGEST),
        ("content-length", "18"),
    ];
    Message {
        method: "POST".to_owned(),
        scheme: "https".to_owned(),
        authority: "example.com".to_owned(),
        target: "/foo?param=Value&Pet=dog".to_owned(),
        head: owned(&head),
        body: br#"{"hello": "world"}"#.to_vec(),
    }
}

fn owned(head: &[(&str, &str)]) -> Head {
    let owned = head
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    owned.collect()
}

#[test]
fn b_2_5_hmac_sha256() {
    let secret =
        "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    let engine = &base64::engine::general_purpose::STANDARD;
    let secret = base64::Engine::decode(engine, secret).unwrap();
    let input = r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
    let base = base_of(&test_request().request(), input);
    let expected = r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
    assert_eq!(base, expected);
    let signature = mac(&secret, &base).finalize().into_bytes();
    let signature = base64::Engine::encode(engine, signature);
    assert_eq!(signature, "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
}

#[test]
fn b_2_1_covers_nothing() {
    let input =
        r#"sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#;
    let expected = r#""@signature-params": ();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#;
    assert_eq!(base_of(&test_request().request(), input), expected);
}

#[test]
fn b_2_3_covers_everything() {
    let input = r#"sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#;
    let expected = format!(
        r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@query": ?param=Value&Pet=dog
"@authority": example.com
"content-type": application/json
"content-digest": {DIGEST}
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#
    );
    assert_eq!(base_of(&test_request().request(), input), expected);
}

#[test]
fn b_2_6_ed25519() {
    let input = r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
    let expected = r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
    assert_eq!(base_of(&test_request().request(), input), expected);
}

#[test]
fn b_3_a_proxy_that_ends_tls() {
    let mut proxied = test_request();
    "service.internal.example".clone_into(&mut proxied.authority);
    let cert = format!(":{CERTIFICATE}:");
    proxied.head.push(("client-cert".to_owned(), cert));
    let input = r#"ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256""#;
    let expected = format!(
        r#""@path": /foo
"@query": ?param=Value&Pet=dog
"@method": POST
"@authority": service.internal.example
"client-cert": :{CERTIFICATE}:
"@signature-params": ("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256""#
    );
    assert_eq!(base_of(&proxied.request(), input), expected);
}

/// The leaf certificate of RFC 9440, appendix A.
const CERTIFICATE: &str = "MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=";

#[test]
fn b_4_what_a_proxy_may_change() {
    let input = r#"transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519""#;
    let expected = r#""@method": GET
"@path": /demo
"@authority": example.org
"accept": application/json, */*
"@signature-params": ("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519""#;
    let message = |authority: &str, target: &str, head: &[(&str, &str)]| Message {
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        authority: authority.to_owned(),
        target: target.to_owned(),
        head: owned(head),
        body: Vec::new(),
    };
    let target = "/demo?name1=Value1&Name2=value2";
    let apart = [("accept", "application/json"), ("accept", "*/*")];
    let joined = [
        ("Accept-Language", "en"),
        ("Accept", "application/json, */*  "),
    ];
    let swapped = [("accept", "*/*"), ("accept", "application/json")];
    let base = |message: Message| base_of(&message.request(), input);
    assert_eq!(base(message("example.org", target, &apart)), expected);
    assert_eq!(base(message("Example.org:443", target, &joined)), expected);
    assert_eq!(
        base(message("example.org", "/demo?other", &apart)),
        expected
    );
    assert_ne!(base(message("example.org", target, &swapped)), expected);
    assert_ne!(base(message("example.com", target, &apart)), expected);
    assert_ne!(base(message("example.org:8443", target, &apart)), expected);
}

/// RFC 9421, 2.2.2 to 2.2.7.
#[test]
fn derived_components() {
    let input =
        r#"s=("@method" "@target-uri" "@authority" "@scheme" "@request-target" "@path" "@query")"#;
    let base = |scheme: &str, authority: &str, target: &str| {
        let mut message = test_request();
        scheme.clone_into(&mut message.scheme);
        authority.clone_into(&mut message.authority);
        target.clone_into(&mut message.target);
        let base = base_of(&message.request(), input);
        let lines: Vec<_> = base.lines().take(7).map(str::to_owned).collect();
        lines.join("|")
    };
    assert_eq!(
        base("https", "www.example.com", "/path?param=value"),
        "\"@method\": POST|\"@target-uri\": https://www.example.com/path?param=value|\
         \"@authority\": www.example.com|\"@scheme\": https|\"@request-target\": /path?param=value|\
         \"@path\": /path|\"@query\": ?param=value"
    );
    assert_eq!(
        base("http", "WWW.Example.com:80", "/"),
        "\"@method\": POST|\"@target-uri\": http://www.example.com/|\
         \"@authority\": www.example.com|\"@scheme\": http|\"@request-target\": /|\
         \"@path\": /|\"@query\": ?"
    );
    let empty = base("http", "a:443", "?queryString");
    assert!(
        empty.contains("\"@target-uri\": http://a:443/?queryString|"),
        "{empty}"
    );
    assert!(
        empty.ends_with("\"@path\": /|\"@query\": ?queryString"),
        "{empty}"
    );
}

/// RFC 9530, appendix B, and the digest of RFC 9421, B.2.
#[test]
fn content_digests() {
    let sha256 = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
    let body: &[u8] = b"{\"hello\": \"world\"}\n";
    assert_eq!(content_digest(body), sha256);
    assert!(ContentDigest::parse(sha256).unwrap().matches(body));
    let request = test_request();
    let digest = ContentDigest::parse(DIGEST).unwrap();
    assert!(digest.matches(&request.body));
    assert!(!digest.matches(body));
    let both = format!("{sha256}, unixsum=1, {DIGEST}");
    let both = ContentDigest::parse(&both).unwrap();
    assert!(!both.matches(body) && !both.matches(&request.body));
    for wrong in [
        "",
        "md5=:AAAA:",
        "sha-256",
        "sha-256=1",
        "sha-256=:AAAA:",
        "sha-256=(:AAAA:)",
        "sha-512=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
        "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=",
    ] {
        assert!(ContentDigest::parse(wrong).is_err(), "{wrong}");
    }
}

/// Signed by http-message-signatures 3.0.0 for Python.
#[test]
fn another_librarys_signatures_are_accepted() {
    let params =
        r#";created=1800000000;keyid="ak-1";alg="hmac-sha256";expires=1800000300;nonce="n-1""#;
    for (covered, signature) in [
        (
            r#""@method" "@authority" "@path" "@query" "content-digest""#,
            "eJWgYb02yD63b/5f8RrSEHpIVPwtbkVvkZzKTpQE6yo=",
        ),
        (
            r#""@method" "@target-uri" "content-digest""#,
            "tuOupc/01kmrLbsx3YTjFYNyw0tI+EpiBipnX71GoIU=",
        ),
        (
            r#""@method" "@authority" "@request-target" "content-digest""#,
            "Kly8VL3OK/5JCStHaQrMSgzPO2064haXaoGjW04t43U=",
        ),
    ] {
        let mut message = Message::post();
        let input = format!("sig1=({covered}){params}");
        message.head.push(("signature-input".to_owned(), input));
        message
            .head
            .push(("signature".to_owned(), format!("sig1=:{signature}:")));
        let verified = message.check(NOW);
        assert_eq!(
            verified.map(|verified| verified.nonce),
            Ok("n-1".to_owned()),
            "{covered}"
        );
    }
}

/// That library was given this signature and accepted it, and refused it for another method.
#[test]
fn another_library_accepts_ours() {
    let signer = Signer {
        created: UnixMillis(1_790_000_000_000),
        ..signer()
    };
    let signed = signer.sign(&Message::post().request(), SECRET).unwrap();
    let input = r#"sig1=("@method" "@authority" "@path" "@query" "content-digest");created=1790000000;nonce="n-1";keyid="ak-1";alg="hmac-sha256";tag="everstream""#;
    assert_eq!(signed.signature_input, input);
    assert_eq!(
        signed.signature,
        "sig1=:WEtxUb6jx5Ic0wdEEiSglQGvu6QZR4AepLE1sz+E9Eo=:"
    );
}
