//! Requests with each kind of credential.

use std::ops::Range;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everstream_core::config::{Config, Env, Source};
use everstream_core::id::UnixMillis;
use everstream_core::sign::api_key::KeyMaster;
use everstream_core::sign::http::{self as signature, Signer, content_digest};
use http::Request;
use http::request::Parts;
use serde_json::json;

use super::DIFFERENT;
use super::catalogue::id;

pub(crate) const STATIC_KEY: &str = "es-a-key-of-the-configuration";
pub(crate) const PATH: &str = "/v1/chat/completions";
const HOST: &str = "localhost:8080";
pub(crate) const BODY: &str =
    r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;

/// Keys that have the form of good ones.
pub(crate) fn made_up(master: &KeyMaster) -> Vec<Parts> {
    let ids = (0..DIFFERENT).map(|n| id(n + 1_000_000_000));
    ids.map(|id| bearer(master.key(&id, 1).expose())).collect()
}

/// The same, none of which was seen before.
pub(crate) fn fresh(count: usize) -> Vec<Parts> {
    let master = KeyMaster::new(b"another");
    let ids = (0..count).map(|n| id(n + 2_000_000_000));
    ids.map(|id| bearer(master.key(&id, 1).expose())).collect()
}

/// A request as clients send it.
pub(crate) fn bearer(key: &str) -> Parts {
    let request = Request::post("/v1/chat/completions")
        .header("host", "localhost:8080")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"));
    request.body(()).expect("a request").into_parts().0
}

/// A request that a key signed, with the `n`th nonce.
pub(crate) fn signed(master: &KeyMaster, key_id: &str, n: usize, now: UnixMillis) -> Request<Body> {
    let secret = master.secret(key_id, 1);
    let digest = content_digest(BODY.as_bytes());
    let fields = [("content-digest", digest.as_str())];
    let request = signature::Request {
        method: "POST",
        scheme: "http",
        authority: HOST,
        target: PATH,
        fields: &fields[..],
    };
    let nonce = format!("nonce-{n}");
    let signer = Signer {
        key_id,
        nonce: &nonce,
        created: now,
        expires: None,
    };
    let signed = signer
        .sign(&request, secret.expose().as_bytes())
        .expect("signed");
    let request = Request::post(PATH)
        .header("host", HOST)
        .header("content-type", "application/json")
        .header("content-digest", &digest)
        .header("signature-input", signed.signature_input)
        .header("signature", signed.signature)
        .body(Body::from(BODY));
    request.expect("a request")
}

/// Who makes tokens: an issuer with one RSA key, in a file.
pub(crate) struct Issuer {
    key: KeyPair,
    jwks: PathBuf,
}

impl Issuer {
    pub(crate) fn new(dir: &Path) -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        // An `RSAPublicKey` in DER (RFC 8017, A.1.1) ends in the modulus and the usual exponent.
        let public = key.public_key().as_ref();
        let modulus = &public[public.len() - 261..public.len() - 5];
        let jwk = json!({"kty": "RSA", "kid": "k", "n": encode(modulus), "e": "AQAB"});
        let jwks = dir.join("jwks.json");
        std::fs::write(&jwks, json!({ "keys": [jwk] }).to_string()).expect("written");
        Self { key, jwks }
    }

    /// A configuration that trusts it.
    pub(crate) fn trusted(&self) -> Config {
        parse(&format!(
            "log.backend = \"memory\"\nadmin.listen = \"off\"\n{}",
            self.toml()
        ))
    }

    /// Its part of a configuration.
    pub(crate) fn toml(&self) -> String {
        format!(
            "[[jwt_issuers]]\nissuer = \"https://issuer.example\"\naudience = [\"everstream\"]\n\
             project = \"bench\"\njwks = \"file:{}\"\n",
            self.jwks.display()
        )
    }

    /// Requests with so many tokens, all different.
    pub(crate) fn tokens(&self, numbers: Range<u64>, now: UnixMillis) -> Vec<Parts> {
        let now = now.0 / 1000;
        let tokens = numbers.map(|n| {
            let claims = json!({
                "iss": "https://issuer.example", "aud": "everstream", "sub": format!("user-{n}"),
                "iat": now, "exp": now + 3_600,
            });
            bearer(&self.token(&claims.to_string()))
        });
        tokens.collect()
    }

    fn token(&self, claims: &str) -> String {
        let header = r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#;
        let message = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let signed = self.key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            message.as_bytes(),
            &mut signature,
        );
        signed.expect("signed");
        format!("{message}.{}", encode(signature))
    }
}

/// A configuration.
pub(crate) fn parse(text: &str) -> Config {
    let source = Source {
        name: "bench.toml",
        text,
    };
    Config::parse(Some(source), &Env::default()).expect("a configuration")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
