//! Errors of one API in the words of another.

use std::time::Duration;

use everstream_core::dialect::{ClientDialect, ProviderDialect};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::fault::{Fault, FaultKind};
use everstream_core::id::StreamId;
use serde_json::{Value, json};

use crate::transcripts::{CLIENTS, PROVIDERS, place};

fn written(client: ClientDialect, fault: &Fault) -> Value {
    serde_json::from_slice(&client.write_error(fault)).unwrap()
}

#[test]
fn providers_errors_keep_their_reason_and_get_the_clients_name() {
    let anthropic = |kind: &str| {
        let error = json!({"type": kind, "message": "A reason"});
        json!({"type": "error", "error": error, "request_id": "req_1"})
    };
    let openai = |kind: &str, code: &str| json!({"error": {"message": "A reason", "type": kind, "param": "messages", "code": code}});
    let (a, o) = (ProviderDialect::Anthropic, ProviderDialect::OpenAiChat);
    let invalid = "invalid_request_error";
    // Status and body, then the kind, and its name for clients of OpenAI's and of Anthropic's.
    let cases = [
        (
            a,
            529,
            anthropic("overloaded_error"),
            FaultKind::Overloaded,
            "server_error",
            "overloaded_error",
        ),
        (
            a,
            429,
            anthropic("rate_limit_error"),
            FaultKind::RateLimit,
            "rate_limit_error",
            "rate_limit_error",
        ),
        (
            a,
            400,
            anthropic(invalid),
            FaultKind::Invalid,
            invalid,
            invalid,
        ),
        (
            a,
            401,
            anthropic("authentication_error"),
            FaultKind::Unauthorized,
            invalid,
            "authentication_error",
        ),
        (
            a,
            413,
            anthropic("request_too_large"),
            FaultKind::TooLarge,
            invalid,
            "request_too_large",
        ),
        (
            o,
            429,
            openai("insufficient_quota", "insufficient_quota"),
            FaultKind::Billing,
            "insufficient_quota",
            "billing_error",
        ),
        (
            o,
            429,
            openai("tokens", "rate_limit_exceeded"),
            FaultKind::RateLimit,
            "rate_limit_error",
            "rate_limit_error",
        ),
        (
            o,
            400,
            openai(invalid, "context_length_exceeded"),
            FaultKind::Invalid,
            invalid,
            invalid,
        ),
        (
            o,
            400,
            openai(invalid, "content_filter"),
            FaultKind::ContentFilter,
            invalid,
            invalid,
        ),
        (
            o,
            404,
            openai(invalid, "model_not_found"),
            FaultKind::NotFound,
            invalid,
            "not_found_error",
        ),
        (
            o,
            503,
            json!({"error": "A reason"}),
            FaultKind::Overloaded,
            "server_error",
            "overloaded_error",
        ),
        (
            o,
            500,
            json!({"detail": [{"msg": "A reason"}]}),
            FaultKind::Server,
            "server_error",
            "api_error",
        ),
    ];
    for (provider, status, body, kind, chat, messages) in cases {
        let fault = provider.read_error(status, body.to_string().as_bytes());
        assert_eq!(fault.kind, kind, "{body}");
        assert_eq!(fault.http_status(), status);
        let heard = written(ClientDialect::OpenAiChat, &fault);
        assert_eq!(heard["error"]["message"], "A reason");
        assert_eq!(heard["error"]["type"], chat, "{body}");
        assert_eq!(heard["error"]["param"], body["error"]["param"]);
        let heard = written(ClientDialect::Anthropic, &fault);
        let error = json!({"type": messages, "message": "A reason"});
        assert_eq!(heard, json!({"type": "error", "error": error}));
    }
}

#[test]
fn anthropics_clients_hear_that_there_are_no_threads_in_their_own_words() {
    let ask = |field: &str| {
        let body = json!({"model": "m", "messages": [], "new": 1, field: {"type": "create"}});
        let body = body.to_string();
        let refused = ClientDialect::Anthropic.read_request(body.as_bytes());
        let fault = Fault::from(&refused.unwrap_err());
        (
            fault.http_status(),
            written(ClientDialect::Anthropic, &fault),
        )
    };
    // Whatever else is wrong: it is what they can mend.
    let (status, body) = ask("thread");
    assert_eq!(status, 400);
    let expected = json!({"error_code": "thread_unsupported_request"});
    assert_eq!(body["error"]["details"], expected, "{body}");
    let lost = json!({"type": "not_found_error", "message": "It is gone", "details": {"error_code": "thread_not_found"}});
    let lost = json!({"type": "error", "error": lost});
    let fault = ProviderDialect::Anthropic.read_error(404, lost.to_string().as_bytes());
    assert_eq!(written(ClientDialect::Anthropic, &fault), lost);
    let (_, other) = ask("max_tokens");
    assert_eq!(other["error"].get("details"), None, "{other}");
}

