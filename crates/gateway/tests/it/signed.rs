//! Signed requests: each is taken once, and only as it was signed.

use std::time::Duration;

use everstream_testkit::provider::{FakeProvider, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, Setup, within};
use crate::raw::RawUpstream;
use crate::signer::{Headers, Key, Wish, borrowed};
use crate::socket::Socket;
use crate::talk::{CHAT, answer_to, chat, unary_chat};

const REPLAYED: &str = "request_replayed";
const INVALID: &str = "invalid_signature";
const TRANSCRIBE: &str = "/v1/audio/transcriptions";

/// Sends it, and gives the status, the body and the error's code.
async fn send(
    gateway: &Gateway,
    (method, target): (&str, &str),
    headers: &Headers,
    body: &[u8],
) -> (u16, Value, String) {
    let asked = async {
        let mut client = gateway.client().await;
        let json = [("content-type", "application/json")];
        let headers = [&json[..], &borrowed(headers)].concat();
        let head = client.request(method, target, &headers, body).await;
        let (body, _) = client.read_body().await.unwrap();
        (head.unwrap().status, body)
    };
    let (status, body) = within(asked).await;
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = json["error"]["code"].as_str().or(json["code"].as_str());
    let code = code.unwrap_or_default().to_owned();
    (status, json, code)
}

fn message(refused: &Value) -> &str {
    let of_openai = refused["error"]["message"].as_str();
    of_openai.or(refused["detail"].as_str()).unwrap_or_default()
}

#[tokio::test]
async fn a_signed_request_is_answered_once() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let key = Key::new(&gateway, 1).await;
    let body = unary_chat("hi").to_string().into_bytes();
    let headers = key.sign(&gateway, Wish::post(CHAT, &body));
    let (status, answer, _) = send(&gateway, ("POST", CHAT), &headers, &body).await;
    assert_eq!(status, 200, "{answer}");
    for _ in 0..3 {
        let (status, _, code) = send(&gateway, ("POST", CHAT), &headers, &body).await;
        assert_eq!((status, &*code), (401, REPLAYED));
    }
    assert_eq!(provider.calls().len(), 1);
    // The client's proof goes no further.
    assert_eq!(provider.calls()[0].header("signature"), None);
    let (status, _, _) = send(&gateway, ("POST", CHAT), &Headers::new(), &body).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn streams_are_made_and_read_and_followed_with_signatures() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let (key, other) = (Key::new(&gateway, 1).await, Key::new(&gateway, 2).await);
    let body = chat("hi").to_string();
    let headers = key.sign(&gateway, Wish::post(CHAT, body.as_bytes()));
    let mut client = gateway.client().await;
    let headers = borrowed(&headers);
    let asked = client.request("POST", CHAT, &headers, body.as_bytes());
    let head = within(asked).await.unwrap();
    assert_eq!(head.status, 200);
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    within(client.collect_sse()).await.unwrap();

    let page = format!("/v1/streams/{id}?limit=2");
    let headers = key.sign(&gateway, Wish::get(&page));
    let (status, found, _) = send(&gateway, ("GET", &page), &headers, b"").await;
    assert_eq!((status, &found["status"]), (200, &json!("completed")));
    // Another key of the same project.
    let headers = other.sign(&gateway, Wish::get("/v1/streams"));
    let (status, found, _) = send(&gateway, ("GET", "/v1/streams"), &headers, b"").await;
    assert_eq!((status, &found["total"]), (200, &json!(1)));
    let token = format!("/v1/streams/{id}/token");
    for (body, good) in [
        (&b""[..], true),
        (b"{\"expires_in\":60}", true),
        (b"{}", false),
    ] {
        let signed = if good { body } else { b"{ }" };
        let headers = key.sign(&gateway, Wish::post(&token, signed));
        let (status, ..) = send(&gateway, ("POST", &token), &headers, body).await;
        assert_eq!(status, if good { 200 } else { 401 }, "{body:?}");
    }

    let path = format!("/v1/streams/{id}/ws");
    let headers = key.sign(&gateway, Wish::get(&path));
    let mut socket = Socket::open(&gateway, &path, &borrowed(&headers)).await;
    let heard = socket.as_mut().unwrap().hear_until("end").await;
    assert_eq!(heard.last().unwrap()["status"], "completed");
    let again = Socket::open(&gateway, &path, &borrowed(&headers)).await;
    assert_eq!(again.err().unwrap().1["code"], REPLAYED);
    // Who shows a bad signature is nobody, not somebody without a key.
    let headers = key.sign(&gateway, Wish::get("/v1/ws?x=1"));
    let refused = Socket::open(&gateway, "/v1/ws", &borrowed(&headers)).await;
    assert_eq!(refused.err().unwrap().0, 401);
}

