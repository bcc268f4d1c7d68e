use std::path::PathBuf;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::engine::general_purpose::STANDARD;
use everstream_testkit::provider::{FakeProvider, ReceivedRequest, Script};
use serde_json::Value;
use tempfile::TempDir;

use super::*;

const JSON: (&str, &str) = ("content-type", "application/json");

/// A file with a new key, whose tokens come from `audience`, and what its signatures are checked by.
fn key_file(audience: &str) -> (TempDir, PathBuf, Vec<u8>) {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let file = json!({
        "type": "service_account", "client_email": "robot@p.iam", "private_key": pem,
        "private_key_id": "k1", "token_uri": audience,
    });
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key.json");
    std::fs::write(&path, file.to_string()).unwrap();
    (dir, path, key.public_key().as_ref().to_vec())
}

fn spec(credentials: Option<PathBuf>, metadata_host: Option<String>) -> UpstreamSpec {
    UpstreamSpec {
        credentials,
        metadata_host,
        ..UpstreamSpec::new("vertex", "http://unused")
    }
}

fn numbered(request: &ReceivedRequest, life: u64) -> Script {
    let token = json!({"access_token": format!("token-{}", request.number), "expires_in": life,
        "token_type": "Bearer"});
    Script::status(200, &[JSON], token.to_string())
}

#[tokio::test]
async fn a_token_is_asked_for_with_a_signed_assertion_and_kept() {
    let provider = FakeProvider::start(|request| numbered(request, 3_600)).await;
    let audience = format!("http://{}/token", provider.addr());
    let (_dir, path, public) = key_file(&audience);
    let tokens = Tokens::new(&spec(Some(path), None)).unwrap();
    let (one, two) = tokio::join!(tokens.get(), tokens.get());
    assert_eq!(one.unwrap().expose(), "token-1");
    assert_eq!(two.unwrap().expose(), "token-1");
    let calls = provider.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].method.as_str(), calls[0].path.as_str()),
        ("POST", "/token")
    );
    assert_eq!(
        calls[0].header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    let body = std::str::from_utf8(&calls[0].body).unwrap();
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let assertion = body.strip_prefix(grant).unwrap();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    let parts = signed.split('.').map(|part| {
        let json = URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice::<Value>(&json).unwrap()
    });
    let [header, claims] = parts.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    assert_eq!(claims["iss"], "robot@p.iam");
    assert_eq!(claims["aud"], audience);
    assert_eq!(claims["scope"], SCOPE);
    let lives = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(lives, 3_600);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_and_outlives_a_failure() {
    let provider = FakeProvider::start(|request| match request.number {
        // Shorter than the margin: due at once, and good for now.
        1 => numbered(request, 60),
        2 => Script::status(503, &[], "no"),
        _ => numbered(request, 3_600),
    })
    .await;
    let host = provider.addr().to_string();
    let tokens = Tokens::new(&spec(None, Some(host))).unwrap();
    for expected in ["token-1", "token-1", "token-3", "token-3"] {
        assert_eq!(tokens.get().await.unwrap().expose(), expected);
    }
    let calls = provider.calls();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[0].method, "GET");
    assert_eq!(
        calls[0].path,
        "/computeMetadata/v1/instance/service-accounts/default/token"
    );
    assert_eq!(calls[0].header("metadata-flavor"), Some("Google"));
}

#[tokio::test]
async fn a_refusal_says_why_and_quotes_no_key() {
    let body = r#"{"error":"invalid_grant","error_description":"Bad key=sk-planted-123456"}"#;
    let provider = FakeProvider::start(move |request| match request.number {
        1 => Script::status(400, &[JSON], body),
        2 => Script::status(200, &[JSON], r#"{"secret":"planted"}"#),
        _ => Script::status(500, &[], "planted"),
    })
    .await;
    let host = provider.addr().to_string();
    let tokens = Tokens::new(&spec(None, Some(host))).unwrap();
    for expected in ["invalid_grant Bad", "holds none", "status 500"] {
        let reason = tokens.get().await.unwrap_err();
        assert!(
            reason.contains(expected) && !reason.contains("planted"),
            "{reason}"
        );
    }
}

#[test]
fn a_file_that_is_no_key_is_a_mistake_that_quotes_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key.json");
    let key = |pem: &str| {
        json!({"client_email": "e", "private_key": pem, "token_uri": "http://t"}).to_string()
    };
    for (text, expected) in [
        ("planted".to_owned(), "JSON file"),
        (key("planted"), "no PEM"),
        (
            key("-----BEGIN PRIVATE KEY-----\ncGxhbnRlZA==\n-----END PRIVATE KEY-----\n"),
            "no RSA key",
        ),
    ] {
        std::fs::write(&path, &text).unwrap();
        let refused = Tokens::new(&spec(Some(path.clone()), None));
        let refused = refused.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(
            !refused.contains("planted") && refused.contains("key.json"),
            "{refused}"
        );
    }
    let refused = Tokens::new(&spec(Some("/no/such".into()), None)).map(|_| ());
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("/no/such: No such")
    );
}
