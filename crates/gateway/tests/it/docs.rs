//! `docs/api.md` against the code.

use std::path::Path;

use everstream_core::error::ErrorCode;
use everstream_core::policy::scope::Api;

const BEGIN: &str = "<!-- written by the tests, UPDATE=1 -->\n";
const END: &str = "<!-- end -->";

fn file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The table of all errors.
fn errors() -> String {
    let mut table = "| code | status | OpenAI `type` | may have cost money | retry | meaning |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    for code in ErrorCode::ALL {
        let mark = |yes: bool| if yes { "yes" } else { "no" };
        let row = [
            format!("`{code}`"),
            code.status().to_string(),
            format!("`{}`", code.openai_type()),
            mark(!code.no_side_effects()).to_owned(),
            mark(code.retryable()).to_owned(),
            code.meaning().to_owned(),
        ];
        table.extend(["| ", &row.join(" | "), " |\n"]);
    }
    table
}

/// `UPDATE=1` writes the table anew.
#[test]
fn the_table_of_errors_is_not_stale() {
    let path = file("../../docs/api.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        let text = [before, BEGIN, &errors(), END, after].concat();
        std::fs::write(&path, text).unwrap();
    } else {
        assert!(
            table == errors(),
            "docs/api.md is stale: run the tests once with UPDATE=1"
        );
    }
}

fn source(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap()
}

/// All paths that clients have, as the router has them.
pub fn client_paths() -> Vec<String> {
    let routed = source("src/http/mod.rs");
    let routed = routed.split(".route(").skip(1).map(str::trim_start);
    let routed = routed.filter(|row| row.starts_with('"'));
    let generating = source("src/http/generate.rs");
    let generating = generating.split("    (");
    let generating = generating.filter(|row| row.contains("Surface::"));
    let relayed = source("src/http/relay/table.rs");
    let relayed = relayed.split('(').map(str::trim_start);
    let relayed = relayed.filter(|row| row.starts_with("\"/v1"));
    let rows = routed.chain(generating).chain(relayed);
    let paths = rows.map(|row| row.split('"').nth(1).unwrap().to_owned());
    let paths: Vec<_> = paths.collect();
    assert!(paths.len() > 35, "only {paths:?} were found");
    paths
}

#[test]
fn every_path_is_described() {
    let text = source("../../docs/api.md");
    // What operators have describes itself, at /admin/openapi.json.
    for path in client_paths() {
        let path = path.replace("{*", "{");
        assert!(text.contains(&path), "docs/api.md does not know {path}");
    }
}

#[test]
fn every_name_of_a_scope_is_described() {
    let text = source("../../docs/api.md");
    for api in Api::ALL {
        let row = format!("\n| `{}` | ", api.as_str());
        assert!(text.contains(&row), "docs/api.md does not know {api:?}");
    }
}
