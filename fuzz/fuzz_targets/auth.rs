//! What callers prove themselves with: any text is read or refused, and nothing is accepted that was
//! not signed.
#![no_main]

use everstream_core::id::UnixMillis;
use everstream_core::money::Money;
use everstream_core::network::Network;
use everstream_core::sign::http::{ClockWindow, ContentDigest, Presented, Request, Signer};
use everstream_core::sign::jwt::{Jwks, Token};
use libfuzzer_sys::fuzz_target;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fuzz_target!(|input: &[u8]| {
    let _ = Jwks::parse(input);
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(token) = Token::parse(text) {
        let _ = (token.issuer(), token.key_id());
    }
    if let Ok(money) = text.parse::<Money>() {
        assert_eq!(money.to_string().parse(), Ok(money));
    }
    if let Ok(network) = text.parse::<Network>() {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (target, authority, nonce) = (line(), line(), line());
    let fields = [
        ("signature-input", line()),
        ("signature", line()),
        ("content-digest", line()),
    ];
    if let Ok(digest) = ContentDigest::parse(fields[2].1) {
        let _ = digest.matches(input);
    }
    let request = Request {
        method: "POST",
        scheme: "https",
        authority,
        target,
        fields: &fields[..],
    };
    if let Ok(Some(presented)) = Presented::read(&request) {
        let verified = presented.verify(&request, b"secret", NOW, ClockWindow::default());
        assert!(verified.is_err(), "forged");
    }
    // What is signed is accepted, unless it cannot be written.
    let signer = Signer {
        key_id: "key",
        nonce,
        created: NOW,
        expires: None,
    };
    let head = Request {
        fields: &fields[..0],
        ..request
    };
    let Ok(signed) = signer.sign(&head, b"secret") else {
        return;
    };
    let fields = [
        ("signature-input", signed.signature_input.as_str()),
        ("signature", signed.signature.as_str()),
    ];
    let request = Request {
        fields: &fields[..],
        ..head
    };
    if let Ok(Some(presented)) = Presented::read(&request) {
        let verified = presented.verify(&request, b"secret", NOW, ClockWindow::default());
        let body = verified.expect("what was signed is refused").body_check();
        assert_eq!(body.clone().update(input).is_ok(), input.is_empty());
        assert!(body.finish().is_ok(), "no body was signed");
    }
});