#[tokio::test]
async fn what_was_altered_is_refused_before_anything_is_sent() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let key = Key::new(&gateway, 1).await;
    let body = unary_chat("hi").to_string().into_bytes();
    let altered = [&body[..], b" "].concat();
    let wish = Wish::post(CHAT, &body);
    let sign = |wish| key.sign(&gateway, wish);
    let mut no_digest = sign(Wish { body: None, ..wish });
    let mut other_nonce = sign(wish);
    other_nonce[1].1 = other_nonce[1].1.replace("n-1", "n-9");
    let mut other_digest = sign(wish);
    other_digest[0].1 = everstream_core::sign::http::content_digest(&altered);
    let mut unsigned = sign(wish);
    unsigned.pop();
    let mut uncovered = sign(wish);
    uncovered[1].1 = uncovered[1].1.replace("\"@method\" ", "");
    let stranger = key.at("gateway.example");
    let mismatch = "does not match";
    for (headers, method, target, sent, why) in [
        (
            sign(wish),
            "POST",
            CHAT,
            &altered,
            "The body is not the one",
        ),
        (
            sign(wish),
            "POST",
            CHAT,
            &body[..9].to_vec(),
            "The body is not the one",
        ),
        (
            sign(wish),
            "POST",
            CHAT,
            &Vec::new(),
            "The body is not the one",
        ),
        (
            no_digest.clone(),
            "POST",
            CHAT,
            &body,
            "must cover content-digest",
        ),
        (sign(wish), "POST", "/v1/embeddings", &body, mismatch),
        (
            sign(wish),
            "POST",
            "/v1/chat/completions?x=1",
            &body,
            "must cover @path, with @query",
        ),
        (
            sign(Wish::get("/v1/models")),
            "DELETE",
            "/v1/models",
            &Vec::new(),
            mismatch,
        ),
        (other_nonce, "POST", CHAT, &body, mismatch),
        (other_digest, "POST", CHAT, &altered, mismatch),
        (
            unsigned,
            "POST",
            CHAT,
            &body,
            "one signature with the same label",
        ),
        (uncovered, "POST", CHAT, &body, "must cover @method"),
        (stranger.sign(&gateway, wish), "POST", CHAT, &body, mismatch),
    ] {
        let (status, refused, code) = send(&gateway, (method, target), &headers, sent).await;
        // A method that the path does not take is refused before anybody is asked who it is.
        if method == "DELETE" {
            assert_eq!(status, 405);
            continue;
        }
        assert_eq!(
            (status, &*code),
            (401, INVALID),
            "{method} {target}: {refused}"
        );
        assert!(message(&refused).contains(why), "{why}: {refused}");
        assert!(!refused.to_string().contains(key.secret.expose()));
    }
    // Chunks tell nothing of their sum.
    no_digest.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
    let mut client = gateway.client().await;
    let mut head = format!("POST {CHAT} HTTP/1.1\r\nhost: {}\r\n", gateway.addr);
    for (name, value) in &no_digest {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let chunk = format!("\r\n{:x}\r\n", body.len());
    let all = [head.as_bytes(), chunk.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    within(client.send(&all)).await.unwrap();
    assert_eq!(within(client.read_head()).await.unwrap().status, 401);
    assert_eq!(provider.calls().len(), 0);
}

#[tokio::test]
async fn clocks_may_be_apart_a_little() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let key = Key::new(&gateway, 1).await;
    for (ahead, why) in [
        (25, None),
        (40, Some("ahead of the server's clock")),
        (-300, None),
        (-340, Some("was good until")),
    ] {
        let wish = Wish {
            ahead,
            ..Wish::get("/v1/models")
        };
        let headers = key.sign(&gateway, wish);
        let (status, refused, code) = send(&gateway, ("GET", "/v1/models"), &headers, b"").await;
        match why {
            None => assert_eq!(status, 200, "{ahead}: {refused}"),
            Some(why) => {
                assert_eq!((status, &*code), (401, INVALID), "{ahead}");
                assert!(message(&refused).contains(why), "{refused}");
            }
        }
    }
}

#[tokio::test]
async fn both_secrets_sign_while_a_key_is_rotated_and_none_once_it_is_revoked() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let (old, never) = (Key::new(&gateway, 1).await, Key::new(&gateway, 2).await);
    let ask = async |key: &Key| {
        let headers = key.sign(&gateway, Wish::get("/v1/models"));
        send(&gateway, ("GET", "/v1/models"), &headers, b"").await.0
    };
    let new = old.rotate(&gateway, Duration::from_hours(1)).await;
    let rotated = async {
        while ask(&new).await != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(rotated).await;
    assert_eq!(ask(&old).await, 200);
    // Not the secret of another key.
    let mut mixed = never.at(&gateway.addr.to_string());
    mixed.id = new.id.clone();
    assert_eq!(ask(&mixed).await, 401);
    new.revoke(&gateway).await;
    new.knows(&gateway, |known| !known).await;
    assert_eq!((ask(&old).await, ask(&new).await), (401, 401));
    assert_eq!(ask(&never).await, 200);
}

