//! Secrets of upstreams in a real Vault, which `scripts/vault.sh` starts.

use std::time::{Duration, Instant};

use everstream_testkit::client::RawClient;
use everstream_testkit::provider::FakeProvider;
use serde_json::{Value, json};

use crate::harness::{Gateway, PATIENCE, Setup, within};
use crate::talk::{CHAT, answer_to, chat, post};

/// The server, as its operator sees it.
struct Server {
    address: String,
    token: String,
    unseal: String,
}

impl Server {
    fn of_environment() -> Self {
        let said = std::env::var("EVERSTREAM_TEST_VAULT").expect("run by scripts/vault.sh");
        let mut words = said.split_whitespace().map(str::to_owned);
        let mut next = || words.next().expect("address, token and key");
        Self {
            address: next(),
            token: next(),
            unseal: next(),
        }
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let addr = self.address.trim_start_matches("http://").parse().unwrap();
        let mut client = RawClient::connect(addr).await.unwrap();
        let headers = [
            ("x-vault-token", self.token.as_str()),
            ("content-type", "application/json"),
        ];
        let path = format!("/v1/{path}");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let head = within(client.request(method, &path, &headers, body.as_bytes()))
            .await
            .unwrap();
        let (text, _) = within(client.read_body()).await.unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(head.status < 300, "{method} {path}: {} {text}", head.status);
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call("POST", path, &body).await
    }

    /// Mounts, a policy, and a role whose tokens live this long. Gives what the role logs in with.
    async fn prepare(&self) -> (String, String) {
        self.post(
            "sys/mounts/secret",
            json!({"type": "kv", "options": {"version": "2"}}),
        )
        .await;
        self.post("sys/mounts/lent", json!({"type": "leased"}))
            .await;
        self.post("sys/auth/approle", json!({"type": "approle"}))
            .await;
        let rules = "path \"secret/data/openai\" { capabilities = [\"read\"] }\n\
                     path \"lent/creds/*\" { capabilities = [\"read\"] }";
        self.call(
            "PUT",
            "sys/policies/acl/gateway",
            &json!({ "policy": rules }),
        )
        .await;
        let role = json!({"token_policies": "gateway", "token_ttl": "2s", "token_max_ttl": "4s"});
        self.post("auth/approle/role/gateway", role).await;
        let id = self
            .call("GET", "auth/approle/role/gateway/role-id", &Value::Null)
            .await;
        let secret = self
            .post("auth/approle/role/gateway/secret-id", json!({}))
            .await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (
            text(&id["data"]["role_id"]),
            text(&secret["data"]["secret_id"]),
        )
    }

    async fn write_key(&self, key: &str) {
        // A key-value engine that was just mounted is not ready at once.
        let began = Instant::now();
        let body = json!({"data": {"api_key": key}});
        let addr = self.address.trim_start_matches("http://").parse().unwrap();
        loop {
            let mut client = RawClient::connect(addr).await.unwrap();
            let headers = [("x-vault-token", self.token.as_str())];
            let sent = client.post_json("/v1/secret/data/openai", &body, &headers);
            if within(sent).await.unwrap().status == 200 {
                return;
            }
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn key_of(gateway: &Gateway, provider: &FakeProvider, model: &str) -> String {
    let mut body = chat("x");
    body["model"] = json!(model);
    let reply = post(gateway, CHAT, &body, &[]).await;
    assert_eq!(reply.head.status, 200);
    reply.frames().await;
    let calls = provider.calls();
    let sent = calls
        .last()
        .unwrap()
        .header("authorization")
        .unwrap_or_default();
    sent.trim_start_matches("Bearer ").to_owned()
}

/// Asks until the key is such a one.
async fn until_key(
    gateway: &Gateway,
    provider: &FakeProvider,
    model: &str,
    is_it: impl Fn(&str) -> bool,
) -> String {
    let began = Instant::now();
    loop {
        let key = key_of(gateway, provider, model).await;
        if is_it(&key) {
            return key;
        }
        assert!(began.elapsed() < PATIENCE, "it is still another");
        // The server has its own time, and tells nobody.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
#[ignore = "needs a Vault server: scripts/vault.sh"]
async fn secrets_of_a_real_vault_are_used_renewed_and_followed() {
    let vault = Server::of_environment();
    let (role_id, secret_id) = vault.prepare().await;
    vault.write_key("key-1").await;
    let provider = FakeProvider::start(answer_to).await;
    let base_url = provider.base_url();
    let upstream = |name: &str, key: &str| {
        format!(
            "[[upstreams]]\nname = \"{name}\"\nbase_url = \"{base_url}\"\napi_key = \"{key}\"\nmodels = [\"m\"]\n"
        )
    };
    let gateway = Setup::default()
        .config(&format!(
            "[vault]\naddress = \"{}\"\nauth = \"approle\"\nrole_id = \"{role_id}\"\n\
             secret_id = \"{secret_id}\"\nrefresh = \"1s\"",
            vault.address
        ))
        .upstream_fields(&upstream("kv", "vault:secret/data/openai#api_key"))
        .upstream_fields(&upstream("short", "vault:lent/creds/2/5#password"))
        .upstream_fields(&upstream("long", "vault:lent/creds/3600/7200#password"))
        .start();
    let gateway = gateway.await;
    assert_eq!(key_of(&gateway, &provider, "kv/m").await, "key-1");
    let short = key_of(&gateway, &provider, "short/m").await;
    let long = key_of(&gateway, &provider, "long/m").await;
    assert!(short.starts_with("dyn-") && long.starts_with("dyn-"));

    // Past the longest life of the token and of the short lease: all of them are others, and the
    // long one as well, as it ended with its token.
    until_key(&gateway, &provider, "short/m", |key| key != short).await;
    let second = until_key(&gateway, &provider, "long/m", |key| key != long).await;
    vault.write_key("key-2").await;
    until_key(&gateway, &provider, "kv/m", |key| key == "key-2").await;

    // Nobody tells the gateway that a lease was revoked: its renewal is refused.
    vault
        .call("PUT", "sys/leases/revoke-prefix/lent/creds", &json!({}))
        .await;
    let short = key_of(&gateway, &provider, "short/m").await;
    until_key(&gateway, &provider, "short/m", |key| key != short).await;
    until_key(&gateway, &provider, "long/m", |key| key != second).await;

    // Sealed for longer than everything lives: what is held is used, and then it goes on.
    vault.call("PUT", "sys/seal", &json!({})).await;
    let sealed_at = Instant::now();
    while sealed_at.elapsed() < Duration::from_secs(5) {
        assert_eq!(key_of(&gateway, &provider, "kv/m").await, "key-2");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    vault.post("sys/unseal", json!({"key": vault.unseal})).await;
    vault.write_key("key-3").await;
    until_key(&gateway, &provider, "kv/m", |key| key == "key-3").await;
    gateway.stop().await;
}
