//! The kinds of settings: what each accepts, how it is described, how it is read.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use serde_json::{Value, json};

use super::describe::{Form, Native, Settings, Shape, section_variables};
use super::mistake::Fault;
use super::slot::Slot;

/// One kind of setting.
pub(super) trait Spec {
    /// What the program gets.
    type Value;

    /// What it may be.
    fn shape(&self) -> Shape;

    /// Takes it from the file or the environment. `None` if there is nothing usable, which was then
    /// reported; a mistaken value with a default gives the default, so that reading can go on.
    fn read(&self, slot: Slot<'_, '_>) -> Option<Self::Value>;
}

/// What a setting of the type `T` may be.
pub(super) fn shape_of<T>(spec: &impl Spec<Value = T>) -> Shape {
    spec.shape()
}

type Parse<T> = Box<dyn Fn(&str) -> Result<T, Fault>>;

/// A single value, read from its text.
pub(super) struct Scalar<T> {
    shape: Shape,
    parse: Parse<T>,
    show: fn(&T) -> Value,
    default: Option<T>,
    unique: bool,
}

impl<T> Scalar<T> {
    /// A value that `parse` reads and `show` writes.
    pub(super) fn new(
        native: Native,
        allowed: impl Into<String>,
        schema: Value,
        parse: impl Fn(&str) -> Result<T, Fault> + 'static,
        show: fn(&T) -> Value,
    ) -> Self {
        let shape = Shape {
            form: Form::Scalar(native),
            allowed: allowed.into(),
            schema,
            default: None,
            example: None,
            required: true,
            variable: None,
        };
        Self {
            shape,
            parse: Box::new(parse),
            show,
            default: None,
            unique: false,
        }
    }

    /// What stands in when the setting is absent; without it, the setting is required.
    pub(super) fn or(mut self, default: T) -> Self {
        self.shape.default = Some((self.show)(&default));
        self.shape.required = false;
        self.default = Some(default);
        self
    }

    /// Makes the setting one that may be absent.
    pub(super) fn optional(mut self) -> Optional<T> {
        self.shape.required = false;
        Optional(self)
    }

    /// A value for the documentation.
    pub(super) fn example(mut self, example: impl Into<Value>) -> Self {
        self.shape.example = Some(example.into());
        self
    }

    /// The environment variable that overrides it, where it has a shorter name than the usual one.
    pub(super) fn variable(mut self, name: &'static str) -> Self {
        self.shape.variable = Some(name);
        self
    }

    /// Refuses the same value in two entries of a list.
    pub(super) fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    fn take(&self, mut slot: Slot<'_, '_>) -> Option<T> {
        let text = slot.scalar().ok()??;
        match (self.parse)(&text) {
            Ok(value) => {
                if self.unique {
                    slot.claim(&(self.show)(&value));
                }
                Some(value)
            }
            Err(fault) => {
                slot.report(fault);
                None
            }
        }
    }
}

impl<T: Clone> Spec for Scalar<T> {
    type Value = T;

    fn shape(&self) -> Shape {
        self.shape.clone()
    }

    fn read(&self, slot: Slot<'_, '_>) -> Option<T> {
        self.take(slot).or_else(|| self.default.clone())
    }
}

/// A single value that may be absent.
pub(super) struct Optional<T>(Scalar<T>);

impl<T> Spec for Optional<T> {
    type Value = Option<T>;

    fn shape(&self) -> Shape {
        self.0.shape.clone()
    }

    fn read(&self, slot: Slot<'_, '_>) -> Option<Option<T>> {
        Some(self.0.take(slot))
    }
}

/// A list of values, empty if absent.
pub(super) fn list<T>(item: Scalar<T>) -> List<T> {
    List(item)
}

/// See [`list`].
pub(super) struct List<T>(Scalar<T>);

impl<T> List<T> {
    /// Makes the list one whose absence means all, and which therefore cannot be empty.
    pub(super) fn or_all(self) -> ListOrAll<T> {
        ListOrAll(self)
    }

    fn take(&self, slot: &mut Slot<'_, '_>) -> Option<Vec<T>> {
        let mut values = Vec::new();
        let found = slot.list(&self.0.shape, |item| values.extend(self.0.take(item)));
        found.then_some(values)
    }
}

impl<T> Spec for List<T> {
    type Value = Vec<T>;

