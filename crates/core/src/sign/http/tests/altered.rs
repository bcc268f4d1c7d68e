//! What is accepted, and that nothing else is.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const INPUT: &str =
    r#"sig1=("@method" "@target-uri" "content-digest");created=1800000000;nonce="n";keyid="k""#;

#[test]
fn a_signed_request_is_accepted() {
    let verified = Message::post().signed(&signer()).check(NOW).unwrap();
    assert_eq!(verified.key_id, "ak-1");
    assert_eq!(verified.nonce, "n-1");
    // To the second of `created`, and 5 minutes and 30 seconds more.
    assert_eq!(verified.good_until, UnixMillis(1_800_000_330_000));
}

#[test]
fn a_request_without_a_body_needs_no_digest() {
    let mut get = Message::post();
    get.head.clear();
    get.body.clear();
    "GET".clone_into(&mut get.method);
    "/v1/models".clone_into(&mut get.target);
    let mut get = get.signed(&signer());
    assert!(get.check(NOW).is_ok());
    get.body = b"{}".to_vec();
    let refused = get.check(NOW).unwrap_err();
    assert!(
        matches!(refused, SignatureError::NotCovered(_)),
        "{refused}"
    );
}

#[test]
fn an_unsigned_request_is_not_ours() {
    let message = Message::post();
    assert_eq!(Presented::read(&message.request()), Ok(None));
    let mut half = message.clone().signed(&signer());
    half.head.retain(|(name, _)| name != "signature");
    assert_eq!(half.check(NOW), Err(SignatureError::NoSuchLabel));
    let mut half = message.signed(&signer());
    half.head.retain(|(name, _)| name != "signature-input");
    assert_eq!(half.check(NOW), Err(SignatureError::NoSuchLabel));
}

#[test]
fn what_was_altered_is_refused() {
    let signed = Message::post().signed(&signer());
    let check = |alter: &dyn Fn(&mut Message)| {
        let mut message = signed.clone();
        alter(&mut message);
        message.check(NOW)
    };
    let mismatch = Err(SignatureError::Mismatch);
    assert_eq!(check(&|m| m.method = "PUT".to_owned()), mismatch);
    assert_eq!(
        check(&|m| m.authority = "other.example".to_owned()),
        mismatch
    );
    assert_eq!(
        check(&|m| m.target = "/v1/embeddings?trace=1".to_owned()),
        mismatch
    );
    assert_eq!(
        check(&|m| m.target = "/v1/chat/completions?trace=2".to_owned()),
        mismatch
    );
    assert_eq!(
        check(&|m| m.target = "/v1/chat/completions".to_owned()),
        mismatch
    );
    let other = content_digest(b"other");
    assert_eq!(
        check(&|m| m.field("content-digest").clone_from(&other)),
        mismatch
    );
    assert_eq!(check(&|m| m.body.push(b' ')), Err(SignatureError::Digest));
    assert_eq!(check(&|m| m.body.clear()), Err(SignatureError::Digest));
    for (from, to) in [
        ("created=1800000000", "created=1800000001"),
        ("nonce=\"n-1\"", "nonce=\"n-2\""),
        ("keyid=\"ak-1\"", "keyid=\"ak-2\""),
        (";alg=\"hmac-sha256\"", ""),
        (
            ";tag=\"everstream\"",
            ";expires=1800000300;tag=\"everstream\"",
        ),
        (" \"content-digest\")", ")"),
        ("\"@method\" \"@authority\"", "\"@authority\" \"@method\""),
    ] {
        let altered = check(&|m| {
            let input = m.field("signature-input");
            assert!(input.contains(from), "{input}");
            *input = input.replace(from, to);
        });
        assert_eq!(altered, mismatch, "{from}");
    }
    let request = signed.request();
    let presented = Presented::read(&request).unwrap().unwrap();
    let other = presented.verify(&request, b"another secret", NOW, ClockWindow::default());
    assert_eq!(other, mismatch);
}

#[test]
fn a_query_that_was_not_signed_cannot_be_added() {
    let mut message = Message::post();
    "/v1/chat/completions".clone_into(&mut message.target);
    let mut message = message.signed(&signer());
    assert!(message.check(NOW).is_ok());
    message.target.push_str("?admin=1");
    assert!(matches!(
        message.check(NOW),
        Err(SignatureError::NotCovered(_))
    ));
}

#[test]
fn what_must_be_covered() {
    let params = r#";created=1800000000;nonce="n";keyid="k""#;
    let check = |covered: &str| {
        let input = format!("sig1=({covered}){params}");
        Message::post().signed_as(&input).check(NOW).map(|_| ())
    };
    for enough in [
        r#""@method" "@target-uri" "content-digest""#,
        r#""@method" "@authority" "@request-target" "content-digest""#,
        r#""@query" "content-digest" "@path" "@authority" "@method" "@scheme""#,
    ] {
        assert_eq!(check(enough), Ok(()), "{enough}");
    }
    for short in [
        "",
        r#""@target-uri" "content-digest""#,
        r#""@method" "@request-target" "content-digest""#,
        r#""@method" "@authority" "@path" "content-digest""#,
        r#""@method" "@authority" "@query" "content-digest""#,
        r#""@method" "@target-uri""#,
    ] {
        assert!(
            matches!(check(short), Err(SignatureError::NotCovered(_))),
            "{short}"
        );
    }
}

