//! Settings of every kind that is not particular to one field.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};

use super::describe::{Choice, Native};
use super::mistake::{Fault, did_you_mean, nearest};
use super::spec::Scalar;
use crate::units;

/// A string that `parse` understands.
pub(super) fn text<T: Display>(
    allowed: impl Into<String>,
    parse: impl Fn(&str) -> Result<T, Fault> + 'static,
) -> Scalar<T> {
    let show = |value: &T| value.to_string().into();
    Scalar::new(
        Native::String,
        allowed,
        json!({"type": "string"}),
        parse,
        show,
    )
}

/// One of the words of `T`.
pub(super) fn choice<T: Choice>() -> Scalar<T> {
    let words: Vec<&str> = T::ALL.iter().map(|&choice| choice.word()).collect();
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    let schema = json!({"enum": words});
    let parse = |text: &str| {
        let mut all = T::ALL.iter().copied();
        all.find(|choice| choice.word() == text).ok_or_else(|| {
            let near = nearest(text, T::ALL.iter().map(|&choice| choice.word()));
            Fault {
                problem: "no such choice".to_owned(),
                suggestion: near.map(did_you_mean),
            }
        })
    };
    let show = |choice: &T| choice.word().into();
    Scalar::new(
        Native::String,
        format!("one of {}", quoted.join(", ")),
        schema,
        parse,
        show,
    )
}

/// A duration within `range`.
pub(super) fn duration(range: RangeInclusive<Duration>) -> Scalar<Duration> {
    let show = |duration: &Duration| units::show_duration(*duration).into();
    let [least, most] = [range.start(), range.end()].map(|bound| units::show_duration(*bound));
    let parse = move |text: &str| match units::parse_duration(text) {
        Ok(duration) if duration < *range.start() => Err("too short".into()),
        Ok(duration) if duration > *range.end() => Err("too long".into()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string().into()),
    };
    let schema = json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"});
    let allowed = format!("a duration from {least} to {most}");
    Scalar::new(Native::String, allowed, schema, parse, show)
}

/// A size in bytes within `range`.
pub(super) fn size<T: Whole>(range: RangeInclusive<u64>) -> Scalar<T> {
    let show = |bytes: &T| units::show_size(bytes.widen()).into();
    let [least, most] = [*range.start(), *range.end()];
    let allowed = format!(
        "a size from {} to {}",
        units::show_size(least),
        units::show_size(most)
    );
    let parse = move |text: &str| match units::parse_size(text) {
        Ok(bytes) => within(bytes, &range),
        Err(error) => Err(error.to_string().into()),
    };
    let schema = json!({"anyOf": [
        {"type": "integer", "minimum": least, "maximum": most},
        {"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)?$"},
    ]});
    Scalar::new(Native::StringOrInteger, allowed, schema, parse, show)
}

/// A whole number within `range`.
pub(super) fn whole<T: Whole>(range: RangeInclusive<u64>) -> Scalar<T> {
    let [least, most] = [*range.start(), *range.end()];
    let schema = json!({"type": "integer", "minimum": least, "maximum": most});
    let allowed = format!("a whole number from {least} to {most}");
    let parse = move |text: &str| match text.parse() {
        Ok(number) => within(number, &range),
        Err(_) if text.starts_with('-') => Err("too small".into()),
        Err(_) => Err("not a whole number, or too large".into()),
    };
    let show = |number: &T| number.widen().into();
    Scalar::new(Native::Integer, allowed, schema, parse, show)
}

/// `true` or `false`.
pub(super) fn flag() -> Scalar<bool> {
    let parse = |text: &str| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("neither `true` nor `false`".into()),
    };
    let show = |flag: &bool| Value::Bool(*flag);
    Scalar::new(
        Native::Boolean,
        "`true` or `false`",
        json!({"type": "boolean"}),
        parse,
        show,
    )
}

fn within<T: Whole>(number: u64, range: &RangeInclusive<u64>) -> Result<T, Fault> {
    match T::narrow(number) {
        _ if number < *range.start() => Err("too small".into()),
        Some(value) if number <= *range.end() => Ok(value),
        _ => Err("too large".into()),
    }
}

/// A number without sign or fraction.
pub(super) trait Whole: Copy + 'static {
    fn narrow(number: u64) -> Option<Self>;
    fn widen(self) -> u64;
}

macro_rules! whole {
    ($($Type:ty),+) => {$(
        impl Whole for $Type {
            fn narrow(number: u64) -> Option<Self> {
                Self::try_from(number).ok()
            }

            fn widen(self) -> u64 {
                u64::try_from(self).unwrap_or(u64::MAX)
            }
        }
    )+};
}
whole!(u16, u32, u64, usize);