    fn shape(&self) -> Shape {
        let item = &self.0.shape;
        Shape {
            form: Form::List,
            allowed: format!("a list in which each entry is {}", item.allowed),
            schema: json!({"type": "array", "items": item.schema_with_references()}),
            default: Some(json!([])),
            example: item.example.as_ref().map(|example| json!([example])),
            required: false,
            variable: None,
        }
    }

    fn read(&self, mut slot: Slot<'_, '_>) -> Option<Vec<T>> {
        Some(self.take(&mut slot).unwrap_or_default())
    }
}

/// See [`List::or_all`].
pub(super) struct ListOrAll<T>(List<T>);

impl<T> Spec for ListOrAll<T> {
    type Value = Option<Vec<T>>;

    fn shape(&self) -> Shape {
        let mut shape = self.0.shape();
        shape.schema["minItems"] = 1.into();
        shape.default = None;
        shape
    }

    fn read(&self, mut slot: Slot<'_, '_>) -> Option<Option<Vec<T>>> {
        let empty = slot.is_empty_list();
        if empty {
            slot.report(Fault::from("the list is empty").hint("leave it out to mean all"));
        }
        Some(self.0.take(&mut slot).filter(|_| !empty))
    }
}

/// A table of names that the user chooses, each with a value. `key` checks a name and gives the
/// form of it that is kept.
pub(super) fn map<C, T>(
    allowed: &'static str,
    key: fn(&str) -> Result<String, Fault>,
    item: Scalar<T>,
    example: (&str, &str),
) -> Map<C, T> {
    let (name, value) = example;
    Map {
        allowed,
        key,
        item,
        example: json!({name: value}),
        collection: PhantomData,
    }
}

/// See [`map`].
pub(super) struct Map<C, T> {
    allowed: &'static str,
    key: fn(&str) -> Result<String, Fault>,
    item: Scalar<T>,
    example: Value,
    collection: PhantomData<C>,
}

impl<C: FromIterator<(String, T)>, T> Spec for Map<C, T> {
    type Value = C;

    fn shape(&self) -> Shape {
        let item = self.item.shape.schema_with_references();
        Shape {
            form: Form::Map,
            allowed: self.allowed.to_owned(),
            schema: json!({"type": "object", "additionalProperties": item}),
            default: Some(json!({})),
            example: Some(self.example.clone()),
            required: false,
            variable: None,
        }
    }

    fn read(&self, mut slot: Slot<'_, '_>) -> Option<C> {
        let mut entries = Vec::new();
        let mut names = BTreeSet::new();
        slot.map(&self.item.shape, |name, mut item| match (self.key)(name) {
            Ok(name) if names.contains(&name) => item.note("the same name twice".into()),
            Ok(name) => {
                names.insert(name.clone());
                entries.extend(self.item.take(item).map(|value| (name, value)));
            }
            Err(fault) => item.note(fault),
        });
        Some(entries.into_iter().collect())
    }
}

/// A section that exists once.
pub(super) fn section<S: Settings>() -> Section<S> {
    Section(PhantomData)
}

/// See [`section`].
pub(super) struct Section<S>(PhantomData<S>);

impl<S: Settings> Spec for Section<S> {
    type Value = S;

    fn shape(&self) -> Shape {
        Shape::sections(Form::Section(S::fields()), "a section of settings")
    }

    fn read(&self, mut slot: Slot<'_, '_>) -> Option<S> {
        let variables = section_variables(&slot.path);
        S::read(slot.section(Some(variables)))
    }
}

/// Sections of which there may be many.
pub(super) fn sections<S: Settings>() -> Sections<S> {
    Sections(PhantomData)
}

/// See [`sections`].
pub(super) struct Sections<S>(PhantomData<S>);

impl<S: Settings> Spec for Sections<S> {
    type Value = Vec<S>;

    fn shape(&self) -> Shape {
        Shape::sections(Form::Sections(S::fields()), "a section in double brackets")
    }

    fn read(&self, mut slot: Slot<'_, '_>) -> Option<Vec<S>> {
        let mut values = Vec::new();
        let shape = self.shape();
        slot.list(&shape, |mut item| {
            if item.is_section() {
                values.extend(S::read(item.section(None)));
            }
        });
        Some(values)
    }
}
