//! Secrets of upstreams in files and in a scripted Vault.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use everstream_testkit::provider::{FakeProvider, ReceivedRequest, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, Setup, StillTime, until, within};
use crate::talk::{CHAT, Reply, answer, answer_to, chat, data, post};

/// Canaries: none may show anywhere.
const SECRET_ID: &str = "canary-secret-id-1";
const JWT: &str = "canary-jwt-of-the-pod";

/// What the scripted Vault knows.
#[derive(Default)]
struct State {
    sealed: bool,
    tokens: BTreeSet<String>,
    made: u32,
    /// The key in KV, and its version.
    key: (String, u32),
    /// Seconds of tokens and leases, and what a renewal brings.
    token_ttl: u64,
    lease_ttl: u64,
    renewal: u64,
    leases: BTreeSet<String>,
    /// The path and the token of each request.
    asked: Vec<(String, String)>,
}

struct Vault {
    server: FakeProvider,
    state: Arc<Mutex<State>>,
}

impl Vault {
    async fn start(change: impl FnOnce(&mut State)) -> Self {
        let mut state = State {
            tokens: ["canary-root-token".to_owned()].into(),
            key: ("canary-key-0001".to_owned(), 1),
            token_ttl: 3_600,
            lease_ttl: 300,
            renewal: 300,
            ..State::default()
        };
        change(&mut state);
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = FakeProvider::start(move |request| {
            let (status, body) = shared.lock().unwrap().answer(request);
            Script::json(status, &body)
        });
        let server = server.await;
        Self { server, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn section(&self, auth: &str) -> String {
        format!(
            "[vault]\naddress = \"http://{}\"\n{auth}",
            self.server.addr()
        )
    }

    fn by_token(&self) -> String {
        self.section("token = \"canary-root-token\"")
    }

    fn by_role(&self) -> String {
        let auth = format!("auth = \"approle\"\nrole_id = \"role\"\nsecret_id = \"{SECRET_ID}\"");
        self.section(&auth)
    }

    fn count(&self, path: &str) -> usize {
        let state = self.state();
        state
            .asked
            .iter()
            .filter(|(asked, _)| asked == path)
            .count()
    }
}

impl State {
    fn answer(&mut self, request: &ReceivedRequest) -> (u16, Value) {
        let no = |status: u16, why: &str| (status, json!({"errors": [why]}));
        let path = request.path.trim_start_matches("/v1/").to_owned();
        let token = request
            .header("x-vault-token")
            .unwrap_or_default()
            .to_owned();
        self.asked.push((path.clone(), token.clone()));
        if self.sealed {
            return no(503, "Vault is sealed");
        }
        let login = match path.as_str() {
            "auth/approle/login" => Some(json!({"role_id": "role", "secret_id": SECRET_ID})),
            "auth/k8s/login" => Some(json!({"role": "everstream", "jwt": JWT})),
            _ => None,
        };
        if let Some(expected) = login {
            if request.json() != expected {
                return no(400, "invalid role or secret");
            }
            self.made += 1;
            let token = format!("canary-token-{}", self.made);
            self.tokens.insert(token.clone());
            let auth =
                json!({"client_token": token, "lease_duration": self.token_ttl, "renewable": true});
            return (200, json!({ "auth": auth }));
        }
        if !self.tokens.contains(&token) {
            return no(403, &format!("permission denied for {token}"));
        }
        match path.as_str() {
            "auth/token/lookup-self" => (
                200,
                json!({"data": {"ttl": self.token_ttl, "renewable": true}}),
            ),
            "auth/token/renew-self" => {
                let auth = json!({"client_token": token, "lease_duration": self.renewal, "renewable": true});
                (200, json!({ "auth": auth }))
            }
            "secret/data/openai" => {
                let (key, version) = &self.key;
                let data = json!({"data": {"api_key": key}, "metadata": {"version": version}});
                (
                    200,
                    json!({"lease_id": "", "lease_duration": 0, "data": data}),
                )
            }
            "database/creds/role" => {
                self.made += 1;
                let id = format!("lease-{}", self.made);
                self.leases.insert(id.clone());
                let data = json!({"password": format!("canary-lent-{}", self.made)});
                (
                    200,
                    json!({"lease_id": id, "lease_duration": self.lease_ttl, "renewable": true, "data": data}),
                )
            }
            "sys/leases/renew" => {
                let id = request.json()["lease_id"].as_str().unwrap().to_owned();
                if self.leases.contains(&id) {
                    (
                        200,
                        json!({"lease_id": id, "lease_duration": self.renewal, "renewable": true}),
                    )
                } else {
                    no(400, "lease not found")
                }
            }
            _ => (404, json!({"errors": []})),
        }
    }
}

fn setup(provider: &FakeProvider, key: &str, vault: &str) -> Setup {
    let base_url = provider.base_url();
    Setup::default().config(vault).upstream_fields(&format!(
        "[[upstreams]]\nname = \"one\"\nbase_url = \"{base_url}\"\napi_key = \"{key}\""
    ))
}

fn key_of(request: &ReceivedRequest) -> String {
    let sent = request.header("authorization").unwrap_or_default();
    sent.trim_start_matches("Bearer ").to_owned()
}

fn last_key(provider: &FakeProvider) -> String {
    provider.calls().last().map(key_of).unwrap_or_default()
}

/// A provider that takes this key alone, and quotes any other.
async fn taking(key: &str) -> (FakeProvider, Arc<Mutex<String>>) {
    let taken = Arc::new(Mutex::new(key.to_owned()));
    let shared = Arc::clone(&taken);
    let provider = FakeProvider::start(move |request| {
        let key = key_of(request);
        if key == *shared.lock().unwrap() {
            answer_to(request)
        } else {
            let message = format!("Not with {key}.");
            Script::openai_error(401, "invalid_request_error", "invalid_api_key", &message)
        }
    });
    (provider.await, taken)
}

async fn ask(gateway: &Gateway) -> Reply {
    post(gateway, CHAT, &chat("x"), &[]).await
}

async fn whole(reply: Reply) {
    let expected = answer().expected_data_without_usage();
    assert_eq!(data(&reply.frames().await), expected);
}

const KV: &str = "vault:secret/data/openai#api_key";
const LENT: &str = "vault:database/creds/role#password";

#[tokio::test]
async fn a_key_in_vault_is_used_and_followed() {
    let vault = Vault::start(|_| ()).await;
    let provider = FakeProvider::start(answer_to).await;
    let gateway = setup(&provider, KV, &vault.by_token()).start().await;
    whole(ask(&gateway).await).await;
    assert_eq!(last_key(&provider), "canary-key-0001");
    let time = StillTime::begin();
    vault.state().key = ("canary-key-0002".to_owned(), 2);
    time.pass(Duration::from_secs(61)).await;
    until(|| vault.count("secret/data/openai") == 2).await;
    time.pass(Duration::from_secs(1)).await;
    whole(ask(&gateway).await).await;
    assert_eq!(last_key(&provider), "canary-key-0002");
}

#[tokio::test]
async fn a_rotation_under_load_fails_no_request() {
    let vault = Vault::start(|_| ()).await;
    let (provider, taken) = taking("canary-key-0001").await;
    let gateway = Arc::new(setup(&provider, KV, &vault.by_token()).start().await);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                for _ in 0..12 {
                    whole(ask(&gateway).await).await;
                }
            })
        })
        .collect();
    provider.wait_for_calls(12).await;
    vault.state().key = ("canary-key-0002".to_owned(), 2);
    "canary-key-0002".clone_into(&mut taken.lock().unwrap());
    for client in clients {
        within(client).await.unwrap();
    }
    assert_eq!(last_key(&provider), "canary-key-0002");
    // Once at the start, and once because the old one was refused.
    assert_eq!(vault.count("secret/data/openai"), 2);
}

