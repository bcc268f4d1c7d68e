use proptest::prelude::*;

use super::*;

mod admin;
mod documents;
mod jwt;
mod money;
mod routes;
mod upstreams;
mod values;

fn parse(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let env: Env = env.iter().copied().collect();
    let name = "everstream.toml";
    Config::parse(Some(Source { name, text }), &env)
}

fn mistakes(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let errors = parse(text, env).expect_err("the configuration is mistaken");
    errors.mistakes().iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    let config = Config::parse(None, &Env::default()).unwrap();
    assert_eq!(config, parse("", &[]).unwrap());
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.log.sync, SyncMode::Interval);
    assert_eq!(config.limits.event_bytes, limits::EVENT_BYTES);
    assert_eq!(config.streams.on_disconnect.to_string(), "linger:60s");
    assert_eq!((config.node, config.data_dir), (None, None));
    assert!(config.upstreams.is_empty() && config.keys.is_empty());
}

const FULL: &str = r#"
listen = "0.0.0.0:9000"
node = 0x3ff
data_dir = "${HOME}/streams"
cors_origins = ["https://App.example.org", "*"]

[telemetry]
level = "info,everstream=debug"
format = "json"

[log]
backend = "memory"
sync = "always"
sync_interval = "5ms"
max_bytes = "1GiB"
segment_bytes = 1_048_576

[streams]
heartbeat = "10s"
on_disconnect = "continue"

[aliases]
fast = "quick"
quick = "openai/gpt-4o-mini"
local = "meta-llama/Llama-3"

[[upstreams]]
name = "openai"
base_url = "HTTPS://api.openai.com/v1/"
api_key = "${OPENAI_API_KEY}"
headers = { X-Team = "search, ${TEAM:-all}" }

[[upstreams]]
name = "vllm"
base_url = "http://[::1]:8000/v1"
models = ["meta-llama/Llama-3"]
include_usage = "${USAGE}"
first_event_timeout = "20m"

[[keys]]
project = "web"
hash = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
on_disconnect = "linger:5s"
"#;

#[test]
fn everything_can_be_set() {
    let env = [
        ("HOME", "/home/u"),
        ("OPENAI_API_KEY", "sk-1"),
        ("USAGE", "false"),
    ];
    let config = parse(FULL, &env).unwrap();
    assert_eq!(config.listen.port(), 9000);
    assert_eq!(config.node, Some(1023));
    assert_eq!(config.data_dir, Some("/home/u/streams".into()));
    assert_eq!(config.cors_origins, ["https://app.example.org", "*"]);
    assert_eq!(config.telemetry.format, LogFormat::Json);
    assert_eq!(config.log.backend, Backend::Memory);
    assert_eq!(config.log.max_bytes, 1 << 30);
    assert_eq!(config.log.segment_bytes, 1 << 20);
    assert_eq!(config.aliases["fast"], "openai/gpt-4o-mini");

    let [openai, vllm] = config.upstreams.as_slice() else {
        panic!("two upstreams");
    };
    assert_eq!(openai.base_url(), "https://api.openai.com/v1");
    assert_eq!(openai.api_key, Some(Secret::new("sk-1").into()));
    assert_eq!(
        openai.headers,
        [("x-team".to_owned(), Secret::new("search, all").into())]
    );
    assert_eq!(
        (openai.include_usage, vllm.include_usage),
        (None, Some(false))
    );
    assert_eq!(
        vllm.models.as_deref(),
        Some(["meta-llama/Llama-3".to_owned()].as_slice())
    );
    assert_eq!(vllm.first_event_timeout, Duration::from_mins(20));

    assert_eq!(config.keys[0].hash, key_hash("foo"));
    assert_eq!(
        config.keys[0].on_disconnect,
        Some(OnDisconnect::Linger(5 * SECOND))
    );
}

