//! The configuration: any file is read, or its mistakes are told without the secrets that it refers
//! to.
#![no_main]

use everstream_core::config::{Config, Env, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let env: Env = [("HOST", "127.0.0.1"), ("KEY", "sk-canary-0123456789")]
        .into_iter()
        .collect();
    if let Err(errors) = Config::parse(
        Some(Source {
            name: "fuzz.toml",
            text,
        }),
        &env,
    ) {
        let report = errors.to_string();
        assert!(!report.is_empty());
        assert!(
            text.contains("sk-canary") || !report.contains("sk-canary"),
            "{report}"
        );
    }
});