#[test]
fn what_must_be_said() {
    let check = |params: &str| {
        let input = format!(r#"sig1=("@method" "@target-uri" "content-digest"){params}"#);
        Message::post().signed_as(&input).check(NOW).map(|_| ())
    };
    assert_eq!(check(r#";created=1800000000;nonce="n";keyid="k""#), Ok(()));
    let missing = |name| Err(SignatureError::MissingParameter(name));
    assert_eq!(check(r#";nonce="n";keyid="k""#), missing("created"));
    assert_eq!(check(r#";created=1800000000;keyid="k""#), missing("nonce"));
    assert_eq!(check(r#";created=1800000000;nonce="n""#), missing("keyid"));
    let algorithm = check(r#";created=1800000000;nonce="n";keyid="k";alg="ed25519""#);
    assert_eq!(algorithm, Err(SignatureError::Algorithm));
    for wrong in [
        r#";created=1800000000.0;nonce="n";keyid="k""#,
        r#";created=-1;nonce="n";keyid="k""#,
        r#";created=@1800000000;nonce="n";keyid="k""#,
        r#";created=1800000000;nonce="";keyid="k""#,
        r#";created=1800000000;nonce=n;keyid="k""#,
        r#";created=1800000000;nonce="n";keyid=1"#,
    ] {
        assert!(
            matches!(check(wrong), Err(SignatureError::Malformed { .. })),
            "{wrong}"
        );
    }
    let long = format!(
        ";created=1800000000;nonce=\"{}\";keyid=\"k\"",
        "n".repeat(257)
    );
    assert!(matches!(
        check(&long),
        Err(SignatureError::Malformed { .. })
    ));
}

#[test]
fn the_clock_window() {
    let expires = UnixMillis(NOW.0 + 60_000);
    let signed = Message::post().signed(&signer());
    let short = Message::post().signed(&Signer {
        expires: Some(expires),
        ..signer()
    });
    let backwards = Signer {
        expires: Some(UnixMillis(NOW.0 - 60_000)),
        ..signer()
    };
    let backwards = Message::post().signed(&backwards);
    let at = |message: &Message, millis: u64| message.check(UnixMillis(millis)).map(|_| ());
    let too_old = |age, since| {
        let (age, since) = (Duration::from_millis(age), Duration::from_millis(since));
        Err(SignatureError::TooOld { age, since })
    };
    assert_eq!(at(&signed, 1_799_999_970_000), Ok(()));
    let ahead = at(&signed, 1_799_999_969_000).unwrap_err();
    assert_eq!(
        ahead.to_string(),
        "The signature's created is 31 s ahead of the server's clock, of which 30 s are let pass: set \
         the client's clock."
    );
    assert!(at(&signed, 1_799_999_969_999).is_err());
    assert_eq!(at(&signed, 1_800_000_330_000), Ok(()));
    assert_eq!(at(&signed, 1_800_000_330_001), too_old(330_001, 1));
    assert_eq!(at(&short, 1_800_000_090_000), Ok(()));
    assert_eq!(at(&short, 1_800_000_091_000), too_old(91_000, 1_000));
    assert_eq!(at(&backwards, NOW.0), Err(SignatureError::Backwards));
    let strict = ClockWindow {
        max_age: Duration::from_secs(1),
        skew: Duration::ZERO,
    };
    let request = signed.request();
    let presented = Presented::read(&request).unwrap().unwrap();
    let late = presented.verify(&request, SECRET, UnixMillis(1_800_000_001_001), strict);
    assert!(
        matches!(late, Err(SignatureError::TooOld { .. })),
        "{late:?}"
    );
}

#[test]
fn of_several_signatures_ours_has_the_tag() {
    let mut ours = Message::post().signed(&signer());
    let proxys = r#", ttrp=("@path");created=1;keyid="proxy""#;
    ours.field("signature-input").push_str(proxys);
    ours.field("signature").push_str(", ttrp=:AAAA:");
    assert!(ours.check(NOW).is_ok());
    *ours.field("signature-input") = ours.field("signature-input").replace("everstream", "x");
    assert_eq!(ours.check(NOW), Err(SignatureError::NoSuchLabel));
    let mut twice = Message::post().signed(&signer());
    let again = twice.field("signature-input").replace("sig1", "sig2");
    twice.head.push(("signature-input".to_owned(), again));
    assert_eq!(twice.check(NOW), Err(SignatureError::NoSuchLabel));
}

#[test]
fn what_cannot_be_covered() {
    let check = |covered: &str| {
        let mut message = Message::post().signed_as(INPUT);
        let input = format!("sig1=({covered});created=1800000000;nonce=\"n\";keyid=\"k\"");
        *message.field("signature-input") = input;
        message.check(NOW).unwrap_err()
    };
    let rest = r#""@method" "@target-uri" "content-digest""#;
    for unsupported in [
        r#""@status""#,
        r#""@query-param";name="a""#,
        r#""@signature-params""#,
        r#""date";sf"#,
        r#""date";bs"#,
        r#""@method";req"#,
        r#""Date""#,
        r#""a b""#,
        r#""a\"b""#,
        r#""""#,
    ] {
        let refused = check(&format!("{unsupported} {rest}"));
        assert!(
            matches!(refused, SignatureError::Unsupported(_)),
            "{unsupported}: {refused}"
        );
    }
    let twice = check(&format!("{rest} \"@method\""));
    assert_eq!(twice, SignatureError::Twice("@method".to_owned()));
    let absent = check(&format!("{rest} \"date\""));
    assert_eq!(absent, SignatureError::Absent("date".to_owned()));
    let token = check(&format!("{rest} date"));
    assert!(matches!(token, SignatureError::Malformed { .. }), "{token}");
    let many: Vec<_> = (0..40).map(|n| format!("\"x-{n}\"")).collect();
    let many = check(&many.join(" "));
    assert!(matches!(many, SignatureError::Malformed { .. }), "{many}");
}

#[test]
fn no_value_can_add_a_line() {
    let mut message = Message::post().signed(&signer());
    "POST\n\"@authority\": x".clone_into(&mut message.method);
    assert!(matches!(message.check(NOW), Err(SignatureError::Absent(_))));
    let mut message = Message::post().signed(&signer());
    message.field("content-digest").push('\u{e9}');
    assert!(matches!(message.check(NOW), Err(SignatureError::Absent(_))));
}

#[test]
fn the_wrong_length_of_a_signature_is_a_mismatch() {
    let mut message = Message::post().signed(&signer());
    for signature in ["sig1=::", "sig1=:AAAA:"] {
        signature.clone_into(message.field("signature"));
        assert_eq!(message.check(NOW), Err(SignatureError::Mismatch));
    }
    "sig1=\"AAAA\"".clone_into(message.field("signature"));
    assert!(matches!(
        message.check(NOW),
        Err(SignatureError::Malformed { .. })
    ));
}

#[test]
fn what_cannot_be_written_cannot_be_signed() {
    let message = Message::post();
    for signer in [
        Signer {
            key_id: "é",
            ..signer()
        },
        Signer {
            nonce: "a\nb",
            ..signer()
        },
        Signer {
            created: UnixMillis(u64::MAX),
            ..signer()
        },
    ] {
        assert!(signer.sign(&message.request(), SECRET).is_err());
    }
}

proptest! {
    #[test]
    fn any_field_is_read_without_panic(
        input in "(sig1=\\(?(\"[@a-z-]{0,12}\" ?){0,4}\\)?(;[a-z]{1,7}=?[\"0-9a-z@:.]{0,12}){0,4}|\\PC{0,60})",
        signature in "(sig1=:[A-Za-z0-9+/=]{0,50}:?|\\PC{0,40})",
        digest in "(sha-(256|512)=:[A-Za-z0-9+/=]{0,50}:?|\\PC{0,40})",
        target in "\\PC{0,20}",
    ) {
        let mut message = Message::post();
        message.target = target;
        message.head = vec![
            ("signature-input".to_owned(), input),
            ("signature".to_owned(), signature),
            ("content-digest".to_owned(), digest.clone()),
        ];
        let _ = ContentDigest::parse(&digest);
        let request = message.request();
        if let Ok(Some(presented)) = Presented::read(&request) {
            let verified = presented.verify(&request, SECRET, NOW, ClockWindow::default());
            prop_assert!(verified.is_err());
        }
    }

    #[test]
    fn whatever_is_signed_is_accepted_and_bound_to_it(
        method in "[A-Z]{1,7}",
        authority in "[a-z.]{1,12}(:[0-9]{1,4})?",
        target in "/[!-~&&[^?#]]{0,20}(\\?[!-~&&[^#]]{0,20})?",
        body in proptest::collection::vec(any::<u8>(), 1..40),
        nonce in "[!-~]{1,40}",
        flip: prop::sample::Index,
    ) {
        let mut message = Message { method, authority, target, ..Message::post() };
        *message.field("content-digest") = content_digest(&body);
        message.body = body;
        let message = message.signed(&Signer { nonce: &nonce, ..signer() });
        prop_assert_eq!(message.check(NOW).map(|verified| verified.nonce), Ok(nonce));
        let mut other = message.clone();
        let at = flip.index(other.body.len());
        other.body[at] ^= 1;
        prop_assert_eq!(other.check(NOW), Err(SignatureError::Digest));
        let mut other = message.clone();
        other.target.push('x');
        prop_assert_eq!(other.check(NOW), Err(SignatureError::Mismatch));
    }
}