#[tokio::test]
async fn an_upstream_never_has_all_of_an_altered_upload() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let key = Key::new(&gateway, 1).await;
    let form = ("content-type", "multipart/form-data; boundary=b");
    let field = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n";
    let file = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let audio = "a".repeat(256 << 10);
    let body = format!("{field}{file}{audio}\r\n--b--\r\n").into_bytes();
    let mut altered = body.clone();
    altered[2000] = b'b';
    for chunked in [false, true] {
        for (sent, good) in [(&body, true), (&altered, false)] {
            let headers = key.sign(&gateway, Wish::post(TRANSCRIBE, &body));
            let client = async {
                let mut client = gateway.client().await;
                let mut head = format!("POST {TRANSCRIBE} HTTP/1.1\r\nhost: {}\r\n", gateway.addr);
                for (name, value) in [&[form], &borrowed(&headers)[..]].concat() {
                    head.extend([name, ": ", value, "\r\n"]);
                }
                let framed = if chunked {
                    head.push_str("transfer-encoding: chunked\r\n\r\n");
                    let size = format!("{:x}\r\n", sent.len());
                    [size.as_bytes(), sent, b"\r\n0\r\n\r\n"].concat()
                } else {
                    head.push_str(&format!("content-length: {}\r\n\r\n", sent.len()));
                    sent.clone()
                };
                client.send(head.as_bytes()).await.unwrap();
                client.send(&framed).await.unwrap();
                let head = client.read_head().await.unwrap();
                (head.status, client.read_body().await.unwrap().0)
            };
            let server = async {
                let mut exchange = upstream.accept().await;
                if good {
                    assert!(exchange.body().await == body);
                    exchange.answer(200, "", "{}").await;
                } else {
                    assert!(!exchange.ends().await, "all of an altered body arrived");
                }
            };
            let ((status, answer), ()) = within(async { tokio::join!(client, server) }).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert_eq!(status, if good { 200 } else { 401 }, "{chunked}: {answer}");
            assert!(good || answer.contains(INVALID), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_key_is_believed_beside_the_signature_of_a_proxy_and_not_beside_a_bad_one_of_ours() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let key = Key::new(&gateway, 1).await;
    let bearer = ("authorization".to_owned(), format!("Bearer {KEY_ONE}"));
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let proxys = vec![
        bearer.clone(),
        field(
            "signature-input",
            "cdn=(\"@authority\");created=1;keyid=\"x\";tag=\"web-bot-auth\"",
        ),
        field("signature", "cdn=:AAAA:"),
    ];
    let mut ours = key.sign(&gateway, Wish::get("/v1/models"));
    ours.push(bearer.clone());
    let mut bad = key.sign(&gateway, Wish::get("/v1/other"));
    bad.push(bearer);
    for (headers, status) in [(proxys, 200), (ours, 200), (bad, 401)] {
        let got = send(&gateway, ("GET", "/v1/models"), &headers, b"").await;
        assert_eq!(got.0, status, "{}", got.1);
    }
}

#[tokio::test]
async fn keys_of_the_configuration_sign_nothing() {
    let provider = FakeProvider::start(|_| Script::json(200, &json!({}))).await;
    let setup = Setup::new(&provider).with_keys();
    let gateway = setup.config("log.backend = \"memory\"").start().await;
    let input = "sig1=(\"@method\" \"@authority\" \"@path\");created=1;nonce=\"n\";keyid=\"k\"";
    let headers = vec![
        ("signature-input".to_owned(), input.to_owned()),
        ("signature".to_owned(), "sig1=:AAAA:".to_owned()),
    ];
    let refused = send(&gateway, ("GET", "/v1/models"), &headers, b"").await;
    assert_eq!((refused.0, &*refused.2), (401, INVALID));
    assert!(
        message(&refused.1).contains("key of the database"),
        "{}",
        refused.1
    );
}

#[tokio::test]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn what_one_gateway_took_another_refuses() {
    let provider = FakeProvider::start(answer_to).await;
    let url = std::env::var("EVERSTREAM_TEST_POSTGRES").expect("run with scripts/postgres.sh");
    let start = || {
        let config = format!(
            "master_secret = \"a-secret-that-all-gateways-share\"\ndatabase = {{ url = \"{url}\" }}\n\
             trusted_proxies = [\"127.0.0.1\"]"
        );
        Setup::new(&provider).config(&config).start()
    };
    let (one, two) = (start().await, start().await);
    // One name for both, as behind a load balancer.
    let key = Key::new(&one, 3).await.at("gateway.example");
    key.knows(&two, |known| known).await;
    for (first, second) in [(&one, &two), (&two, &one)] {
        let mut headers = key.sign(first, Wish::get("/v1/models"));
        let host = "gateway.example".to_owned();
        headers.push(("x-forwarded-host".to_owned(), host));
        let taken = send(first, ("GET", "/v1/models"), &headers, b"").await;
        assert_eq!(taken.0, 200, "{}", taken.1);
        for gateway in [first, second] {
            let refused = send(gateway, ("GET", "/v1/models"), &headers, b"").await;
            assert_eq!((refused.0, &*refused.2), (401, REPLAYED));
        }
    }
}
