//! Where a reader stands in a stream, as it travels in `Last-Event-ID`, `?after=` and
//! `starting_after`.

use std::fmt;

use crate::id::{IdError, Seq, StreamId};
use crate::limits::CURSOR_BYTES;

/// With more digits a number would not surely fit.
const SEQ_DIGITS: usize = 18;

/// The last event that a reader has seen. Reading goes on with the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The stream, if the text or the place where it stood named one.
    pub stream: Option<StreamId>,
    /// The last event seen; zero for none.
    pub seq: Seq,
}

/// Text that is not a cursor of the stream it was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// It is neither `<stream id>.<seq>` nor `<seq>`.
    #[error(
        "a cursor is <stream id>.<seq> or <seq>, with a decimal seq of at most {SEQ_DIGITS} digits"
    )]
    Malformed,
    /// Its stream id is none.
    #[error("a cursor is <stream id>.<seq> or <seq>, and {0}")]
    Id(#[from] IdError),
    /// It belongs to another stream.
    #[error("the cursor belongs to stream {0}")]
    OtherStream(StreamId),
}

impl Cursor {
    /// Reads `<stream id>.<seq>` or `<seq>`. With `stream`, the cursor is that stream's, and one
    /// that names another is refused.
    pub fn parse(text: &str, stream: Option<StreamId>) -> Result<Self, CursorError> {
        if text.len() > CURSOR_BYTES {
            return Err(CursorError::Malformed);
        }
        let (named, seq) = match text.split_once('.') {
            Some((id, seq)) => (Some(id.parse::<StreamId>()?), seq),
            None => (None, text),
        };
        let decimal = seq.bytes().all(|byte| byte.is_ascii_digit());
        if !decimal || seq.len() > SEQ_DIGITS {
            return Err(CursorError::Malformed);
        }
        let seq = seq.parse().map_err(|_| CursorError::Malformed)?;
        match (named, stream) {
            (Some(named), Some(stream)) if named != stream => Err(CursorError::OtherStream(named)),
            _ => Ok(Self {
                stream: named.or(stream),
                seq: Seq::new(seq),
            }),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stream {
            Some(stream) => write!(f, "{stream}.{}", self.seq),
            None => write!(f, "{}", self.seq),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OTHER: StreamId = StreamId::from_bits(2);

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bits: u64, seq in 0..10u64.pow(18)) {
            let stream = StreamId::from_bits(bits);
            let cursor = Cursor { stream: Some(stream), seq: Seq::new(seq) };
            let text = cursor.to_string();
            prop_assert!(text.len() <= CURSOR_BYTES);
            prop_assert_eq!(Cursor::parse(&text, None), Ok(cursor));
            prop_assert_eq!(Cursor::parse(&text, Some(stream)), Ok(cursor));
            prop_assert_eq!(Cursor::parse(&seq.to_string(), Some(stream)), Ok(cursor));
            if stream != OTHER {
                let refused = Err(CursorError::OtherStream(stream));
                prop_assert_eq!(Cursor::parse(&text, Some(OTHER)), refused);
            }
        }

        #[test]
        fn any_text_is_refused_or_read(text in "[0-9a-z.+ -]{0,70}") {
            if let Ok(cursor) = Cursor::parse(&text, None) {
                prop_assert_eq!(Cursor::parse(&cursor.to_string(), None), Ok(cursor));
            }
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let id = StreamId::from_bits(1);
        for seq in ["", "+1", "-1", "1.0", " 1", "0x1", "1e3", "1 ", "\u{661}"] {
            let text = format!("{id}.{seq}");
            assert!(Cursor::parse(&text, None).is_err(), "{text:?}");
            assert!(Cursor::parse(seq, Some(id)).is_err(), "{seq:?}");
        }
        let long = "1".repeat(19);
        assert_eq!(Cursor::parse(&long, None), Err(CursorError::Malformed));
        assert!(matches!(
            Cursor::parse("x.1", None),
            Err(CursorError::Id(_))
        ));
        assert!(Cursor::parse("0", None).is_ok_and(|cursor| cursor.seq == Seq::ZERO));
    }
}
