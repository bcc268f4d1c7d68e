//! Seals of other makers in the fields that an API has for its own.

use std::borrow::Cow;

use crate::content::{Maker, Seal, SealForm};

/// What a seal is on, where what holds it is not the part itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// The reasoning of the part that holds it, or that part itself.
    Reasoning,
    /// The part before.
    Before,
    /// The part behind.
    Behind,
}

/// How each begins.
pub(super) const PREFIX: &str = "everstream";
const MAKERS: [(Maker, &str); 4] = [
    (Maker::Anthropic, "anthropic"),
    (Maker::Google, "google"),
    (Maker::OpenAi, "openai"),
    (Maker::Other, "other"),
];
const FORMS: [(SealForm, &str); 2] = [
    (SealForm::Signature, "signature"),
    (SealForm::Encrypted, "encrypted"),
];
const PLACES: [(On, &str); 3] = [
    (On::Reasoning, "reasoning"),
    (On::Before, "before"),
    (On::Behind, "behind"),
];

/// The seal as one text: `everstream:<maker>:<form>:<place>:<length of id>:<id><data>`.
pub(super) fn write(seal: &Seal<'_>, on: On) -> String {
    let id = seal.id.as_deref();
    let length = id.map_or_else(|| "-".to_owned(), |id| id.len().to_string());
    format!(
        "{PREFIX}:{}:{}:{}:{length}:{}{}",
        name(&MAKERS, seal.maker),
        name(&FORMS, seal.form),
        name(&PLACES, on),
        id.unwrap_or_default(),
        seal.data,
    )
}

/// Reads such a text. `None` for any other: it is of the API's own maker.
pub(super) fn read(token: &str) -> Option<(Seal<'_>, On)> {
    let mut fields = token
        .strip_prefix(PREFIX)?
        .strip_prefix(':')?
        .splitn(5, ':');
    let maker = value(&MAKERS, fields.next()?)?;
    let form = value(&FORMS, fields.next()?)?;
    let on = value(&PLACES, fields.next()?)?;
    let length = fields.next()?;
    let rest = fields.next()?;
    let (id, data) = match length {
        "-" => (None, rest),
        length => {
            let (id, data) = rest.split_at_checked(length.parse().ok()?)?;
            (Some(Cow::Borrowed(id)), data)
        }
    };
    let data = Cow::Borrowed(data);
    Some((
        Seal {
            maker,
            form,
            id,
            data,
        },
        on,
    ))
}

fn name<T: Copy + PartialEq>(table: &[(T, &'static str)], value: T) -> &'static str {
    let found = table.iter().find(|(known, _)| *known == value);
    found.map_or("", |(_, name)| name)
}

fn value<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    let found = table.iter().find(|(_, known)| *known == name);
    found.map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_seal_comes_back(
            maker in 0..4usize,
            form in 0..2usize,
            on in 0..3usize,
            id in proptest::option::of("\\PC{0,8}"),
            data in "\\PC{0,20}",
        ) {
            let seal = Seal {
                maker: MAKERS[maker].0,
                form: FORMS[form].0,
                id: id.map(Cow::Owned),
                data: data.into(),
            };
            let on = PLACES[on].0;
            let token = write(&seal, on);
            prop_assert_eq!(read(&token), Some((seal, on)));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "(everstream)?(:[a-z]{0,9}){0,3}(:[0-9-]{0,3})?:\\PC{0,9}") {
            let _ = read(&text);
        }
    }

    #[test]
    fn what_others_wrote_is_left_alone() {
        for own in [
            "",
            "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk",
            "everstream:x",
        ] {
            assert_eq!(read(own), None, "{own}");
        }
    }
}
