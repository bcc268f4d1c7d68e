//! One section or one value while it is being read.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::describe::{Form, Native, Settings as _, Shape, VARIABLES, whereabouts};
use super::expand::expand;
use super::mistake::{Fault, Place, did_you_mean, nearest};
use super::read::Reader;
use super::spec::Spec;

/// A section that is being read.
pub(super) struct Table<'r, 'a> {
    reader: &'r mut Reader<'a>,
    path: String,
    /// The prefix of the environment variables of its fields.
    variables: Option<String>,
    entries: Option<&'a DeTable<'a>>,
    place: Place,
}

impl<'r, 'a> Table<'r, 'a> {
    /// The file as a section.
    pub(super) fn new(reader: &'r mut Reader<'a>, entries: &'a DeTable<'a>) -> Self {
        Self {
            path: String::new(),
            variables: Some(VARIABLES.to_owned()),
            entries: Some(entries),
            place: reader.document(),
            reader,
        }
    }

    /// Takes one field. `None` if it is not usable, which was then reported.
    pub(super) fn field<S: Spec>(&mut self, name: &'static str, spec: &S) -> Option<S::Value> {
        let shape = spec.shape();
        let prefix = self.variables.as_deref();
        let variable = prefix.and_then(|prefix| shape.variable(prefix, name));
        let entry = self.entries.and_then(|entries| entries.get_key_value(name));
        let path = join(&self.path, name);
        let place = match entry {
            Some((key, _)) => self.reader.place(&key.span()),
            None => self.place.clone(),
        };
        if entry.is_some() {
            self.reader.keep_place(&path, &place);
        }
        spec.read(Slot {
            path,
            variable,
            value: entry.map(|(_, value)| value),
            place,
            reader: self.reader,
            shape: &shape,
        })
    }

    /// Reports every field that is not `known`.
    pub(super) fn refuse_unknown(&mut self, known: &[&'static str]) {
        for key in self.entries.into_iter().flat_map(DeTable::keys) {
            if known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let name = key.get_ref();
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => Some(did_you_mean(near)),
                None => whereabouts(&super::Config::fields(), name),
            };
            let fault = Fault {
                problem: "no such field".to_owned(),
                suggestion: hint,
            };
            let place = self.reader.place(&key.span());
            self.reader
                .note(place, &join(&self.path, name), fault, None);
        }
    }
}

/// A value that is being read, if there is one, and all that a report needs.
pub(super) struct Slot<'r, 'a> {
    pub(super) path: String,
    reader: &'r mut Reader<'a>,
    variable: Option<String>,
    value: Option<&'a Spanned<DeValue<'a>>>,
    /// Of the value; of the section around it while there is none.
    place: Place,
    shape: &'r Shape,
}

