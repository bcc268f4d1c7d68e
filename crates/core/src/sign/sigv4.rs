//! AWS Signature Version 4, in headers.
//!
//! Source: "Signature Version 4 signing process" in AWS's General Reference. Path segments are encoded
//! a second time, as for all services but S3.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::calendar::DateTime;
use crate::hex::hex;
use crate::id::UnixMillis;
use crate::secret::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name of the key; no secret.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// For keys that are only lent: sent along.
    pub session_token: Option<Secret>,
}

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// Such as `bedrock`.
    pub service: &'a str,
}

/// A request, as it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// In upper case.
    pub method: &'a str,
    /// Percent-encoded path, and behind `?` the query if there is one.
    pub target: &'a str,
    /// What is to be signed of the headers: `host` must be among them. No name twice.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl Credentials {
    /// The headers that sign a request, to be sent with those of the request: `x-amz-date`, for lent
    /// keys `x-amz-security-token`, and `authorization`. AWS takes them for five minutes.
    pub fn sign(
        &self,
        scope: Scope<'_>,
        request: &Request<'_>,
        now: UnixMillis,
    ) -> Vec<(&'static str, String)> {
        let time = DateTime::from(now).basic();
        let date = &time[..8];
        let mut added = vec![("x-amz-date", time.clone())];
        if let Some(token) = &self.session_token {
            added.push(("x-amz-security-token", token.expose().to_owned()));
        }
        let added_too = added.iter().map(|(name, value)| (*name, value.as_str()));
        let (names, canonical) = canonical(request, added_too);
        let Scope { region, service } = scope;
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let digest = hex(&Sha256::digest(canonical));
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{digest}");
        let secret = format!("AWS4{}", self.secret_access_key.expose());
        let steps = [date, region, service, "aws4_request", &text];
        let signature = steps
            .iter()
            .fold(secret.into_bytes(), |key, step| mac(&key, step));
        let id = &self.access_key_id;
        let signature = hex(&signature);
        let authorization = format!(
            "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        added.push(("authorization", authorization));
        added
    }
}

/// The names of the signed headers, and the request in its canonical form.
fn canonical<'a>(
    request: &Request<'a>,
    added: impl Iterator<Item = (&'a str, &'a str)>,
) -> (String, String) {
    let headers = request.headers.iter().copied().chain(added);
    let mut headers: Vec<_> = headers
        .map(|(name, value)| {
            let words: Vec<_> = value.split_ascii_whitespace().collect();
            (name.to_ascii_lowercase(), words.join(" "))
        })
        .collect();
    headers.sort_unstable();
    let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((request.target, ""));
    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method,
        path_of(path),
        query_of(query)
    );
    for (name, value) in &headers {
        text.extend([name, ":", value, "\n"]);
    }
    text.extend(["\n", &names, "\n", &hex(&Sha256::digest(request.body))]);
    (names, text)
}

/// The path without segments that lead nowhere, encoded once more.
fn path_of(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut text = String::from("/");
    for byte in segments.join("/").bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => {
                let _infallible = write!(text, "%{byte:02X}");
            }
        }
    }
    if path.ends_with('/') && text.len() > 1 {
        text.push('/');
    }
    text
}

/// The parameters in order, each with its equals sign.
fn query_of(query: &str) -> String {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<_> = parameters
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .collect();
    parameters.sort_unstable();
    let written: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    written.join("&")
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = <Hmac<Sha256>>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2015-08-30 12:36:00, the time of AWS's test suite.
    const THEN: UnixMillis = UnixMillis(1_440_938_160_000);

    fn credentials(token: Option<&str>) -> Credentials {
        Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(Secret::new),
        }
    }

    fn signature(
        (service, token): (&str, Option<&str>),
        (method, target): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> String {
        let request = Request {
            method,
            target,
            headers,
            body: body.as_bytes(),
        };
        let region = "us-east-1";
        let headers = credentials(token).sign(Scope { region, service }, &request, THEN);
        let (_, authorization) = headers.last().unwrap();
        let (_, signature) = authorization.split_once("Signature=").unwrap();
        signature.to_owned()
    }

    #[test]
    fn the_cases_of_aws_have_their_signatures() {
        let host = ("Host", "example.amazonaws.com");
        let form = [host, ("Content-Type", "application/x-www-form-urlencoded")];
        let spaced = [
            host,
            ("Content-Type", " application/x-www-form-urlencoded  "),
        ];
        let letters = "-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let unreserved = format!("/{letters}?{letters}={letters}");
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let posted = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        for (method, target, headers, body, expected) in [
            ("GET", "/", &[host][..], "", vanilla),
            ("GET", "/example/..", &[host], "", vanilla),
            ("GET", "/./", &[host], "", vanilla),
            (
                "POST",
                "/",
                &[host],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                &[host],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "GET",
                "/?Param1=value2&Param1=Value1",
                &[host],
                "",
                "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
            ),
            (
                "GET",
                "//example//",
                &[host],
                "",
                "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            ),
            (
                "GET",
                &unreserved,
                &[host],
                "",
                "eb802bf58e4e4b72d43000e35b432e59d42ad19d36ade3ba215827f5b22e500b",
            ),
            ("POST", "/", &form, "Param1=value1", posted),
            ("POST", "/", &spaced, "Param1=value1", posted),
        ] {
            let who = ("service", None);
            let signed = signature(who, (method, target), headers, body);
            assert_eq!(signed, expected, "{method} {target}");
        }
    }

    /// As botocore 1.44 signs it, with a lent key, and a name that has to be encoded.
    #[test]
    fn a_call_of_bedrock_is_signed_as_amazons_own_library_does() {
        let target = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F\
                      us.anthropic.claude-sonnet-4-20250514-v1%3A0/converse-stream";
        let headers = [
            ("host", "bedrock-runtime.us-east-1.amazonaws.com"),
            ("content-type", "application/json"),
        ];
        assert_eq!(
            signature(("bedrock", Some("tok")), ("POST", target), &headers, "{}"),
            "5ae940399c716ee02078b14c05e4223e9e8a392f9497d91f5fffa55be1dc6c6b"
        );
    }

    #[test]
    fn nothing_secret_is_printed() {
        let printed = format!("{:?}", credentials(Some("a-token")));
        assert!(
            !printed.contains("wJalr") && !printed.contains("a-token"),
            "{printed}"
        );
    }

    proptest! {
        #[test]
        fn no_request_is_a_panic(target in "\\PC{0,20}", value in "\\PC{0,20}", now: u64) {
            let request = Request { method: "GET", target: &target, headers: &[("a", &value)], body: b"" };
            let scope = Scope { region: "r", service: "s" };
            credentials(None).sign(scope, &request, UnixMillis(now));
        }
    }
}
