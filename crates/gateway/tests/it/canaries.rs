//! Every secret of a deployment, and its prompts, planted in the built program and looked for in all
//! that it leaves: its output at the most talkative level, what clients and operators get, its files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use everstream_core::id::UnixMillis;
use everstream_core::policy::scope::Api;
use everstream_core::sign::api_key::{KeyMaster, KeyText, id_of};
use everstream_store::sql::Catalog;
use everstream_store::sql::sqlite::{self, SqliteConfig};
use everstream_store::sql::values::{Allow, Scopes};
use everstream_testkit::client::RawClient;
use everstream_testkit::provider::{FakeProvider, Nobody, ReceivedRequest, Script, Step};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::catalogued::{self, tester};
use crate::certs::{Authority, Files, unwrapped};
use crate::harness::{Setup, UPSTREAM_KEY, within};
use crate::process::Process;
use crate::secrets::{files, holds};

const MASTER: &str = "master-canary-0d5c1be2a7f94e63a8c2b1d4";
const ADMIN: &str = "operators-canary-93b7d1";
const VAULT: &str = "vault-canary-6c21e8";
const HEADER: &str = "header-canary-c3a0f5";
const DATABASE: &str = "database-canary-58ff02";
const PROXY: &str = "proxy-canary-2b6e90";
/// Of another issuer; it is refused, and has to be forgotten.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJqd3QtY2FuYXJ5In0.jwt-canary-7d3f";
/// In what is asked.
const PROMPT: &str = "prompt-canary-e41d";
/// In what is answered.
const ANSWER: &str = "answer-canary-8f20";

/// Quotes all that it was sent in an error, unless it is asked for an answer.
fn gossip(request: &ReceivedRequest) -> Script {
    let body = String::from_utf8_lossy(&request.body);
    let sent = |name| request.header(name).unwrap_or_default();
    let quote = format!("{} {} {body}", sent("authorization"), sent("x-team"));
    let error = json!({"error": {"message": quote, "type": quote, "code": quote, "param": quote}});
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                       "choices": [{"index": 0, "delta": {"content": ANSWER}, "finish_reason": null}]});
    let events = |last: String| {
        let first = format!("data: {chunk}\n\n");
        Script::sse_steps([first, last].map(|event| Step::Event(event.into())))
    };
    if let Some(token) = request.header("x-vault-token") {
        return Script::json(403, &json!({"errors": [format!("no: {token}")]}));
    }
    match request.json()["model"].as_str().unwrap_or_default() {
        "refuses" => Script::json(400, &error),
        "fails" => Script::json(500, &error),
        "breaks" => events(format!("data: {error}\n\n")),
        "malformed" => events(format!("data: {{{quote}\n\n")),
        "no-http" => Script::raw(format!("{quote}\r\n\r\n")),
        _ => events("data: [DONE]\n\n".to_owned()),
    }
}

const MODELS: [&str; 6] = [
    "answers",
    "refuses",
    "fails",
    "breaks",
    "malformed",
    "no-http",
];

/// A key of the catalogue in `data`, for chats alone.
async fn catalogued(data: &Path) -> String {
    let catalog: Arc<dyn Catalog> = sqlite::open(&SqliteConfig::new(data.join("catalog.db")));
    let master = KeyMaster::new(&Sha256::digest(MASTER.as_bytes()));
    let chats = Api::ALL[0].as_str().to_owned();
    let scopes = Scopes {
        surfaces: Allow::Only(vec![chats, "streams".to_owned()]),
        ..Scopes::default()
    };
    let by = tester(UnixMillis(1));
    let (_, text) = catalogued::make(&*catalog, &master, &by, 9, scopes).await;
    catalog.close().await;
    text.expose().to_owned()
}

/// All that came back of one request: its head and its body.
async fn told(
    client: RawClient,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let mut client = client;
    within(async {
        let head = client.request(method, path, headers, body.as_bytes()).await;
        let head = head.unwrap();
        let (body, _) = client.read_body().await.unwrap();
        let text = format!("{head:?}\n{}\n", String::from_utf8_lossy(&body));
        (head.status, text)
    })
    .await
}

