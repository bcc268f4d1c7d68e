//! The program itself, against a gateway in this process.

use std::io::{BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use serde_json::Value;

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup};
use crate::proxy::{Manner, Proxy};
use crate::socket::{answer, finished, generate, held_provider, soon};

/// The program, with these arguments and nothing else in its environment.
fn everstream(arguments: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everstream"));
    command
        .args(arguments.split_whitespace())
        .env_clear()
        .envs(env.iter().copied());
    command
}

/// What the program does: exit code, standard output, standard error.
async fn ran(arguments: &str, env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = everstream(arguments, env);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = soon(output).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The same, for a command that talks to `url` with a key, which must not show.
async fn talked(arguments: &str, url: &str, key: &str) -> (Option<i32>, String, String) {
    let env = [("EVERSTREAM_URL", url), ("EVERSTREAM_API_KEY", key)];
    let (code, out, err) = ran(arguments, &env).await;
    assert!(!out.contains(key) && !err.contains(key), "{out}{err}");
    (code, out, err)
}

fn url(gateway: &Gateway) -> String {
    format!("http://{}", gateway.addr)
}

async fn quick_gateway() -> (FakeProvider, Gateway) {
    let provider = FakeProvider::start(|_| Script::chat_stream(&answer())).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    (provider, gateway)
}

#[tokio::test]
async fn streams_are_listed_shown_and_printed() {
    let (_provider, gateway) = quick_gateway().await;
    let (id, other) = (
        finished(&gateway, KEY_ONE).await,
        finished(&gateway, KEY_TWO).await,
    );
    let url = url(&gateway);
    let (code, out, _) = talked("streams list", &url, KEY_ONE).await;
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("ID             STATUS     MODEL  UPSTREAM  EVENTS"));
    assert!(lines[1].starts_with(&format!("{id}  completed  m      fake      8")));
    assert_eq!(lines[2], "1 of 1 streams, page 1");

    let none = "streams list --json --query status:running --size 5 --sort model:asc";
    let (_, out, _) = talked(none, &format!("{url}/v1/"), KEY_ONE).await;
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&list["total"], &list["size"]), (&0.into(), &5.into()));

    let (code, out, _) = talked(&format!("streams show {id}"), &url, KEY_ONE).await;
    assert_eq!(code, Some(0));
    assert!(
        out.contains("status    completed\nproject   one\n"),
        "{out}"
    );
    assert!(out.contains("events    8: the first after "), "{out}");

    let (code, out, _) = talked(&format!("streams tail {id}"), &url, KEY_ONE).await;
    assert_eq!((code, out), (Some(0), answer().text() + "\n"));
    let raw = format!("streams tail --raw --after 6 {id}");
    let (_, out, _) = talked(&raw, &url, KEY_ONE).await;
    assert_eq!(out, answer().expected_data()[6..].join("\n") + "\n");
    let at_end = format!("streams tail --after 8 {id}");
    assert_eq!(talked(&at_end, &url, KEY_ONE).await.0, Some(0));

    for wrong in [
        format!("streams show {other}"),
        format!("streams tail {other}"),
        format!("streams cancel {other}"),
        format!("streams tail --after 9 {id}"),
        "streams list --sort nonsense".to_owned(),
    ] {
        let (code, out, err) = talked(&wrong, &url, KEY_ONE).await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{wrong}");
        assert!(err.starts_with("error: the gateway answered 4"), "{err}");
    }
}

#[tokio::test]
async fn a_wrong_key_a_wrong_address_and_no_gateway_are_told() {
    let (provider, gateway) = quick_gateway().await;
    let (code, _, err) = talked("streams list", &url(&gateway), "es-wrong-canary").await;
    assert_eq!(code, Some(1));
    assert!(
        err.contains("401") && err.contains("EVERSTREAM_API_KEY"),
        "{err}"
    );
    let flag = "streams list --api-key es-flag-canary --url nonsense";
    let (code, out, err) = ran(flag, &[]).await;
    assert_eq!(code, Some(1));
    assert!(!err.contains("canary") && out.is_empty(), "{err}");
    let broken = "es-broken\ncanary";
    assert_eq!(
        talked("streams list", &url(&gateway), broken).await.0,
        Some(1)
    );
    let provider = format!("http://{}", provider.addr());
    for command in ["streams list", "streams tail 0k3v9f2m7qx4c", "doctor"] {
        let (code, _, err) = talked(command, "http://127.0.0.1:1", "key").await;
        assert_eq!(code, Some(1));
        assert!(
            err.contains("http://127.0.0.1:1: the connection was refused"),
            "{err}"
        );
        assert_eq!(talked(command, &provider, "key").await.0, Some(1));
    }
}

