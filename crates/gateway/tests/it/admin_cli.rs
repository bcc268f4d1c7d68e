//! The program's commands for operators, against a gateway in this process.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use everstream::server::{self, Certificates, Patience, Shutdown};
use everstream_testkit::provider::FakeProvider;

use crate::admin::KEY;
use crate::admin_keys::office;
use crate::certs::{Authority, Files};
use crate::harness::Setup;
use crate::talk::{CHAT, answer_to, post, soon, unary_chat};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    fn failed(self, part: &str) {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        assert!(self.err.contains(part), "{}", self.err);
    }
}

async fn ran(address: &str, key: &str, arguments: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everstream"));
    command.args(arguments.split_whitespace()).env_clear();
    command.env("EVERSTREAM_ADMIN_LISTEN", address);
    command.env("EVERSTREAM_ADMIN_KEY", key);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = soon(output).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!out.contains(KEY) && !err.contains(KEY), "{out}{err}");
    Ran {
        code: output.status.code(),
        out,
        err,
    }
}

/// The cells of the lines of a table.
fn cells(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines();
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[tokio::test]
async fn a_key_is_made_used_limited_rotated_and_revoked() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    let address = admin.0.to_string();
    let run = async |arguments: &str| ran(&address, KEY, arguments).await;
    let called = async |key: &str| {
        let headers = [("authorization", &*format!("Bearer {key}"))];
        let reply = post(&gateway, CHAT, &unary_chat("x"), &headers).await;
        let status = reply.head.status;
        reply.body().await;
        status
    };
    run("keys create --project demo --name laptop")
        .await
        .failed("everstream projects create demo");
    let made = run("keys create --project demo --create-project --name laptop").await;
    assert!(made.err.contains("will not be shown again"), "{}", made.err);
    let out = made.done();
    let first = out.trim_end().to_owned();
    assert_eq!(out, format!("{first}\n"), "the key stands alone");
    assert_eq!(called(&first).await, 200);
    let id = first.split('-').nth(1).unwrap();

    let limited = run(&format!("keys limit {id} requests=1/2h")).await;
    assert!(limited.done().contains("requests=1/2h"));
    assert_eq!((called(&first).await, called(&first).await), (200, 429));
    let limited = run(&format!("keys limit {id} requests=1000/60s concurrency=5")).await;
    assert!(limited.done().contains("requests=1000/60s concurrency=5"));
    // The id is taken from the key too.
    let changed = run(&format!(
        "keys change {first} --surfaces chat_completions,streams --models m,n* --expires 30d"
    ))
    .await;
    let changed = changed.done();
    assert!(
        changed.contains("m n*") && !changed.contains(&first),
        "{changed}"
    );
    run(&format!("keys change {id}"))
        .await
        .failed("nothing to change");
    let changed = run(&format!("keys change {id} --models all --never-expires")).await;
    assert!(changed.done().contains("all"));

    let rotated = run(&format!("keys rotate {id} --overlap 1h")).await.done();
    let second = rotated.trim_end();
    assert_ne!(second, first);
    assert_eq!((called(&first).await, called(second).await), (200, 200));
    let shown = run(&format!("keys show {id}")).await.done();
    assert!(shown.contains("2, 1 until "), "{shown}");
    let listed = run("keys list --project demo").await.done();
    let listed = cells(&listed);
    assert_eq!(listed[0][..4], ["ID", "PROJECT", "NAME", "STATE"]);
    assert_eq!(listed[1][..4], [id, "demo", "laptop", "active"]);

    let revoked = run(&format!("keys revoke {id}")).await.done();
    assert!(revoked.contains("revoked"), "{revoked}");
    assert_eq!((called(&first).await, called(second).await), (401, 401));
    run(&format!("keys rotate {id}")).await.failed("is revoked");
    run("keys show 00000000").await.failed("There is no key");

    let audit = run("audit --limit 2").await.done();
    let rows = cells(&audit);
    assert!(
        audit.contains("key.revoke") && audit.contains("operator"),
        "{audit}"
    );
    assert_eq!(rows.last().unwrap()[..3], ["older", "ones:", "--before"]);
    gateway.stop().await;
}

#[tokio::test]
async fn tenants_budgets_and_usage_are_made_and_shown() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    let address = admin.0.to_string();
    let run = async |arguments: &str| ran(&address, KEY, arguments).await;
    for command in [
        "organisations create acme --name Acme",
        "projects create web --organisation acme",
        "projects suspend web",
        "budgets put team --project web --limit 25.00 --every month --alert-at 50,80",
    ] {
        assert!(!run(command).await.done().is_empty(), "{command}");
    }
    let listed = run("organisations list").await.done();
    assert_eq!(cells(&listed)[1][..3], ["acme", "Acme", "active"]);
    let listed = run("projects list --organisation acme").await.done();
    assert_eq!(cells(&listed)[1][..4], ["web", "acme", "web", "suspended"]);
    assert_eq!(run("projects resume web").await.done(), "web is resumed\n");
    let listed = run("budgets list").await.done();
    assert_eq!(
        cells(&listed)[1][..9],
        [
            "team", "project", "web", "month", "$25", "$0", "$0", "50%", "80%"
        ]
    );
    let json = run("budgets list --json").await.done();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["id"], "team");
    run("budgets delete team").await.done();
    run("budgets delete team")
        .await
        .failed("There is no budget");
    run("organisations create acme")
        .await
        .failed("choose another id");

    let usage = run("usage --by project,model --each day").await.done();
    assert_eq!(cells(&usage)[0][0], "SINCE");
    let csv = run("usage --csv").await.done();
    assert!(csv.starts_with("since,organisation,"), "{csv}");
    let json = run("usage --json").await.done();
    assert!(json.contains("\"data\""), "{json}");
    run("usage --from tomorrow").await.failed("2026-11-01");

    let reader = ran(&address, "bob-key", "projects create x").await;
    reader.failed("Operator `bob` may look and change nothing");
    ran(&address, "bob-key", "projects list").await.done();
    ran(&address, "wrong", "keys list")
        .await
        .failed("EVERSTREAM_ADMIN_KEY");
    gateway.stop().await;
}

#[tokio::test]
async fn it_is_called_with_tls() {
    let provider = FakeProvider::start(answer_to).await;
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = Files::new(&authority.issue());
    let setup = Setup::new(&provider).config(&files.toml(""));
    let setup = setup.config(&format!("[admin]\nkey = \"{KEY}\"\ntls = true"));
    let gateway = setup.start().await;
    let tls = gateway.app.config.admin_tls().unwrap();
    let certificates = Certificates::load(&tls).unwrap();
    let listener = server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let front = everstream::http::admin::front(Arc::clone(&gateway.app));
    let patience = Patience::new(&gateway.app.config);
    let serving = server::serve_tcp(listener, certificates, front, patience, Shutdown::default());
    tokio::spawn(serving);
    let roots = dir.path().join("roots.pem");
    for (trusted, code, part) in [
        (authority.pem(), Some(0), "is made"),
        (Authority::new().pem(), Some(1), "https://127.0.0.1"),
    ] {
        std::fs::write(&roots, trusted).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_everstream"));
        command
            .args(["projects", "create", "web", "--url", &url])
            .env_clear();
        command
            .env("EVERSTREAM_ADMIN_KEY", KEY)
            .env("SSL_CERT_FILE", &roots);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = soon(output).await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(
            output.status.code() == code && text.contains(part),
            "{text}"
        );
    }
    gateway.stop().await;
}