/// Sends the secrets wherever a client or an operator may. Gives all that came back.
async fn provoke(process: &Process, operators: std::net::SocketAddr, key: &str) -> String {
    let bearer = |key: &str| format!("Bearer {key}");
    let mut got = String::new();
    // It is the same file, which another process wrote: known by then, or soon.
    within(async {
        let headers = [("authorization", bearer(key))];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        while told(process.client().await, "GET", "/v1/streams", &headers, "")
            .await
            .0
            != 200
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut wrong = key.to_owned();
    wrong.replace_range(
        wrong.len() - 4..,
        if key.ends_with("0000") {
            "1111"
        } else {
            "0000"
        },
    );
    let models = MODELS.iter().chain(&["gone", "vaulted"]);
    for (model, stream) in models.flat_map(|model| [(model, true), (model, false)]) {
        let body = json!({"model": model, "stream": stream,
                          "messages": [{"role": "user", "content": PROMPT}]});
        let headers = [("x-api-key", key)];
        let path = "/v1/chat/completions";
        got += &told(
            process.client().await,
            "POST",
            path,
            &headers,
            &body.to_string(),
        )
        .await
        .1;
        // Not allowed, and not JSON.
        got += &told(
            process.client().await,
            "POST",
            "/v1/responses",
            &headers,
            PROMPT,
        )
        .await
        .1;
        got += &told(process.client().await, "POST", path, &headers, PROMPT)
            .await
            .1;
    }
    for shown in [TOKEN, &wrong, MASTER, ADMIN, UPSTREAM_KEY] {
        let bearer = bearer(shown);
        for (name, value) in [("authorization", bearer.as_str()), ("api-key", shown)] {
            let path = format!("/v1/models?key={shown}&token={shown}");
            let (status, text) =
                told(process.client().await, "GET", &path, &[(name, value)], "").await;
            assert_eq!(status, 401, "{text}");
            got += &text;
        }
    }
    for (path, shown) in [
        ("/metrics", ADMIN),
        ("/admin/upstreams", ADMIN),
        ("/admin/admission", ADMIN),
        ("/admin/upstreams", key),
    ] {
        let bearer = bearer(shown);
        let client = RawClient::connect(operators).await.unwrap();
        let (status, text) = told(client, "GET", path, &[("authorization", &bearer)], "").await;
        assert_eq!(status, if shown == ADMIN { 200 } else { 401 }, "{text}");
        got += &text;
    }
    got
}

/// A read token as clients send it: within messages of a socket, which a library logs.
async fn subscribe(process: &Process, token: &str) {
    let url = format!("ws://{}/v1/ws", process.addr);
    let stream = tokio::net::TcpStream::connect(process.addr).await.unwrap();
    let opened = within(tokio_tungstenite::client_async(url, stream)).await;
    let (mut socket, _) = opened.unwrap();
    let message = json!({"type": "subscribe", "stream": "0k3v9f2m7qx4c", "token": token});
    let message = Message::text(message.to_string());
    within(futures_util::SinkExt::send(&mut socket, message))
        .await
        .unwrap();
    within(futures_util::StreamExt::next(&mut socket))
        .await
        .unwrap()
        .unwrap();
}

fn setup(provider: &FakeProvider, nobody: &Nobody, tls: &Files) -> Setup {
    let (here, gone) = (provider.base_url(), nobody.base_url());
    let vault = here.trim_end_matches("/v1");
    Setup::default()
        .config(&format!(
            "master_secret = \"{MASTER}\"\nrequire_keys = true\n\
             [telemetry]\nlevel = \"trace\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\nkey = \"{ADMIN}\"\n\
             [vault]\naddress = \"{vault}\"\ntoken = \"{VAULT}\"\n{}",
            tls.toml("")
        ))
        .upstream("gone", &gone, "models = [\"gone\"]")
        .upstream_fields(&format!(
            "\n[[upstreams]]\nname = \"vaulted\"\nbase_url = \"{here}\"\nmodels = [\"vaulted\"]\n\
             api_key = \"vault:secret/data/a#key\""
        ))
        .upstream(
            "here",
            &here,
            &format!("models = {MODELS:?}\nheaders = {{ \"x-team\" = \"{HEADER}\" }}"),
        )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_prompt_is_told() {
    let provider = FakeProvider::start(gossip).await;
    let nobody = Nobody::new().unwrap();
    let authority = Authority::new();
    let identity = authority.issue();
    let tls = Files::new(&identity);
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let key = catalogued(&data).await;
    let mut process = Process::start(&setup(&provider, &nobody, &tls), dir.path());
    let line = process.heard("listening for operators");
    let (_, operators) = line.rsplit_once("address=").unwrap();
    let operators = operators.split(' ').next().unwrap().parse().unwrap();
    process.addr = unwrapped(process.addr, authority.client(None)).await;
    let got = provoke(&process, operators, &key).await;
    subscribe(&process, TOKEN).await;
    assert!(got.contains("[redacted]") && got.contains(ANSWER), "{got}");
    let log = process.all().join("\n");
    assert!(log.contains("upstream failed"), "{log}");

    let text = KeyText::parse(&key).unwrap();
    let private = identity.key.lines().nth(1).unwrap().to_owned();
    let secrets = [
        MASTER,
        ADMIN,
        VAULT,
        HEADER,
        UPSTREAM_KEY,
        TOKEN,
        text.secret,
        &private,
    ];
    let mut secrets: Vec<Vec<u8>> = secrets.map(|text| text.as_bytes().to_vec()).into();
    let pairs = text.secret.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    secrets.push(pairs.map(byte).collect());
    secrets.push(Sha256::digest(MASTER.as_bytes()).to_vec());

    let mut places = vec![("responses".to_owned(), got.into_bytes())];
    let mut quiet = vec![("log".to_owned(), log.into_bytes())];
    let is_database = |path: &Path| path.to_string_lossy().contains("catalog.db");
    for path in files(&data) {
        // Not the sockets that processes talk to each other by.
        if path.is_file() {
            let of = if is_database(&path) {
                &mut quiet
            } else {
                &mut places
            };
            of.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    // It is looked for where it would be.
    let id = text.id.as_bytes();
    assert!(
        quiet
            .iter()
            .any(|(at, bytes)| at != "log" && holds(bytes, id))
    );
    assert!(
        places[1..]
            .iter()
            .any(|(_, bytes)| holds(bytes, PROMPT.as_bytes()))
    );
    for (place, bytes) in &quiet {
        for words in [PROMPT, ANSWER] {
            assert!(!holds(bytes, words.as_bytes()), "{words} is in {place}");
        }
    }
    for (place, bytes) in quiet.iter().chain(&places) {
        for secret in &secrets {
            let text = String::from_utf8_lossy(secret);
            let at = String::from_utf8_lossy(bytes);
            assert!(!holds(bytes, secret), "{text} is in {place}:\n{at}");
        }
    }
}

/// What the program says when it is started, or asked to check, with this configuration.
fn says(command: &str, toml: &str, env: &[(&str, &str)]) -> (bool, String) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("everstream.toml");
    let own = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n",
        dir.path().join("data").display()
    );
    fs::write(&file, own + toml).unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_everstream"))
        .args([command, "--config"])
        .arg(&file)
        .env_clear()
        .env("EVERSTREAM_LOG", "trace")
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    (status.success(), text)
}

#[test]
fn what_is_wrong_with_an_address_is_told_without_its_password() {
    let upstream = |url: &str| format!("[[upstreams]]\nname = \"a\"\nbase_url = \"{url}\"\n");
    let database = |url: &str| format!("[database]\nurl = \"{url}\"\n");
    let of = |address: &str| address.replace("PASSWORD", DATABASE);
    for toml in [
        database(&of("mysql://u:PASSWORD@127.0.0.1/x")),
        database(&of("postgres://u:PASSWORD@127.0.0.1:port/x")),
        database(&of("postgres://u:PASSWORD@127.0.0.1/x?sslmode=PASSWORD")),
        database(&of("postgres://u:PASSWORD@127.0.0.1/x?PASSWORD=1")),
        database(&of("postgres://u:PASS WORDPASSWORD@/x")),
        upstream(&of("https://u:PASSWORD@127.0.0.1/v1")),
        upstream(&of("https://127.0.0.1/v1?key=PASSWORD")),
        of("[database]\nurl = \"postgres://u:PASSWORD@h/x\n"),
        of("[database]\nurll = \"postgres://u:PASSWORD@h/x\"\n"),
        of("[vault]\ntoken = PASSWORD\n"),
        of("[admin]\nkey = [\"PASSWORD\"]\n"),
        of("[database]\nurl = \"postgres://u:PASSWORD@127.0.0.1/x\"\nca_file = \"/nowhere\"\n"),
    ] {
        let (is_well, said) = says("serve", &toml, &[]);
        assert!(!is_well && !said.trim().is_empty(), "{toml}: {said}");
        assert!(!said.contains(DATABASE), "{toml}: {said}");
    }
    // What can be tried is well, and shows nothing when it is tried.
    let dead = Nobody::new().unwrap();
    let port = dead
        .base_url()
        .rsplit(':')
        .next()
        .unwrap()
        .replace("/v1", "");
    let toml = database(&of(&format!("postgres://u:PASSWORD@127.0.0.1:{port}/x")));
    let proxy = format!("http://u:{PROXY}@127.0.0.1:{port}");
    let env = [("HTTPS_PROXY", proxy.as_str())];
    let (is_well, said) = says("check", &(toml + &upstream("https://example.com/v1")), &env);
    assert!(is_well, "{said}");
    assert!(!said.contains(DATABASE) && !said.contains(PROXY), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_and_a_proxy_that_are_gone_are_told_without_their_passwords() {
    let dead = Nobody::new().unwrap();
    let port = dead
        .base_url()
        .rsplit(':')
        .next()
        .unwrap()
        .replace("/v1", "");
    let dir = TempDir::new().unwrap();
    let setup = Setup::default()
        .config(&format!(
            "require_keys = true\n[telemetry]\nlevel = \"trace\"\n[admin]\nlisten = \"off\"\n\
             [database]\nurl = \"postgres://u:{DATABASE}@127.0.0.1:{port}/x\""
        ))
        .upstream("a", "https://example.com/v1", "models = [\"m\"]");
    let process = Process::start(&setup, dir.path());
    let key = KeyMaster::new(b"any").key(&id_of([3; 10]), 1);
    let headers = [("x-api-key", key.expose())];
    let (status, got) = told(process.client().await, "GET", "/v1/models", &headers, "").await;
    assert_eq!(status, 503, "{got}");
    process.line("a key cannot be looked up");
    let log = process.all().join("\n");
    assert!(
        log.contains("the database of keys does not answer"),
        "{log}"
    );
    for secret in [DATABASE, key.expose(), UPSTREAM_KEY] {
        assert!(
            !log.contains(secret) && !got.contains(secret),
            "{secret} in {log}{got}"
        );
    }
}