#[test]
fn every_mistake_is_reported_at_once_where_it_is() {
    let text = r#"listen = "0.0.0.0"
hartbeat = "15s"

[log]
backend = "dsk"
sync_interval = 5
heartbeat = "15s"

[streams]
heartbeat = "90s"

[limits]
event_bytes = "1GiB"

[[upstreams]]
name = "a b"
base_url = "ftp://example.org"
api_key = "${UNSET_KEY}"
models = []
[[upstreams]]
base_url = "http://me:secret@example.org/v1"
include_usage = "yes"
[[upstreams]]
name = "vllm"
base_url = "http://127.0.0.1:8000"
headers = { "bad name" = "x", Host = "y", x-ok = "a\r\nb" }

[aliases]
fast = "vlm/small"
a = "b"
b = "a"

[[keys]]
project = "web"
hash = "plain-text-key"
"#;
    let expected = [
        "1:10: listen: not an address; expected an IP address and a port, such as `127.0.0.1:8080`",
        "2:1: hartbeat: no such field; did you mean `heartbeat` in `[streams]`?",
        "5:11: log.backend: no such choice; expected one of `disk`, `memory`; did you mean `disk`?",
        "6:17: log.sync_interval: this is an integer; expected a duration from 1ms to 10s",
        "7:1: log.heartbeat: no such field; did you mean `heartbeat` in `[streams]`?",
        "10:13: streams.heartbeat: too long; expected a duration from 1s to 60s",
        "13:15: limits.event_bytes: 1GiB is larger than limits.stream_bytes, which is 64MiB",
        "16:8: upstreams[0].name: not a name; expected 1 to 64 characters of A-Z a-z 0-9 . _ -",
        "17:12: upstreams[0].base_url: the URL's scheme is neither http nor https; expected \
         `http://` or `https://`, a host, and the path up to `/v1`",
        "18:11: upstreams[0].api_key: the environment variable UNSET_KEY is not set and has no \
         default (`${UNSET_KEY:-default}`)",
        "19:1: upstreams[0].models: the list is empty; expected a list in which each entry is the \
         name of a model, 1 to 256 visible characters; leave it out to mean all",
        "20:1: upstreams[1].name: the field is missing; expected 1 to 64 characters of A-Z a-z 0-9 \
         . _ -",
        "21:12: upstreams[1].base_url: a URL here holds no user and no password; expected \
         `http://` or `https://`, a host, and the path up to `/v1`; put the key into `api_key`, \
         other credentials into `headers`",
        "22:17: upstreams[1].include_usage: this is a string; expected `true` or `false`",
        "26:13: upstreams[2].headers.bad name: not the name of a header",
        "26:31: upstreams[2].headers.Host: Everstream sets this header itself",
        "26:50: upstreams[2].headers.x-ok: a header's value cannot hold line ends or characters \
         other than ASCII; expected the value of a header",
        "29:8: aliases.fast: the part before `/` is not the name of an upstream; did you mean \
         `vllm`?",
        "30:5: aliases.a: the alias leads back to itself, by way of `a`, `b`",
        "35:8: keys[0].hash: not a hash; expected the SHA-256 of a key, `sha256:<64 hexadecimal \
         digits>`; `everstream key new` makes a key and its hash",
    ];
    let expected = expected.map(|mistake| format!("everstream.toml:{mistake}"));
    assert_eq!(mistakes(text, &[]), expected);
}

