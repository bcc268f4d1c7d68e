//! An issuer in this process: what it says of itself, its keys, and its tokens.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everstream_testkit::provider::{FakeProvider, Script};
use serde_json::{Value, json};

/// Where keys are, beside the issuer.
const KEYS: &str = "/keys";

/// Says what is answered to a path, instead of what an issuer would say.
type Says = Box<dyn Fn(&str) -> Option<Script> + Send>;

/// An issuer, whose name is its address.
pub(super) struct Issuer {
    server: FakeProvider,
    state: Arc<Mutex<State>>,
}

struct State {
    name: String,
    keys: Vec<Value>,
    cache_control: &'static str,
    says: Says,
}

impl Issuer {
    /// An issuer with a key for each algorithm: `rsa`, `ec` and `ed`.
    pub(super) async fn start() -> Self {
        let signers = [
            Signer::rs256("rsa"),
            Signer::es256("ec"),
            Signer::eddsa("ed"),
        ];
        let state = Arc::new(Mutex::new(State {
            name: String::new(),
            keys: signers.iter().map(Signer::jwk).collect(),
            cache_control: "",
            says: Box::new(|_| None),
        }));
        let answering = Arc::clone(&state);
        let server = FakeProvider::start(move |request| {
            let state = answering.lock().unwrap_or_else(PoisonError::into_inner);
            state.answer(&request.path)
        })
        .await;
        let issuer = Self { server, state };
        issuer.change(|state| state.name = format!("http://{}", issuer.server.addr()));
        issuer
    }

    pub(super) fn name(&self) -> String {
        format!("http://{}", self.server.addr())
    }

    /// How many requests it had.
    pub(super) fn calls(&self) -> usize {
        self.server.calls().len()
    }

    pub(super) async fn wait_for_calls(&self, n: usize) {
        crate::harness::within(self.server.wait_for_calls(n as u64)).await;
    }

    pub(super) fn keys_url(&self) -> String {
        format!("{}{KEYS}", self.name())
    }

    /// TOML that trusts it.
    pub(super) fn trusted(&self) -> String {
        format!(
            "[[jwt_issuers]]\nissuer = \"{}\"\naudience = [\"everstream\"]\n\
             project = \"claim:team\"\n",
            self.name()
        )
    }

    pub(super) fn jwks(&self) -> Value {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        json!({"keys": state.keys})
    }

    /// From now on these are its keys.
    pub(super) fn rotate(&self, keys: &[&Signer]) {
        self.change(|state| state.keys = keys.iter().map(|signer| signer.jwk()).collect());
    }

    /// From now on its keys come with this.
    pub(super) fn cache_control(&self, value: &'static str) {
        self.change(|state| state.cache_control = value);
    }

    /// From now on it says this instead, where there is something.
    pub(super) fn says(&self, says: impl Fn(&str) -> Option<Script> + Send + 'static) {
        self.change(|state| state.says = Box::new(says));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl State {
    fn answer(&self, path: &str) -> Script {
        if let Some(script) = (self.says)(path) {
            return script;
        }
        match path {
            "/.well-known/openid-configuration" => {
                let uri = format!("{}{KEYS}", self.name);
                Script::json(
                    200,
                    &json!({"issuer": self.name, "jwks_uri": uri, "x": [1]}),
                )
            }
            KEYS => {
                let script = Script::json(200, &json!({"keys": self.keys}));
                script.header("cache-control", self.cache_control)
            }
            _ => Script::json(404, &json!({})),
        }
    }
}

/// A key with its id.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) kid: String,
    pub(super) key: Key,
}

#[derive(Clone)]
pub(super) enum Key {
    Rsa(Arc<RsaKeyPair>),
    P256(Arc<EcdsaKeyPair>),
    Ed25519(Arc<Ed25519KeyPair>),
}

/// Making one takes a while, so all tests have the same.
static RSA: LazyLock<Arc<RsaKeyPair>> =
    LazyLock::new(|| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
static P256: LazyLock<Arc<EcdsaKeyPair>> = LazyLock::new(|| Arc::new(fresh_p256()));

fn fresh_p256() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

impl Signer {
    pub(super) fn rs256(kid: &str) -> Self {
        Self::of(kid, Key::Rsa(Arc::clone(&RSA)))
    }

    pub(super) fn es256(kid: &str) -> Self {
        Self::of(kid, Key::P256(Arc::clone(&P256)))
    }

    pub(super) fn eddsa(kid: &str) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        Self::of(kid, Key::Ed25519(Arc::new(pair)))
    }

    /// An Ed25519 key that no other signer has.
    pub(super) fn fresh(kid: &str) -> Self {
        Self::of(
            kid,
            Key::Ed25519(Arc::new(Ed25519KeyPair::generate().unwrap())),
        )
    }

    pub(super) fn of(kid: &str, key: Key) -> Self {
        let kid = kid.to_owned();
        Self { kid, key }
    }

    pub(super) fn alg(&self) -> &'static str {
        match self.key {
            Key::Rsa(_) => "RS256",
            Key::P256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        }
    }

    /// The public key, as issuers publish it.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Rsa(pair) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
            }
            Key::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
            }
            Key::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())})
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.alg());
        jwk
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": self.alg(), "kid": self.kid, "typ": "JWT"})
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header().to_string(), &claims.to_string())
    }

    /// The same with a header and claims that may be anything.
    pub(super) fn token_with(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Key::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent of an `RSAPublicKey` in DER (RFC 8017, A.1.1), of 2048 bits and with the usual
/// exponent.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let (n, e) = der.split_at(der.len() - 5);
    assert_eq!(e, [2, 3, 1, 0, 1]);
    (&n[n.len() - 256..], &e[2..])
}
