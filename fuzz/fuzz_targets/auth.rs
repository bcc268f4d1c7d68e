//! What callers prove themselves with: any text is read or refused, and nothing is accepted that was
//! not signed.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use everstream_core::dialect::redact;
use everstream_core::id::UnixMillis;
use everstream_core::money::Money;
use everstream_core::network::Network;
use everstream_core::sign::api_key::KeyText;
use everstream_core::sign::http::{ClockWindow, ContentDigest, Presented, Request, Signer};
use everstream_core::sign::jwt::{
    Algorithm, Issuer, Jwks, Mapping, ProjectFrom, PublicKey, Token, Verify,
};
use libfuzzer_sys::fuzz_target;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

static KEYS: LazyLock<Jwks> = LazyLock::new(|| {
    let keys = include_bytes!("../seeds/auth/keys");
    Jwks::parse(keys).expect("a key set")
});

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| Issuer {
    name: "joe".to_owned(),
    audiences: vec!["a".to_owned()],
    algorithms: vec![Algorithm::EdDsa],
    skew: Duration::from_secs(60),
    mapping: Mapping {
        project: ProjectFrom::Claim {
            place: "/sub".to_owned(),
            map: BTreeMap::new(),
        },
        scopes: Some("/scope".to_owned()),
        scope_map: BTreeMap::new(),
    },
});

/// Finds every signature right, or none.
struct Finds(bool);

impl Verify for Finds {
    fn verify(&self, _: &PublicKey, _: &[u8], _: &[u8]) -> bool {
        self.0
    }
}

/// Nobody is let in without a signature, nor past the end.
fn check_token(token: &Token<'_>) {
    let forged = ISSUER.accept(token, &KEYS, &Finds(false), NOW);
    assert!(forged.is_err(), "forged");
    if let Ok(identity) = ISSUER.accept(token, &KEYS, &Finds(true), NOW) {
        assert!(identity.good_until > NOW, "expired");
        assert_eq!(token.issuer(), Some("joe"));
        assert_eq!(token.key_id().unwrap_or("ed"), "ed");
    }
}

fuzz_target!(|input: &[u8]| {
    let _ = Jwks::parse(input);
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(token) = Token::parse(text) {
        check_token(&token);
    }
    if KeyText::parse(text).is_some() {
        assert!(!redact(text).contains(text), "a key is told");
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
