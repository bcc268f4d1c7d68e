//! Seals as `thoughtSignature`s. The field is of bytes, so that JSON has it in base64, and some
//! clients decode it and write it again, in the other alphabet.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::content::{Maker, Seal, SealForm};
use crate::dialect::token::{self, On};

/// The first whole bytes of every token, in base64.
pub(super) const TOKEN_START: &str = "ZXZlcnN0cmVh";

/// Google's own as it is; another maker's as a token in base64, and what is no base64, which clients
/// do not read.
pub(super) fn write<'a>(seal: &'a Seal<'_>) -> Cow<'a, str> {
    let own = seal.maker == Maker::Google && seal.form == SealForm::Signature && seal.id.is_none();
    if own
        && STANDARD
            .decode(&*standard(Cow::Borrowed(&seal.data)))
            .is_ok()
    {
        Cow::Borrowed(&seal.data)
    } else {
        Cow::Owned(STANDARD.encode(token::write(seal, On::Reasoning)))
    }
}

/// The seal of a `thoughtSignature`.
pub(super) fn read(data: Cow<'_, str>) -> Seal<'_> {
    foreign(&data).unwrap_or(Seal {
        maker: Maker::Google,
        form: SealForm::Signature,
        id: None,
        data,
    })
}

/// The seal that a token is of; `None` for Google's own signatures.
pub(super) fn foreign(data: &str) -> Option<Seal<'static>> {
    if !data.starts_with(TOKEN_START) {
        return None;
    }
    let token = STANDARD.decode(standard(Cow::Borrowed(data)).as_ref());
    let token = String::from_utf8(token.ok()?).ok()?;
    token::read(&token).map(|(seal, _)| seal.into_owned())
}

/// Base64 in the alphabet that is safe in URLs, as the standard one; any other as it is.
pub(super) fn standard(data: Cow<'_, str>) -> Cow<'_, str> {
    let padding = match data.len() % 4 {
        2 => 2,
        3 => 1,
        _ => 0,
    };
    if padding == 0 && !data.contains(['-', '_']) {
        return data;
    }
    let mut standard = data.replace('-', "+").replace('_', "/");
    standard.extend(std::iter::repeat_n('=', padding));
    Cow::Owned(standard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn another_makers_seal_comes_back_in_any_alphabet(id in "\\PC{0,6}", data in "\\PC{0,12}") {
            let seal = Seal {
                maker: Maker::OpenAi,
                form: SealForm::Encrypted,
                id: Some(id.into()),
                data: data.into(),
            };
            let written = write(&seal).into_owned();
            let bytes = STANDARD.decode(&written).unwrap_or_default();
            for again in [written, URL_SAFE.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
                prop_assert_eq!(&read(again.into()), &seal);
            }
        }

        #[test]
        fn any_signature_is_googles_own_byte_for_byte(
            bytes in proptest::collection::vec(any::<u8>(), 1..12),
            text in "[A-Za-z0-9+/_=-]{0,16}",
        ) {
            for data in [STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)] {
                let seal = read(Cow::Borrowed(&data));
                prop_assert_eq!(seal.maker, Maker::Google);
                prop_assert_eq!(&*write(&seal), &data);
            }
            let seal = read(Cow::Borrowed(&text));
            prop_assert_eq!(&read(write(&seal)), &seal);
        }
    }
}
