//! Values that belong to particular fields: names, keys, paths.

use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::describe::Native;
use super::kinds::text;
use super::mistake::{Fault, did_you_mean, nearest};
use super::spec::Scalar;
use crate::id::ProjectId;
use crate::money::{Money, MoneyError};
use crate::policy::disconnect::OnDisconnect;
use crate::policy::hedge::HedgeAfter;
use crate::provider::{self, PROVIDERS, Provider};
use crate::record::Digest;
use crate::secret::Secret;

/// The digest of a client's key: what the configuration keeps of it, and what it is looked up by.
pub fn key_hash(key: &str) -> Digest {
    Digest(Sha256::digest(key.as_bytes()).into())
}

/// A key's digest as the configuration writes it, `sha256:<64 hexadecimal digits>`.
pub fn show_key_hash(hash: Digest) -> String {
    format!("{HASH_PREFIX}{}", crate::hex::hex(&hash.0))
}

const HASH_PREFIX: &str = "sha256:";

/// `EVERSTREAM_API_KEYS`: each key with the name of the project it gets.
pub(super) fn keys_of_variable(list: &str) -> Vec<Result<(ProjectId, Digest), Fault>> {
    let keys = list.split(',').map(str::trim).filter(|key| !key.is_empty());
    keys.enumerate()
        .map(|(index, key)| {
            let hash = key_hash(key);
            let [a, b, c, d, ..] = hash.0;
            let project = format!("key-{a:02x}{b:02x}{c:02x}{d:02x}");
            match project.parse() {
                Ok(project) if key.bytes().all(|b| b.is_ascii_graphic()) => Ok((project, hash)),
                _ => {
                    Err(format!("key {} has characters other than visible ASCII", index + 1).into())
                }
            }
        })
        .collect()
}

pub(super) fn hash() -> Scalar<Digest> {
    let parse = |text: &str| {
        let Some(digits) = text.strip_prefix(HASH_PREFIX) else {
            return Err(
                Fault::from("not a hash").hint("`everstream key new` makes a key and its hash")
            );
        };
        hex(digits)
            .map(Digest)
            .ok_or_else(|| "not 64 hexadecimal digits after `sha256:`".into())
    };
    let schema = json!({"type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$"});
    let show = |hash: &Digest| show_key_hash(*hash).into();
    let allowed = "the SHA-256 of a key, `sha256:<64 hexadecimal digits>`";
    Scalar::new(Native::String, allowed, schema, parse, show)
}

fn hex(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(bytes)
}

/// A key that goes into a request's header.
pub(super) fn key(text: &str) -> Result<Secret, Fault> {
    if text.is_empty() {
        Err("the key is empty".into())
    } else if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Secret::new(text))
    } else {
        Err("the key has blanks, line ends or characters other than visible ASCII".into())
    }
}

/// A key of this gateway's own that goes into a request's header.
pub(super) fn secret() -> Scalar<Secret> {
    let allowed = "a key, best as a reference to the environment (`\"${NAME}\"`)";
    Scalar::new(
        Native::String,
        allowed,
        json!({"type": "string"}),
        key,
        |_| Value::Null,
    )
}

/// See [`Config::master_secret`](super::Config).
pub(super) fn master_secret() -> Scalar<Secret> {
    let parse = |text: &str| {
        if text.len() < 32 {
            Err(Fault::from("shorter than 32 characters").hint("`openssl rand -hex 32` makes one"))
        } else {
            key(text)
        }
    };
    let allowed = "at least 32 characters, best as a reference to the environment (`\"${NAME}\"`)";
    let schema = json!({"type": "string", "minLength": 32});
    Scalar::new(Native::String, allowed, schema, parse, |_| Value::Null)
}

/// The address of a database, with its password.
pub(super) fn database_url() -> Scalar<Secret> {
    let parse = |text: &str| {
        let known = ["postgres://", "postgresql://", "sqlite:"];
        let rest = known.iter().find_map(|scheme| text.strip_prefix(scheme));
        match rest {
            Some("") => Err("the address says no more than what it is for".into()),
            Some(_) => key(text),
            None => Err("begins with none of `postgres://`, `postgresql://`, `sqlite:`".into()),
        }
    };
    let allowed = "`postgres://...` or `sqlite:<path>`, best as a reference to the environment";
    Scalar::new(
        Native::String,
        allowed,
        json!({"type": "string"}),
        parse,
        |_| Value::Null,
    )
}

/// The value of a header.
pub(super) fn header_text(text: &str) -> Result<Secret, Fault> {
    let blank = |c: char| c == ' ' || c == '\t';
    if text.contains(|c| !(blank(c) || c.is_ascii_graphic())) {
        Err("a header's value cannot hold line ends or characters other than ASCII".into())
    } else if text.starts_with(blank) || text.ends_with(blank) {
        Err("a header's value cannot start or end with blanks".into())
    } else {
        Ok(Secret::new(text))
    }
}

