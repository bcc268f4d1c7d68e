//! Google's schemas, a subset of `OpenAPI`'s, as JSON Schema, which this API takes too and others
//! take alone.

use std::borrow::Cow;

use serde_json::Error;

use crate::content::Json;
use crate::dialect::json::{for_each_element, for_each_member, text_of};
use crate::dialect::read::camel;

/// A schema as JSON Schema, with its members in the order that it names.
pub(super) struct Converted {
    pub(super) schema: Json<'static>,
    /// Every object needs all of its members, as OpenAI wants where a schema is kept to by force.
    pub(super) strict: bool,
}

/// Converts a schema. Objects have no members but those that it lists.
pub(super) fn to_json_schema(schema: &Json<'_>) -> Result<Converted, Error> {
    let mut out = String::with_capacity(2 * schema.as_str().len());
    let mut strict = true;
    convert(schema.as_str(), &mut out, &mut strict)?;
    Ok(Converted {
        schema: Json::parse(&out)?.into_owned(),
        strict,
    })
}

/// What of a schema stands in relation to other members.
#[derive(Default)]
struct Related<'a> {
    kind: Option<String>,
    nullable: bool,
    order: Vec<Cow<'a, str>>,
    required: Vec<Cow<'a, str>>,
    properties: Option<&'a str>,
    open: bool,
    any_of: Option<&'a str>,
    listed: Option<&'a str>,
}

fn convert(schema: &str, out: &mut String, strict: &mut bool) -> Result<(), Error> {
    let mut related = Related::default();
    let mut members = Members::begin(out);
    for_each_member(schema.as_bytes(), |member| {
        let value = member.value;
        match &*camel(member.key) {
            _ if value == "null" => {}
            "type" => related.kind = Some(text_of(value)?.to_ascii_lowercase()),
            "nullable" => related.nullable = value == "true",
            "propertyOrdering" => related.order = names(value)?,
            "required" => {
                related.required = names(value)?;
                members.raw("required", value);
            }
            "properties" => related.properties = Some(value),
            "anyOf" => related.any_of = Some(value),
            "enum" => related.listed = Some(value),
            "items" => convert(value, members.name("items"), strict)?,
            "defs" | "$defs" => all(value, &[], members.name("$defs"), strict)?,
            "ref" | "$ref" => members.raw("$ref", value),
            "additionalProperties" => {
                related.open = true;
                if value.starts_with('{') {
                    convert(value, members.name("additionalProperties"), strict)?;
                } else {
                    members.raw("additionalProperties", value);
                }
            }
            "example" => members.raw("examples", &format!("[{value}]")),
            // Only says that there is an `enum`.
            "format" if value == "\"enum\"" => {}
            name @ ("minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties"
            | "maxProperties") => members.raw(name, value.trim_matches('"')),
            name => members.raw(name, value),
        }
        Ok::<_, Error>(())
    })?;
    relate(related, members, strict)
}

fn relate(related: Related<'_>, mut members: Members<'_>, strict: &mut bool) -> Result<(), Error> {
    let kind = related.kind.filter(|kind| kind != "type_unspecified");
    if let Some(kind) = kind {
        let value = serde_json::to_string(&kind)?;
        if related.nullable {
            members.raw("type", &format!("[{value},\"null\"]"));
        } else {
            members.raw("type", &value);
        }
    }
    for (name, list, null) in [
        ("enum", related.listed, "null"),
        ("anyOf", related.any_of, r#"{"type":"null"}"#),
    ] {
        let Some(list) = list else { continue };
        let mut parts = Vec::new();
        let mut result = Ok(());
        for_each_element(list, |element| {
            let mut part = String::new();
            if name == "enum" {
                part.push_str(element);
            } else if result.is_ok() {
                result = convert(element, &mut part, strict);
            }
            parts.push(part);
        })?;
        result?;
        parts.extend(related.nullable.then(|| null.to_owned()));
        members.raw(name, &format!("[{}]", parts.join(",")));
    }
    if let Some(properties) = related.properties {
        for_each_member(properties.as_bytes(), |member| {
            *strict &= related.required.contains(&member.key);
            Ok::<_, Error>(())
        })?;
        all(
            properties,
            &related.order,
            members.name("properties"),
            strict,
        )?;
        if !related.open {
            members.raw("additionalProperties", "false");
        }
    }
    members.end();
    Ok(())
}

/// Converts each member of an object of schemas, those that are named first.
fn all(
    object: &str,
    order: &[Cow<'_, str>],
    out: &mut String,
    strict: &mut bool,
) -> Result<(), Error> {
    let mut found = Vec::new();
    for_each_member(object.as_bytes(), |member| {
        found.push((member.key, member.value));
        Ok::<_, Error>(())
    })?;
    found.sort_by_key(|(key, _)| {
        let at = order.iter().position(|name| name == key);
        at.unwrap_or(order.len())
    });
    let mut members = Members::begin(out);
    for (name, schema) in found {
        convert(schema, members.name(&name), strict)?;
    }
    members.end();
    Ok(())
}

fn names(list: &str) -> Result<Vec<Cow<'_, str>>, Error> {
    let mut found = Vec::new();
    for_each_element(list, |element| found.push(text_of(element)))?;
    found.into_iter().collect()
}

/// An object that is being written.
struct Members<'o> {
    out: &'o mut String,
    any: bool,
}

