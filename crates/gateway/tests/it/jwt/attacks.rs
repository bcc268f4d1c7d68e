//! Tokens that are not what they say.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use everstream_testkit::provider::FakeProvider;
use serde_json::{Value, json};

use super::issuer::{Issuer, Key, Signer, encode};
use super::{asked, claims, told, trusting};
use crate::talk::{answer_to, get};

const ALGORITHM: &str =
    "The token is signed with an algorithm that is not accepted from its issuer.";
const CRITICAL: &str = "The token has critical header parameters that are not supported.";
const KIND: &str = "The token's typ is not JWT or at+jwt.";
const ISSUER: &str = "The token's issuer is not accepted here.";
const KEY: &str = "The token's key is not one of its issuer's.";
const SIGNATURE: &str = "The token's signature is wrong.";
const EXPIRED: &str = "The token has expired, or has no exp: get a new one.";
const EARLY: &str = "The token is not good yet: its nbf or iat lies ahead.";
const AUDIENCE: &str = "The token's aud does not name this gateway.";
const PROJECT: &str = "The token's claims do not name one project of this gateway.";
const LONG: &str = "The token cannot be read: it is too long.";
const PARTS: &str =
    "The token cannot be read: it needs three parts in base64url, with dots between.";
const OBJECTS: &str = "The token cannot be read: its header and its claims must be JSON objects.";

#[tokio::test]
async fn algorithms_and_keys_are_not_for_a_token_to_say() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gateway = trusting(&provider, &issuer, "").await;
    let good = claims(&gateway, &issuer, json!({})).to_string();
    let (rsa, ec, ed) = (
        Signer::rs256("rsa"),
        Signer::es256("ec"),
        Signer::eddsa("ed"),
    );
    let unsigned = |header: Value| {
        let header = header.to_string();
        format!("{}.{}.", encode(header), encode(&good))
    };
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let refused = told(&gateway, &unsigned(json!({"alg": alg, "kid": "ed"}))).await;
        assert_eq!(refused, ALGORITHM, "{alg}");
        let header = json!({"alg": alg, "kid": "ed"}).to_string();
        assert_eq!(
            told(&gateway, &ed.token_with(&header, &good)).await,
            ALGORITHM
        );
    }
    assert_eq!(told(&gateway, &unsigned(ed.header())).await, SIGNATURE);

    // The public key, which everybody knows, in each form in which a library may take it for a secret.
    for signer in [&rsa, &ec, &ed] {
        let secrets = [signer.jwk().to_string().into_bytes(), public(signer)];
        for (alg, expected) in [("HS256", ALGORITHM), (signer.alg(), SIGNATURE)] {
            for secret in &secrets {
                let header = json!({"alg": alg, "kid": signer.kid});
                let message = format!("{}.{}", encode(header.to_string()), encode(&good));
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                let tag = encode(hmac::sign(&key, message.as_bytes()));
                assert_eq!(told(&gateway, &format!("{message}.{tag}")).await, expected);
            }
        }
        // A key for another algorithm than its own.
        for other in [&rsa, &ec, &ed]
            .into_iter()
            .filter(|other| other.kid != signer.kid)
        {
            let header = json!({"alg": other.alg(), "kid": signer.kid}).to_string();
            assert_eq!(told(&gateway, &other.token_with(&header, &good)).await, KEY);
            let header = json!({"alg": other.alg(), "kid": other.kid}).to_string();
            assert_eq!(
                told(&gateway, &signer.token_with(&header, &good)).await,
                SIGNATURE
            );
        }
    }
    let stranger = Signer::fresh("ed");
    assert_eq!(
        told(
            &gateway,
            &stranger.token_with(&stranger.header().to_string(), &good)
        )
        .await,
        SIGNATURE
    );
    // A key that the token brings along, or says where it is, is not looked at.
    let calls = issuer.calls();
    for brought in [
        json!({"jwk": stranger.jwk()}),
        json!({"jku": issuer.keys_url()}),
        json!({"x5u": issuer.keys_url()}),
        json!({"x5c": ["MIIB"]}),
    ] {
        let mut header = stranger.header();
        header
            .as_object_mut()
            .unwrap()
            .extend(brought.as_object().unwrap().clone());
        let token = stranger.token_with(&header.to_string(), &good);
        assert_eq!(told(&gateway, &token).await, SIGNATURE, "{header}");
    }
    assert_eq!(issuer.calls(), calls);
}