/// Headers that Everstream has to set itself, for the message to be what it is.
const OWN_HEADERS: [&str; 12] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name of a header, in lower case.
pub(super) fn header_name(name: &str) -> Result<String, Fault> {
    // RFC 9110, section 5.6.2: a token.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(token) {
        Err("not the name of a header".into())
    } else if OWN_HEADERS.contains(&lower.as_str()) {
        Err("Everstream sets this header itself".into())
    } else {
        Ok(lower)
    }
}

/// The name of an upstream.
pub(super) fn name() -> Scalar<String> {
    text("1 to 64 characters of A-Z a-z 0-9 . _ -", |name| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(name.to_owned())
        } else {
            Err("not a name".into())
        }
    })
}

/// The name of a provider.
pub(super) fn provider() -> Scalar<&'static Provider> {
    let names: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let parse = |name: &str| {
        provider::find(name).ok_or_else(|| Fault {
            problem: "no such provider is known".to_owned(),
            suggestion: nearest(name, PROVIDERS.iter().map(|provider| provider.name))
                .map(did_you_mean)
                .or_else(|| Some("leave it out, and set `name` and `base_url`".to_owned())),
        })
    };
    Scalar::new(
        Native::String,
        format!("one of {}", quoted.join(", ")),
        json!({"enum": names}),
        parse,
        |provider| provider.name.into(),
    )
}

/// What [`word`] takes, for people.
pub(super) const WORD: &str = "1 to 128 characters of A-Z a-z 0-9 . _ : -";

/// A word that goes into a URL as it is.
pub(super) fn word() -> Scalar<String> {
    text(WORD, word_of)
}

/// See [`word`].
pub(super) fn word_of(word: &str) -> Result<String, Fault> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    if (1..=128).contains(&word.len()) && word.bytes().all(allowed) {
        Ok(word.to_owned())
    } else {
        Err("not such a word".into())
    }
}

/// The path of a mount or a namespace of Vault's.
pub(super) fn vault_mount() -> Scalar<String> {
    text(
        "words of A-Z a-z 0-9 . _ - with slashes between",
        vault_path,
    )
}

/// See [`vault_mount`].
pub(super) fn vault_path(path: &str) -> Result<String, Fault> {
    let path = path.trim_matches('/');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(allowed);
    if path.split('/').all(segment) {
        Ok(path.to_owned())
    } else {
        Err("not a path of Vault's".into())
    }
}

/// The name of a model, as clients or upstreams spell it.
pub(super) fn model() -> Scalar<String> {
    text(
        "the name of a model, 1 to 256 visible characters",
        model_name,
    )
}

/// See [`model`].
pub(super) fn model_name(name: &str) -> Result<String, Fault> {
    let odd = |c: char| c.is_control() || c.is_whitespace();
    if (1..=256).contains(&name.len()) && !name.contains(odd) {
        Ok(name.to_owned())
    } else {
        Err("not the name of a model".into())
    }
}

pub(super) fn project() -> Scalar<ProjectId> {
    text("1 to 64 characters of A-Z a-z 0-9 . _ -", |name| {
        name.parse().map_err(|_| "not the name of a project".into())
    })
}

pub(super) fn path() -> Scalar<PathBuf> {
    let show = |path: &PathBuf| path.to_string_lossy().into();
    Scalar::new(
        Native::String,
        "a path",
        json!({"type": "string"}),
        path_of,
        show,
    )
}

/// See [`path`].
pub(super) fn path_of(text: &str) -> Result<PathBuf, Fault> {
    match text {
        "" => Err("the path is empty".into()),
        _ if text.contains('\0') => Err("a path cannot hold a NUL".into()),
        _ if text == "~" || text.starts_with("~/") => {
            Err(Fault::from("`~` means nothing here").hint("write `${HOME}`"))
        }
        _ => Ok(PathBuf::from(text)),
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How much is logged: a level, or several for parts of the program.
pub(super) fn level() -> Scalar<String> {
    let allowed = format!("one of {}, or a list of `part=level`", LEVELS.join(", "));
    text(allowed, |filter| {
        for directive in filter.split(',') {
            let level = match directive.split_once('=') {
                Some((part, level)) if model_name(part).is_ok() => level,
                Some(_) => return Err("a `part=level` without its part".into()),
                None => directive,
            };
            let level = level.to_ascii_lowercase();
            if !LEVELS.contains(&level.as_str()) {
                return Err(Fault {
                    problem: "no such level".to_owned(),
                    suggestion: nearest(&level, LEVELS).map(did_you_mean),
                });
            }
        }
        Ok(filter.to_owned())
    })
}

pub(super) fn on_disconnect() -> Scalar<OnDisconnect> {
    text("`continue`, `cancel` or `linger:<duration>`", |text| {
        text.parse().map_err(|_| "no such policy".into())
    })
}

/// An amount of money.
pub(super) fn money() -> Scalar<Money> {
    text("an amount in dollars, such as `\"2.50\"`", |text| {
        text.parse()
            .map_err(|error: MoneyError| error.to_string().into())
    })
}

/// When a second deployment is asked.
pub(super) fn hedge_after() -> Scalar<HedgeAfter> {
    let allowed = "a duration, or a percentile from `p50` to `p99`";
    text(allowed, |text| {
        text.parse().map_err(|_| "neither of these".into())
    })
}
