//! The directions of ARCHITECTURE.md, held by reading the sources.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The lines of code below `dir`, with the file's path relative to it. Comments do not count.
fn lines(dir: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut lines = Vec::new();
    for path in sources(&root) {
        let name = path
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let code = line.split("//").next().unwrap_or_default().trim();
            if !code.is_empty() {
                lines.push((name.clone(), code.to_owned()));
            }
        }
    }
    assert!(lines.len() > 100, "found nothing below {}", root.display());
    lines
}

fn refuse(dir: &str, within: impl Fn(&str) -> bool, banned: &[&str], why: &str) {
    let found: Vec<_> = lines(dir)
        .into_iter()
        .filter(|(file, line)| within(file) && banned.iter().any(|name| line.contains(name)))
        .collect();
    assert!(found.is_empty(), "{why}: {found:#?}");
}

fn is_test(file: &str) -> bool {
    file.contains("tests")
}

#[test]
fn the_core_is_pure() {
    let banned = [
        "tokio",
        "std::fs",
        "TcpStream",
        "TcpListener",
        "std::env",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "getrandom",
        "rand::",
    ];
    refuse(
        "../core/src",
        |file| !is_test(file),
        &banned,
        "the core asks the world for something",
    );
}

#[test]
fn the_store_knows_no_dialect_and_no_http() {
    let banned = [
        "core::dialect",
        "core::frame",
        "core::writer",
        "hyper",
        "axum",
    ];
    let why = "the store knows what it stores";
    refuse("../store/src", |_| true, &banned, why);
    // It counts what is used of limits, and reckons as these do.
    let policies = lines("../store/src").into_iter();
    let policies = policies.filter(|(_, line)| line.contains("core::policy"));
    let decided: Vec<_> = policies
        .filter(|(_, line)| !line.contains("core::policy::limit"))
        .collect();
    assert!(
        decided.is_empty(),
        "{why}, and decides nothing else: {decided:#?}"
    );
}

#[test]
fn nobody_imports_http_but_the_top() {
    let below = |file: &str| !file.starts_with("http/") && file != "lib.rs";
    refuse(
        "src",
        below,
        &["crate::http", "super::http"],
        "something below HTTP knows HTTP",
    );
}

#[test]
fn only_the_driver_the_relay_and_the_command_line_call_upstreams() {
    let others = |file: &str| {
        let may = [
            "upstream/",
            "generate/attach.rs",
            "generate/connection.rs",
            "http/relay/",
            "cli/",
        ];
        !may.iter().any(|path| file.starts_with(path))
    };
    let banned = ["upstream::Request", "UpstreamError"];
    refuse(
        "src",
        others,
        &banned,
        "an upstream is called from elsewhere",
    );
}

#[test]
fn upstreams_and_readers_do_not_look_up() {
    let banned = [
        "crate::pipeline",
        "crate::generate",
        "crate::read",
        "crate::app",
    ];
    refuse(
        "src",
        |file| file.starts_with("upstream/"),
        &banned,
        "upstream looks up",
    );
    let banned = ["crate::pipeline", "crate::upstream", "crate::app"];
    refuse(
        "src",
        |file| file == "read.rs",
        &banned,
        "the reader looks up",
    );
}