#[tokio::test]
async fn signatures_are_in_one_form_and_over_all_of_it() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gateway = trusting(&provider, &issuer, "").await;
    let good = claims(&gateway, &issuer, json!({}));
    let signer = Signer::es256("ec");
    let token = signer.token(&good);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let with = |signature: &[u8]| format!("{message}.{}", encode(signature));

    let raw = signer.sign(message.as_bytes());
    assert_eq!(asked(&gateway, &with(&raw)).await.0, 200);
    let zeros = |range: std::ops::Range<usize>| {
        let mut zeroed = raw.clone();
        zeroed[range].fill(0);
        zeroed
    };
    for wrong in [
        der(&signer, message.as_bytes()),
        zeros(0..32),
        zeros(32..64),
        zeros(0..64),
        vec![0xff; 64],
        raw[..63].to_vec(),
        [&raw[..], &[0]].concat(),
        [&[0], &raw[..]].concat(),
        Vec::new(),
    ] {
        assert_eq!(told(&gateway, &with(&wrong)).await, SIGNATURE, "{wrong:?}");
    }
    // Another project in good claims, under the signature of others.
    let other = signer.token(&claims(&gateway, &issuer, json!({"team": "ops"})));
    let (other, _) = other.rsplit_once('.').unwrap();
    assert_eq!(
        told(&gateway, &format!("{other}.{signature}")).await,
        SIGNATURE
    );
    for wrong in [
        format!("{token}="),
        format!("{message}.{signature}+"),
        format!("{message}."),
    ] {
        let told = told(&gateway, &wrong).await;
        assert!([PARTS, SIGNATURE].contains(&told.as_str()), "{told}");
    }
}

#[tokio::test]
async fn each_claim_is_checked() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let other = Issuer::start().await;
    let more = format!("{}jwks = \"{}\"\n", other.trusted(), other.keys_url());
    let gateway = trusting(&provider, &issuer, &format!("leeway = \"30s\"\n{more}")).await;
    let now = gateway.app.clock.now().0 / 1000;
    let signer = Signer::fresh("own");
    issuer.rotate(&[&signer]);
    let name = issuer.name();
    for good in [
        json!({"aud": ["else", "everstream"]}),
        json!({"exp": now - 5}),
        json!({"nbf": now + 20, "iat": now + 20}),
        json!({"iat": null, "sub": null, "jti": {"any": [1]}}),
    ] {
        let token = signer.token(&claims(&gateway, &issuer, good.clone()));
        assert_eq!(asked(&gateway, &token).await.0, 200, "{good}");
    }
    for (wrong, expected) in [
        (json!({"exp": now - 31}), EXPIRED),
        (json!({"exp": null}), EXPIRED),
        (json!({"exp": "soon"}), EXPIRED),
        (json!({"nbf": now + 600}), EARLY),
        (json!({"iat": now + 600}), EARLY),
        (json!({"aud": "else"}), AUDIENCE),
        (json!({"aud": ["else"]}), AUDIENCE),
        (json!({"aud": "everstream2"}), AUDIENCE),
        (json!({"aud": null}), AUDIENCE),
        (json!({"iss": null}), ISSUER),
        (json!({"iss": format!("{name}/")}), ISSUER),
        (json!({"iss": [name]}), ISSUER),
        (json!({"iss": "https://evil.example"}), ISSUER),
        // Of an issuer that is trusted, but not with this key.
        (json!({"iss": other.name()}), KEY),
        (json!({"team": null}), PROJECT),
        (json!({"team": "../ops"}), PROJECT),
        (json!({"team": ["web", "ops"]}), PROJECT),
    ] {
        let token = signer.token(&claims(&gateway, &issuer, wrong.clone()));
        assert_eq!(told(&gateway, &token).await, expected, "{wrong}");
    }
    // Of claims that come twice the last ones count, whoever looks (RFC 7519, section 4).
    let good = claims(&gateway, &issuer, json!({})).to_string();
    let twice = good.replacen('{', "{\"exp\": 1, \"aud\": \"else\",", 1);
    let header = signer.header().to_string();
    assert_eq!(
        asked(&gateway, &signer.token_with(&header, &twice)).await.0,
        200
    );
    let twice = good.replace("\"web\"}", "\"web\", \"exp\": 1}");
    assert_ne!(twice, good);
    assert_eq!(
        told(&gateway, &signer.token_with(&header, &twice)).await,
        EXPIRED
    );
}

