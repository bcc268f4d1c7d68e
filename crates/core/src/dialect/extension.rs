//! The member [`EXTENSION`](crate::answer::EXTENSION) of answers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::answer::Extra;
use crate::content::Json;

/// What only other APIs know, by their names.
pub(super) type FieldsOut<'a> = BTreeMap<&'static str, Vec<FieldOut<'a>>>;

#[derive(Serialize)]
pub(super) struct FieldOut<'a> {
    name: &'a str,
    value: &'a Json<'static>,
}

pub(super) fn fields<'a>(extras: &'a [Extra<'static>]) -> FieldsOut<'a> {
    let mut fields = FieldsOut::new();
    for extra in extras {
        fields.entry(extra.dialect).or_default().push(FieldOut {
            name: &extra.name,
            value: &extra.value,
        });
    }
    fields
}
