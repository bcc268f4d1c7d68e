//! The listener for operators: what it shows, what it does, and whom it lets in.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everstream::server::{self, Patience, Shutdown};
use everstream_testkit::client::RawClient;
use everstream_testkit::provider::{FakeProvider, Gate, Script};
use serde_json::Value;

use crate::harness::{Gateway, Setup, StillTime, UPSTREAM_KEY, until};
use crate::talk::{CHAT, Reply, answer_to, chat, held, post, soon, unary_chat};

/// The key of the operator that has no other name.
pub(crate) const KEY: &str = "admin-canary-77ce10";

/// The listener for operators of a gateway. It ends with the test's runtime.
pub(crate) struct Admin(pub(crate) SocketAddr);

impl Admin {
    pub(crate) fn of(gateway: &Gateway) -> Self {
        let listener = server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let front = everstream::http::admin::front(Arc::clone(&gateway.app));
        let patience = Patience::new(&gateway.app.config);
        tokio::spawn(server::serve(
            listener,
            front,
            patience,
            Shutdown::default(),
        ));
        Self(address)
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut client = RawClient::connect(self.0).await.unwrap();
        let head = soon(client.request(method, path, headers, b"")).await;
        Reply {
            head: head.unwrap(),
            client,
        }
    }

    /// Sends a body with an operator's key.
    pub(crate) async fn tell(&self, key: &str, method: &str, path: &str, body: &Value) -> Reply {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(key, method, path, text.as_bytes()).await
    }

    /// The same with a body that need be nothing.
    pub(crate) async fn send(&self, key: &str, method: &str, path: &str, body: &[u8]) -> Reply {
        let mut client = RawClient::connect(self.0).await.unwrap();
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", &*bearer)];
        let head = soon(client.request(method, path, &headers, body)).await;
        Reply {
            head: head.unwrap(),
            client,
        }
    }

    /// An upstream by its name.
    pub(crate) async fn upstream(&self, name: &str) -> Value {
        let page = self
            .ask("GET", "/admin/upstreams", &[])
            .await
            .json(200)
            .await;
        let mut all = page["upstreams"].as_array().unwrap().iter();
        all.find(|one| one["name"] == name).unwrap().clone()
    }

    /// The first deployment of an upstream.
    pub(crate) async fn deployment(&self, name: &str) -> Value {
        self.upstream(name).await["deployments"][0].clone()
    }

    /// The lines of the metrics that begin so.
    pub(crate) async fn metrics(&self, beginning: &str) -> Vec<String> {
        let body = self.ask("GET", "/metrics", &[]).await.body().await;
        let text = String::from_utf8(body.to_vec()).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(beginning));
        lines.map(str::to_owned).collect()
    }
}

/// A route for `m` by way of `one`, and then `two`.
pub(crate) fn two(one: &str, other: &str) -> Setup {
    Setup::default()
        .upstream("one", one, "")
        .upstream("two", other, "")
        .upstream_fields(
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\npriority = 0\n\
             [[routes.deployments]]\nupstream = \"two\"\npriority = 1\n",
        )
}

/// A gateway over two providers, and an answer of the first one that has begun.
async fn with_one_running(one: &FakeProvider, other: &FakeProvider) -> (Gateway, Admin, Reply) {
    let gateway = two(&one.base_url(), &other.base_url()).start().await;
    let admin = Admin::of(&gateway);
    let mut running = post(&gateway, CHAT, &chat("x"), &[]).await;
    running.event().await;
    (gateway, admin, running)
}

/// A provider that answers, or says 503 while the switch is on.
pub(crate) async fn switched() -> (FakeProvider, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&fails);
    let provider = FakeProvider::start(move |request| {
        if now.load(Ordering::SeqCst) {
            Script::openai_error(503, "overloaded", "overloaded", "No room.")
        } else {
            answer_to(request)
        }
    });
    (provider.await, fails)
}

async fn asked(gateway: &Gateway) -> String {
    let reply = post(gateway, CHAT, &unary_chat("x"), &[]).await;
    let upstream = reply.header("everstream-upstream").to_owned();
    reply.json(200).await;
    upstream
}