#[test]
fn the_gateways_own_errors_are_in_every_dialect() {
    for &code in ErrorCode::ALL {
        let error = Error::new(code, "It broke.").stream(StreamId::from_bits(1));
        let fault = Fault::from(&error);
        assert_eq!(fault.http_status(), code.status());
        for client in CLIENTS {
            let body = written(client, &fault);
            let message = body["error"]["message"].as_str().unwrap();
            assert!(message.starts_with("It broke"), "{body}");
            let name = match client {
                ClientDialect::Gemini => "status",
                _ => "type",
            };
            assert!(body["error"][name].is_string());
        }
    }
    let cut = Error::new(ErrorCode::UpstreamCut, "It broke.").stream(StreamId::from_bits(1));
    let event = ClientDialect::Anthropic.error_event(&Fault::from(&cut), &place());
    assert_eq!(&*event.name, b"error");
    let data: Value = serde_json::from_slice(&event.data).unwrap();
    assert_eq!(
        data["error"]["message"],
        "It broke. Read what was delivered at GET /v1/streams/0000000000001."
    );
}

#[test]
fn an_error_with_status_200_is_no_answer() {
    let body = br#"{"error":{"message":"no","type":"server_error"}}"#;
    for provider in PROVIDERS {
        assert!(provider.read_answer(body, "x").is_err());
    }
}

#[test]
fn googles_errors_keep_their_details() {
    let detail = |kind: &str, name: &str, value: Value| {
        let kind = format!("type.googleapis.com/google.rpc.{kind}");
        json!({"@type": kind, name: value})
    };
    let body = |code: u16, status: &str, details: Value| json!({"error": {"code": code, "message": "A reason", "status": status, "details": details}});
    let quota = json!([
        detail("QuotaFailure", "violations", json!([])),
        detail("RetryInfo", "retryDelay", json!("34.5s")),
    ]);
    let field = json!([detail(
        "BadRequest",
        "fieldViolations",
        json!([{"field": "contents", "description": "x"}])
    )]);
    let key = json!([detail("ErrorInfo", "reason", json!("API_KEY_INVALID"))]);
    let cases = [
        (429, "RESOURCE_EXHAUSTED", quota, FaultKind::RateLimit),
        (400, "INVALID_ARGUMENT", field, FaultKind::Invalid),
        (400, "INVALID_ARGUMENT", key, FaultKind::Unauthorized),
        (403, "PERMISSION_DENIED", json!([]), FaultKind::Forbidden),
        (404, "NOT_FOUND", json!([]), FaultKind::NotFound),
        (499, "CANCELLED", json!([]), FaultKind::Cancelled),
        (500, "INTERNAL", json!([]), FaultKind::Server),
        (503, "UNAVAILABLE", json!([]), FaultKind::Overloaded),
        (504, "DEADLINE_EXCEEDED", json!([]), FaultKind::Timeout),
    ];
    for (status, name, details, kind) in cases {
        let body = body(status, name, details);
        // A stream that is an array has its error in one.
        for body in [body.clone(), json!([body])] {
            let fault = ProviderDialect::Gemini.read_error(status, body.to_string().as_bytes());
            assert_eq!(fault.kind, kind, "{body}");
            assert_eq!(fault.code.as_deref(), Some(name));
            assert_eq!(fault.message, "A reason");
            assert_eq!(fault.http_status(), status);
        }
    }
    for body in ["", "[]", "<html>", "{}", "{\"error\":1}"] {
        let fault = ProviderDialect::Gemini.read_error(502, body.as_bytes());
        assert_eq!(fault.kind, FaultKind::Server, "{body}");
    }
}

#[test]
fn a_client_of_googles_hears_when_to_retry_and_what_was_wrong() {
    let fault = Fault {
        code: Some("overloaded_error".to_owned()),
        param: Some("contents".to_owned()),
        retry_after: Some(Duration::from_millis(1_500)),
        ..Fault::new(FaultKind::RateLimit, "Slowly")
    };
    let heard = written(ClientDialect::Gemini, &fault);
    let google = |name: &str| format!("type.googleapis.com/google.rpc.{name}");
    let violation = json!({"field": "contents", "description": "Slowly"});
    let expected = json!({"error": {
        "code": 429, "message": "Slowly", "status": "RESOURCE_EXHAUSTED", "details": [
            {"@type": google("RetryInfo"), "retryDelay": "1.5s"},
            {"@type": google("BadRequest"), "fieldViolations": [violation]},
            {"@type": google("ErrorInfo"), "reason": "overloaded_error", "domain": "everstream"},
        ],
    }});
    assert_eq!(heard, expected);
    let body = heard.to_string();
    let again = ProviderDialect::Gemini.read_error(429, body.as_bytes());
    assert_eq!(
        (again.retry_after, again.param),
        (fault.retry_after, fault.param)
    );
}
