use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const CHAT: Surface = Surface::ChatCompletions;

fn parse(body: &str, surface: Surface) -> Result<Envelope, Error> {
    Envelope::parse(&Bytes::copy_from_slice(body.as_bytes()), surface)
}

fn rewrite(body: &str, model: &str, ask_usage: bool, force_stream: bool) -> String {
    let body = parse(body, CHAT)
        .unwrap()
        .upstream_body(model, ask_usage, force_stream);
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn the_members_that_matter_are_read() {
    let body = r#" {"messages":[{"model":"x","stream":0}], "stream" : true ,"model":"a/\u0062é",
        "stream_options":{"include_usage":true,"x":1},"background":true,"n":3} "#;
    let envelope = parse(body, CHAT).unwrap();
    assert_eq!(envelope.model, "a/bé");
    assert!(envelope.stream && envelope.include_usage && envelope.background);
    assert_eq!(envelope.choices, 3);

    let envelope = parse(
        r#"{"model":"m","stream":null,"stream_options":null,"background":null}"#,
        CHAT,
    );
    let envelope = envelope.unwrap();
    assert!(!envelope.stream && !envelope.include_usage && !envelope.background);
    assert_eq!(envelope.choices, 1);
}

#[test]
fn completions_have_choices_for_each_prompt() {
    for (prompt, choices) in [
        (r#""one""#, 2),
        (r#"["one","two","three"]"#, 6),
        ("[1,2,3]", 2),
        ("[ [1,2],[3]]", 4),
        ("[]", 2),
    ] {
        let body = format!(r#"{{"model":"m","n":2,"prompt":{prompt}}}"#);
        let envelope = parse(&body, Surface::Completions).unwrap();
        assert_eq!(envelope.choices, choices, "{prompt}");
    }
}

#[test]
fn a_wrong_body_is_refused_with_the_place() {
    use ErrorCode::{InvalidJson, InvalidValue, MissingField};
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(MODEL_BYTES + 1));
    let cases: &[(&str, ErrorCode, Option<&str>, &str)] = &[
        ("", InvalidJson, None, "line 1 column 0"),
        ("hello", InvalidJson, None, "line 1 column 1"),
        (
            "{\"model\":\"m\",\n\"x\":}",
            InvalidJson,
            None,
            "line 2 column 5",
        ),
        (r#"{"model":"m"} x"#, InvalidJson, None, "line 1 column 15"),
        (r#"{"model":"m""#, InvalidJson, None, "EOF"),
        (
            "{\"model\":\"a\u{1}\"}",
            InvalidJson,
            None,
            "control character",
        ),
        (
            r#"["sk-secret"]"#,
            InvalidValue,
            None,
            "must be a JSON object",
        ),
        (
            r#""sk-secret""#,
            InvalidValue,
            None,
            "must be a JSON object",
        ),
        ("{}", MissingField, Some("model"), "no `model`"),
        (r#"{"model":null}"#, InvalidValue, Some("model"), "string"),
        (r#"{"model":["m"]}"#, InvalidValue, Some("model"), "string"),
        (r#"{"model":""}"#, InvalidValue, Some("model"), "empty"),
        (&long, InvalidValue, Some("model"), "longer than 256"),
        (
            r#"{"model":"m","stream":"true"}"#,
            InvalidValue,
            Some("stream"),
            "true or false",
        ),
        (
            r#"{"model":"m","stream":1}"#,
            InvalidValue,
            Some("stream"),
            "true or false",
        ),
        (
            r#"{"model":"m","background":{}}"#,
            InvalidValue,
            Some("background"),
            "true or false",
        ),
        (
            r#"{"model":"m","stream_options":[]}"#,
            InvalidValue,
            Some("stream_options"),
            "an object",
        ),
        (
            r#"{"model":"m","stream_options":{"include_usage":"no"}}"#,
            InvalidValue,
            Some("stream_options.include_usage"),
            "true or false",
        ),
    ];
    for (body, code, param, message) in cases {
        let error = parse(body, CHAT).expect_err(body);
        assert_eq!(
            (error.code, error.param.as_deref()),
            (*code, *param),
            "{body}: {error}"
        );
        assert!(error.message.contains(message), "{body}: {error}");
        assert!(!error.message.contains("sk-secret"), "{error}");
    }
    let binary = Bytes::from_static(b"{\"model\":\"\xff\"}");
    let error = Envelope::parse(&binary, CHAT).expect_err("not UTF-8");
    assert_eq!(error.code, InvalidJson);
}

#[test]
fn a_member_that_is_read_may_stand_only_once() {
    for (body, param) in [
        (r#"{"model":"cheap","model":"dear"}"#, "model"),
        (r#"{"model":"cheap","\u006dodel":"dear"}"#, "model"),
        (r#"{"model":"m","stream":true,"stream":false}"#, "stream"),
        (
            r#"{"model":"m","background":true,"background":true}"#,
            "background",
        ),
        (r#"{"model":"m","n":1,"n":5}"#, "n"),
        (
            r#"{"model":"m","stream_options":{},"stream_options":null}"#,
            "stream_options",
        ),
        (
            r#"{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}"#,
            "stream_options.include_usage",
        ),
    ] {
        let error = parse(body, CHAT).expect_err(body);
        assert_eq!(error.code, ErrorCode::InvalidValue);
        assert_eq!(error.param.as_deref(), Some(param));
    }
    // What is not read is the upstream's to judge.
    assert!(
        parse(
            r#"{"model":"m","user":1,"user":2,"prompt":1,"prompt":2}"#,
            CHAT
        )
        .is_ok()
    );
}

#[test]
fn what_a_surface_cannot_do_is_refused() {
    let refused = |body, surface| parse(body, surface).expect_err(body).param.unwrap();
    let background = r#"{"model":"m","background":true}"#;
    assert_eq!(refused(background, Surface::Embeddings), "background");
    assert_eq!(refused(background, Surface::Completions), "background");
    assert_eq!(
        refused(r#"{"model":"m","stream":true}"#, Surface::Embeddings),
        "stream"
    );
    let body = r#"{"model":"m","background":false,"stream_options":7}"#;
    let envelope = parse(body, Surface::Embeddings).unwrap();
    assert_eq!(
        envelope.upstream_body("m", true, false),
        r#"{"model":"m","stream_options":7}"#
    );
}

#[test]
fn without_a_change_the_bytes_are_the_clients() {
    let body = Bytes::from_static(br#" { "model" : "m" , "x":1.00 } "#);
    let envelope = Envelope::parse(&body, CHAT).unwrap();
    assert_eq!(
        envelope.upstream_body("m", false, false).as_ptr(),
        body.as_ptr()
    );
    // An answer that is not streamed has its usage anyway.
    assert_eq!(
        envelope.upstream_body("m", true, false).as_ptr(),
        body.as_ptr()
    );
}

#[test]
fn only_what_must_change_changes() {
    let cases = [
        (
            r#"{"a":1, "model" : "m" ,"b":2}"#,
            "n\"",
            false,
            r#"{"a":1, "model" : "n\"" ,"b":2}"#,
        ),
        (
            r#"{"background":true, "model":"m"}"#,
            "m",
            false,
            r#"{"model":"m"}"#,
        ),
        (
            r#"{"model":"m" , "background" : true }"#,
            "m",
            false,
            r#"{"model":"m" }"#,
        ),
        (
            r#"{"model":"m","background":true,"a":[]}"#,
            "long/name",
            false,
            r#"{"model":"long/name","a":[]}"#,
        ),
        (
            r#"{"model":"m","background":true}"#,
            "m",
            true,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":null,"model":"m"}"#,
            "n",
            true,
            r#"{"stream":true,"model":"n","stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","stream":true,"stream_options":null}"#,
            "m",
            true,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{ },"model":"m","stream":true}"#,
            "m",
            true,
            r#"{"stream_options":{"include_usage":true },"model":"m","stream":true}"#,
        ),
        (
            r#"{"stream_options":{ "x":{"include_usage":false}},"model":"m","stream":true}"#,
            "m",
            true,
            r#"{"stream_options":{"include_usage":true, "x":{"include_usage":false}},"model":"m","stream":true}"#,
        ),
        (
            r#"{"stream_options":{"x":1,"include_usage" : false},"model":"m","stream":true}"#,
            "m",
            true,
            r#"{"stream_options":{"x":1,"include_usage" : true},"model":"m","stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
            "m",
            true,
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
        ),
    ];
    for (body, model, stream, expected) in cases {
        assert_eq!(rewrite(body, model, stream, stream), expected, "{body}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\_]{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_request() -> impl Strategy<Value = (Vec<(String, Value)>, bool)> {
    let flag = || {
        prop::sample::select(vec![
            None,
            Some(json!(null)),
            Some(json!(true)),
            Some(json!(false)),
        ])
    };
    let options = prop::sample::select(vec![
        None,
        Some(json!(null)),
        Some(json!({})),
        Some(json!({"x": [1]})),
        Some(json!({"include_usage": false, "x": 1})),
        Some(json!({"include_usage": true})),
    ]);
    let others = prop::collection::btree_map("x[a-z]{0,5}", any_json(), 0..5);
    (flag(), flag(), options, others, any::<bool>(), any::<u64>()).prop_map(
        |(stream, background, options, others, spaced, order)| {
            let mut members: Vec<_> = others.into_iter().collect();
            members.push(("model".to_owned(), json!("m")));
            for (name, value) in [
                ("stream", stream),
                ("background", background),
                ("stream_options", options),
            ] {
                members.extend(value.map(|value| (name.to_owned(), value)));
            }
            let turn = usize::try_from(order % members.len() as u64).unwrap();
            members.rotate_left(turn);
            (members, spaced)
        },
    )
}

fn write(members: &[(String, Value)], spaced: bool) -> String {
    let space = if spaced { "\r\n\t " } else { "" };
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{space}{}{space}:{space}{value}{space}", json!(name)))
        .collect();
    format!("{space}{{{}}}{space}", members.join(","))
}

proptest! {
    #[test]
    fn a_rewritten_body_says_the_same(
        (members, spaced) in any_request(),
        model in "[a-z/\"\u{e9}]{1,5}",
        ask_usage: bool,
        force_stream: bool,
    ) {
        let text = write(&members, spaced);
        let envelope = parse(&text, CHAT).unwrap();
        let body = envelope.upstream_body(&model, ask_usage, force_stream);

        let mut expected: Map<_, _> = members.into_iter().collect();
        expected.remove("background");
        expected.insert("model".to_owned(), json!(model));
        if force_stream {
            expected.insert("stream".to_owned(), json!(true));
        }
        if ask_usage && expected.get("stream") == Some(&json!(true)) {
            let options = expected.entry("stream_options").or_insert_with(|| json!({}));
            if options.is_null() {
                *options = json!({});
            }
            options["include_usage"] = json!(true);
        }
        let found: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(found, Value::Object(expected));

        // Doing it again changes nothing, so each member stands once.
        let again = Envelope::parse(&body, CHAT).unwrap();
        prop_assert!(!again.background);
        prop_assert_eq!(again.upstream_body(&model, ask_usage, force_stream), body);
    }

    #[test]
    fn no_body_panics(body: Vec<u8>, text in "[\\[\\]{}:,\"a-zé\\\\ 0-9]{0,40}") {
        for body in [body, format!("{{\"model\":\"m\",{text}").into_bytes()] {
            if let Ok(envelope) = Envelope::parse(&Bytes::from(body), CHAT) {
                let body = envelope.upstream_body("n", true, true);
                prop_assert!(serde_json::from_slice::<IgnoredAny>(&body).is_ok());
            }
        }
    }
}

#[test]
fn the_background_is_left_to_who_runs_it() {
    let body = Bytes::from_static(br#"{"model":"m","background":true,"input":"x"}"#);
    let envelope = Envelope::parse(&body, Surface::Responses).unwrap();
    assert_eq!(
        envelope.background_body("n"),
        r#"{"model":"n","stream":true,"background":true,"input":"x"}"#
    );
    assert_eq!(
        envelope.upstream_body("n", false, true),
        r#"{"model":"n","stream":true,"input":"x"}"#
    );
}
