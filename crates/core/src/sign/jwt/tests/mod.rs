mod attacks;
mod claims;
mod keys;
mod vectors;

use std::collections::BTreeMap;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

struct AwsLc;

impl Verify for AwsLc {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let verified = match key {
            PublicKey::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            PublicKey::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            PublicKey::Ed25519(key) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn key_pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn keys() -> Jwks {
    let x = encode(key_pair().public_key());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": x}]});
    Jwks::parse(keys.to_string().as_bytes()).unwrap()
}

fn signed(header: &Value, claims: &Value) -> String {
    let message = format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims.to_string())
    );
    let signature = encode(key_pair().sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "ed", "typ": "JWT"})
}

/// Good claims, with some changed; those that become null are left out.
fn claims_with(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example",
        "sub": "alice",
        "aud": "everstream",
        "exp": 1_800_000_060,
        "nbf": 1_799_999_940,
        "team": "web",
        "scope": "openid everstream:model:gpt-4o everstream:surface:messages everstream:model:gpt-4o",
    });
    let Value::Object(changes) = changes else {
        panic!("an object");
    };
    for (name, value) in changes {
        claims[name] = value;
    }
    if let Some(claims) = claims.as_object_mut() {
        claims.retain(|_, value| !value.is_null());
    }
    claims
}

fn issuer() -> Issuer {
    Issuer {
        name: "https://id.example".to_owned(),
        audiences: vec![
            "everstream".to_owned(),
            "https://gateway.example".to_owned(),
        ],
        algorithms: vec![Algorithm::EdDsa],
        skew: Duration::from_secs(30),
        mapping: Mapping {
            project: ProjectFrom::Claim {
                place: "/team".to_owned(),
                map: BTreeMap::new(),
            },
            scopes: Some("/scope".to_owned()),
            scope_map: BTreeMap::new(),
        },
    }
}

fn accept(token: &str) -> Result<Identity, JwtError> {
    issuer().accept(&Token::parse(token)?, &keys(), &AwsLc, NOW)
}
