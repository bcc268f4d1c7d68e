use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::secret::Secret;
use crate::sign::api_key::KeyText;

const PREFIXES: [&str; 9] = [
    "sk-", "sk_", "gsk_", "xai-", "hf_", "AIza", "ya29.", "pk-", "sess-",
];
const MASK: &str = "[redacted]";
/// Shorter words that start like a key are ordinary words.
const KEY_CHARS: usize = 8;

/// Replaces whatever looks like a credential: words that start as providers' keys do, what follows
/// `Bearer` or `Basic`, and the value of a `key=`, `token=` or the like. Providers quote the key
/// that they refuse, and their messages end up in logs and at clients.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut before = "";
    for (start, word) in words(text) {
        let end = start + word.len();
        let named = text[..start].ends_with(['=', ':']) || text[..start].ends_with("= ");
        let secret = is_key(word)
            || is_scheme(before) && word.len() >= KEY_CHARS
            || named && is_secret_name(before);
        if secret {
            out.push_str(&text[copied..start]);
            out.push_str(MASK);
            copied = end;
        }
        before = word;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Replaces known credentials, wherever they stand in `data`: not every key looks like one.
pub fn hide(mut data: Bytes, secrets: &[Secret]) -> Bytes {
    for secret in secrets {
        let secret = secret.expose().as_bytes();
        // A shorter one is a placeholder, such as `none`, and a word of many texts.
        if secret.len() < KEY_CHARS || memmem::find(&data, secret).is_none() {
            continue;
        }
        let mut out = BytesMut::with_capacity(data.len() + MASK.len());
        let mut copied = 0;
        for at in memmem::find_iter(&data, secret) {
            out.extend_from_slice(&data[copied..at]);
            out.extend_from_slice(MASK.as_bytes());
            copied = at + secret.len();
        }
        out.extend_from_slice(&data[copied..]);
        data = out.freeze();
    }
    data
}

/// The runs of characters that credentials are made of, and where they start. Providers mask the
/// middle of a key with stars or dots.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let separator = |c: char| {
        !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '.' | '/' | '+' | '~'))
    };
    text.split(separator)
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr().addr() - text.as_ptr().addr(), word))
}

fn is_key(word: &str) -> bool {
    word.len() >= KEY_CHARS && PREFIXES.iter().any(|prefix| word.starts_with(prefix))
        || word
            .get(..KeyText::CHARS)
            .is_some_and(|own| KeyText::parse(own).is_some())
}

fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

fn is_secret_name(word: &str) -> bool {
    let names = ["key", "token", "secret", "password", "authorization"];
    let word = word.to_ascii_lowercase();
    names.iter().any(|name| word.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_are_masked() {
        let cases = [
            (
                "Incorrect API key provided: sk-abcd****wxyz. You can find yours",
                "Incorrect API key provided: [redacted] You can find yours",
            ),
            ("got 'Bearer abc.def-ghi/jk=='", "got 'Bearer [redacted]=='"),
            (
                "GET /v1/models?key=AIzaSyD-123456&x=1",
                "GET /v1/models?key=[redacted]&x=1",
            ),
            ("api_key=hunter2, retry", "api_key=[redacted], retry"),
            ("{\"x\":\"gsk_0123456789\"}", "{\"x\":\"[redacted]\"}"),
            (
                "is es-0123456789abcdef-0123456789abcdef0123456789abcdef0123456789abcdef.",
                "is [redacted]",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "The key is invalid.",
            "max_tokens: 5 is too small",
            "a sk-i trip",
            "the bearer of bad news",
            "es-0123456789abcdef is the id of a key",
            "",
        ] {
            assert!(matches!(redact(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn known_secrets_are_hidden_whatever_they_look_like() {
        let secrets = ["hunter2-hunter2", "none"].map(Secret::new);
        let text = "a hunter2-hunter2 and none of hunter2-hunter2";
        let hidden = hide(Bytes::from(text), &secrets);
        assert_eq!(hidden, "a [redacted] and none of [redacted]");
    }

    proptest! {
        #[test]
        fn no_key_survives(before in "\\PC{0,20}", key in "sk-[A-Za-z0-9]{8,40}", after in "\\PC{0,20}") {
            let text = format!("{before} {key} {after}");
            prop_assert!(!redact(&text).contains(&key));
        }
    }
}
