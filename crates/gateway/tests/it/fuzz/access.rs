//! Headers that clients prove themselves with: nobody comes in but with the key, and no refusal tells a
//! secret.
//!
//! The first line is the method and the target, the others are headers.

use axum::body::Body;
use http::Request;
use serde_json::json;

use super::admin::asked;
use super::{Inputs, OPERATOR, assert_silent, gateway, plain};

/// The last token is signed with 64 bytes that say so.
const EXAMPLES: [&str; 8] = [
    "POST /v1/chat/completions\nauthorization: Bearer WHOLE",
    "GET /v1/models\nx-api-key: es-KEY-000000000000000000000000000000000000000000000000",
    "GET /v1/models?key=1\napi-key: WHOLE\nx-goog-api-key: WHOLE",
    "GET /v1/models\nx-goog-api-key: es-0123456789abcdef-0000000000000000",
    "POST http://gateway.example/v1/chat/completions?a=1\nhost: gateway.example\nsignature-input: \
     sig1=(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\");created=1800000000;\
     nonce=\"n-1\";keyid=\"KEY\";alg=\"hmac-sha256\";tag=\"everstream\"\nsignature: \
     sig1=:eJWgYb02yD63b/5f8RrSEHpIVPwtbkVvkZzKTpQE6yo=:\ncontent-digest: \
     sha-256=:fCRaiATuOBnUvbTIk+J6AHA2gUevZJizA2yeBaMJiqI=:",
    "GET /v1/streams\nsignature-input: sig=(\"@method\" \"@request-target\");created=NOW;nonce=\"n\";\
     keyid=\"KEY\"\nsignature: sig=:AAAA:",
    "GET /v1/models\nauthorization: Bearer eyJhbGciOiJub25lIiwia2lkIjoiZWQifQ.e30.",
    "GET /v1/models\nauthorization: Bearer eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIn0.eyJpc3MiOiJodHRwczovL2lzc3\
     Vlci5leGFtcGxlIiwiYXVkIjoiZXZlcnN0cmVhbSIsImV4cCI6NDEwMjQ0NDgwMH0.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXG\
     BkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw",
];

#[tokio::test]
async fn nobody_comes_in_without_the_key() {
    let (gateway, _dir) = gateway().await;
    let admin = everstream::http::admin::router(gateway.app.clone());
    let wish = json!({"project": "demo", "name": "a key", "create_project": true});
    let made = Request::post("/admin/keys").header("authorization", format!("Bearer {OPERATOR}"));
    let made = made.body(Body::from(wish.to_string())).unwrap();
    let made = asked(&admin, made).await;
    let made: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    let (id, key) = (
        made["id"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    let secret = key.rsplit_once('-').unwrap().1;
    let access = &gateway.app.access;
    let mut inputs = Inputs::new(&EXAMPLES);
    let (mut let_in, mut refused) = (0, 0);
    for _ in 0..Inputs::count() {
        let input = inputs.next();
        let text = String::from_utf8_lossy(&input);
        let now = (gateway.app.clock.now().0 / 1_000).to_string();
        let mut lines = text.split('\n');
        let first = lines.next().unwrap_or_default();
        let (method, target) = first.split_once(' ').unwrap_or(("GET", first));
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.replace("WHOLE", key).replace("KEY", id);
            request = request.header(name, value.replace("NOW", &now).trim());
        }
        let Ok(request) = request.body(Body::empty()) else {
            continue;
        };
        let (parts, _) = access.receive(request).into_parts();
        let shown = input.escape_ascii();
        match access.authenticate(&parts).await {
            Ok(caller) => {
                let_in += 1;
                assert!(text.contains("WHOLE"), "\"{shown}\" is let in");
                assert_eq!(caller.project.as_str(), "demo", "\"{shown}\"");
                inputs.learn(&input, "let in".to_owned());
            }
            Err(error) => {
                refused += 1;
                let status = error.code.status();
                assert!((400..500).contains(&status), "\"{shown}\": {error}");
                assert_silent(error.message.as_bytes(), &input, Some(secret));
                inputs.learn(&input, format!("{status} {}", plain(&error.message)));
            }
        }
    }
    assert!(
        let_in > 20 && refused > 500,
        "{let_in} let in, {refused} refused"
    );
    assert!(inputs.seen.len() > 15, "{:?}", inputs.seen);
    gateway.stop().await;
}