#[test]
fn a_file_that_is_not_toml_shows_its_other_mistakes_too() {
    let text = "\u{feff}listen = \n[log]\nbackend = \"dsk\"\nsync = 'none\n[limits]\n[limits]\n[[upstreams]\n";
    let found = mistakes(text, &[]);
    let expected = [
        "everstream.toml:1:10: string values must be quoted, expected literal string",
        "everstream.toml:3:11: log.backend: no such choice; expected one of `disk`, `memory`; did \
         you mean `disk`?",
        "everstream.toml:4:13: invalid literal string, expected `'`",
        "everstream.toml:6:2: duplicate key",
        "everstream.toml:7:13: unclosed array table, expected `]`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn values_may_come_from_variables() {
    let text = "listen = 'nonsense'\n[streams]\nheartbeat = '10s'";
    let env = [
        ("EVERSTREAM_LISTEN", "localhost:1234"),
        ("EVERSTREAM_DATA_DIR", "/data"),
        ("EVERSTREAM_LOG", "debug"),
        ("EVERSTREAM_API_KEYS", "one, two,"),
        ("EVERSTREAM__NODE", "7"),
        ("EVERSTREAM__STREAMS__HEARTBEAT", "20s"),
        ("EVERSTREAM__STREAMS__HEAD_HOLD", ""),
        ("EVERSTREAM__LIMITS__EVENT_BYTES", "1MiB"),
    ];
    let config = parse(text, &env).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:1234");
    assert_eq!(config.data_dir, Some("/data".into()));
    assert_eq!(config.telemetry.level, "debug");
    assert_eq!(config.node, Some(7));
    assert_eq!(config.streams.heartbeat, 20 * SECOND);
    assert_eq!(config.streams.head_hold, limits::HEAD_HOLD);
    assert_eq!(config.limits.event_bytes, 1 << 20);
    let keys: Vec<_> = config
        .keys
        .iter()
        .map(|key| (key.project.as_str(), key.hash))
        .collect();
    assert_eq!(
        keys,
        [
            ("key-7692c3ad", key_hash("one")),
            ("key-3fc4ccfe", key_hash("two"))
        ]
    );
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    let variables = [
        ("EVERSTREAM__STREAMS__HEARTBEAT", "1h"),
        ("EVERSTREAM__STREAMS__HARTBEAT", "10s"),
        ("EVERSTREAM__LISTEN", "127.0.0.1:1"),
        ("EVERSTREAM_API_KEYS", "one,t wo,one"),
        ("EVERSTREAM_SOMETHING_ELSE", "x"),
    ];
    let mut env: Env = variables.into_iter().collect();
    env.set_flag("EVERSTREAM_LISTEN", "--listen", ":80");
    let errors = Config::parse(None, &env).unwrap_err();
    let expected = "\
--listen: listen: not an address; expected an IP address and a port, such as `127.0.0.1:8080`; \
write `127.0.0.1:80`, or `0.0.0.0:80` for all interfaces
EVERSTREAM_API_KEYS: keys: key 2 has characters other than visible ASCII
EVERSTREAM_API_KEYS: keys: key 3 is configured twice
EVERSTREAM__LISTEN: no such setting; did you mean `EVERSTREAM_LISTEN`?
EVERSTREAM__STREAMS__HARTBEAT: no such setting; did you mean `EVERSTREAM__STREAMS__HEARTBEAT`?
EVERSTREAM__STREAMS__HEARTBEAT: streams.heartbeat: too long; expected a duration from 1s to 60s";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn what_may_be_there_once_is_refused_twice() {
    let text = format!(
        "[[upstreams]]\nname = 'a'\nbase_url = 'http://a'\n\
         [[upstreams]]\nname = 'a'\nbase_url = 'nonsense'\nheaders = {{ X-A = '1', x-a = '2' }}\n\
         [[keys]]\nproject = 'p'\nhash = '{0}'\n[[keys]]\nproject = 'q'\nhash = '{0}'\n",
        show_key_hash(key_hash("k"))
    );
    let found = mistakes(&text, &[("EVERSTREAM_API_KEYS", "k")]);
    let found: Vec<_> = found
        .iter()
        .filter_map(|mistake| mistake.split("; ").next())
        .collect();
    let expected = [
        "everstream.toml:5:8: upstreams[1].name: the same as at everstream.toml:2:8",
        "everstream.toml:6:12: upstreams[1].base_url: not a URL",
        "everstream.toml:7:24: upstreams[1].headers.x-a: the same name twice",
        "everstream.toml:13:8: keys[1].hash: the same as at everstream.toml:10:8",
        "EVERSTREAM_API_KEYS: keys: key 1 is configured twice",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_public_address_needs_keys() {
    for public in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
        let text = format!("listen = '{public}'");
        let found = mistakes(&text, &[]);
        assert!(
            found[0].contains("everstream.toml:1:10: listen: this address"),
            "{found:?}"
        );
        assert!(parse(&text, &[("EVERSTREAM_API_KEYS", "k")]).is_ok());
        let from_variable = mistakes("", &[("EVERSTREAM_LISTEN", public)]);
        assert!(
            from_variable[0].starts_with("EVERSTREAM_LISTEN: listen: "),
            "{from_variable:?}"
        );
    }
    for local in [
        "127.0.0.2:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "localhost:80",
    ] {
        assert!(
            parse(&format!("listen = '{local}'"), &[]).is_ok(),
            "{local}"
        );
    }
}

#[test]
fn sections_and_lists_are_not_confused() {
    let expected = [
        "everstream.toml:1:2: upstreams: this is a table; expected a section in double brackets; \
         write `[[upstreams]]`",
        "everstream.toml:3:3: log: this is an array; expected a section of settings; write `[log]`",
    ];
    assert_eq!(
        mistakes("[upstreams]\nname = 'a'\n[[log]]\n", &[]),
        expected
    );
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,60}", value in "\\PC{0,20}") {
        let env = [("EVERSTREAM_API_KEYS", value.as_str()), ("EVERSTREAM_LISTEN", &value)];
        let _ = parse(&text, &env);
    }

    #[test]
    fn a_damaged_file_is_read_without_panic(
        cut in 0..FULL.len(),
        length in 0usize..40,
        put in "[\\[\\]{}='\"\\\\\n$.,a-z0-9\u{fe}\u{feff}]{0,6}",
    ) {
        let end = (cut + length).min(FULL.len());
        let text = format!("{}{put}{}", &FULL[..cut], &FULL[end..]);
        if let Err(errors) = parse(&text, &[("HOME", "/home/u")]) {
            for mistake in errors.mistakes() {
                if let Place::File { line, column, .. } = mistake.place {
                    let width = text.split('\n').nth(line - 1).map(|line| line.chars().count());
                    prop_assert!(width.is_some_and(|width| column <= width + 1), "{}", mistake);
                }
            }
        }
    }
}
