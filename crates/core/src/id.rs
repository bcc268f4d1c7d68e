//! The names of things. Parsing is validating: a value of these types is always well formed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Crockford's alphabet, lower case: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const STREAM_ID_CHARS: usize = 13;
const NODE_BITS: u32 = 10;

/// A stream's id: 64 bits, written as 13 characters of Crockford base 32.
///
/// The top 10 bits name the node that opened the stream, the rest is random; nothing in it tells
/// the time. It travels in `Last-Event-ID`, where a browser forbids most punctuation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String", inline)]
pub struct StreamId(u64);

impl StreamId {
    /// The id for `node` (its low 10 bits count) and 54 bits of `random`.
    pub const fn new(node: u16, random: u64) -> Self {
        let node = (node as u64) << (64 - NODE_BITS);
        Self(node | (random & (u64::MAX >> NODE_BITS)))
    }

    /// The node that opened the stream.
    pub const fn node(self) -> u16 {
        (self.0 >> (64 - NODE_BITS)) as u16
    }

    /// The id as a number, for storage.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The id that [`to_bits`](Self::to_bits) gave.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 13 characters, without an allocation.
    pub fn text(self) -> [u8; STREAM_ID_CHARS] {
        let mut text = [0; STREAM_ID_CHARS];
        let mut rest = self.0;
        for slot in text.iter_mut().rev() {
            *slot = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        text
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StreamId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != STREAM_ID_CHARS {
            return Err(IdError("a stream id has 13 characters"));
        }
        let mut bits: u128 = 0;
        for byte in text.bytes() {
            let digit = ALPHABET.iter().position(|&c| c == byte);
            let digit = digit.ok_or(IdError(
                "a stream id has only 0-9 and a-z without i, l, o, u",
            ))?;
            bits = bits << 5 | digit as u128;
        }
        u64::try_from(bits)
            .map(Self)
            .map_err(|_| IdError("a stream id is at most 64 bits"))
    }
}

impl Serialize for StreamId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The number of an event in its stream: 1, 2, 3 ... without holes. Zero is before the first.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The `n`-th event.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The seq of the next event.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The seq `n` events later.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who may append to a stream: a lease with a newer epoch fences all older ones.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch of the process that opened the stream.
    pub const FIRST: Self = Self(1);

    /// The `n`-th epoch.
    pub const fn new(n: u32) -> Self {
        Self(n)
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The epoch of the next holder.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The project that owns a stream: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct ProjectId(Arc<str>);

impl ProjectId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(IdError(
                "a project has 1 to 64 characters of A-Z a-z 0-9 . _ -",
            ))
        }
    }
}

impl<'de> Deserialize<'de> for ProjectId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not the id it was taken for. The message says what the id looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdError(&'static str);

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
#[schemars(inline)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The instant `duration` later.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// The time `duration` before.
    #[must_use]
    pub fn minus(self, duration: std::time::Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stream_id_text_round_trips(bits: u64) {
            let id = StreamId::from_bits(bits);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn stream_id_parses_only_what_it_prints(text in "\\PC{0,20}") {
            if let Ok(id) = text.parse::<StreamId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn node_survives(node in 0u16..1024, random: u64) {
            prop_assert_eq!(StreamId::new(node, random).node(), node);
        }
    }

    #[test]
    fn a_stream_id_past_64_bits_is_refused() {
        assert!("zzzzzzzzzzzzz".parse::<StreamId>().is_err());
        assert_eq!("fzzzzzzzzzzzz".parse(), Ok(StreamId::from_bits(u64::MAX)));
    }

    #[test]
    fn a_project_has_no_odd_characters() {
        assert!("web-1".parse::<ProjectId>().is_ok());
        for bad in ["", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad}");
        }
    }
}
