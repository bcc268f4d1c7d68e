use super::*;

/// Whether `value` can stand for `VALUE` in `text`.
fn accepts(text: &str, value: &str) -> bool {
    let literal = serde_json::Value::from(value).to_string();
    parse(&text.replace("VALUE", &literal), &[]).is_ok()
}

fn check(text: &str, good: &[&str], bad: &[&str]) {
    for value in good {
        assert!(accepts(text, value), "{text}: {value}");
    }
    for value in bad {
        assert!(!accepts(text, value), "{text}: {value}");
    }
}

#[test]
fn base_urls() {
    check(
        "[[upstreams]]\nname = 'a'\nbase_url = VALUE",
        &[
            "http://127.0.0.1:8000",
            "https://api.openai.com/v1/",
            "http://[::1]:8000/v1",
            "http://model_server.svc-1/v1",
            "HTTP://HOST",
        ],
        &[
            "",
            "api.openai.com/v1",
            "https://",
            "https:///v1",
            "ftp://host",
            "http://host:0",
            "http://host:65536",
            "http://host:/v1",
            "http://user@host",
            "http://user:password@host/v1",
            "http://host/v1?key=x",
            "http://host?x",
            "http://host/#x",
            "http://ho st",
            "http://host/v 1",
            "http://[::1",
            "http://[zz]/",
            "http://host/é",
            "http://host\r\nx: y",
        ],
    );
}

#[test]
fn origins() {
    check(
        "cors_origins = [VALUE]",
        &["*", "https://app.example.org", "http://localhost:3000"],
        &[
            "",
            "null",
            "app.example.org",
            "https://a/",
            "https://a/path",
            "https://*.a.org",
        ],
    );
}

#[test]
fn networks() {
    check(
        "trusted_proxies = [VALUE]",
        &["192.0.2.7", "10.0.0.0/8", "fd00::/8", "0.0.0.0/0"],
        &[
            "",
            "10.0.0.0/33",
            "10.1.0.0/8",
            "proxy.example.org",
            "10.0.0.0/-1",
        ],
    );
}

#[test]
fn addresses_to_listen_on() {
    check(
        "listen = VALUE",
        &["127.0.0.1:0", "[::1]:8080", "localhost:8080"],
        &[
            "",
            "8080",
            ":8080",
            "127.0.0.1",
            "example.org:80",
            "localhost:x",
            "127.0.0.1:65536",
        ],
    );
}

#[test]
fn levels_of_logging() {
    check(
        "telemetry.level = VALUE",
        &["info", "WARN", "info,everstream=debug", "hyper::proto=off"],
        &[
            "",
            "loud",
            "info,",
            "=debug",
            "everstream=",
            "everstream=loud",
        ],
    );
}

#[test]
fn keys_of_upstreams_and_headers() {
    check(
        "[[upstreams]]\nname = 'a'\nbase_url = 'http://a'\napi_key = VALUE",
        &["sk-1", "a/b+c=="],
        &["", "sk 1", "sk-1\n", "sk-1\r\nx: y", "schlüssel"],
    );
    check(
        "[[upstreams]]\nname = 'a'\nbase_url = 'http://a'\nheaders.x-a = VALUE",
        &["", "Bearer x", "a\tb"],
        &["a\nb", "a\r\nHost: b", " a", "a ", "a\0", "ü"],
    );
}

#[test]
fn hashes_of_keys() {
    let digits = "0123456789abcdefABCDEF0123456789".repeat(2);
    let (good, short) = (
        format!("sha256:{digits}"),
        format!("sha256:{}", &digits[1..]),
    );
    let (odd, wide) = (good.replace('a', "g"), good.replacen("01", "é", 1));
    check(
        "[[keys]]\nproject = 'a'\nhash = VALUE",
        &[&good],
        &["", &digits, &short, &odd, &wide, "md5:00"],
    );
}

#[test]
fn paths() {
    check(
        "data_dir = VALUE",
        &["/data", "data", "~x"],
        &["", "~", "~/data", "a\0b"],
    );
}

#[test]
fn a_hash_round_trips() {
    let hash = key_hash("es-key");
    let text = format!("[[keys]]\nproject = 'a'\nhash = '{}'", show_key_hash(hash));
    assert_eq!(parse(&text, &[]).unwrap().keys[0].hash, hash);
}
