use clap::CommandFactory as _;
use everstream_core::config::Source;

use super::*;

/// What a command prints on its standard output, and its failure.
fn ran(line: &str, env: &[(&str, &str)]) -> (String, Result<(), Failure>) {
    let cli = Cli::try_parse_from(line.split_whitespace()).expect("the command line is understood");
    let mut out = Vec::new();
    let done = execute(cli, &env.iter().copied().collect(), &mut out);
    (String::from_utf8(out).unwrap(), done)
}

fn code(done: Result<(), Failure>) -> (String, String) {
    let mut err = Vec::new();
    let code = report(done, &mut err);
    (format!("{code:?}"), String::from_utf8(err).unwrap())
}

fn code_of(number: u8) -> String {
    format!("{:?}", ExitCode::from(number))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_option_says_what_it_is_for() {
    fn visit(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            let named = argument.get_help().is_some();
            assert!(named, "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(visit);
    }
    let mut command = Cli::command();
    command.build();
    visit(&command);
}

#[test]
fn check_says_what_would_run_without_a_file() {
    let (out, done) = ran("everstream check", &[]);
    assert!(done.is_ok());
    let expected = "\
ok
listen     127.0.0.1:8080
data       the user's own data directory
upstreams  those found at start: `everstream upstreams found` shows them
keys       none: open to every program on this machine
log        on disk, synced every 50ms; at most 10GiB; streams kept 24h after their end
";
    assert_eq!(out, expected);
}

#[test]
fn check_says_what_would_run_with_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("everstream.toml");
    let text = "\
listen = '0.0.0.0:80'
data_dir = '/data'
[log]
backend = 'memory'
[aliases]
fast = 'openai/gpt-4o-mini'
[[upstreams]]
name = 'openai'
base_url = 'https://api.openai.com/v1'
api_key = '${KEY}'
[[upstreams]]
name = 'vllm'
base_url = 'http://10.0.0.7:8000/v1'
models = ['llama', 'qwen']
";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let env = [
        ("KEY", "sk-planted"),
        ("EVERSTREAM_API_KEYS", "one,two"),
        ("EVERSTREAM_CONFIG", &file),
    ];
    let (out, done) = ran("everstream check", &env);
    assert!(done.is_ok(), "{done:?}");
    let expected = "\
ok
listen     0.0.0.0:80
data       /data
upstreams  openai  https://api.openai.com/v1  with a key  its own list of models
           vllm  http://10.0.0.7:8000/v1  without a key  llama, qwen
aliases    fast = openai/gpt-4o-mini
keys       2, of: key-3fc4ccfe, key-7692c3ad
log        in memory, gone after a restart; at most 10GiB; streams kept 24h after their end
";
    assert_eq!(out, expected);
}

#[test]
fn check_shows_all_mistakes_and_exits_with_2() {
    let env = [("EVERSTREAM__NODE", "1024"), ("EVERSTREAM_LOG", "warning")];
    let (out, done) = ran("everstream check", &env);
    assert_eq!(out, "");
    let (code, err) = code(done);
    assert_eq!(code, code_of(2));
    let expected = "\
error: the configuration has 2 mistakes:
EVERSTREAM_LOG: telemetry.level: no such level; expected one of off, error, warn, info, debug, \
trace, or a list of `part=level`; did you mean `warn`?
EVERSTREAM__NODE: node: too large; expected a whole number from 0 to 1023
";
    assert_eq!(err, expected);
}

#[test]
fn arguments_of_serve_beat_the_environment() {
    let line = [
        "everstream",
        "serve",
        "--listen",
        "localhost:1",
        "--data-dir",
        "/new",
    ];
    let Command::Serve(args) = Cli::try_parse_from(line).unwrap().command else {
        panic!("the command is serve");
    };
    let env = [
        ("EVERSTREAM_LISTEN", "127.0.0.1:2"),
        ("EVERSTREAM_DATA_DIR", "/old"),
    ];
    let config = args.load(env.into_iter().collect()).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:1");
    assert_eq!(config.data_dir, Some("/new".into()));

    let (_, done) = ran("everstream serve --listen 0.0.0.0:80", &[]);
    assert!(
        code(done)
            .1
            .contains("--listen: listen: this address can be reached")
    );
}

#[test]
fn a_new_key_fits_what_is_to_be_configured() {
    let (out, done) = ran("everstream key new --project web", &[]);
    assert!(done.is_ok());
    let (key, snippet) = out.split_once('\n').unwrap();
    assert_eq!(key.len(), 46);
    assert!(key.starts_with("es-"));
    assert!(!snippet.contains(key));
    let (name, text) = ("snippet", snippet);
    let config = Config::parse(Some(Source { name, text }), &Env::default()).unwrap();
    assert_eq!(config.keys[0].project.as_str(), "web");
    assert_eq!(config.keys[0].hash, everstream_core::config::key_hash(key));
    assert_ne!(ran("everstream key new --project web", &[]).0, out);
}

#[test]
fn descriptions_and_completions_are_printed() {
    let (schema, _) = ran("everstream config schema", &[]);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["properties"]["listen"]["default"], "127.0.0.1:8080");
    assert!(
        ran("everstream config example", &[])
            .0
            .contains("#listen = ")
    );
    assert!(
        ran("everstream config reference", &[])
            .0
            .starts_with("# Configuration")
    );
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (script, done) = ran(&format!("everstream completions {shell}"), &[]);
        assert!(done.is_ok() && script.contains("upstreams"), "{shell}");
    }
}

#[test]
fn usage_mistakes_exit_with_2() {
    for line in [
        "everstream",
        "everstream serv",
        "everstream key new",
        "everstream streams show x",
    ] {
        let usage = Cli::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(usage.exit_code(), 2, "{line}");
    }
    let key = ["everstream", "doctor", "--api-key", "sk-planted"];
    assert!(!format!("{:?}", Cli::try_parse_from(key).unwrap()).contains("planted"));
}

/// A pipe whose reader is gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let cli = Cli::try_parse_from(["everstream", "config", "example"]).unwrap();
    let done = execute(cli, &Env::default(), &mut Closed);
    assert_eq!(code(done), (code_of(0), String::new()));
}