impl<'o> Members<'o> {
    fn begin(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, any: false }
    }

    /// Writes a name, for its value to follow.
    fn name(&mut self, name: &str) -> &mut String {
        if std::mem::replace(&mut self.any, true) {
            self.out.push(',');
        }
        // A text is always JSON.
        let name = serde_json::to_string(name).unwrap_or_default();
        self.out.push_str(&name);
        self.out.push(':');
        self.out
    }

    fn raw(&mut self, name: &str, value: &str) {
        self.name(name).push_str(value);
    }

    fn end(self) {
        self.out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::to_json_schema;
    use crate::content::Json;
    use proptest::prelude::*;

    fn converted(schema: &str) -> (String, bool) {
        let converted = to_json_schema(&Json::parse(schema).unwrap()).unwrap();
        (converted.schema.as_str().to_owned(), converted.strict)
    }

    #[test]
    fn a_schema_of_googles_is_a_json_schema() {
        let cases = [
            (r#"{"type":"STRING"}"#, r#"{"type":"string"}"#, true),
            (
                r#"{"type":"STRING","format":"enum","enum":["a","b"],"nullable":true}"#,
                r#"{"type":["string","null"],"enum":["a","b",null]}"#,
                true,
            ),
            (
                r#"{"type":"ARRAY","items":{"type":"INTEGER","format":"int32"},"minItems":"1"}"#,
                r#"{"items":{"format":"int32","type":"integer"},"minItems":1,"type":"array"}"#,
                true,
            ),
            (
                r#"{"type":"OBJECT","property_ordering":["b","a"],"required":["a","b"],"properties":{"a":{"type":"NUMBER"},"b":{"type":"BOOLEAN"}}}"#,
                r#"{"required":["a","b"],"type":"object","properties":{"b":{"type":"boolean"},"a":{"type":"number"}},"additionalProperties":false}"#,
                true,
            ),
            (
                r#"{"type":"object","properties":{"type":{"type":"STRING","example":"x"}}}"#,
                r#"{"type":"object","properties":{"type":{"examples":["x"],"type":"string"}},"additionalProperties":false}"#,
                false,
            ),
            (
                r##"{"anyOf":[{"type":"STRING"},{"$ref":"#/$defs/T"}],"nullable":true,"defs":{"T":{"type":"NULL"}}}"##,
                r##"{"$defs":{"T":{"type":"null"}},"anyOf":[{"type":"string"},{"$ref":"#/$defs/T"},{"type":"null"}]}"##,
                true,
            ),
        ];
        for (google, json, strict) in cases {
            assert_eq!(converted(google), (json.to_owned(), strict), "{google}");
        }
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for wrong in [
            r#"{"type":1}"#,
            r#"{"items":"x"}"#,
            r#"{"properties":[]}"#,
            "[]",
        ] {
            assert!(
                to_json_schema(&Json::parse(wrong).unwrap()).is_err(),
                "{wrong}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_schema_is_a_panic(
            name in "type|enum|anyOf|items|minItems|properties|required|nullable|[a-z_]{1,4}",
            value in "\\{\\}|\\[\\]|\"[A-Za-z]{0,5}\"|true|1|null|\\{\"a\":\\{\\}\\}|\\[\\{\\}\\]",
        ) {
            let schema = format!("{{\"{name}\":{value}}}");
            let _ = to_json_schema(&Json::parse(&schema).unwrap());
        }
    }
}
