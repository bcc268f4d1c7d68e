//! `everstream sign`

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everstream_core::config::Env;
use everstream_core::id::UnixMillis;
use everstream_core::secret::Secret;
use everstream_core::sign::api_key::KeyText;
use everstream_core::sign::http::{Request, Signer, content_digest};
use http::Uri;

use super::Failure;

const ABOUT: &str = "\
Prints what curl needs to send the request once, within minutes: the key's secret is not in it. The
key is read from the environment (EVERSTREAM_API_KEY) or a file, so that it is in no list of processes.

Examples:
  everstream sign https://gateway.example.org/v1/models | curl -K -
  everstream sign https://gateway.example.org/v1/chat/completions --data @body.json | curl -NK -";

#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(super) struct SignArgs {
    /// The whole address, as curl is to call it
    url: String,
    /// The method; GET, or POST with --data, if absent
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<String>,
    /// The body, or @FILE; sent as JSON unless curl is told another Content-Type
    #[arg(long, short = 'd', value_name = "DATA")]
    data: Option<String>,
    /// A file with the key: es-<id>-<secret>
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

pub(super) fn run(args: &SignArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let key = key(args, env)?;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)
        .map_err(|error| Failure::Other(format!("the system gives no random numbers: {error}")))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = UnixMillis::default().plus(now.unwrap_or_default());
    let config = config(args, &key, &URL_SAFE_NO_PAD.encode(nonce), now)?;
    out.write_all(config.as_bytes())?;
    Ok(())
}

fn key(args: &SignArgs, env: &Env) -> Result<Secret, Failure> {
    if let Some(file) = &args.key_file {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| Failure::Other(format!("{}: {error}", file.display())))?;
        return Ok(Secret::new(text.trim()));
    }
    let key = env.non_empty("EVERSTREAM_API_KEY").map(Secret::new);
    key.ok_or_else(|| {
        let message = "no key: set EVERSTREAM_API_KEY, or name a file with --key-file";
        Failure::Other(message.to_owned())
    })
}

/// A file of options for curl (`-K`).
fn config(args: &SignArgs, key: &Secret, nonce: &str, now: UnixMillis) -> Result<String, Failure> {
    let wrong = |message: &str| Failure::Other(message.to_owned());
    let key = KeyText::parse(key.expose()).ok_or_else(|| {
        wrong("a key that signs looks like es-<16 characters>-<48 characters>: `everstream keys create` makes one")
    })?;
    let no_url = || wrong("the address begins with http:// or https:// and a host, without a user");
    let uri: Uri = args.url.parse().map_err(|_| no_url())?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority())
    else {
        return Err(no_url());
    };
    if authority.as_str().contains('@') {
        return Err(no_url());
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let body = args.data.as_deref().map(read).transpose()?;
    let usual = if body.is_some() { "POST" } else { "GET" };
    let method = args.method.as_deref().unwrap_or(usual);
    let digest = body.as_deref().map(content_digest);
    let digest = digest.map(|digest| ("Content-Digest", digest));
    let fields: Vec<(&str, String)> = digest.into_iter().collect();
    let request = Request {
        method,
        scheme,
        authority: authority.as_str(),
        target,
        fields: &fields[..],
    };
    let signer = Signer {
        key_id: key.id,
        nonce,
        created: now,
        expires: None,
    };
    let signed = signer.sign(&request, key.secret.as_bytes());
    let signed = signed.map_err(|error| Failure::Other(error.to_string()))?;

    let mut config = String::new();
    let mut option = |name: &str, value: &str| {
        let _ = writeln!(config, "{name} = \"{}\"", quoted(value));
    };
    option("url", &format!("{scheme}://{authority}{target}"));
    option("request", method);
    for (name, value) in &fields {
        option("header", &format!("{name}: {value}"));
    }
    option(
        "header",
        &format!("Signature-Input: {}", signed.signature_input),
    );
    option("header", &format!("Signature: {}", signed.signature));
    if let Some(data) = &args.data {
        option("header", "Content-Type: application/json");
        option("data-binary", data);
    }
    // What was signed is what is to be sent.
    config.push_str("globoff\npath-as-is\n");
    Ok(config)
}

/// The bytes that curl is going to send.
fn read(data: &str) -> Result<Vec<u8>, Failure> {
    match data.strip_prefix('@') {
        None => Ok(data.as_bytes().to_vec()),
        Some("-") => {
            let message = "curl reads its options from there: put the body into a file";
            Err(Failure::Other(message.to_owned()))
        }
        Some(file) => {
            std::fs::read(file).map_err(|error| Failure::Other(format!("{file}: {error}")))
        }
    }
}

/// Between the quotes of one of curl's files.
fn quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' | '"' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use everstream_core::sign::http::{ClockWindow, Presented};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn args(url: &str, method: Option<&str>, data: Option<&str>) -> SignArgs {
        SignArgs {
            url: url.to_owned(),
            method: method.map(str::to_owned),
            data: data.map(str::to_owned),
            key_file: None,
        }
    }

    fn key() -> (Secret, String) {
        let secret = "0123456789abcdef".repeat(3);
        (Secret::new(format!("es-abcdefgh01234567-{secret}")), secret)
    }

    /// What curl reads out of a file, as far as such a file needs it.
    fn options(config: &str) -> Vec<(&str, String)> {
        let lines = config.lines().filter_map(|line| line.split_once(" = "));
        let value = |text: &str| {
            let text = text.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            text.replace("\\\"", "\"").replace("\\n", "\n")
        };
        lines.map(|(name, text)| (name, value(text))).collect()
    }

    #[test]
    fn what_curl_is_told_is_accepted() {
        let (key, secret) = key();
        for (data, method) in [(None, "GET"), (Some("{\"a\":\n1}"), "POST")] {
            let args = args("https://Gateway.example:443/v1/x?y=1#z", None, data);
            let text = config(&args, &key, "nonce", NOW).unwrap();
            assert!(!text.contains(&secret));
            let options = options(&text);
            let of = |name: &str| options.iter().find(|(known, _)| *known == name);
            assert_eq!(of("url").unwrap().1, "https://Gateway.example:443/v1/x?y=1");
            assert_eq!(of("request").unwrap().1, method);
            assert_eq!(of("data-binary").map(|(_, data)| &**data), data);
            let headers = options.iter().filter(|(name, _)| *name == "header");
            let headers: Vec<_> = headers
                .map(|(_, header)| header.split_once(": ").unwrap())
                .collect();
            let request = Request {
                method,
                scheme: "https",
                authority: "gateway.example",
                target: "/v1/x?y=1",
                fields: &headers[..],
            };
            let presented = Presented::read(&request).unwrap().unwrap();
            assert_eq!(presented.key_id(), "abcdefgh01234567");
            let window = ClockWindow::default();
            let verified = presented.verify(&request, secret.as_bytes(), NOW, window);
            let mut body = verified.unwrap().body_check();
            body.update(data.unwrap_or_default().as_bytes()).unwrap();
            body.finish().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_signed_is_refused() {
        let (key, _) = key();
        for (key, url, data, why) in [
            (&Secret::new("sk-1"), "https://a/", None, "looks like es-"),
            (&key, "/v1/models", None, "begins with http"),
            (&key, "ftp://a/", None, "begins with http"),
            (&key, "https://user:word@a/", None, "without a user"),
            (&key, "https://a/", Some("@-"), "into a file"),
            (&key, "https://a/", Some("@/none/such"), "/none/such"),
        ] {
            let refused = config(&args(url, None, data), key, "n", NOW).unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
    }
}