#[tokio::test]
async fn what_is_refused_for_good_is_told_without_any_of_the_keys() {
    let vault = Vault::start(|_| ()).await;
    let (provider, _taken) = taking("another").await;
    let gateway = setup(&provider, KV, &vault.by_token()).start().await;
    // Refused with the first, and again with the one that came meanwhile.
    vault.state().key = ("canary-key-0002".to_owned(), 2);
    let told = ask(&gateway).await.json(401).await.to_string();
    assert!(told.contains("Not with [redacted]."), "{told}");
    assert_eq!(last_key(&provider), "canary-key-0002");
    assert_eq!(provider.calls().len(), 2);
    // It is not looked at for each request.
    assert_eq!(ask(&gateway).await.head.status, 401);
    assert_eq!(vault.count("secret/data/openai"), 2);
}

#[tokio::test]
async fn sealed_at_the_start_the_rest_works_and_later_all_does() {
    let vault = Vault::start(|state| state.sealed = true).await;
    let provider = FakeProvider::start(answer_to).await;
    let setup = setup(&provider, KV, &vault.by_role()).upstream(
        "two",
        &provider.base_url(),
        "models = [\"other\"]",
    );
    let time = StillTime::begin();
    let (gateway, ()) = within(async {
        tokio::join!(setup.start(), async {
            until(|| vault.count("auth/approle/login") > 0).await;
            time.pass(Duration::from_secs(11)).await;
        })
    })
    .await;
    let mut other = chat("x");
    other["model"] = json!("two/other");
    whole(post(&gateway, CHAT, &other, &[]).await).await;
    let mut one = chat("x");
    one["model"] = json!("one/m");
    let hurried = [("everstream-timeout", "1s")];
    assert_eq!(
        post(&gateway, CHAT, &one, &hurried).await.error(503).await,
        "upstream_unavailable"
    );
    vault.state().sealed = false;
    for _ in 0..60 {
        time.pass(Duration::from_millis(250)).await;
        if vault.count("secret/data/openai") > 0 {
            break;
        }
    }
    time.pass(Duration::from_secs(1)).await;
    whole(post(&gateway, CHAT, &one, &[]).await).await;
    assert_eq!(last_key(&provider), "canary-key-0001");
}

