//! Reading a request member by member, so that every error can name the place, and so that no
//! member is overlooked: [`Fields::done`] refuses what nobody took.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use super::json::{for_each_element, for_each_member, text_of};
use crate::ask::refused;
use crate::content::Json;
use crate::error::{Error, ErrorCode};

/// A value of a request, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Node<'a, 'p> {
    text: &'a str,
    place: Place<'p>,
}

/// The way to a value.
#[derive(Clone, Copy)]
struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Root,
    Name(&'static str),
    Index(usize),
}

/// The members of an object, each to be taken once.
pub(super) struct Fields<'a, 'p> {
    place: &'p Place<'p>,
    members: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a, 'p> Node<'a, 'p> {
    /// The body of a request.
    pub(super) fn root(body: &'a [u8]) -> Result<Self, Error> {
        let text = str::from_utf8(body).map_err(|_| {
            Error::new(
                ErrorCode::InvalidJson,
                "The body is not JSON: it is not UTF-8.",
            )
        })?;
        let place = Place {
            parent: None,
            step: Step::Root,
        };
        let text = text.trim_ascii();
        Ok(Self { text, place })
    }

    /// The members of the object that this is. Null members are as good as absent.
    pub(super) fn fields<'n>(&'n self) -> Result<Fields<'a, 'n>, Error>
    where
        'p: 'n,
    {
        self.fields_named(|name| name)
    }

    /// The same, of APIs that take `snake_case` for every `camelCase` name, which all names become.
    pub(super) fn camel_fields<'n>(&'n self) -> Result<Fields<'a, 'n>, Error>
    where
        'p: 'n,
    {
        self.fields_named(camel)
    }

    fn fields_named<'n>(
        &'n self,
        rename: fn(Cow<'a, str>) -> Cow<'a, str>,
    ) -> Result<Fields<'a, 'n>, Error>
    where
        'p: 'n,
    {
        let mut members = Vec::new();
        for_each_member(self.text.as_bytes(), |member| {
            let key = rename(member.key);
            members.retain(|(name, _)| *name != key);
            if member.value != "null" {
                members.push((key, member.value));
            }
            Ok(())
        })
        .map_err(|error: serde_json::Error| match self.place.step {
            Step::Root if !error.is_data() => Error::new(
                ErrorCode::InvalidJson,
                format!("The body is not JSON: {error}."),
            ),
            Step::Root => Error::new(ErrorCode::InvalidValue, "The body must be a JSON object."),
            _ => self.wrong("an object"),
        })?;
        Ok(Fields {
            place: &self.place,
            members,
        })
    }

    /// Calls `visit` for each element of the array that this is.
    pub(super) fn each(
        &self,
        mut visit: impl FnMut(usize, Node<'a, '_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        let mut index = 0;
        for_each_element(self.text, |text| {
            if result.is_ok() {
                let place = Place {
                    parent: Some(&self.place),
                    step: Step::Index(index),
                };
                result = visit(index, Node { text, place });
                index += 1;
            }
        })
        .map_err(|_| self.wrong("an array"))?;
        result
    }

    /// Its texts, or the one text that stands for a list of one.
    pub(super) fn texts(&self) -> Result<Vec<Cow<'a, str>>, Error> {
        if !self.is_array() {
            return Ok(vec![self.str()?]);
        }
        let mut list = Vec::new();
        self.each(|_, node| {
            list.push(node.str()?);
            Ok(())
        })?;
        Ok(list)
    }

    pub(super) fn is_text(&self) -> bool {
        self.text.starts_with('"')
    }

    pub(super) fn is_array(&self) -> bool {
        self.text.starts_with('[')
    }

    pub(super) fn str(&self) -> Result<Cow<'a, str>, Error> {
        if !self.is_text() {
            return Err(self.wrong("a string"));
        }
        text_of(self.text).map_err(|_| self.wrong("a string of whole characters"))
    }

    pub(super) fn bool(&self) -> Result<bool, Error> {
        self.typed("true or false")
    }

    pub(super) fn u64(&self) -> Result<u64, Error> {
        self.typed("a whole number")
    }

    pub(super) fn u32(&self) -> Result<u32, Error> {
        self.typed("a whole number")
    }

    pub(super) fn i64(&self) -> Result<i64, Error> {
        self.typed("a whole number")
    }

    pub(super) fn f64(&self) -> Result<f64, Error> {
        self.typed("a number")
    }

    /// The value as it stands.
    pub(super) fn json(&self) -> Result<Json<'a>, Error> {
        Json::parse(self.text).map_err(|_| self.wrong("JSON"))
    }

    /// The object as it stands.
    pub(super) fn object(&self) -> Result<Json<'a>, Error> {
        let json = self.json()?;
        if json.is_object() {
            Ok(json)
        } else {
            Err(self.wrong("an object"))
        }
    }

    /// The value as a type of its own, which looks at no more of it than it knows.
    pub(super) fn typed<T: Deserialize<'a>>(&self, what: &str) -> Result<T, Error> {
        serde_json::from_str(self.text).map_err(|_| self.wrong(what))
    }

    /// The error for a value that is not what it has to be.
    pub(super) fn wrong(&self, what: impl fmt::Display) -> Error {
        let path = self.place.to_string();
        Error::new(ErrorCode::InvalidValue, format!("`{path}` must be {what}.")).param(path)
    }

    /// The error for something that no other API has.
    pub(super) fn refuse(&self, why: impl fmt::Display) -> Error {
        refused(self.place.to_string(), why)
    }
}

impl<'a, 'p> Fields<'a, 'p> {
    /// A member that may be absent.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Node<'a, 'p>> {
        let at = self.members.iter().position(|(known, _)| known == name)?;
        let (_, text) = self.members.swap_remove(at);
        let place = Place {
            parent: Some(self.place),
            step: Step::Name(name),
        };
        Some(Node { text, place })
    }

    /// A member that must be there.
    pub(super) fn need(&mut self, name: &'static str) -> Result<Node<'a, 'p>, Error> {
        self.take(name).ok_or_else(|| {
            let path = self.path_of(name);
            Error::new(ErrorCode::MissingField, format!("`{path}` is missing.")).param(path)
        })
    }

    /// Takes a member and reads it, if it is there.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Node<'a, 'p>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.take(name).map(|node| read(&node)).transpose()
    }

    /// Passes over members that say nothing to a provider of another API.
    pub(super) fn skip(&mut self, names: &[&'static str]) {
        self.members.retain(|(name, _)| !names.contains(&&**name));
    }

    /// Refuses what is left.
    pub(super) fn done(self) -> Result<(), Error> {
        match self.members.first() {
            None => Ok(()),
            Some((name, _)) => Err(refused(
                self.path_of(name),
                "Everstream knows no such field of other APIs",
            )),
        }
    }

    fn path_of(&self, name: &str) -> String {
        match self.place.step {
            Step::Root => name.to_owned(),
            _ => format!("{}.{name}", self.place),
        }
    }
}

/// A `snake_case` name as `camelCase`; any other as it is.
pub(super) fn camel(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.trim_start_matches('_').contains('_') {
        return name;
    }
    let mut words = name.split('_').filter(|word| !word.is_empty());
    let mut joined = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        joined.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        joined.push_str(letters.as_str());
    }
    Cow::Owned(joined)
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Name(name) if self.parent.is_some_and(|parent| parent.parent.is_none()) => {
                f.write_str(name)
            }
            Step::Name(name) => write!(f, ".{name}"),
        }
    }
}
