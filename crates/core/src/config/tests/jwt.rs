use super::*;
use crate::sign::jwt::{Algorithm, Grant, ProjectFrom};

const LEAST: &str = "[[jwt_issuers]]\nissuer = 'https://id.example'\naudience = ['everstream']\n\
                     project = 'web'\n";

fn refused(text: &str, mistake: &str) {
    assert_eq!(mistakes(text, &[]), [mistake], "{text}");
}

#[test]
fn an_issuer_needs_a_name_an_audience_and_a_project() {
    let config = parse(LEAST, &[]).unwrap();
    let rules = config.jwt_issuers[0].rules();
    assert_eq!(rules.name, "https://id.example");
    assert_eq!(rules.audiences, ["everstream"]);
    assert_eq!(rules.algorithms, Algorithm::ALL);
    assert_eq!(rules.skew, limits::JWT_LEEWAY);
    assert_eq!(rules.mapping.scopes, None);
    assert!(matches!(rules.mapping.project, ProjectFrom::Fixed(web) if web.as_str() == "web"));
    // With an issuer, nobody is let in without a token: so all may connect.
    assert!(parse(&format!("listen = '0.0.0.0:80'\n{LEAST}"), &[]).is_ok());
    assert_eq!(mistakes("[[jwt_issuers]]", &[]).len(), 2);
}

#[test]
fn claims_are_named_or_pointed_at() {
    for (project, place) in [
        ("claim:groups", "/groups"),
        (
            "claim:https://acme.example/team",
            "/https:~1~1acme.example~1team",
        ),
        ("claim:a~b", "/a~0b"),
        ("claim:/realm/team", "/realm/team"),
    ] {
        let text = LEAST.replace("'web'", &format!("'{project}'"));
        let more = "project_map = { g-1 = 'web' }\nscope_claim = 'scp'\n\
                    scope_map = { user = 'everstream:model:a everstream:surface:*' }\n\
                    algorithms = ['ES256']\nleeway = '0ms'";
        let config = parse(&format!("{text}{more}"), &[]).unwrap();
        let rules = config.jwt_issuers[0].rules();
        let ProjectFrom::Claim { place: read, map } = rules.mapping.project else {
            panic!("a claim");
        };
        assert_eq!((read.as_str(), map["g-1"].as_str()), (place, "web"));
        assert_eq!(rules.mapping.scopes.as_deref(), Some("/scp"));
        assert_eq!(
            rules.mapping.scope_map["user"].0,
            [Grant::Model("a".to_owned()), Grant::Surface("*".to_owned())]
        );
        assert_eq!(rules.algorithms, [Algorithm::Es256]);
        assert_eq!(rules.skew, Duration::ZERO);
    }
}

#[test]
fn keys_have_a_place_that_nobody_else_can_change() {
    let with = |issuer: &str, more: &str| {
        format!("{}{more}\n", LEAST.replace("https://id.example", issuer))
    };
    for (issuer, more) in [
        ("https://id.example/", ""),
        ("HTTPS://id.example", ""),
        ("http://localhost:9/x", ""),
        ("http://[::1]:9", ""),
        ("http://keycloak:8080", "allow_private = true"),
        ("acme", "jwks = 'file:/etc/jwks.json'"),
        ("acme", "jwks = 'https://acme.example/keys?p=policy'"),
        ("http://id.example", "jwks = 'https://id.example/keys'"),
    ] {
        assert!(parse(&with(issuer, more), &[]).is_ok(), "{issuer} {more}");
    }
    let clear = "keys that come in the clear could be anybody's; use https://, or set \
                 `allow_private` if the way there is your own";
    let no_url = "this is no URL at which its keys could be asked for; set `jwks` to where its \
                  keys are";
    refused(
        &with("http://id.example", ""),
        &format!("everstream.toml:2:10: jwt_issuers[0].issuer: {clear}"),
    );
    refused(
        &with("https://id.example", "jwks = 'http://localhost.evil/keys'"),
        &format!("everstream.toml:5:8: jwt_issuers[0].jwks: {clear}"),
    );
    refused(
        &with("acme", ""),
        &format!("everstream.toml:2:10: jwt_issuers[0].issuer: {no_url}"),
    );
    for wrong in ["ftp://a/keys", "https://a/k#x", "https://u@a/k", "file:"] {
        let text = with("acme", &format!("jwks = '{wrong}'"));
        assert_eq!(mistakes(&text, &[]).len(), 1, "{wrong}");
    }
}

#[test]
fn what_is_of_no_use_is_a_mistake() {
    let with = |more: &str| format!("{LEAST}{more}\n");
    refused(
        &LEAST.replace("['everstream']", "[]"),
        "everstream.toml:3:1: jwt_issuers[0].audience: without it, tokens for anybody would be \
         accepted; add what the issuer puts into `aud` for this gateway",
    );
    refused(
        &with("project_map = { a = 'b' }"),
        "everstream.toml:5:1: jwt_issuers[0].project_map: this is of no use unless `project` is \
         `claim:<name>`",
    );
    refused(
        &with("scope_map = { a = 'everstream:*' }"),
        "everstream.toml:5:1: jwt_issuers[0].scope_map: this is of no use without `scope_claim`",
    );
    for wrong in [
        "algorithms = []",
        "algorithms = ['HS256']",
        "algorithms = ['none']",
        "leeway = '6m'",
        "scope_claim = ''",
        "scope_claim = 'scp'\nscope_map = { a = 'admin' }",
        "scope_claim = 'scp'\nscope_map = { a = '' }",
    ] {
        assert_eq!(mistakes(&with(wrong), &[]).len(), 1, "{wrong}");
    }
    let twice = format!("{LEAST}{LEAST}");
    assert_eq!(mistakes(&twice, &[]).len(), 1);
    for wrong in ["''", "'a b'", "'claim:'"] {
        let text = LEAST.replace("'web'", wrong);
        assert_eq!(mistakes(&text, &[]).len(), 1, "{wrong}");
    }
}