#[tokio::test]
async fn a_no_of_vault_delays_no_start() {
    let began = std::time::Instant::now();
    let provider = FakeProvider::start(answer_to).await;
    let vault = Vault::start(|_| ()).await;
    for key in [
        "vault:secret/data/nothing#api_key",
        "vault:secret/data/openai#nothing",
    ] {
        let gateway = setup(&provider, key, &vault.by_token()).start().await;
        let reply = post(&gateway, CHAT, &chat("x"), &[("everstream-timeout", "1s")]).await;
        assert_eq!(reply.head.status, 503);
    }
    let refused = vault.section("token = \"canary-unknown\"");
    let gateway = setup(&provider, KV, &refused).start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[("everstream-timeout", "1s")]).await;
    let told = reply.json(503).await.to_string();
    assert!(!told.contains("canary"), "{told}");
    assert!(provider.calls().is_empty());
    assert!(began.elapsed() < 2 * everstream_core::limits::SECRET_START_PATIENCE);
}

#[tokio::test]
async fn a_lease_is_renewed_and_one_that_was_revoked_is_replaced() {
    let vault = Vault::start(|_| ()).await;
    let provider = FakeProvider::start(answer_to).await;
    let gateway = setup(&provider, LENT, &vault.by_role()).start().await;
    whole(ask(&gateway).await).await;
    let first = last_key(&provider);
    let time = StillTime::begin();
    time.pass(Duration::from_secs(201)).await;
    until(|| vault.count("sys/leases/renew") == 1).await;
    time.pass(Duration::from_secs(1)).await;
    whole(ask(&gateway).await).await;
    assert_eq!(last_key(&provider), first);
    vault.state().leases.clear();
    time.pass(Duration::from_secs(201)).await;
    until(|| vault.count("database/creds/role") == 2).await;
    time.pass(Duration::from_secs(1)).await;
    whole(ask(&gateway).await).await;
    assert_ne!(last_key(&provider), first);
    // Near its longest life it is replaced.
    vault.state().renewal = 60;
    time.pass(Duration::from_secs(201)).await;
    until(|| vault.count("sys/leases/renew") == 3).await;
    time.pass(Duration::from_secs(41)).await;
    until(|| vault.count("database/creds/role") == 3).await;
}

