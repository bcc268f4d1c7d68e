use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::Sha256;

use super::*;

fn unsigned(header: &Value) -> String {
    let claims = claims_with(json!({}));
    format!(
        "{}.{}.",
        encode(header.to_string()),
        encode(claims.to_string())
    )
}

#[test]
fn no_algorithm_is_none() {
    for alg in [
        "none", "None", "NONE", "nOnE", "", "HS256", "RS512", "PS256", "ES256K",
    ] {
        let mut header = header();
        header["alg"] = json!(alg);
        let token = unsigned(&header);
        assert_eq!(accept(&token), Err(JwtError::Algorithm), "{alg}");
        let signed = signed(&header, &claims_with(json!({})));
        assert_eq!(accept(&signed), Err(JwtError::Algorithm), "{alg}");
    }
    for alg in [json!(null), json!(["EdDSA"]), json!(1)] {
        let mut header = header();
        header["alg"] = alg;
        assert!(matches!(
            accept(&unsigned(&header)),
            Err(JwtError::Malformed(_))
        ));
    }
    assert_eq!(accept(&unsigned(&header())), Err(JwtError::Signature));
}

/// The public key, which everybody knows, taken for a shared secret.
#[test]
fn a_public_key_is_no_secret() {
    for alg in ["HS256", "EdDSA"] {
        let mut header = header();
        header["alg"] = json!(alg);
        let claims = claims_with(json!({}));
        let message = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims.to_string())
        );
        let key = key_pair();
        let mut mac = <Hmac<Sha256>>::new_from_slice(key.public_key().as_ref()).unwrap();
        mac.update(message.as_bytes());
        let token = format!("{message}.{}", encode(mac.finalize().into_bytes()));
        let expected = if alg == "HS256" {
            JwtError::Algorithm
        } else {
            JwtError::Signature
        };
        assert_eq!(accept(&token), Err(expected));
    }
}

#[test]
fn a_key_is_for_its_own_algorithm() {
    let header = json!({"alg": "ES256", "kid": "ed"});
    let token = signed(&header, &claims_with(json!({})));
    assert_eq!(accept(&token), Err(JwtError::Algorithm));
    let issuer = Issuer {
        algorithms: vec![Algorithm::EdDsa, Algorithm::Es256],
        ..issuer()
    };
    let refused = issuer.accept(&Token::parse(&token).unwrap(), &keys(), &AwsLc, NOW);
    assert_eq!(refused, Err(JwtError::UnknownKey));
}

#[test]
fn keys_that_a_token_brings_are_not_looked_at() {
    let x = encode(key_pair().public_key());
    let other =
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "theirs", "x": encode([9; 32])}]});
    let other = Jwks::parse(other.to_string().as_bytes()).unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    for kid in ["ed", "theirs"] {
        let header =
            json!({"alg": "EdDSA", "kid": kid, "jwk": jwk, "jku": "https://evil.example/jwks"});
        let token = signed(&header, &claims_with(json!({})));
        let refused = issuer().accept(&Token::parse(&token).unwrap(), &other, &AwsLc, NOW);
        let expected = if kid == "ed" {
            JwtError::UnknownKey
        } else {
            JwtError::Signature
        };
        assert_eq!(refused, Err(expected));
    }
}

#[test]
fn odd_headers_are_refused() {
    let check = |name: &str, value: Value| {
        let mut header = header();
        header[name] = value;
        accept(&signed(&header, &claims_with(json!({})))).map(|_| ())
    };
    assert_eq!(check("crit", json!(["b64"])), Err(JwtError::Critical));
    assert_eq!(check("crit", json!([])), Err(JwtError::Critical));
    assert_eq!(check("typ", json!("dpop+jwt")), Err(JwtError::Kind));
    assert_eq!(check("typ", json!("logout+jwt")), Err(JwtError::Kind));
    assert_eq!(check("typ", json!("at+JWT")), Ok(()));
    assert_eq!(check("typ", json!("application/at+jwt")), Ok(()));
    assert_eq!(check("kid", json!("other")), Err(JwtError::UnknownKey));
    let twice = r#"{"alg":"EdDSA","alg":"none","kid":"ed"}"#;
    let token = format!("{}.{}.", encode(twice), encode("{}"));
    assert!(matches!(accept(&token), Err(JwtError::Malformed(_))));
}

#[test]
fn no_altered_token_passes() {
    let token = signed(&header(), &claims_with(json!({})));
    for at in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(accept(&altered).is_err(), "{altered}");
    }
    let swapped = signed(&header(), &claims_with(json!({"team": "ops"})));
    let (message, _) = swapped.rsplit_once('.').unwrap();
    let (_, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(
        accept(&format!("{message}.{signature}")),
        Err(JwtError::Signature)
    );
}

#[test]
fn what_is_no_compact_token_is_refused() {
    let token = signed(&header(), &claims_with(json!({})));
    let (message, signature) = token.rsplit_once('.').unwrap();
    for wrong in [
        String::new(),
        "..".to_owned(),
        message.to_owned(),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!(" {token}"),
        format!("{message}.{}", signature.replace(['-', '_'], "+")) + "+",
        format!("{}.{}.", encode("[]"), encode("{}")),
        format!("{}.{}.", encode(header().to_string()), encode("[]")),
        format!(
            "{}.{}.",
            encode(header().to_string()),
            encode("[".repeat(9_000))
        ),
        "a".repeat(crate::limits::JWT_BYTES + 1),
    ] {
        assert!(
            matches!(accept(&wrong), Err(JwtError::Malformed(_))),
            "{wrong}"
        );
    }
    assert!(Token::is_meant(&token));
    assert!(!Token::is_meant("sk-eyJ.a.b") && !Token::is_meant("eyJhbGci"));
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(
        text in "(eyJ[A-Za-z0-9_-]{0,30}\\.[A-Za-z0-9_-]{0,30}\\.[A-Za-z0-9_-]{0,20}|\\PC{0,60})",
    ) {
        prop_assert!(accept(&text).is_err());
    }

    #[test]
    fn any_header_and_claims_are_read_without_panic(
        header in "\\{\"alg\":\"EdDSA\"(,\"(kid|typ|crit|x)\":(\"[a-z+]{0,6}\"|[0-9]{1,9}|null|\\[\\])){0,3}\\}",
        exp in "(-?[0-9]{1,25}(\\.[0-9]{1,3})?(e[0-9]{1,3})?|null|\"1\"|\\[1\\])",
        aud in "(\"everstream\"|\\[\"everstream\"(,1)?\\]|\\{\\}|null|\"x\")",
    ) {
        let claims = format!(r#"{{"iss":"https://id.example","exp":{exp},"aud":{aud},"team":"web"}}"#);
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(key_pair().sign(message.as_bytes()));
        if let Ok(identity) = accept(&format!("{message}.{signature}")) {
            prop_assert!(identity.good_until > NOW);
        }
    }
}