/// Reads what a child writes until it has written `text`.
fn read_until(child: &mut Child, text: &str) -> String {
    let mut out = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
    let mut seen = String::new();
    while !seen.ends_with(text) {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        seen.push(char::from(byte[0]));
    }
    seen
}

#[tokio::test]
async fn a_running_stream_is_printed_as_it_is_written_and_can_be_cancelled() {
    let gate = Gate::new("rest");
    let provider = held_provider(&gate).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, _client) = generate(&gateway, "").await;
    let url = url(&gateway);
    let env = [("EVERSTREAM_URL", url.as_str())];
    let mut command = everstream(&format!("streams tail {id}"), &env);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let seen = read_until(&mut child, "two");
        (child, seen)
    });
    let (child, seen) = soon(reading).await.unwrap();
    assert_eq!(seen, "One two");
    for _ in 0..2 {
        let (code, out, _) = ran(&format!("streams cancel {id}"), &env).await;
        assert_eq!(code, Some(0));
        assert!(
            out.starts_with(&format!("{id} is cancelled after ")),
            "{out}"
        );
    }
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let ended = soon(ended).await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stdout, b"\n");
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(err, "error: the stream ended cancelled: cancelled\n");
}

#[tokio::test]
async fn tail_goes_on_where_a_cut_stopped_it() {
    let (provider, gateway) = quick_gateway().await;
    let id = finished(&gateway, KEY_ONE).await;
    let manner = Manner::Cut {
        connections: 2,
        bytes: 1000,
    };
    let proxy = Proxy::start(gateway.addr, manner).await;
    let (code, out, err) = talked(&format!("streams tail {id}"), &proxy.url, KEY_ONE).await;
    assert_eq!((code, out), (Some(0), answer().text() + "\n"), "{err}");
    assert_eq!(err.matches("going on after event ").count(), 2, "{err}");
    assert_eq!(proxy.connections(), 3);
    assert_eq!(provider.call_count("/v1/chat/completions"), 1);
}

/// A gateway before a model that writes a token every 100 ms, so many of them at once: on a busy
/// machine some come late, and must not look like lumps.
async fn slow_gateway(at_once: usize) -> (FakeProvider, Gateway) {
    let provider = FakeProvider::start(move |_| {
        let tokens = (1..=30).map(|n| format!(" {n}"));
        Script::chat_stream(&ChatAnswer::new(tokens))
            .events_per_write(at_once)
            .pause_between(Duration::from_millis(100) * u32::try_from(at_once).unwrap())
    })
    .await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    (provider, gateway)
}

#[tokio::test]
async fn the_doctor_finds_a_path_that_streams() {
    let (_provider, gateway) = slow_gateway(1).await;
    let (code, out, err) = talked("doctor", &url(&gateway), KEY_ONE).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.starts_with("asking fake-model of http://127.0.0.1:"),
        "{out}"
    );
    for line in [
        " 33 [DONE]\n",
        "\nok    headers   text/event-stream, chunked, not compressed, not to be buffered\n",
        "\nok    ids       1 to 33, none missing\n",
        "\nok    heartbeat none was due",
        "\nok    end       [DONE]\n",
        "\nok    resume    after event 16: the same 17 events again\n",
        "\nok    timing    33 events arrived in ",
        "\nIt streams.\n",
    ] {
        assert!(out.contains(line), "{line:?} is not in {out}");
    }
}

