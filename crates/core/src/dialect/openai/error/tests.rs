use proptest::prelude::*;

use super::*;
use crate::id::StreamId;

#[test]
fn an_error_that_broke_a_stream_off_says_how_to_go_on() {
    let stream = StreamId::from_bits(1);
    let cut = Error::new(ErrorCode::UpstreamCut, "The answer was cut").stream(stream);
    assert_eq!(
        error_body(&cut),
        concat!(
            r#"{"error":{"message":"The answer was cut. Read what was delivered at "#,
            r#"GET /v1/streams/0000000000001.","type":"server_error","param":null,"code":"upstream_cut"}}"#,
        )
    );
    let refused = Error::new(ErrorCode::InvalidCursor, "No \"such\"\ncursor.")
        .stream(stream)
        .param("after");
    assert_eq!(
        error_body(&refused),
        concat!(
            r#"{"error":{"message":"No \"such\"\ncursor.","type":"invalid_request_error","#,
            r#""param":"after","code":"invalid_cursor"}}"#,
        )
    );
}

#[test]
fn every_code_makes_one_line() {
    for &code in ErrorCode::ALL {
        let body = error_body(&Error::new(code, "x\ny").stream(StreamId::from_bits(1)));
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["error"]["code"], code.as_str());
        assert!(!body.contains(&b'\n'));
    }
}

#[test]
fn an_upstreams_words_are_found() {
    let cases = [
        (
            r#"{"error":{"message":"Too fast","type":"requests","code":"rate_limit"}}"#,
            "Too fast",
        ),
        (r#"{"error":"model 'x' not found"}"#, "model 'x' not found"),
        (r#"{"message":"Unauthorized"}"#, "Unauthorized"),
        (r#"{"detail":"Not Found"}"#, "Not Found"),
        (
            r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#,
            "field required",
        ),
        (r#"{"error":{"code":500},"message":"outside"}"#, "outside"),
        (r#"{"object":"error","message":"vLLM","code":400}"#, "vLLM"),
        ("upstream  connect\r\n error", "upstream connect error"),
        (
            "\u{feff}<!DOCTYPE html><html><TITLE> 502 Bad\nGateway </title>",
            "a page of HTML, titled \"502 Bad Gateway\"",
        ),
        ("<html><title></title>", "a page of HTML"),
        ("\"just text\"", "just text"),
        ("", "The upstream gave no reason."),
        ("{}", "The upstream gave no reason."),
        (
            r#"{"error":{"message":"  "}}"#,
            "The upstream gave no reason.",
        ),
        ("\0\u{1}\u{7f}", "The upstream gave no reason."),
    ];
    for (body, message) in cases {
        let fault = fault_from_body(500, body.as_bytes());
        assert_eq!(fault.message, message, "{body}");
        assert_eq!(fault.status, Some(500));
    }
    let fault = fault_from_body(502, b"\xff\xfe broken");
    assert_eq!(fault.message, "\u{fffd}\u{fffd} broken");
}

#[test]
fn codes_are_names_or_nothing() {
    let event = |data: &str| fault_from_event(data.as_bytes());
    let fault = event(r#"{"error":{"message":"m","type":"t","code":429}}"#);
    assert_eq!(
        (fault.code.as_deref(), fault.kind.as_deref(), fault.status),
        (Some("429"), Some("t"), Some(429))
    );
    let fault = event(r#"{"error":{"message":"m","type":"two words","code":"","status":503}}"#);
    assert_eq!(
        (fault.code, fault.kind, fault.status),
        (None, None, Some(503))
    );
    let fault = event(r#"{"error":{"message":"m","code":1000}}"#);
    assert_eq!((fault.code.as_deref(), fault.status), (Some("1000"), None));
    let long = format!(r#"{{"error":{{"code":"{}"}}}}"#, "x".repeat(NAME_BYTES + 1));
    assert_eq!(event(&long).code, None);
}

#[test]
fn no_key_is_passed_on_and_no_novel() {
    let body = r#"{"error":{"message":"Incorrect API key provided: sk-proj-CANARY123. See","code":"sk-CANARY123"}}"#;
    let fault = fault_from_body(401, body.as_bytes());
    assert!(!format!("{fault:?}").contains("CANARY"), "{fault:?}");
    let long = fault_from_body(500, "\u{e9}".repeat(100_000).as_bytes());
    assert_eq!(long.message.chars().count(), UPSTREAM_MESSAGE_CHARS + 3);
}

proptest! {
    #[test]
    fn any_body_gives_one_safe_line(body: Vec<u8>, text in "(?s:.{0,200})") {
        for body in [body.as_slice(), text.as_bytes()] {
            let fault = fault_from_body(500, body);
            prop_assert!(!fault.message.is_empty());
            prop_assert!(!fault.message.chars().any(char::is_control));
            prop_assert!(fault.message.chars().count() <= UPSTREAM_MESSAGE_CHARS + 3);
        }
    }
}
