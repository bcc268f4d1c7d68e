use proptest::prelude::*;

use super::*;

fn parse(keys: &Value) -> Result<Jwks, JwksError> {
    Jwks::parse(keys.to_string().as_bytes())
}

fn ed(kid: &str, byte: u8) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode([byte; 32])})
}

#[test]
fn a_key_is_chosen_by_id_and_algorithm() {
    let rsa = json!({"kty": "RSA", "kid": "b", "n": encode([0x80; 256]), "e": "AQAB"});
    let keys = parse(&json!({"keys": [ed("a", 1), ed("b", 2), rsa]})).unwrap();
    let ed = |byte| PublicKey::Ed25519([byte; 32]);
    assert_eq!(keys.key(Some("a"), Algorithm::EdDsa), Some(&ed(1)));
    assert_eq!(keys.key(Some("b"), Algorithm::EdDsa), Some(&ed(2)));
    let e = vec![1, 0, 1];
    let rsa = PublicKey::Rsa {
        n: vec![0x80; 256],
        e,
    };
    assert_eq!(keys.key(Some("b"), Algorithm::Rs256), Some(&rsa));
    assert_eq!(keys.key(None, Algorithm::Rs256), Some(&rsa));
    assert_eq!(keys.key(None, Algorithm::EdDsa), None);
    assert_eq!(keys.key(Some("a"), Algorithm::Es256), None);
    assert_eq!(keys.key(Some("c"), Algorithm::EdDsa), None);
}

#[test]
fn keys_that_cannot_be_used_are_left_out() {
    let with = |change: &str, value: Value| {
        let mut key = ed("a", 1);
        key[change] = value;
        key
    };
    let rsa = |bytes: usize, e: &str| json!({"kty": "RSA", "n": encode(vec![0x80; bytes]), "e": e});
    for other in [
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "EC", "crv": "P-384", "x": encode([1; 48]), "y": encode([1; 48])}),
        json!({"kty": "EC", "crv": "P-256", "x": encode([1; 31]), "y": encode([1; 32])}),
        json!({"kty": "EC", "crv": "P-256", "x": encode([1; 32])}),
        json!({"kty": "OKP", "crv": "X25519", "x": encode([1; 32])}),
        rsa(255, "AQAB"),
        rsa(1_025, "AQAB"),
        rsa(256, ""),
        rsa(256, "AAAA"),
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("ES256")),
        with("alg", json!("HS256")),
        with("x", json!("AA==")),
        with("kid", json!(7)),
        json!("no key"),
    ] {
        assert_eq!(
            parse(&json!({"keys": [other]})),
            Err(JwksError::NoKeys),
            "{other}"
        );
        let both = parse(&json!({"keys": [other, ed("good", 3)]})).unwrap();
        assert!(
            both.key(Some("good"), Algorithm::EdDsa).is_some(),
            "{other}"
        );
    }
    for good in [
        with("use", json!("sig")),
        with("key_ops", json!(["verify", "sign"])),
        with("alg", json!("EdDSA")),
        with("alg", json!("Ed25519")),
        with("x5c", json!(["ignored"])),
        rsa(1_024, "Aw"),
    ] {
        assert!(parse(&json!({"keys": [good]})).is_ok(), "{good}");
    }
}

#[test]
fn leading_zeros_of_a_modulus_do_not_count() {
    let mut n = vec![0; 3];
    n.extend([0x80; 255]);
    let short = json!({"kty": "RSA", "n": encode(&n), "e": "AQAB"});
    assert_eq!(parse(&json!({"keys": [short]})), Err(JwksError::NoKeys));
    n.push(1);
    let long = json!({"kty": "RSA", "n": encode(&n), "e": "AAEAAQ"});
    let keys = parse(&json!({"keys": [long]})).unwrap();
    let Some(PublicKey::Rsa { n, e }) = keys.key(None, Algorithm::Rs256) else {
        panic!("it is a key for RS256");
    };
    assert_eq!((n.len(), e.as_slice()), (256, [1, 0, 1].as_slice()));
}

#[test]
fn what_is_no_key_set_is_refused() {
    for wrong in [
        "",
        "{}",
        "[]",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        "\u{0}",
    ] {
        assert_eq!(
            Jwks::parse(wrong.as_bytes()),
            Err(JwksError::Malformed),
            "{wrong}"
        );
    }
    assert_eq!(parse(&json!({"keys": []})), Err(JwksError::NoKeys));
    let large = vec![b' '; crate::limits::JWKS_BYTES + 1];
    assert_eq!(Jwks::parse(&large), Err(JwksError::TooLarge));
    let many: Vec<_> = (0..100).map(|n| ed(&n.to_string(), n)).collect();
    let many = parse(&json!({"keys": many})).unwrap();
    assert!(many.key(Some("63"), Algorithm::EdDsa).is_some());
    assert!(many.key(Some("64"), Algorithm::EdDsa).is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, text in "\\{\"keys\":\\[\\{(\"(kty|crv|n|e|x|y)\":\"(RSA|EC|OKP|P-256|Ed25519|[A-Za-z0-9_-]{0,44})\",?){0,5}\\}\\]\\}") {
        let _ = (Jwks::parse(&bytes), Jwks::parse(text.as_bytes()));
    }
}
