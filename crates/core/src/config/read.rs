//! From the parsed file and the environment to values, with every mistake on the way noted.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Source;
use super::describe::{Form, Native, Settings as _, Shape, VARIABLES, whereabouts};
use super::env::Env;
use super::expand::expand;
use super::mistake::{ConfigErrors, Fault, Mistake, Place, did_you_mean, nearest};
use super::spec::Spec;

/// Reads one configuration.
pub(super) struct Reader<'a> {
    source: Option<Source<'a>>,
    env: &'a Env,
    mistakes: Vec<Mistake>,
    /// Where each field that was read came from.
    places: BTreeMap<String, Place>,
    /// Values that may be there once only: the field, the value and where it stands.
    claims: BTreeMap<(String, String), Place>,
    /// True when the file is not TOML: what is absent may only be unreadable.
    torn: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: Option<Source<'a>>, env: &'a Env) -> Self {
        Self {
            source,
            env,
            mistakes: Vec::new(),
            places: BTreeMap::new(),
            claims: BTreeMap::new(),
            torn: false,
        }
    }

    /// Parses the file. What can be recovered of a file that is not TOML is given too, so that its
    /// other mistakes show at once.
    pub(super) fn parse(&mut self) -> Spanned<DeTable<'a>> {
        let text = self.source.map_or("", |source| source.text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            self.torn = true;
            let place = error
                .span()
                .map_or_else(|| self.document(), |span| self.place(&span));
            self.note(place, "", error.message().into(), None);
        }
        table
    }

    /// The file as a section.
    pub(super) fn root<'r>(&'r mut self, root: &'a Spanned<DeTable<'a>>) -> Table<'r, 'a> {
        let place = self.document();
        Table {
            reader: self,
            path: String::new(),
            variables: Some(VARIABLES.to_owned()),
            entries: Some(root.get_ref()),
            place,
        }
    }

    pub(super) fn env(&self) -> &'a Env {
        self.env
    }

    /// The end: the configuration, or every mistake.
    pub(super) fn finish<T>(mut self, config: Option<T>) -> Result<T, ConfigErrors> {
        if let (Some(config), true) = (config, self.mistakes.is_empty()) {
            return Ok(config);
        }
        if self.torn {
            // What the parser made of a broken line is of no interest beside the break itself.
            let syntax = |mistake: &&Mistake| mistake.field.is_empty();
            let broken: BTreeSet<_> = self.mistakes.iter().filter(syntax).map(line).collect();
            self.mistakes
                .retain(|m| m.field.is_empty() || !broken.contains(&line(m)));
        }
        Err(ConfigErrors::new(self.mistakes))
    }

    /// All values that were given to a `unique` field.
    pub(super) fn claimed(&self, field: &str) -> impl Iterator<Item = &str> {
        let claims = self.claims.keys().filter(move |(of, _)| of == field);
        claims.map(|(_, value)| value.trim_matches('"'))
    }

    /// Refuses variables of the form `EVERSTREAM__...` that name nothing.
    pub(super) fn refuse_unknown_variables(&mut self, known: &BTreeSet<String>) {
        let all = self.env.names();
        let unknown = all.filter(|name| name.starts_with(VARIABLES) && !known.contains(*name));
        for name in unknown {
            let hint = nearest(name, known.iter().map(String::as_str)).map(did_you_mean);
            let fault = Fault {
                problem: "no such setting".to_owned(),
                suggestion: hint,
            };
            self.note(Place::Variable(name.to_owned()), "", fault, None);
        }
    }

    /// True when the meaning of `field`, or of anything below it, is in doubt, so that checks which
    /// build on it would only repeat a mistake.
    pub(super) fn doubtful(&self, field: &str) -> bool {
        let below = |name: &str| {
            let rest = name.strip_prefix(field);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.torn || self.mistakes.iter().any(|mistake| below(&mistake.field))
    }

    /// Notes a mistake at the place that `field` came from.
    pub(super) fn note_at(&mut self, field: &str, fault: Fault) {
        let place = self.place_of(field);
        self.note(place, field, fault, None);
    }

    pub(super) fn note(
        &mut self,
        place: Place,
        field: &str,
        fault: Fault,
        allowed: Option<String>,
    ) {
        self.mistakes.push(Mistake {
            place,
            field: field.to_owned(),
            problem: fault.problem,
            allowed,
            suggestion: fault.suggestion,
        });
    }

    /// True when `field` does not have its default.
    pub(super) fn is_written(&self, field: &str) -> bool {
        self.places.contains_key(field)
    }

    /// Where `field` was written; the document if it was not.
    pub(super) fn place_of(&self, field: &str) -> Place {
        self.places
            .get(field)
            .cloned()
            .unwrap_or_else(|| self.document())
    }

    fn document(&self) -> Place {
        match self.source {
            Some(source) => Place::Document(source.name.to_owned()),
            None => Place::Defaults,
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let Some(source) = self.source else {
            return Place::Defaults;
        };
        let before = source.text.get(..span.start).unwrap_or(source.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::File {
            line: before.matches('\n').count() + 1,
            column: before[line_start..]
                .trim_start_matches('\u{feff}')
                .chars()
                .count()
                + 1,
            file: source.name.to_owned(),
        }
    }
}

fn line(mistake: &Mistake) -> Option<usize> {
    match mistake.place {
        Place::File { line, .. } => Some(line),
        _ => None,
    }
}

/// A section that is being read.
pub(super) struct Table<'r, 'a> {
    reader: &'r mut Reader<'a>,
    path: String,
    /// The prefix of the environment variables of its fields.
    variables: Option<String>,
    entries: Option<&'a DeTable<'a>>,
    place: Place,
}

impl<'a> Table<'_, 'a> {
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
            self.reader.places.insert(path.clone(), place.clone());
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
            && let Some(value) = self.reader.env.non_empty(name)
        {
            self.place = Place::Variable(self.reader.env.spelling(name).to_owned());
            self.keep_place();
            return Ok(Some(Cow::Borrowed(value)));
        }
        let Some(value) = self.value else {
            return match self.shape.required && !self.reader.torn {
                true => Err(self.report("the field is missing".into())),
                false => Ok(None),
            };
        };
        self.place = self.reader.place(&value.span());
        self.keep_place();
        self.text_of(value.get_ref()).map(Some)
    }

    fn text_of(&mut self, value: &'a DeValue<'a>) -> Result<Cow<'a, str>, Reported> {
        let Form::Scalar(native) = self.shape.form else {
            return Err(self.wrong_type(value));
        };
        match (value, native) {
            (DeValue::String(text), _) if native.is_string() || text.contains("${") => {
                expand(text, self.reader.env).map_err(|problems| {
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
        let claim = (without_indices(&self.path), value.to_string());
        match self.reader.claims.get(&claim) {
            Some(first) => {
                let problem = format!("the same as at {first}");
                self.note(problem.into());
            }
            None => {
                self.reader.claims.insert(claim, self.place.clone());
            }
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

    fn keep_place(&mut self) {
        let places = &mut self.reader.places;
        places.insert(self.path.clone(), self.place.clone());
    }

    fn child<'s>(
        &'s mut self,
        path: String,
        span: &Range<usize>,
        item: &'a Spanned<DeValue<'a>>,
        shape: &'s Shape,
    ) -> Slot<'s, 'a> {
        let place = self.reader.place(span);
        self.reader.places.insert(path.clone(), place.clone());
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
