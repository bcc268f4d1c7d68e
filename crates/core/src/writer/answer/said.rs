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