#[tokio::test]
async fn leases_are_taken_anew_with_a_new_token_and_the_pod_logs_in_again() {
    let dir = tempfile::tempdir().unwrap();
    let jwt = dir.path().join("token");
    std::fs::write(&jwt, format!("{JWT}\n")).unwrap();
    let vault = Vault::start(|state| {
        state.token_ttl = 90;
        state.renewal = 10;
        state.lease_ttl = 3_000;
    });
    let vault = vault.await;
    let auth = format!(
        "auth = \"kubernetes\"\nrole = \"everstream\"\nmount = \"k8s\"\njwt_path = {jwt:?}"
    );
    let provider = FakeProvider::start(answer_to).await;
    let gateway = setup(&provider, LENT, &vault.section(&auth)).start().await;
    whole(ask(&gateway).await).await;
    let first = last_key(&provider);
    let time = StillTime::begin();
    time.pass(Duration::from_secs(61)).await;
    until(|| vault.count("auth/token/renew-self") == 1).await;
    time.pass(Duration::from_secs(8)).await;
    until(|| vault.count("auth/k8s/login") == 2).await;
    until(|| vault.count("database/creds/role") == 2).await;
    time.pass(Duration::from_secs(1)).await;
    whole(ask(&gateway).await).await;
    assert_ne!(last_key(&provider), first);
    let tokens: Vec<_> = vault
        .state()
        .asked
        .iter()
        .map(|(_, token)| token.clone())
        .collect();
    assert!(tokens.contains(&"canary-token-1".to_owned()));
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_when_it_is_refused() {
    let vault = Vault::start(|_| ()).await;
    let provider = FakeProvider::start(answer_to).await;
    let gateway = setup(&provider, KV, &vault.by_role()).start().await;
    whole(ask(&gateway).await).await;
    let time = StillTime::begin();
    vault.state().tokens.clear();
    vault.state().key = ("canary-key-0002".to_owned(), 2);
    time.pass(Duration::from_secs(61)).await;
    until(|| vault.count("auth/approle/login") == 2).await;
    until(|| vault.count("secret/data/openai") >= 3).await;
    time.pass(Duration::from_secs(1)).await;
    whole(ask(&gateway).await).await;
    assert_eq!(last_key(&provider), "canary-key-0002");
}

#[tokio::test]
async fn while_vault_is_sealed_what_is_held_is_used() {
    let vault = Vault::start(|_| ()).await;
    let provider = FakeProvider::start(answer_to).await;
    let gateway = setup(&provider, LENT, &vault.by_role()).start().await;
    let time = StillTime::begin();
    vault.state().sealed = true;
    time.pass(Duration::from_secs(400)).await;
    assert!(vault.count("sys/leases/renew") > 1);
    whole(ask(&gateway).await).await;
    let first = last_key(&provider);
    assert!(first.starts_with("canary-lent"));
    vault.state().sealed = false;
    time.pass(Duration::from_secs(9)).await;
    until(|| vault.count("database/creds/role") > 1 && vault.state().made > 2).await;
}

#[tokio::test]
async fn a_file_is_followed_and_an_empty_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "canary-key-0001\n").unwrap();
    let (provider, taken) = taking("canary-key-0001").await;
    let key = format!("file:{}", path.display());
    let gateway = setup(&provider, &key, "").start().await;
    whole(ask(&gateway).await).await;
    // It is being written: nothing is known of the next one.
    std::fs::write(&path, "").unwrap();
    whole(ask(&gateway).await).await;
    std::fs::write(&path, "canary-key-0002\n").unwrap();
    "canary-key-0002".clone_into(&mut taken.lock().unwrap());
    whole(ask(&gateway).await).await;
    assert_eq!(last_key(&provider), "canary-key-0002");
}