impl<'a> Slot<'_, 'a> {
    /// The text of a scalar, from the environment or the file; `Ok(None)` if it is in neither and
    /// may be absent.
    pub(super) fn scalar(&mut self) -> Result<Option<Cow<'a, str>>, Reported> {
        if let Some(name) = &self.variable
            && let Some(value) = self.reader.env().non_empty(name)
        {
            self.place = Place::Variable(self.reader.env().spelling(name).to_owned());
            self.reader.keep_place(&self.path, &self.place);
            return Ok(Some(Cow::Borrowed(value)));
        }
        let Some(value) = self.value else {
            if self.shape.required && !self.reader.is_torn() {
                return Err(self.report("the field is missing".into()));
            }
            return Ok(None);
        };
        self.place = self.reader.place(&value.span());
        self.reader.keep_place(&self.path, &self.place);
        self.text_of(value.get_ref()).map(Some)
    }

    fn text_of(&mut self, value: &'a DeValue<'a>) -> Result<Cow<'a, str>, Reported> {
        let Form::Scalar(native) = self.shape.form else {
            return Err(self.wrong_type(value));
        };
        match (value, native) {
            (DeValue::String(text), _) if native.is_string() || text.contains("${") => {
                expand(text, self.reader.env()).map_err(|problems| {
                    for problem in problems {
                        self.note(problem.into());
                    }
                    Reported
                })
            }
            (DeValue::Integer(number), Native::Integer | Native::StringOrInteger) => {
                let number = i128::from_str_radix(number.as_str(), number.radix());
                let number = number.map(|number| Cow::Owned(number.to_string()));
                number.map_err(|_| self.report("the number is too large".into()))
            }
            (DeValue::Boolean(flag), Native::Boolean) => {
                Ok(Cow::Borrowed(if *flag { "true" } else { "false" }))
            }
            _ => Err(self.wrong_type(value)),
        }
    }

    /// Gives each entry of a list to `each`, as a slot for a value of `shape`. False if there is no
    /// list, which was then reported unless nothing is there.
    pub(super) fn list(&mut self, shape: &Shape, mut each: impl FnMut(Slot<'_, 'a>)) -> bool {
        match self.value.map(Spanned::get_ref) {
            None => false,
            Some(DeValue::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{}[{index}]", self.path);
                    each(self.child(path, &item.span(), item, shape));
                }
                true
            }
            Some(other) => {
                self.wrong_type(other);
                false
            }
        }
    }

    /// Gives each entry of a map to `each`, with its name, as a slot for a value of `shape`.
    pub(super) fn map(&mut self, shape: &Shape, mut each: impl FnMut(&'a str, Slot<'_, 'a>)) {
        match self.value.map(Spanned::get_ref) {
            None => {}
            Some(DeValue::Table(entries)) => {
                for (key, item) in entries {
                    let path = join(&self.path, key.get_ref());
                    each(key.get_ref(), self.child(path, &key.span(), item, shape));
                }
            }
            Some(other) => {
                self.wrong_type(other);
            }
        }
    }

    /// The slot as a section, empty if it is none. Its fields can be overridden by environment
    /// variables that start with `variables`.
    pub(super) fn section(&mut self, variables: Option<String>) -> Table<'_, 'a> {
        let entries = match self.value.map(Spanned::get_ref) {
            None => None,
            Some(DeValue::Table(entries)) => Some(entries),
            Some(other) => {
                self.wrong_type(other);
                None
            }
        };
        Table {
            place: self.place.clone(),
            path: self.path.clone(),
            variables,
            entries,
            reader: self.reader,
        }
    }

    /// True for a section; anything else is reported.
    pub(super) fn is_section(&mut self) -> bool {
        match self.value.map(Spanned::get_ref) {
            Some(DeValue::Table(_)) => true,
            Some(other) => {
                self.wrong_type(other);
                false
            }
            None => false,
        }
    }

    pub(super) fn is_empty_list(&self) -> bool {
        let list = self.value.and_then(|value| value.get_ref().as_array());
        list.is_some_and(|items| items.is_empty())
    }

    /// Notes that this entry of a list has `value`, and reports it if another one has it too.
    pub(super) fn claim(&mut self, value: &Value) {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let field = without_indices(&self.path);
        if let Some(first) = self.reader.claim(field, value, &self.place) {
            self.note(format!("the same as at {first}").into());
        }
    }

    /// Notes what is wrong with the value, and what would be right.
    pub(super) fn report(&mut self, fault: Fault) -> Reported {
        let allowed = Some(self.shape.allowed.clone());
        let place = self.place.clone();
        self.reader.note(place, &self.path, fault, allowed);
        Reported
    }

    /// Notes what is wrong with something else than the value.
    pub(super) fn note(&mut self, fault: Fault) {
        let place = self.place.clone();
        self.reader.note(place, &self.path, fault, None);
    }

    fn wrong_type(&mut self, found: &DeValue<'_>) -> Reported {
        let name = found.type_str();
        let article = if name.starts_with(['a', 'i']) {
            "an"
        } else {
            "a"
        };
        let mut fault = Fault::from(format!("this is {article} {name}"));
        fault.suggestion = match (&self.shape.form, found) {
            (Form::Sections(_), DeValue::Table(_)) => Some(format!("write `[[{}]]`", self.path)),
            (Form::Section(_), DeValue::Array(_)) => Some(format!("write `[{}]`", self.path)),
            _ => None,
        };
        self.report(fault)
    }

    fn child<'s>(
        &'s mut self,
        path: String,
        span: &Range<usize>,
        item: &'a Spanned<DeValue<'a>>,
        shape: &'s Shape,
    ) -> Slot<'s, 'a> {
        let place = self.reader.place(span);
        self.reader.keep_place(&path, &place);
        Slot {
            reader: self.reader,
            path,
            variable: None,
            value: Some(item),
            place,
            shape,
        }
    }
}

/// Shows that a mistake was noted, and that there is no value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// `upstreams[].name` for `upstreams[3].name`.
fn without_indices(path: &str) -> String {
    let parts = path
        .split('[')
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
    parts.collect::<Vec<_>>().join("[")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