#[tokio::test]
async fn odd_headers_and_odd_sizes_are_refused() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gateway = trusting(&provider, &issuer, "").await;
    let good = claims(&gateway, &issuer, json!({})).to_string();
    let signer = Signer::eddsa("ed");
    let with = |changes: Value| {
        let mut header = signer.header();
        header
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        signer.token_with(&header.to_string(), &good)
    };
    for (changes, expected) in [
        (json!({"crit": ["b64"], "b64": false}), CRITICAL),
        (json!({"crit": ["exp"], "exp": 1}), CRITICAL),
        (json!({"crit": []}), CRITICAL),
        (json!({"typ": "dpop+jwt"}), KIND),
        (json!({"typ": "logout+jwt"}), KIND),
        (json!({"typ": 1}), OBJECTS),
        (json!({"alg": ["EdDSA"]}), OBJECTS),
        (json!({"alg": "ES384"}), ALGORITHM),
        (json!({"kid": "else"}), KEY),
        (json!({"kid": ""}), KEY),
        (json!({"kid": "../../dev/null"}), KEY),
    ] {
        assert_eq!(
            told(&gateway, &with(changes.clone())).await,
            expected,
            "{changes}"
        );
    }
    for fine in [
        json!({"kid": null}),
        json!({"typ": null}),
        json!({"typ": "at+jwt"}),
    ] {
        assert_eq!(asked(&gateway, &with(fine.clone())).await.0, 200, "{fine}");
    }
    let header = signer.header().to_string();
    let twice = header.replacen('{', "{\"alg\": \"none\",", 1);
    assert_eq!(
        told(&gateway, &signer.token_with(&twice, &good)).await,
        OBJECTS
    );
    let deep = good.replacen(
        '{',
        &format!("{{\"x\": {}1{},", "[".repeat(2_000), "]".repeat(2_000)),
        1,
    );
    assert_eq!(
        told(&gateway, &signer.token_with(&header, &deep)).await,
        OBJECTS
    );
    for claims in ["[]", "null", "\"x\"", "{", ""] {
        assert_eq!(
            told(&gateway, &signer.token_with(&header, claims)).await,
            OBJECTS
        );
    }
    let long = |bytes: usize| {
        let claims = good.replacen('{', &format!("{{\"x\": \"{}\",", "x".repeat(bytes)), 1);
        signer.token_with(&header, &claims)
    };
    assert_eq!(asked(&gateway, &long(11_000)).await.0, 200);
    assert_eq!(told(&gateway, &long(12_300)).await, LONG);
    assert_eq!(told(&gateway, &long(200_000)).await, LONG);
    // Longer than a head may be: the server itself refuses it.
    let bearer = format!("Bearer {}", long(1 << 20));
    let reply = get(&gateway, "/v1/models", &[("authorization", &bearer)]).await;
    assert_eq!(reply.head.status, 431);
}

#[tokio::test]
async fn only_the_configured_algorithms_and_uses_of_keys_count() {
    let provider = FakeProvider::start(answer_to).await;
    let issuer = Issuer::start().await;
    let gateway = trusting(&provider, &issuer, "algorithms = [\"ES256\", \"RS256\"]").await;
    let good = claims(&gateway, &issuer, json!({}));
    assert_eq!(
        asked(&gateway, &Signer::es256("ec").token(&good)).await.0,
        200
    );
    assert_eq!(
        told(&gateway, &Signer::eddsa("ed").token(&good)).await,
        ALGORITHM
    );
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("RS512")),
    ] {
        let odd = Issuer::start().await;
        let mut jwk = Signer::rs256("rsa").jwk();
        jwk[name] = value;
        let keys = json!({"keys": [jwk, Signer::es256("ec").jwk()]});
        odd.says(move |path| {
            let script = everstream_testkit::provider::Script::json(200, &keys);
            (path == "/keys").then_some(script)
        });
        let gateway = trusting(&provider, &odd, "").await;
        let good = claims(&gateway, &odd, json!({}));
        assert_eq!(
            told(&gateway, &Signer::rs256("rsa").token(&good)).await,
            KEY,
            "{name}"
        );
        assert_eq!(
            asked(&gateway, &Signer::es256("ec").token(&good)).await.0,
            200
        );
    }
}

/// The bytes of a public key.
fn public(signer: &Signer) -> Vec<u8> {
    use aws_lc_rs::signature::KeyPair as _;
    match &signer.key {
        Key::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        Key::P256(pair) => pair.public_key().as_ref().to_vec(),
        Key::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
    }
}

/// A signature as X.509 has it.
fn der(signer: &Signer, message: &[u8]) -> Vec<u8> {
    let Key::P256(pair) = &signer.key else {
        panic!("a key on P-256");
    };
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
    let random = aws_lc_rs::rand::SystemRandom::new();
    pair.sign(&random, message).unwrap().as_ref().to_vec()
}
