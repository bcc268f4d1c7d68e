//! What operators ask: nothing breaks the gateway, nothing is answered without a key, who may look
//! changes nothing, every answer tells browsers what not to do with it, and no secret is told.
//!
//! The first letter of an input is the operation and the second who asks; then come a line for what the
//! path names, one for the query and one for a header, and the body.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use super::{Inputs, OPERATOR, READER, assert_silent, gateway, plain};

const EXAMPLES: [&str; 24] = [
    "Bw\nlimit=2&who=operator&after=9",
    "Cr\nlimit=1",
    "Dwb-1",
    "Ewb-1\n\n\n&\nc25.00\na[50,100]\nemonth",
    "Fw\nproject=demo&limit=3&after=00000000",
    "Gw\n\n\n&\na true\nfdemo\nemobile\nd[\"gpt-4o*\",\"m\"]\nc[\"requests=60/1m\",\"concurrency=5\"]",
    "Gw\n\n\n{\"project\":\"demo\",\"name\":\"a key\",\"create_project\":true,\"topics\":null}",
    "HrKEY",
    "IwKEY\n\n\n&\na1900000000000\nb[\"input-tokens=100/1h\"]\ncnull\ne[\"t\"]",
    "IwKEY\n\n\n{\"surfaces\":[\"chat_completions\"],\"limits\":[]}",
    "KwKEY\n\n\n{\"overlap\":\"24h\"}",
    "JwKEY",
    "Nw\n\n\n&\naacme\nbAcme",
    "Pwdefault",
    "Rw\n\n\n{\"id\":\"web\",\"organisation\":\"default\"}",
    "Swdemo",
    "Uw\nproject=demo&query=status%3Arunning&sort=-created_at&size=2&page=1",
    "Ww0k3v9f2m7qx4c",
    "Ywup\nmodel=m",
    "[w\nbucket=day&group_by=model&from=0&to=1900000000000&format=csv\naccept: text/csv",
    "\\w\n\naccept: text/plain",
    "A-\n\nauthorization: Bearer operator",
    "Prdefault",
    "!wHEAD /admin/keys/a%2Fb",
];

const HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
];

/// What came back.
pub(super) struct Reply {
    status: u16,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

pub(super) async fn asked(router: &Router, request: Request<Body>) -> Reply {
    let reply = router.clone().oneshot(request).await.unwrap();
    let (head, body) = reply.into_parts();
    Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes().into(),
    }
}

/// One method of one path.
struct Operation {
    method: Method,
    path: String,
    described: Value,
}

fn operations() -> Vec<Operation> {
    let document = everstream::http::admin::openapi();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(|(method, described)| Operation {
            method: method.to_ascii_uppercase().parse().unwrap(),
            path: path.clone(),
            described: described.clone(),
        })
    });
    operations.collect()
}

/// A request, and what is expected of its answer.
struct Case<'a> {
    operation: Option<&'a Operation>,
    key: Option<&'static str>,
    method: Method,
    request: Request<Body>,
}

fn case<'a>(operations: &'a [Operation], input: &[u8], key_id: &str) -> Option<Case<'a>> {
    let [operation, who, rest @ ..] = input else {
        return None;
    };
    let mut lines = rest.splitn(4, |&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (name, query, header, body) = (line(), line(), line(), line());
    let name = str::from_utf8(name).ok()?.replace("KEY", key_id);
    let query = str::from_utf8(query).ok()?;
    let operation = operations.get(usize::from(operation.wrapping_sub(b'A')));
    let (method, path) = if let Some(one) = operation {
        let path = one.path.replace("{id}", &name).replace("{name}", &name);
        (one.method.clone(), path)
    } else {
        // The method and the path themselves.
        let (method, path) = name.split_once(' ').unwrap_or(("GET", &name));
        (method.parse().ok()?, path.to_owned())
    };
    let mut request = Request::builder()
        .method(method.clone())
        .uri(format!("{path}?{query}"));
    if let Some((name, value)) = header_of(header) {
        request = request.header(name, value);
    }
    let mut request = request.body(Body::from(body_of(operation, body))).ok()?;
    let key = match who {
        b'w' => Some(OPERATOR),
        b'r' => Some(READER),
        _ => None,
    };
    if let Some(key) = key {
        let bearer = HeaderValue::try_from(format!("Bearer {key}")).unwrap();
        request.headers_mut().insert("authorization", bearer);
    }
    Some(Case {
        operation,
        key,
        method,
        request,
    })
}