#[tokio::test]
async fn the_doctor_finds_a_proxy_that_buffers() {
    let (_provider, gateway) = slow_gateway(1).await;
    let hold = Manner::Hold(Duration::from_secs(1));
    let proxy = Proxy::start(gateway.addr, hold).await;
    let (code, out, err) = talked("doctor --model any", &proxy.url, KEY_ONE).await;
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.starts_with("asking any of "), "{out}");
    let said = "between here and the gateway holds bytes back";
    assert!(
        out.contains("\nFAIL  timing    ") && out.contains(said),
        "{out}"
    );
    assert!(out.contains("\nok    resume"), "{out}");
    assert_eq!(
        err,
        "error: it does not stream as it should: see FAIL above\n"
    );
}

#[tokio::test]
async fn the_doctor_finds_a_provider_that_answers_in_lumps() {
    let (_provider, gateway) = slow_gateway(12).await;
    let (code, out, _) = talked("doctor", &url(&gateway), KEY_ONE).await;
    assert_eq!(code, Some(1));
    let said = "between the gateway and the model";
    assert!(
        out.contains("\nFAIL  timing    ") && out.contains(said),
        "{out}"
    );
}

#[tokio::test]
async fn the_doctor_tells_what_the_provider_refuses() {
    let refuse = |_: &_| Script::openai_error(404, "invalid_request_error", "no", "No such model.");
    let provider = FakeProvider::start(refuse).await;
    let gateway = Setup::new(&provider).start().await;
    let (code, _, err) = talked("doctor", &url(&gateway), KEY_ONE).await;
    assert_eq!(code, Some(1));
    let told = err.contains("answered 404") && err.contains("No such model.");
    assert!(told, "{err}");
}

#[tokio::test]
async fn a_gateway_that_cannot_be_served_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (home, file) = (dir.path().to_str().unwrap(), dir.path().join("bad.toml"));
    std::fs::write(&file, "listn = '127.0.0.1:0'\n[log]\nsync = 'often'\n").unwrap();
    let (code, out, err) = ran(&format!("serve --config {}", file.display()), &[]).await;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(
        err.contains("2 mistakes") && err.contains("`listen`"),
        "{err}"
    );

    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let serve = format!("serve --listen {taken} --data-dir {home}");
    let (code, _, err) = ran(&serve, &[]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains(&format!("cannot listen on {taken}")), "{err}");
    drop(holder);

    let public = format!("serve --listen 0.0.0.0:0 --data-dir {home}");
    let (code, _, err) = ran(&public, &[]).await;
    assert_eq!(code, Some(2));
    assert!(err.contains("listen"), "{err}");
}

#[tokio::test]
async fn upstreams_are_shown_or_missed() {
    // What else runs on this machine cannot be known.
    let (code, out, err) = ran("upstreams found", &[]).await;
    let expected = if out.is_empty() { 3 } else { 0 };
    assert_eq!(code, Some(expected), "{out}{err}");
    assert_eq!(
        err.contains("no upstream was found"),
        expected == 3,
        "{err}"
    );
    let provider = FakeProvider::start(|_| Script::chat_stream(&answer())).await;
    let (base, key) = (provider.base_url(), "sk-canary-of-openai");
    let env = [("OPENAI_API_KEY", key), ("OPENAI_BASE_URL", base.as_str())];
    let (code, out, err) = ran("upstreams found", &env).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(&base) && !out.contains(key), "{out}");
    let env = [("DEEPSEEK_API_KEY", key), ("GEMINI_API_KEY", key)];
    let (code, out, err) = ran("upstreams found", &env).await;
    assert_eq!(code, Some(0), "{err}");
    let lines = [
        "deepseek\thttps://api.deepseek.com\tDeepSeek\tOpenAI's API\tDEEPSEEK_API_KEY\n",
        "gemini\thttps://generativelanguage.googleapis.com/v1beta\tGoogle Gemini\t\
         Google's Gemini API\tGEMINI_API_KEY\n",
    ];
    for line in lines {
        assert!(out.contains(line), "{out}");
    }
    assert!(!out.contains(key), "{out}");
}

#[tokio::test]
async fn completions_are_there_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = ran(&format!("completions {shell}"), &[]).await;
        assert_eq!(code, Some(0));
        assert!(out.contains("doctor") && out.contains("streams"), "{shell}");
    }
}
