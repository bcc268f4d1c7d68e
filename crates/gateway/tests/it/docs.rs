//! `docs/api.md` against the code.

use std::path::Path;

use everstream_core::error::ErrorCode;

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

#[test]
fn every_path_is_described() {
    let routes = std::fs::read_to_string(file("src/http/mod.rs")).unwrap();
    let text = std::fs::read_to_string(file("../../docs/api.md")).unwrap();
    let mut paths = 0;
    let generating = std::fs::read_to_string(file("src/http/generate.rs")).unwrap();
    let generating = generating
        .split("    (")
        .filter(|row| row.contains("Surface::"));
    let relayed = std::fs::read_to_string(file("src/http/relay/table.rs")).unwrap();
    let relayed = relayed.split('(').filter(|row| row.starts_with("\"/v1"));
    let rows = routes.split(".route(").skip(1).chain(generating);
    let rows = rows.chain(relayed);
    for row in rows.filter(|row| row.trim_start().starts_with('"')) {
        let path = row.split('"').nth(1).unwrap().replace("{*", "{");
        assert!(text.contains(&path), "docs/api.md does not know {path}");
        paths += 1;
    }
    assert!(paths > 25, "only {paths} routes were found");
    let operators = everstream::http::admin::openapi();
    for (path, methods) in operators["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let heading = format!("`{} {path}`", method.to_ascii_uppercase());
            assert!(
                text.contains(&heading),
                "docs/api.md does not know {heading}"
            );
        }
    }
}

/// `UPDATE=1` writes it anew.
#[test]
fn the_description_for_operators_is_not_stale() {
    let path = file("../../docs/openapi.json");
    let mut text = serde_json::to_string_pretty(&everstream::http::admin::openapi()).unwrap();
    text.push('\n');
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    } else {
        assert!(
            std::fs::read_to_string(&path).is_ok_and(|written| written == text),
            "docs/openapi.json is stale: run the tests once with UPDATE=1"
        );
    }
}