#[tokio::test]
async fn a_breaker_is_seen_to_open_and_to_close() {
    let (one, fails) = switched().await;
    let other = FakeProvider::start(answer_to).await;
    let gateway = two(&one.base_url(), &other.base_url()).start().await;
    let admin = Admin::of(&gateway);
    assert_eq!(admin.deployment("one").await["takes_requests"], true);
    assert_eq!(asked(&gateway).await, "one");
    fails.store(true, Ordering::SeqCst);
    let still = StillTime::begin();
    for _ in 0..5 {
        assert_eq!(asked(&gateway).await, "two");
    }
    let seen = admin.deployment("one").await;
    assert_eq!(
        (&seen["breaker"], &seen["refuses"], &seen["model"]),
        (&"open".into(), &"broken".into(), &"m".into())
    );
    assert_eq!(seen["routes"], serde_json::json!(["m"]));
    assert_eq!(seen["outcomes"]["succeeded"], 1);
    assert_eq!(
        seen["outcomes"]["failed"],
        serde_json::json!({"overloaded": 5})
    );
    assert_eq!(seen["last_failure"]["kind"], "overloaded");
    assert!(seen["until"].as_u64() > seen["last_failure"]["at"].as_u64());
    let open = "everstream_upstream_breakers{upstream=\"one\",model=\"m\",state=\"open\"}";
    assert_eq!(admin.metrics(open).await, [format!("{open} 1")]);

    fails.store(false, Ordering::SeqCst);
    still.pass(Duration::from_secs(2)).await;
    assert_eq!(admin.deployment("one").await["breaker"], "half_open");
    for _ in 0..2 {
        assert_eq!(asked(&gateway).await, "one");
    }
    let seen = admin.deployment("one").await;
    assert_eq!(seen["breaker"], "closed");
    assert!(
        seen["share"].as_f64().unwrap() < 1.0,
        "it starts slowly: {seen}"
    );
    still.pass(Duration::from_secs(11)).await;
    assert_eq!(admin.deployment("one").await["share"], 1.0);
    drop(still);
    gateway.stop().await;
}

