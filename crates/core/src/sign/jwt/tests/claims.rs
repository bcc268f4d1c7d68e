use super::*;

fn grants(text: &str) -> BTreeSet<Grant> {
    text.parse::<Grants>().unwrap().0.into_iter().collect()
}

#[test]
fn a_good_token_is_accepted() {
    let identity = accept(&signed(&header(), &claims_with(json!({})))).unwrap();
    let expected = Identity {
        subject: Some("alice".to_owned()),
        project: "web".parse().unwrap(),
        grants: grants("everstream:model:gpt-4o everstream:surface:messages"),
        good_until: UnixMillis(1_800_000_090_000),
    };
    assert_eq!(identity, expected);
    let plain = json!({"alg": "EdDSA"});
    assert!(accept(&signed(&plain, &claims_with(json!({})))).is_ok());
}

#[test]
fn each_claim_is_checked() {
    let check = |changes: Value| {
        let token = signed(&header(), &claims_with(changes));
        accept(&token).map(|_| ())
    };
    for good in [
        json!({"aud": ["other", "https://gateway.example"]}),
        json!({"exp": 1_799_999_971}),
        json!({"exp": 1_800_000_000.5}),
        json!({"exp": u64::MAX}),
        json!({"nbf": 1_800_000_030}),
        json!({"nbf": null, "sub": null}),
        json!({"iat": 1_800_000_030}),
    ] {
        assert_eq!(check(good.clone()), Ok(()), "{good}");
    }
    for (wrong, error) in [
        (json!({"iss": "https://id.example/"}), JwtError::Issuer),
        (json!({"iss": null}), JwtError::Issuer),
        (json!({"iss": ["https://id.example"]}), JwtError::Issuer),
        (json!({"aud": "Everstream"}), JwtError::Audience),
        (json!({"aud": []}), JwtError::Audience),
        (json!({"aud": null}), JwtError::Audience),
        (json!({"aud": {"everstream": 1}}), JwtError::Audience),
        (json!({"exp": 1_799_999_970}), JwtError::Expired),
        (json!({"exp": null}), JwtError::Expired),
        (json!({"exp": "1800000060"}), JwtError::Expired),
        (json!({"exp": -1}), JwtError::Expired),
        (json!({"exp": 1e300}), JwtError::Expired),
        (json!({"nbf": 1_800_000_031}), JwtError::TooEarly),
        (json!({"nbf": "soon"}), JwtError::TooEarly),
        (json!({"iat": 1_800_000_031}), JwtError::TooEarly),
        (json!({"iat": [1]}), JwtError::TooEarly),
        (json!({"team": null}), JwtError::Project),
        (json!({"team": "not a name"}), JwtError::Project),
        (json!({"team": 7}), JwtError::Project),
    ] {
        assert_eq!(check(wrong.clone()), Err(error), "{wrong}");
    }
}

#[test]
fn an_issuer_without_audiences_accepts_nothing() {
    let issuer = Issuer {
        audiences: Vec::new(),
        ..issuer()
    };
    let token = signed(&header(), &claims_with(json!({})));
    let refused = issuer.accept(&Token::parse(&token).unwrap(), &keys(), &AwsLc, NOW);
    assert_eq!(refused, Err(JwtError::Audience));
}

#[test]
fn claims_are_mapped_as_configured() {
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|&(from, to)| (from.to_owned(), to.parse().unwrap()));
        pairs.collect::<BTreeMap<String, ProjectId>>()
    };
    let scopes = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|&(from, to)| (from.to_owned(), to.parse().unwrap()));
        pairs.collect::<BTreeMap<String, Grants>>()
    };
    let mapping = Mapping {
        project: ProjectFrom::Claim {
            place: "/https:~1~1acme.example~1groups".to_owned(),
            map: map(&[("g-1", "web"), ("g-2", "web"), ("g-3", "ops")]),
        },
        scopes: Some("/realm/roles".to_owned()),
        scope_map: scopes(&[
            ("user", "everstream:model:a everstream:surface:*"),
            ("admin", "everstream:topic:t everstream:model:a"),
        ]),
    };
    let issuer = Issuer {
        mapping,
        ..issuer()
    };
    let check = |groups: Value, roles: Value| {
        let claims = json!({"https://acme.example/groups": groups, "realm": {"roles": roles}});
        let token = signed(&header(), &claims_with(claims));
        let identity = issuer.accept(&Token::parse(&token).unwrap(), &keys(), &AwsLc, NOW)?;
        let grants: Vec<Grant> = identity.grants.into_iter().collect();
        Ok((identity.project.to_string(), Grants(grants).to_string()))
    };
    let web = |scopes: &str| Ok(("web".to_owned(), scopes.to_owned()));
    let user = web("everstream:surface:* everstream:model:a");
    assert_eq!(check(json!("g-1"), json!(["user"])), user);
    let all = check(json!(["x", "g-1", "g-2"]), json!("admin user root"));
    assert_eq!(
        all,
        web("everstream:surface:* everstream:model:a everstream:topic:t")
    );
    // What is mapped is not also taken as it is.
    assert_eq!(check(json!("g-1"), json!(["everstream:*"])), web(""));
    assert_eq!(check(json!("g-1"), json!(["root"])), web(""));
    assert_eq!(check(json!("g-1"), json!(7)), web(""));
    assert_eq!(
        check(json!(["g-1", "g-3"]), json!([])),
        Err(JwtError::Project)
    );
    // A project's own name is none of the issuer's groups.
    assert_eq!(check(json!("web"), json!([])), Err(JwtError::Project));
}

#[test]
fn a_fixed_project_asks_no_claim() {
    let mut issuer = issuer();
    issuer.mapping.project = ProjectFrom::Fixed("ops".parse().unwrap());
    let token = signed(&header(), &claims_with(json!({"team": "web"})));
    let identity = issuer
        .accept(&Token::parse(&token).unwrap(), &keys(), &AwsLc, NOW)
        .unwrap();
    assert_eq!(identity.project.as_str(), "ops");
}

#[test]
fn scopes_grant_what_they_name_and_nothing_else() {
    let check = |scope: Value| {
        let token = signed(&header(), &claims_with(json!({ "scope": scope })));
        accept(&token).unwrap().grants
    };
    for nothing in [
        json!(null),
        json!(""),
        json!("openid profile"),
        json!("everstream everstream: everstream:model everstream:model: everstream:admin:x"),
        json!("Everstream:* xeverstream:*"),
        json!({"everstream:*": 1}),
    ] {
        assert_eq!(check(nothing.clone()), BTreeSet::new(), "{nothing}");
    }
    assert_eq!(check(json!("everstream:*")), [Grant::All].into());
    assert_eq!(
        check(json!(["everstream:model:a:b/c*"])),
        [Grant::Model("a:b/c*".to_owned())].into()
    );
    let mut issuer = issuer();
    issuer.mapping.scopes = None;
    let token = signed(&header(), &claims_with(json!({"scope": "openid"})));
    let identity = issuer.accept(&Token::parse(&token).unwrap(), &keys(), &AwsLc, NOW);
    assert_eq!(identity.unwrap().grants, [Grant::All].into());
    assert_eq!("".parse::<Grants>(), Err(NoGrant));
    assert_eq!("everstream:* admin".parse::<Grants>(), Err(NoGrant));
}
