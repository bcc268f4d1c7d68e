use serde::Deserialize;

use super::envelope::Refused;
use crate::dialect::json::for_each_member;
use crate::error::{Error, ErrorCode};

/// The models that a request names beside its `model`: what a provider turns to when that one fails
/// (`models`, `fallbacks`), and what tools of its own ask (`tools[].model`).
///
/// For those who may not ask every model. Whoever may does not have to be asked.
///
/// # Errors
/// `InvalidValue` names the member, if it cannot be told which models it names: where it is none of
/// the forms that are known, and where it is `Model` and the like, as some providers read names
/// whatever their case is.
pub fn models_besides(body: &[u8]) -> Result<Vec<String>, Error> {
    let mut models = Vec::new();
    for_each_member(body, |member| {
        let name = folded(&member.key);
        let Some(&(name, others)) = MEMBERS.iter().find(|(known, _)| folded(known) == name) else {
            return Ok(());
        };
        if member.key != name {
            let message = format!("`{name}` is written otherwise here, which providers may heed.");
            return Err(unclear(name, &message));
        }
        let found = others.map_or_else(|| Ok(Vec::new()), |read| read(member.value));
        let found = found.map_err(|_| {
            let message = format!("It cannot be told which models `{name}` names.");
            unclear(name, &message)
        });
        models.extend(found?);
        Ok(())
    })
    .map_err(|refused: Refused| refused.0)?;
    Ok(models)
}

type Read = fn(&str) -> serde_json::Result<Vec<String>>;

/// The members that name models, and how. The first is read by all.
const MEMBERS: [(&str, Option<Read>); 4] = [
    ("model", None),
    ("models", Some(listed)),
    ("fallbacks", Some(listed)),
    ("tools", Some(of_tools)),
];

/// A list of names, or of requests that differ.
fn listed(value: &str) -> serde_json::Result<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Name(String),
        Request { model: String },
    }
    let entries = serde_json::from_str::<Option<Vec<Entry>>>(value)?;
    let names = entries.unwrap_or_default().into_iter();
    let names = names.map(|entry| match entry {
        Entry::Name(model) | Entry::Request { model } => model,
    });
    Ok(names.collect())
}

fn of_tools(value: &str) -> serde_json::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Tool {
        model: Option<String>,
    }
    let tools = serde_json::from_str::<Option<Vec<Tool>>>(value)?;
    let tools = tools.unwrap_or_default().into_iter();
    Ok(tools.filter_map(|tool| tool.model).collect())
}

/// The same text for names that differ in case alone.
fn folded(name: &str) -> String {
    name.to_lowercase().to_uppercase()
}

fn unclear(name: &str, message: &str) -> Refused {
    Error::new(
        ErrorCode::InvalidValue,
        format!("{message} This key may not ask every model."),
    )
    .param(name)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_models_are_found() {
        for (body, expected) in [
            ("{}", &[][..]),
            (r#"{"model":"a","messages":[]}"#, &[]),
            (
                r#"{"model":"a","models":["b","c"],"fallbacks":[{"model":"d","x":1},"e"]}"#,
                &["b", "c", "d", "e"],
            ),
            (r#"{"models":["b"],"mod\u0065ls":["c"]}"#, &["b", "c"]),
            (
                r#"{"tools":[{"type":"image_generation","model":"i"},{"type":"function"}]}"#,
                &["i"],
            ),
            (r#"{"models":null,"fallbacks":[],"tools":null}"#, &[]),
            (r#"{"metadata":{"models":["b"]}}"#, &[]),
        ] {
            let found = models_besides(body.as_bytes());
            assert_eq!(found.expect(body), expected, "{body}");
        }
    }

    #[test]
    fn what_could_name_others_is_refused() {
        for (body, param) in [
            (r#"{"model":"a","Model":"b"}"#, "model"),
            (r#"{"model":"a","MODELS":["b"]}"#, "models"),
            ("{\"model\":\"a\",\"model\u{17f}\":[\"b\"]}", "models"),
            (
                "{\"model\":\"a\",\"fallbac\u{212a}s\":[\"b\"]}",
                "fallbacks",
            ),
            (r#"{"models":"b"}"#, "models"),
            (r#"{"models":[["b"]]}"#, "models"),
            (r#"{"fallbacks":[{"a":["b"]}]}"#, "fallbacks"),
            (r#"{"fallbacks":[{"model":"a","model":"b"}]}"#, "fallbacks"),
            (r#"{"tools":[{"model":"a","model":"b"}]}"#, "tools"),
            (r#"{"tools":[{"model":{"id":"b"}}]}"#, "tools"),
        ] {
            let refused = models_besides(body.as_bytes()).expect_err(body);
            assert_eq!(refused.code, ErrorCode::InvalidValue, "{body}");
            assert_eq!(refused.param.as_deref(), Some(param), "{body}");
        }
        let no_json = models_besides(b"{").expect_err("no JSON");
        assert_eq!(no_json.code, ErrorCode::InvalidJson);
    }
}
