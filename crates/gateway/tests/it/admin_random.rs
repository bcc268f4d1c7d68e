//! Whatever is sent to the listener for operators is answered, as its description says, and breaks
//! nothing.

use std::sync::Arc;

use axum::body::Body;
use everstream_testkit::provider::FakeProvider;
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use crate::admin::KEY;
use crate::admin_keys::{made, office};
use crate::talk::answer_to;

/// Values that a field may be given, right and wrong.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("demo"),
            Just("day"),
            Just("1.50"),
            Just("24h"),
            Just("requests=60/1m"),
            Just("00000000"),
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..3)
                .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// What fits a field of this name.
fn right(name: &str) -> Value {
    match name {
        "period" => json!("day"),
        "limit" => json!("1.50"),
        "create_project" => json!(true),
        _ => json!("demo"),
    }
}

/// A body with what an operation needs and some of the rest, or anything.
fn body(schema: &Value) -> BoxedStrategy<Vec<u8>> {
    let needed = schema["required"].as_array().into_iter().flatten();
    let needed: Vec<&str> = needed.map(|name| name.as_str().unwrap()).collect();
    let needed: Map<_, _> = needed
        .iter()
        .map(|name| ((*name).to_owned(), right(name)))
        .collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    let mut fields: Vec<String> = fields.map(|(name, _)| name.clone()).collect();
    fields.push("fiels".to_owned());
    let field = prop::sample::select(fields).prop_flat_map(|name| {
        let fits = right(&name);
        (
            Just(name),
            prop_oneof![Just(fits), Just(json!(["m"])), value()],
        )
    });
    let object = prop::collection::vec(field, 0..3).prop_map(move |fields| {
        let mut object = needed.clone();
        object.extend(fields);
        Value::from(object).to_string().into_bytes()
    });
    prop_oneof![
        8 => object,
        1 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
    .boxed()
}

fn names(parameters: &Value) -> Vec<String> {
    let parameters = parameters.as_array().into_iter().flatten();
    let parameters = parameters.filter(|one| one["in"] == "query");
    parameters
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn any_request_is_answered_as_described() {
    let provider = FakeProvider::start(answer_to).await;
    let database = tempfile::tempdir().unwrap();
    let (gateway, admin) = office(&provider, database.path()).await;
    let key = made(&admin, json!({})).await;
    let key = key["id"].as_str().unwrap();
    let router = everstream::http::admin::router(Arc::clone(&gateway.app));
    let described = everstream::http::admin::openapi();
    let mut runner = TestRunner::deterministic();
    let (mut done, mut refused) = (0, 0);
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let mut queries = names(&operation["parameters"]);
            queries.push("qurey".to_owned());
            let query =
                prop::collection::vec((prop::sample::select(queries), "[a-z0-9:%.,=]{0,10}"), 0..3);
            let case = (body(schema), query, "[A-Za-z0-9._%~-]{1,16}");
            for n in 0..24 {
                let (body, query, segment) = case.new_tree(&mut runner).unwrap().current();
                let segment = ["demo", key, &segment][n % 3];
                let path = path.replace("{id}", segment).replace("{name}", segment);
                let query: Vec<String> = query
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                let uri = if n % 2 == 0 || query.is_empty() {
                    path
                } else {
                    format!("{path}?{}", query.join("&"))
                };
                let Ok(request) = http::Request::builder()
                    .method(method.to_ascii_uppercase().as_str())
                    .uri(&uri)
                    .header("host", "localhost")
                    .header("authorization", format!("Bearer {KEY}"))
                    .body(Body::from(body.clone()))
                else {
                    continue;
                };
                let response = router.clone().oneshot(request).await.unwrap();
                let status = response.status().as_u16();
                let kind = response.headers().get("content-type").cloned();
                let text = response.into_body().collect().await.unwrap().to_bytes();
                let about = format!(
                    "{method} {uri} {}: {status}",
                    String::from_utf8_lossy(&body)
                );
                assert!(status != 500 && status != 503, "{about} {text:?}");
                let kind = kind
                    .map(|kind| kind.to_str().unwrap().to_owned())
                    .unwrap_or_default();
                if status >= 400 {
                    assert_eq!(kind, "application/problem+json", "{about}");
                    let problem: Value = serde_json::from_slice(&text).unwrap();
                    assert_eq!(problem["status"], status, "{about}");
                    assert!(!problem["detail"].as_str().unwrap().is_empty(), "{about}");
                    refused += 1;
                    continue;
                }
                done += 1;
                let answer = &operation["responses"][status.to_string()];
                assert!(answer.is_object(), "{about} is not described");
                if kind == "application/json" {
                    let shown: Value = serde_json::from_slice(&text).unwrap();
                    let schema = &answer["content"]["application/json"]["schema"];
                    if let Err(wrong) = fits(&shown, schema, &described) {
                        panic!("{about}: {wrong}: {shown}");
                    }
                }
            }
        }
    }
    assert!(done > 40 && refused > 200, "{done} done, {refused} refused");
    gateway.stop().await;
}

/// Whether a value is what a schema says, as far as the schemas of this description go.
fn fits(value: &Value, schema: &Value, described: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let at = reference.strip_prefix('#').unwrap();
        let schema = described.pointer(at).ok_or(format!("nothing at {at}"))?;
        return fits(value, schema, described);
    }
    for any in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema[any].as_array() {
            let fit = schemas
                .iter()
                .any(|schema| fits(value, schema, described).is_ok());
            return if fit {
                Ok(())
            } else {
                Err(format!("{value} is none of {schema}"))
            };
        }
    }
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    let right = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        _ => true,
    };
    if !right {
        return Err(format!("{value} is no {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{value} is none of {allowed:?}"));
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], described)?;
    }
    let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    else {
        return Ok(());
    };
    for needed in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(needed.as_str().unwrap()) {
            return Err(format!("no {needed}"));
        }
    }
    for (name, value) in object {
        let schema = properties
            .get(name)
            .ok_or(format!("{name} is not described"))?;
        fits(value, schema, described).map_err(|wrong| format!("{name}: {wrong}"))?;
    }
    Ok(())
}

#[test]
fn the_check_of_answers_finds_what_is_wrong() {
    let schema = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": ["string", "null"]}, "b": {"type": "array", "items": {"enum": [1, 2]}}}});
    let none = json!({});
    assert!(fits(&json!({"a": null, "b": [1, 2]}), &schema, &none).is_ok());
    for wrong in [
        json!({}),
        json!({"a": 1}),
        json!({"a": "", "b": [3]}),
        json!({"a": "", "c": 1}),
    ] {
        assert!(fits(&wrong, &schema, &none).is_err(), "{wrong}");
    }
}