fn header_of(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let at = line.iter().position(|&byte| byte == b':')?;
    let name = HeaderName::from_bytes(&line[..at]).ok()?;
    let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

/// The body itself; or, behind `&`, what the operation needs and a field for each line: its letter
/// among the operation's fields, and its value as JSON or else as text.
fn body_of(operation: Option<&Operation>, body: &[u8]) -> Vec<u8> {
    let (Some(operation), Some(lines)) = (operation, body.strip_prefix(b"&")) else {
        return body.to_vec();
    };
    let schema = &operation.described["requestBody"]["content"]["application/json"]["schema"];
    let needed = schema["required"].as_array().into_iter().flatten();
    let needed = needed.map(|name| (name.as_str().unwrap().to_owned(), json!("demo")));
    let mut object: Map<String, Value> = needed.collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    let fields: Vec<&String> = fields.map(|(name, _)| name).collect();
    for line in lines.split(|&byte| byte == b'\n') {
        let Some((&letter, value)) = line.split_first() else {
            continue;
        };
        let field = fields.get(usize::from(letter.wrapping_sub(b'a')));
        let field = field.map_or("no-field", |field| field.as_str());
        let value = serde_json::from_slice(value)
            .unwrap_or_else(|_| String::from_utf8_lossy(value).into_owned().into());
        object.insert(field.to_owned(), value);
    }
    Value::from(object).to_string().into_bytes()
}

#[tokio::test]
async fn whatever_operators_ask_is_answered() {
    let (gateway, _dir) = gateway().await;
    let router = everstream::http::admin::router(gateway.app.clone());
    let operations = operations();
    let mut inputs = Inputs::new(&EXAMPLES);
    let mut key_id = "none".to_owned();
    let (mut done, mut refused) = (0, 0);
    for _ in 0..Inputs::count() {
        let input = inputs.next();
        let Some(case) = case(&operations, &input, &key_id) else {
            continue;
        };
        let about = format!("\"{}\"", input.escape_ascii());
        let reply = asked(&router, case.request).await;
        let about = format!("{about}: {} {:?}", reply.status, reply.body.escape_ascii());
        let told = check(&reply, &case.method, &about);
        match (case.key, reply.status) {
            (None, status) => assert_eq!(status, 401, "{about}"),
            (Some(READER), 200..300) => assert_eq!(case.method, Method::GET, "{about}"),
            _ => {}
        }
        let is_done = reply.status < 300;
        let described = case.operation.map(|one| &one.described["responses"]);
        if let Some(described) = described.filter(|_| is_done) {
            assert!(described[reply.status.to_string()].is_object(), "{about}");
        }
        assert_silent(&reply.body, &input, None);
        for value in reply.headers.values() {
            assert_silent(value.as_bytes(), &input, None);
        }
        let (method, path) = match case.operation {
            Some(one) => (one.method.as_str(), one.path.as_str()),
            None => ("", ""),
        };
        if (path, reply.status) == ("/admin/keys", 201) {
            let made: Value = serde_json::from_slice(&reply.body).unwrap();
            made["id"].as_str().unwrap().clone_into(&mut key_id);
        }
        (done, refused) = match is_done {
            true => (done + 1, refused),
            false => (done, refused + 1),
        };
        let whose = case.key.map(str::len);
        let behaviour = format!("{method} {path} {whose:?} {} {told}", reply.status);
        inputs.learn(&input, behaviour);
    }
    assert!(
        done > 100 && refused > 500,
        "{done} done, {refused} refused"
    );
    assert!(inputs.seen.len() > 100, "{:?}", inputs.seen);
    gateway.stop().await;
}

/// What holds for all replies. Gives what it is refused for.
fn check(reply: &Reply, method: &Method, about: &str) -> String {
    assert!(reply.status < 500, "{about}");
    for (name, value) in HEADERS {
        let found = reply.headers.get(name);
        assert!(found.is_some_and(|found| found == value), "{about}: {name}");
    }
    if reply.status < 400 || method == Method::HEAD {
        return String::new();
    }
    let kind = reply.headers.get("content-type");
    let is_problem = kind.is_some_and(|kind| kind == "application/problem+json");
    assert!(is_problem, "{about}: {kind:?}");
    let problem: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["status"], reply.status, "{about}");
    assert!(problem["code"].is_string(), "{about}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty(), "{about}");
    plain(detail)
}
