//! What can be configured, for people and for editors, written from the declaration itself.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::Config;
use super::describe::{Field, Form, Settings as _, VARIABLES, section_variables};

/// The JSON Schema (draft 2020-12) of a configuration file.
pub fn json_schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Everstream",
    });
    merge(&mut schema, object(&Config::fields()));
    schema
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| (field.name.to_owned(), property(field)))
        .collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.shape.required)
        .map(|field| field.name)
        .collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn property(field: &Field) -> Value {
    let mut property = json!({"description": field.text()});
    if let Some(default) = &field.shape.default {
        property["default"] = default.clone();
    }
    let schema = match &field.shape.form {
        Form::Section(fields) => object(fields),
        Form::Sections(fields) => json!({"type": "array", "items": object(fields)}),
        Form::Scalar(_) | Form::List | Form::Map => field.shape.schema_with_references(),
    };
    merge(&mut property, schema);
    property
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// The reference of all settings, as a page of documentation.
pub fn markdown() -> String {
    let fields = Config::fields();
    let mut page = String::from(PREFACE);
    rows(
        &mut page,
        "At the top of the file",
        None,
        &fields,
        Some(VARIABLES),
    );
    for field in &fields {
        match &field.shape.form {
            Form::Section(inner) => {
                let variables = section_variables(field.name);
                let title = format!("`[{}]`", field.name);
                rows(&mut page, &title, Some(field), inner, Some(&variables));
                for (path, field, inner) in nested(field.name, inner) {
                    entries(&mut page, &path, field, inner);
                }
            }
            Form::Sections(inner) => entries(&mut page, field.name, field, inner),
            Form::Scalar(_) | Form::List | Form::Map => {}
        }
    }
    page
}

const PREFACE: &str = "\
# Configuration

One TOML file, given by `--config FILE` or `EVERSTREAM_CONFIG`. Without one, the defaults hold.
`everstream check` shows every mistake at once, each with its line and what would be right;
`everstream config schema` prints the JSON Schema for editors, `everstream config example` a file
to start from. This page is written from the program's own declaration (`everstream config reference`).

- Any string may hold `${NAME}` or `${NAME:-default}`, replaced from the environment; `$$` is a
  dollar sign. A string of references may also stand for a number or `true`/`false`.
- A variable named below overrides the file. An empty one counts as not set.
- Durations are whole numbers with a unit: `ms`, `s`, `m`, `h`, `d`. Sizes are bytes, or have a unit:
  `KiB`, `MiB`, `GiB`, `TiB`.
- Keys of upstreams and values of headers are never printed.
";

/// The rows of a list of sections, and of those within.
fn entries(page: &mut String, path: &str, field: &Field, inner: &[Field]) {
    rows(page, &format!("`[[{path}]]`"), Some(field), inner, None);
    for (path, field, inner) in nested(path, inner) {
        entries(page, &path, field, inner);
    }
}

/// The lists of sections in sections.
fn nested<'f>(
    path: &str,
    fields: &'f [Field],
) -> impl Iterator<Item = (String, &'f Field, &'f [Field])> {
    fields
        .iter()
        .filter_map(move |field| match &field.shape.form {
            Form::Sections(inner) => Some((format!("{path}.{}", field.name), field, &**inner)),
            _ => None,
        })
}

fn rows(
    page: &mut String,
    title: &str,
    section: Option<&Field>,
    fields: &[Field],
    variables: Option<&str>,
) {
    let _infallible = write!(page, "\n## {title}\n\n");
    if let Some(section) = section {
        let _infallible = write!(page, "{}\n\n", section.text());
    }
    page.push_str("| field | what it may be | default | variable | what it is for |\n");
    page.push_str("|---|---|---|---|---|\n");
    for field in fields {
        if matches!(field.shape.form, Form::Section(_) | Form::Sections(_)) {
            continue;
        }
        let default = match &field.shape.default {
            Some(default) => format!("`{}`", toml(default)),
            None if field.shape.required => "required".to_owned(),
            None => String::new(),
        };
        let variable = variables.and_then(|prefix| field.shape.variable(prefix, field.name));
        let variable = variable.map_or_else(String::new, |name| format!("`{name}`"));
        let cells = [
            format!("`{}`", field.name),
            field.shape.allowed.clone(),
            default,
            variable,
            field.text(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _infallible = writeln!(page, "| {} |", cells.join(" | "));
    }
}

/// A configuration file in which every setting is a comment that shows its default, or an example.
pub fn example() -> String {
    let fields = Config::fields();
    let mut file = String::from(
        "# Everstream's configuration. Everything here is optional: a line that starts with `#` and a\n\
         # name shows a default or an example, to be uncommented and changed. Check the result with\n\
         # `everstream check --config FILE`.\n",
    );
    let is_plain = |field: &&Field| matches!(field.shape.form, Form::Scalar(_) | Form::List);
    for field in fields.iter().filter(is_plain) {
        setting(&mut file, field);
    }
    for field in &fields {
        let (open, inner) = match &field.shape.form {
            Form::Section(inner) => (format!("[{}]", field.name), inner.as_slice()),
            Form::Sections(inner) => (format!("#[[{}]]", field.name), inner.as_slice()),
            Form::Map => (format!("[{}]", field.name), [].as_slice()),
            Form::Scalar(_) | Form::List => continue,
        };
        section(&mut file, &open, field, inner);
        for (path, field, inner) in nested(field.name, inner) {
            section(&mut file, &format!("#[[{path}]]"), field, inner);
        }
        for (name, value) in field
            .shape
            .example
            .iter()
            .filter_map(Value::as_object)
            .flatten()
        {
            let _infallible = writeln!(file, "#{name} = {}", toml(value));
        }
    }
    file
}

fn section(file: &mut String, open: &str, section: &Field, fields: &[Field]) {
    file.push('\n');
    comment(file, &section.text());
    let _infallible = writeln!(file, "{open}");
    for field in fields {
        setting(file, field);
    }
}

fn setting(file: &mut String, field: &Field) {
    let shape = &field.shape;
    let Some(value) = shape.example.as_ref().or(shape.default.as_ref()) else {
        return;
    };
    file.push('\n');
    comment(file, &field.text());
    let _infallible = writeln!(file, "#{} = {}", field.name, toml(value));
}

/// Text as comment lines of at most 100 characters.
fn comment(file: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split_whitespace() {
        if width == 0 || width + 1 + word.len() > 100 {
            file.push_str(if width == 0 { "#" } else { "\n#" });
            width = 1;
        }
        width += 1 + word.len();
        let _infallible = write!(file, " {word}");
    }
    file.push('\n');
}

/// A value as TOML. JSON's strings, numbers and booleans are TOML too.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(name, value)| format!("{name} = {}", toml(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        plain => plain.to_string(),
    }
}
