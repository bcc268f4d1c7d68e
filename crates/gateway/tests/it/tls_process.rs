//! The built program with TLS: it reads its certificate anew when it is told to, and is replaced.

use std::process::Command;

use everstream_testkit::client::RawClient;
use everstream_testkit::provider::{FakeProvider, Gate};

use crate::certs::{Authority, Files, connect, unwrapped};
use crate::harness::{Setup, within};
use crate::process::Process;
use crate::talk::{CHAT, answer, chat, data, held};

#[tokio::test]
async fn a_certificate_is_read_anew_at_sighup_and_a_takeover_goes_unnoticed() {
    let (first, second) = (Authority::new(), Authority::new());
    let files = Files::new(&first.issue());
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(&provider).config(&files.toml(""));
    let old = Process::start(&setup, dir.path());
    let addr = old.addr;
    let bridge = unwrapped(addr, first.client(None)).await;
    let mut client = RawClient::connect(bridge).await.unwrap();
    let head = within(client.post_json(CHAT, &chat("x"), &[]))
        .await
        .unwrap();
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    within(client.read_event()).await.unwrap().unwrap();

    files.write(&second.issue());
    old.signal("HUP");
    old.line("was read anew");
    connect(addr, &second.client(None)).await.unwrap();
    connect(addr, &first.client(None)).await.unwrap_err();

    let new = Process::take_over(&setup, dir.path());
    assert_eq!(new.addr, addr);
    gate.open();
    let (frames, _) = within(client.collect_sse()).await.unwrap();
    let whole = answer().expected_data_without_usage();
    assert_eq!(data(&frames), whole[1..]);
    drop(client);
    assert!(old.ended().await.success());
    let bridge = unwrapped(addr, second.client(None)).await;
    let mut client = RawClient::connect(bridge).await.unwrap();
    let path = format!("/v1/streams/{id}");
    let accept = ("accept", "text/event-stream");
    let head = within(client.get(&path, &[accept])).await.unwrap();
    assert_eq!(head.status, 200);
    let (frames, _) = within(client.collect_sse()).await.unwrap();
    assert_eq!(data(&frames), whole);
}

#[tokio::test]
async fn a_start_says_what_is_wrong_with_the_files() {
    let authority = Authority::new();
    let files = Files::new(&authority.issue_from_to(2020, 2021));
    let provider = FakeProvider::start(|_| unreachable!("nothing starts")).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("everstream.toml");
    let setup = Setup::new(&provider).config(&files.toml(""));
    std::fs::write(&file, setup.toml(&dir.path().join("data"))).unwrap();
    for command in ["serve", "check"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_everstream"));
        program.arg(command).arg("--config").arg(&file).env_clear();
        let ended = tokio::task::spawn_blocking(move || program.output());
        let ended = within(ended).await.unwrap().unwrap();
        assert!(!ended.status.success(), "{command}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(
            said.contains("tls.certificate (") && said.contains("has expired"),
            "{said}"
        );
    }
}
