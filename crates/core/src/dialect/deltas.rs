//! What the decoders say, one delta after the other.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::answer::{Delta, Extra, Piece};
use crate::content::Json;

/// Who listens.
pub(super) type Out<'o> = &'o mut dyn FnMut(&Delta<'_>);

/// Says a piece of an answer that has but one choice.
pub(super) fn say(out: Out<'_>, piece: Piece<'_>) {
    out(&Delta::Piece { choice: 0, piece });
}

/// A field that only the API of this name has.
pub(super) fn extra<'a>(
    dialect: &'static str,
    name: &'static str,
    value: &'a RawValue,
) -> Piece<'a> {
    Piece::Extra(Extra {
        dialect,
        name: Cow::Borrowed(name),
        value: Json::from(value),
    })
}
