//! Requests made of bytes, at a gateway that has a secret of each kind. The bytes are examples, changed
//! by chance; what is answered as nothing was before becomes one more example. Here and not in `fuzz/`, as
//! the gateway and all that it brings would have to be built once more for that.
//!
//! `FUZZ_CASES=1000000 cargo test -p everstream --test it fuzz::` goes on for longer.

mod access;
mod admin;

use std::collections::HashSet;

use everstream_testkit::provider::Nobody;
use tempfile::TempDir;

use crate::harness::{Gateway, Setup, UPSTREAM_KEY};

const OPERATOR: &str = "operator-canary-93b7d1a5c04e";
const READER: &str = "reader-canary-6f20c8be17d4";
const MASTER: &str = "master-canary-0d5c1be2a7f94e63a8c2b1d4";

/// The public half of the key of RFC 8037, appendix A.
const ISSUER_KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// What inputs are made of beside examples.
const WORDS: [&str; 24] = [
    "null",
    "true",
    "-1",
    "0",
    "18446744073709551616",
    "1e999",
    "\"\"",
    "[]",
    "{}",
    "[\"m*\"]",
    "*",
    "%00",
    "%2F",
    "%ff",
    "..",
    "&",
    "=",
    ",",
    ";",
    ":",
    "\\u0000",
    "\u{feff}",
    "ü",
    "KEY",
];
/// The longest input, bytes.
const LONGEST: usize = 2_048;

/// Where inputs come from.
struct Inputs {
    /// Of xorshift, so that a run can be repeated.
    state: u64,
    examples: Vec<Vec<u8>>,
    /// How many of the examples are those of the beginning.
    first: usize,
    /// How many of the examples were given as they are.
    given: usize,
    seen: HashSet<String>,
}

impl Inputs {
    fn new(examples: &[&str]) -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            examples: examples
                .iter()
                .map(|text| text.as_bytes().to_vec())
                .collect(),
            first: examples.len(),
            given: 0,
            seen: HashSet::new(),
        }
    }

    /// How many there are to be.
    fn count() -> usize {
        let wished = std::env::var("FUZZ_CASES").ok();
        wished.map_or(8_000, |number| number.parse().unwrap())
    }

    fn next(&mut self) -> Vec<u8> {
        if let Some(example) = self.examples.get(self.given) {
            self.given += 1;
            return example.clone();
        }
        let mut input = self.example();
        for _ in 0..=self.below(3) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    /// What came of an input, in words that are the same for what is alike.
    fn learn(&mut self, input: &[u8], behaviour: String) {
        if self.seen.insert(behaviour) {
            self.examples.push(input.to_vec());
            self.given = self.examples.len();
        }
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (at, other) = (self.below(input.len() + 1), self.below(input.len() + 1));
        let (from, to) = (at.min(other), at.max(other));
        match self.below(7) {
            0 => input.insert(at, u8::try_from(self.below(256)).unwrap_or_default()),
            1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 => drop(input.drain(from..to)),
            3 => {
                let part = input[from..to].to_vec();
                input.splice(at..at, part);
            }
            4 => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(from..(from + 4).min(to), word.bytes());
            }
            5 => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(at..at, word.bytes());
            }
            // The beginning of one, and the rest of another.
            _ => {
                let other = self.example();
                let line = |text: &[u8], n: usize| {
                    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                    ends.map(|(at, _)| at).nth(n).unwrap_or(text.len())
                };
                let n = self.below(4);
                input.truncate(line(input, n));
                input.extend_from_slice(&other[line(&other, n)..]);
            }
        }
    }

    fn example(&mut self) -> Vec<u8> {
        // What is new is mostly refused, and those of the beginning are not.
        let among = [self.first, self.examples.len()][self.below(2)];
        let at = self.below(among);
        self.examples[at].clone()
    }

    fn below(&mut self, end: usize) -> usize {
        for (left, by) in [(true, 13), (false, 7), (true, 17)] {
            let moved = if left {
                self.state << by
            } else {
                self.state >> by
            };
            self.state ^= moved;
        }
        usize::try_from(self.state >> 32).unwrap_or_default() % end.max(1)
    }
}

/// A gateway with keys in its database, operators and an issuer of tokens.
async fn gateway() -> (Gateway, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("jwks.json");
    std::fs::write(&keys, ISSUER_KEYS).unwrap();
    let config = format!(
        "master_secret = \"{MASTER}\"\nrequire_keys = true\n\
         [admin]\nlisten = \"127.0.0.1:0\"\nkey = \"{OPERATOR}\"\n\
         [[admin.operators]]\nname = \"reader\"\nkey = \"{READER}\"\nrole = \"read\"\n\
         [[jwt_issuers]]\nissuer = \"https://issuer.example\"\naudience = [\"everstream\"]\n\
         algorithms = [\"EdDSA\"]\njwks = \"file:{}\"\nproject = \"demo\"",
        keys.display()
    );
    let nobody = Nobody::new().unwrap();
    let setup = Setup::default().config(&config);
    let setup = setup.upstream("up", &nobody.base_url(), "models = [\"m\"]");
    (setup.start().await, dir)
}

/// Panics if a text has a secret in it, unless it is in the input.
fn assert_silent(text: &[u8], input: &[u8], further: Option<&str>) {
    let secrets = [OPERATOR, READER, MASTER, UPSTREAM_KEY];
    for secret in secrets.into_iter().chain(further) {
        let holds = |text: &[u8]| crate::secrets::holds(text, secret.as_bytes());
        let (shown, asked) = (String::from_utf8_lossy(text), input.escape_ascii());
        assert!(!holds(text) || holds(input), "\"{asked}\" is told {shown}");
    }
}

/// The words of a message, without what it quotes.
fn plain(message: &str) -> String {
    let outside = message.split('`').step_by(2).collect::<String>();
    let is_word = |word: &&str| {
        let word = word.trim_end_matches(['.', ',', ':', ';']);
        word.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    outside.split_whitespace().filter(is_word).collect()
}