#[tokio::test]
async fn an_upstream_is_drained_by_hand_and_its_answers_end() {
    let gate = Gate::new("in the middle");
    let at = gate.clone();
    let one = FakeProvider::start(move |_| held(4, &at)).await;
    let other = FakeProvider::start(answer_to).await;
    let (gateway, admin, running) = with_one_running(&one, &other).await;
    assert_eq!(running.header("everstream-upstream"), "one");
    assert_eq!(admin.deployment("one").await["in_flight"], 1);
    assert_eq!(
        admin.upstream("one").await["connection"]["state"],
        "connected"
    );

    let drained = admin.ask("POST", "/admin/upstreams/one/drain", &[]).await;
    let drained = drained.json(200).await;
    assert_eq!(
        (&drained["drained"], &drained["deployments"][0]["refuses"]),
        (&true.into(), &"drained".into())
    );
    assert_eq!(asked(&gateway).await, "two");
    gate.open();
    running.frames().await;
    let seen = admin.deployment("one").await;
    assert_eq!(
        (&seen["in_flight"], &seen["outcomes"]["succeeded"]),
        (&0.into(), &1.into())
    );

    let path = "/admin/upstreams/one/undrain";
    let back = admin.ask("POST", path, &[]).await.json(200).await;
    assert_eq!(
        (&back["drained"], &back["deployments"][0]["takes_requests"]),
        (&false.into(), &true.into())
    );
    let path = "/admin/upstreams/two/drain?model=m";
    assert_eq!(
        admin.ask("POST", path, &[]).await.json(200).await["drained"],
        false
    );
    assert_eq!(admin.deployment("two").await["refuses"], "drained");
    for path in [
        "/admin/upstreams/three/drain",
        "/admin/upstreams/one/drain?model=x",
        "/admin/x",
    ] {
        let reply = admin.ask("POST", path, &[]).await;
        assert_eq!(reply.problem(404).await, "route_not_found", "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_silent_upstream_has_lost_its_heartbeat_until_it_speaks() {
    let gate = Gate::new("silence");
    let at = gate.clone();
    let one = FakeProvider::start(move |_| held(4, &at)).await;
    let other = FakeProvider::start(answer_to).await;
    let (gateway, admin, running) = with_one_running(&one, &other).await;
    let still = StillTime::begin();
    let state = || async { admin.upstream("one").await["connection"]["state"].clone() };
    assert_eq!(state().await, "connected");
    still.pass(Duration::from_secs(45)).await;
    assert_eq!(state().await, "heartbeat_lost");
    gate.open();
    running.frames().await;
    assert_eq!(state().await, "connected");
    drop(still);
    let lost = "everstream_upstream_connection_state{upstream=\"one\",state=\"heartbeat_lost\"}";
    assert_eq!(admin.metrics(lost).await, [format!("{lost} 0")]);
    gateway.stop().await;
}

#[tokio::test]
async fn what_happened_is_counted() {
    let (one, fails) = switched().await;
    let other = FakeProvider::start(answer_to).await;
    let setup = two(&one.base_url(), &other.base_url());
    let setup = setup.config("[limits]\nmax_concurrency = 7");
    let probed = "models = [\"n\"]\nprobe_interval = \"1h\"";
    let setup = setup.upstream("three", &one.base_url(), probed);
    let gateway = setup.start().await;
    let admin = Admin::of(&gateway);
    asked(&gateway).await;
    fails.store(true, Ordering::SeqCst);
    asked(&gateway).await;
    until(|| gateway.app.generator.registry.is_empty()).await;
    let expected = [
        "everstream_upstream_attempts_total{upstream=\"one\",model=\"m\",outcome=\"succeeded\"} 1",
        "everstream_upstream_attempts_total{upstream=\"one\",model=\"m\",outcome=\"overloaded\"} 1",
        "everstream_upstream_attempts_total{upstream=\"two\",model=\"m\",outcome=\"succeeded\"} 1",
        "everstream_upstream_first_content_seconds_count{upstream=\"one\",model=\"m\"} 1",
        "everstream_upstream_retries_total{upstream=\"one\",model=\"m\"} 0",
        "everstream_attempts_abandoned_total{upstream=\"one\",reason=\"overloaded\"} 1",
        "everstream_streams_ended_total{status=\"completed\",reason=\"\"} 2",
        "everstream_streams_running 0",
        "everstream_readers 0",
        "everstream_admission_running 0",
        "everstream_admission_limit 7",
        "everstream_admission_waiting 0",
        "everstream_admission_refused_total{reason=\"full\"} 0",
        "everstream_upstream_in_flight{upstream=\"one\",model=\"m\"} 0",
        "everstream_upstream_drained{upstream=\"one\",model=\"m\"} 0",
        "everstream_upstream_connections{upstream=\"two\",use=\"idle\"} 1",
        "everstream_upstream_probes_total{upstream=\"three\",result=\"failed\"} 0",
    ];
    for line in expected {
        assert_eq!(admin.metrics(line).await, [line]);
    }
    let listed = std::fs::read_to_string("../../docs/metrics.md").unwrap();
    let rows = listed.split("\n| `everstream_").skip(1);
    let mut listed: BTreeSet<_> = rows
        .map(|row| {
            let name = row.split('`').next().unwrap();
            name.strip_suffix("_total").unwrap_or(name).to_owned()
        })
        .collect();
    // It is there where there is a Postgres.
    assert!(listed.remove("limits_shared"));
    let types = admin.metrics("# TYPE everstream_").await;
    let shown: BTreeSet<_> = types
        .iter()
        .map(|line| {
            let name = line.split(' ').nth(2).unwrap();
            name.strip_prefix("everstream_").unwrap().to_owned()
        })
        .collect();
    assert_eq!(listed, shown, "docs/metrics.md against what there is");
    gateway.stop().await;
}

#[tokio::test]
async fn names_that_clients_make_up_stay_inside_their_quotes() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let admin = Admin::of(&gateway);
    let mut body = unary_chat("x");
    body["model"] = "a\"} 1\nplanted 1".into();
    post(&gateway, CHAT, &body, &[]).await.body().await;
    let attempts = admin.metrics("everstream_upstream_attempts_total").await;
    assert!(!attempts.is_empty());
    assert!(admin.metrics("planted").await.is_empty(), "{attempts:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn only_operators_come_in_and_no_secret_goes_out() {
    let provider = FakeProvider::start(answer_to).await;
    let config = format!("[admin]\nkey = \"{KEY}\"");
    let gateway = Setup::new(&provider).config(&config).start().await;
    let admin = Admin::of(&gateway);
    asked(&gateway).await;
    let bearer = |key: &str| format!("Bearer {key}");
    let wrong = [
        String::new(),
        bearer(""),
        bearer("x"),
        bearer(&KEY[1..]),
        KEY.to_owned(),
    ];
    let paths = ["/admin/upstreams", "/metrics", "/admin/x", "/"];
    for path in paths {
        for wrong in &wrong {
            let reply = admin.ask("GET", path, &[("authorization", wrong)]).await;
            assert_eq!(reply.header("x-content-type-options"), "nosniff");
            assert_eq!(
                reply.problem(401).await,
                "invalid_api_key",
                "{path} {wrong}"
            );
        }
        let reply = admin.ask("GET", path, &[("x-api-key", KEY)]).await;
        assert_eq!(reply.head.status, 401);
    }
    for path in ["/admin/upstreams", "/metrics"] {
        let right = bearer(KEY);
        let reply = admin.ask("GET", path, &[("authorization", &right)]).await;
        assert_eq!(reply.head.status, 200);
        assert_eq!(reply.header("cache-control"), "no-store");
        assert!(
            reply
                .header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        let text = String::from_utf8(reply.body().await.to_vec()).unwrap();
        assert!(text.contains("fake"), "{text}");
        assert!(
            !text.contains(KEY) && !text.contains(UPSTREAM_KEY),
            "{text}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn without_a_key_it_is_for_no_strange_page() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let admin = Admin::of(&gateway);
    let path = "/admin/upstreams/fake/drain";
    for strange in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let reply = admin.ask("POST", path, &[strange]).await;
        assert_eq!(reply.problem(403).await, "forbidden");
    }
    assert_eq!(admin.upstream("fake").await["drained"], false);
    // Nor is it on the listener for clients.
    let reply = crate::talk::get(&gateway, "/admin/upstreams", &[]).await;
    assert_eq!(reply.head.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn the_program_shows_and_drains() {
    let provider = FakeProvider::start(answer_to).await;
    let config = format!("[admin]\nkey = \"{KEY}\"");
    let amazon = "dialect = \"bedrock\"\naws_region = \"us-east-1\"\nmodels = [\"n\"]";
    let gateway = Setup::new(&provider)
        .upstream_fields("region = \"eu-west-1\"")
        .upstream("amazon", &provider.base_url(), amazon)
        .config(&config)
        .start()
        .await;
    let address = Admin::of(&gateway).0.to_string();
    asked(&gateway).await;
    let ran = |arguments: &'static str, key: &'static str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_everstream"));
        command.args(arguments.split_whitespace()).env_clear();
        command.envs([
            ("EVERSTREAM_ADMIN_LISTEN", &*address),
            ("EVERSTREAM_ADMIN_KEY", key),
        ]);
        async move {
            let output = tokio::task::spawn_blocking(move || command.output().unwrap());
            let output = soon(output).await.unwrap();
            let text = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(text).unwrap())
        }
    };
    let (code, text) = ran("upstreams", KEY).await;
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(lines[0][..4], ["UPSTREAM", "REGION", "CONNECTION", "MODEL"]);
    let fake = ["fake", "eu-west-1", "connected", "m", "closed", "0", "1"];
    assert_eq!(lines[1][..7], fake);
    assert_eq!(lines[2][..2], ["amazon", "us-east-1"]);
    let (code, text) = ran("upstreams drain fake", KEY).await;
    assert!(code == Some(0) && text.contains("drained"), "{text}");
    let (code, text) = ran("upstreams --json", KEY).await;
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &json["upstreams"][0]["drained"]),
        (Some(0), &true.into())
    );
    let (code, text) = ran("upstreams undrain fake --model m", KEY).await;
    assert!(code == Some(0), "{text}");
    let (code, text) = ran("upstreams drain nobody", KEY).await;
    assert!(
        code == Some(1) && text.contains("The upstreams are: fake, amazon"),
        "{text}"
    );
    let (code, text) = ran("upstreams", "wrong").await;
    assert!(
        code == Some(1) && text.contains("401") && text.contains("EVERSTREAM_ADMIN_KEY"),
        "{text}"
    );
    assert!(!text.contains(KEY), "{text}");
    gateway.stop().await;
}
