//! The documents that are written from the declaration, and tests that go through every field.

use super::*;

#[test]
fn the_example_shows_the_defaults_and_holds_when_uncommented() {
    assert_eq!(parse(&example(), &[]), parse("", &[]));
    let env = [
        ("OPENAI_API_KEY", "sk-1"),
        ("EVERSTREAM_ADMIN_KEY", "admin-1"),
        ("ALICE_ADMIN_KEY", "admin-2"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
        (
            "EVERSTREAM_MASTER_SECRET",
            "0123456789abcdef0123456789abcdef",
        ),
        ("DATABASE_URL", "sqlite:/tmp/catalog.db"),
    ];
    let all = parse(&uncommented(), &env).unwrap();
    assert_eq!(all.log, parse("", &[]).unwrap().log);
    assert_eq!(
        (all.upstreams.len(), all.keys.len(), all.aliases.len()),
        (1, 1, 1)
    );
}

#[test]
fn the_schema_knows_every_field_of_the_example() {
    let example: toml::Table = uncommented().parse().unwrap();
    let schema = json_schema();
    for (name, value) in &example {
        let property = &schema["properties"][name];
        let (inner, fields) = match value {
            toml::Value::Table(fields) if name != "aliases" => (property, fields),
            toml::Value::Array(items) if items[0].is_table() => {
                (&property["items"], items[0].as_table().expect("a table"))
            }
            _ => {
                assert!(property["description"].is_string(), "{name}");
                continue;
            }
        };
        assert_eq!(inner["additionalProperties"], false, "{name}");
        for field in fields.keys() {
            assert!(
                inner["properties"][field]["description"].is_string(),
                "{name}.{field}"
            );
        }
    }
}

/// `UPDATE=1` writes the files anew.
#[test]
fn the_written_reference_is_not_stale() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    let files = [
        ("docs/configuration.md", markdown()),
        ("everstream.example.toml", example()),
    ];
    for (file, text) in files {
        let path = format!("{root}{file}");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == text,
            "{file} is stale: run the tests once with UPDATE=1"
        );
    }
}

/// Puts a secret wherever one can be, also where none should be.
#[test]
fn no_secret_is_ever_shown() {
    const PLANTED: &str = "sk-planted-0123456789";
    let env = [
        ("KEY", PLANTED),
        ("EVERSTREAM_API_KEYS", PLANTED),
        ("OTHER", PLANTED),
    ];
    let text = "[[upstreams]]\nname = 'a'\nbase_url = 'http://a'\napi_key = '${KEY}'\n\
                headers = { authorization = 'Bearer ${KEY}' }";
    let config = parse(text, &env).unwrap();
    assert!(!format!("{config:?}").contains("planted"));
    assert_eq!(
        config.upstreams[0].api_key,
        Some(Secret::new(PLANTED).into())
    );

    let values = [
        "'${KEY}'",
        "'sk-planted-0123456789'",
        "'http://sk-planted-0123456789@a'",
        "'''sk-planted-0123456789\n'''",
        "sk-planted-0123456789",
        "['${KEY}']",
        "'${KEY} ${UNSET}'",
        "'${KEY'",
    ];
    let mut refused = 0;
    for field in example_fields() {
        for value in values {
            let text = field.replace("VALUE", value);
            if let Err(errors) = parse(&text, &env) {
                let shown = format!("{errors} {errors:?}");
                assert!(!shown.contains("planted"), "{text}\n{shown}");
                refused += 1;
            }
        }
    }
    assert!(refused > 200, "{refused}");
    for name in [
        "EVERSTREAM_LISTEN",
        "EVERSTREAM_LOG",
        "EVERSTREAM__LIMITS__EVENT_BYTES",
    ] {
        let shown = mistakes("", &[(name, PLANTED)]).concat();
        assert!(!shown.contains("planted"), "{shown}");
    }
}

/// Each field of the example file, with `VALUE` for its value, in its section.
fn example_fields() -> Vec<String> {
    let mut section = String::new();
    let mut fields = Vec::new();
    for line in uncommented().lines().filter(|line| !line.starts_with("# ")) {
        if line.starts_with('[') {
            section = format!("{line}\n");
        } else if let Some((name, _)) = line.split_once(" = ") {
            fields.push(format!("{section}{name} = VALUE\n"));
        }
    }
    assert!(fields.len() > 30, "{fields:?}");
    fields
}

/// The example file with all its settings in force.
fn uncommented() -> String {
    let settings = example();
    let lines = settings.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}
