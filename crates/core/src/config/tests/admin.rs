//! The listener for operators.

use super::*;

#[test]
fn it_is_on_loopback_unless_it_is_told_otherwise() {
    let listen = |text: &str, env: &[(&str, &str)]| parse(text, env).unwrap().admin.listen;
    assert_eq!(listen("", &[]).to_string(), "127.0.0.1:8081");
    assert_eq!(listen("[admin]\nlisten = 'off'", &[]), AdminListen::Off);
    let env = [("EVERSTREAM_ADMIN_LISTEN", "localhost:4101")];
    let expected = AdminListen::At("127.0.0.1:4101".parse().unwrap());
    assert_eq!(listen("", &env), expected);
}

#[test]
fn a_key_is_required_where_others_can_reach_it() {
    let public = "[admin]\nlisten = '0.0.0.0:4101'";
    let found = mistakes(public, &[]).concat();
    assert!(
        found.starts_with("everstream.toml:2:10: admin.listen: this address"),
        "{found}"
    );
    let env = [("EVERSTREAM_ADMIN_KEY", "an-admin-key")];
    let key = parse(public, &env).unwrap().admin.key;
    assert_eq!(key.as_ref().map(Secret::expose), Some("an-admin-key"));
}

#[test]
fn it_is_apart_from_that_of_clients() {
    let same = "listen = '127.0.0.1:4000'\n[admin]\nlisten = '127.0.0.1:4000'";
    let found = mistakes(same, &[]).concat();
    assert!(found.contains("clients connect to this address"), "{found}");
    assert!(parse(&same.replace("4000", "0"), &[]).is_ok());
    let env = [
        ("EVERSTREAM_API_KEYS", "one,two"),
        ("EVERSTREAM_ADMIN_KEY", "two"),
    ];
    let found = mistakes("", &env).concat();
    assert!(
        found.contains("admin.key: this is the key of a client"),
        "{found}"
    );
}
