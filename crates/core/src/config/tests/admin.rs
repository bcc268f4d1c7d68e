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
    let behind = format!("{public}\ntls = false");
    let key = parse(&behind, &env).unwrap().admin.key;
    assert_eq!(key.as_ref().map(Secret::expose), Some("an-admin-key"));
    let operator = "[[admin.operators]]\nname = 'alice'\nkey = 'k'";
    let admin = parse(&format!("{behind}\n{operator}"), &[]).unwrap().admin;
    assert!(admin.key.is_none() && admin.has_keys());
    assert_eq!(admin.operators[0].role, OperatorRole::Write);
}

#[test]
fn tls_is_required_where_others_can_reach_it() {
    let public = "[admin]\nlisten = '0.0.0.0:4101'\nkey = 'k'";
    let tls = "[tls]\ncertificate = 'c.pem'\nkey = 'k.pem'\nclient_ca = 'ca.pem'";
    let found = mistakes(public, &[]).concat();
    assert!(found.contains("there is no TLS"), "{found}");
    let found = mistakes("[admin]\ntls = true", &[]).concat();
    assert!(
        found.contains("admin.tls: there is no certificate"),
        "{found}"
    );
    let of = |text: String| parse(&text, &[]).unwrap().admin_tls();
    let served = of(format!("{public}\n{tls}")).unwrap();
    assert_eq!(served.certificate, Some("c.pem".into()));
    assert_eq!(served.client_ca, None);
    assert_eq!(of(format!("{public}\ntls = false\n{tls}")), None);
    assert_eq!(of(tls.to_owned()), None);
    assert!(of(format!("[admin]\ntls = true\n{tls}")).is_some());
}

#[test]
fn a_key_tells_whose_it_is() {
    let two =
        "[[admin.operators]]\nname = 'a'\nkey = 'k'\n[[admin.operators]]\nname = 'b'\nkey = 'k'";
    let found = mistakes(two, &[]).concat();
    assert!(
        found.contains("admin.operators[1].key: this is the key of another"),
        "{found}"
    );
    let found = mistakes(&two.replace("'b'", "'a'"), &[]).concat();
    assert!(found.contains("admin.operators[1].name"), "{found}");
    // The command line of `a` has the key in this variable.
    let one = "[[admin.operators]]\nname = 'a'\nkey = 'k'";
    assert!(parse(one, &[("EVERSTREAM_ADMIN_KEY", "k")]).is_ok());
    let found = mistakes(one, &[("EVERSTREAM_API_KEYS", "k")]).concat();
    assert!(found.contains("this is the key of a client"), "{found}");
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
