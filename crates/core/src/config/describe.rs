//! What a configuration may hold, as data: the source of the checks, the JSON Schema and the
//! documentation alike.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::mistake::nearest;

/// A setting: its name in the file, what it is for, and what it may be.
#[derive(Clone)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) shape: Shape,
}

/// What a value may be.
#[derive(Clone)]
pub(super) struct Shape {
    pub(super) form: Form,
    /// For people: "a duration from 1s to 60s".
    pub(super) allowed: String,
    /// The JSON Schema of the value, without its documentation.
    pub(super) schema: Value,
    /// What stands in when the setting is absent.
    pub(super) default: Option<Value>,
    /// For documentation, where there is no default.
    pub(super) example: Option<Value>,
    /// True when the setting cannot be absent.
    pub(super) required: bool,
    /// The environment variable, where it has a shorter name than the usual one.
    pub(super) variable: Option<&'static str>,
}

impl Shape {
    pub(super) fn sections(form: Form, allowed: &str) -> Self {
        Self {
            form,
            allowed: allowed.to_owned(),
            schema: Value::Null,
            default: None,
            example: None,
            required: false,
            variable: None,
        }
    }

    /// The environment variable that overrides the field `name` in the section whose variables start
    /// with `prefix`. Only scalars have one.
    pub(super) fn variable(&self, prefix: &str, name: &str) -> Option<String> {
        match (&self.form, self.variable) {
            (Form::Scalar(_), Some(name)) => Some(name.to_owned()),
            (Form::Scalar(_), None) => Some(format!("{prefix}{}", name.to_ascii_uppercase())),
            _ => None,
        }
    }

    /// The schema, for a value that may also be a string with a reference in it.
    pub(super) fn schema_with_references(&self) -> Value {
        match self.form {
            Form::Scalar(_) if self.schema != json!({"type": "string"}) => {
                json!({"anyOf": [self.schema, {"type": "string", "pattern": r"\$\{"}]})
            }
            _ => self.schema.clone(),
        }
    }
}

/// How a value is written.
#[derive(Clone)]
pub(super) enum Form {
    Scalar(Native),
    List,
    Map,
    /// `[name]`
    Section(Vec<Field>),
    /// `[[name]]`
    Sections(Vec<Field>),
}

/// The TOML types of a scalar. A string with a reference in it may stand for any of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    String,
    Integer,
    Boolean,
    StringOrInteger,
}

impl Native {
    pub(super) fn is_string(self) -> bool {
        matches!(self, Self::String | Self::StringOrInteger)
    }
}

impl Field {
    /// What the setting is for, on one line.
    pub(super) fn text(&self) -> String {
        let lines: Vec<&str> = self.doc.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }
}

/// The prefix of the variables of the fields at the top of the file.
pub(super) const VARIABLES: &str = "EVERSTREAM__";

/// The prefix of the variables of the fields of `[section]`.
pub(super) fn section_variables(section: &str) -> String {
    format!("{VARIABLES}{}__", section.to_ascii_uppercase())
}

/// Every variable that overrides a field.
pub(super) fn variables(fields: &[Field]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for field in fields {
        names.extend(field.shape.variable(VARIABLES, field.name));
        if let Form::Section(inner) = &field.shape.form {
            let prefix = section_variables(field.name);
            names.extend(
                inner
                    .iter()
                    .filter_map(|f| f.shape.variable(&prefix, f.name)),
            );
        }
    }
    names
}

/// Where a field belongs that was found in the wrong section.
pub(super) fn whereabouts(fields: &[Field], name: &str) -> Option<String> {
    if fields.iter().any(|field| field.name == name) {
        return Some(format!(
            "`{name}` belongs above the first section of the file"
        ));
    }
    fields.iter().find_map(|section| {
        let (inner, title) = match &section.shape.form {
            Form::Section(inner) => (inner, format!("[{}]", section.name)),
            Form::Sections(inner) => (inner, format!("[[{}]]", section.name)),
            Form::Scalar(_) | Form::List | Form::Map => return None,
        };
        let near = nearest(name, inner.iter().map(|field| field.name))?;
        Some(format!("did you mean `{near}` in `{title}`?"))
    })
}

/// Settings that belong together: the file itself, a section of it, or an entry of a list.
pub(super) trait Settings: Sized {
    /// What it may hold.
    fn fields() -> Vec<Field>;

    /// Takes what it holds out of `table`. `None` if a required field is not usable, which was then
    /// reported.
    fn read(table: super::slot::Table<'_, '_>) -> Option<Self>;
}

/// Declares settings once: the struct for the program, the description for checks and documents,
/// and the function that leads from a file to the struct. So none of them can lag behind.
macro_rules! settings {
    ($(#[doc = $doc:literal])+ pub struct $Name:ident {
        $($(#[doc = $field_doc:literal])+ $field:ident: $Type:ty = $spec:expr;)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $Name { $($(#[doc = $field_doc])+ pub $field: $Type,)+ }

        impl $crate::config::describe::Settings for $Name {
            fn fields() -> Vec<$crate::config::describe::Field> {
                vec![$($crate::config::describe::Field {
                    name: stringify!($field),
                    doc: &[$($field_doc),+],
                    shape: $crate::config::spec::shape_of::<$Type>(&$spec),
                },)+]
            }

            fn read(mut table: $crate::config::slot::Table<'_, '_>) -> Option<Self> {
                $(let $field = table.field(stringify!($field), &$spec);)+
                table.refuse_unknown(&[$(stringify!($field)),+]);
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
}
pub(super) use settings;

/// Declares an enum whose variants are words in the file.
macro_rules! choices {
    ($(#[doc = $doc:literal])+ pub enum $Name:ident {
        $($(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $Name {
            /// The word for it in the file.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::config::describe::Choice for $Name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn word(self) -> &'static str {
                self.as_str()
            }
        }
    };
}
pub(super) use choices;

/// One of a few words.
pub(super) trait Choice: Copy + 'static {
    const ALL: &'static [Self];

    fn word(self) -> &'static str;
}
