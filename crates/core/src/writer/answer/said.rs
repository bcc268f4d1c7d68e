use crate::answer::{Delta, Piece};
use crate::limits::RECOVERED_TEXT_BYTES;

/// What was delivered of an answer, for who is to go on with it.
#[derive(Debug, Default)]
pub(super) struct Said {
    text: String,
    /// More than plain text of one choice was said, or more than is kept.
    more: bool,
}

impl Said {
    pub(super) fn hear(&mut self, delta: &Delta<'_>) {
        match delta {
            Delta::Piece {
                choice: 0,
                piece: Piece::Text(text),
            } if self.text.len() + text.len() <= RECOVERED_TEXT_BYTES => self.text.push_str(text),
            // Ends a part, of which the text is not the less plain.
            Delta::Piece {
                choice: 0,
                piece: Piece::Close,
            }
            | Delta::Start(_)
            | Delta::Usage(_)
            | Delta::Error(_) => {}
            Delta::Piece { .. } | Delta::Finish { .. } | Delta::End => {
                self.more = true;
                self.text = String::new();
            }
        }
    }

    /// All of it, if somebody can go on from there.
    pub(super) fn text(&self) -> Option<&str> {
        (!self.more).then_some(&self.text)
    }
}

/// How far the text of a second run is the one of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It is, up to this byte of what was delivered.
    Within(usize),
    /// All that was delivered was said again, or nothing is to be.
    Over,
}

/// How much of a delta was delivered before.
#[derive(Debug, PartialEq)]
pub(super) enum Known<'a> {
    /// All of it.
    Whole,
    /// What comes before this, its rest.
    Before(&'a str),
    /// Nothing.
    Not,
    /// Something else was.
    Otherwise,
}

impl Repeat {
    /// From the first byte of what was delivered on.
    pub(super) fn of(said: &Said) -> Self {
        Self::from(0, said)
    }

    pub(super) fn hear<'d>(&mut self, said: &Said, delta: &'d Delta<'_>) -> Known<'d> {
        let Self::Within(at) = *self else {
            return Known::Not;
        };
        let text = match delta {
            Delta::Piece {
                choice: 0,
                piece: Piece::Text(text),
            } => text,
            Delta::Piece {
                choice: 0,
                piece: Piece::Close,
            } => return Known::Whole,
            Delta::Start(_) | Delta::Usage(_) | Delta::Error(_) => return Known::Not,
            Delta::Piece { .. } | Delta::Finish { .. } | Delta::End => return Known::Otherwise,
        };
        let Some(rest) = said.text.get(at..) else {
            return Known::Otherwise;
        };
        if rest.starts_with(&**text) {
            *self = Self::from(at + text.len(), said);
            return Known::Whole;
        }
        match text.strip_prefix(rest) {
            Some(new) => {
                *self = Self::Over;
                Known::Before(new)
            }
            None => Known::Otherwise,
        }
    }

    const fn from(at: usize, said: &Said) -> Self {
        if at < said.text.len() {
            Self::Within(at)
        } else {
            Self::Over
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Delta<'_> {
        let piece = Piece::Text(text.into());
        Delta::Piece { choice: 0, piece }
    }

    /// What of a second run is new, up to where it differs.
    fn new(said: &Said, deltas: &[Delta<'_>]) -> (String, bool) {
        let mut repeat = Repeat::of(said);
        let mut new = String::new();
        for delta in deltas {
            match (repeat.hear(said, delta), delta) {
                (Known::Otherwise, _) => return (new, true),
                (Known::Before(rest), _) => new.push_str(rest),
                (
                    Known::Not,
                    Delta::Piece {
                        piece: Piece::Text(text),
                        ..
                    },
                ) => new.push_str(text),
                _ => {}
            }
        }
        (new, false)
    }

    proptest! {
        /// However both runs cut their text: what is new is what comes behind the first one's, and
        /// the first difference within that is seen.
        #[test]
        fn a_second_run_is_known_as_far_as_it_is_the_first(
            whole in "[aä]{0,12}",
            at in 0..13usize,
            pieces in proptest::collection::vec(1..4usize, 13),
            other in proptest::option::of(0..13usize),
        ) {
            let chars: Vec<char> = whole.chars().collect();
            let at = at.min(chars.len());
            let mut said = Said::default();
            said.hear(&text(&String::from_iter(&chars[..at])));
            let mut again = chars.clone();
            let other = other.filter(|other| *other < again.len());
            if let Some(other) = other {
                again[other] = '#';
            }
            let mut rest = &again[..];
            let mut cut = Vec::new();
            for size in pieces {
                let size = size.min(rest.len());
                cut.push(String::from_iter(&rest[..size]));
                rest = &rest[size..];
            }
            cut.retain(|piece| !piece.is_empty());
            let deltas: Vec<Delta<'_>> = cut.iter().map(|piece| text(piece)).collect();
            let (new, diverged) = new(&said, &deltas);
            prop_assert_eq!(diverged, other.is_some_and(|other| other < at));
            if !diverged {
                prop_assert_eq!(new, String::from_iter(&again[at..]));
            }
        }
    }

    #[test]
    fn a_run_that_ends_or_turns_before_the_first_did_is_another() {
        let mut said = Said::default();
        said.hear(&text("abc"));
        let close = Delta::Piece {
            choice: 0,
            piece: Piece::Close,
        };
        let thought = Delta::Piece {
            choice: 0,
            piece: Piece::Reasoning("hm".into()),
        };
        assert_eq!(new(&said, &[text("ab"), Delta::End]), (String::new(), true));
        assert_eq!(new(&said, from_ref(&thought)), (String::new(), true));
        let parts = [text("ab"), close, text("cd"), thought, Delta::End];
        assert_eq!(new(&said, &parts), ("d".to_owned(), false));
    }

    #[test]
    fn no_more_than_the_bound_is_kept() {
        let mut said = Said::default();
        said.hear(&text(&"x".repeat(RECOVERED_TEXT_BYTES)));
        assert_eq!(said.text().map(str::len), Some(RECOVERED_TEXT_BYTES));
        said.hear(&text("x"));
        assert_eq!(said.text(), None);
        assert_eq!(said.text.capacity(), 0);
    }
}
