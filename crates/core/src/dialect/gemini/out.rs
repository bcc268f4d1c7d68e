//! What is written: the parts of an answer, most of which requests have too, and chunks.

use std::borrow::Cow;

use serde::Serialize;

use super::logprobs::LogprobsOut;
use super::seal;
use super::usage::UsageOut;
use crate::content::{Json, Seal, Source};
use crate::dialect::extension::FieldsOut;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChunkOut<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) candidates: Vec<CandidateOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage_metadata: Option<UsageOut>,
    pub(super) model_version: &'a str,
    pub(super) response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidateOut<'a> {
    pub(super) content: ContentOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finish_message: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs_result: Option<LogprobsOut>,
    pub(super) index: u32,
    #[serde(
        rename = "provider_fields",
        skip_serializing_if = "FieldsOut::is_empty"
    )]
    pub(super) provider_fields: FieldsOut<'a>,
}

#[derive(Serialize)]
pub(super) struct ContentOut<'a> {
    pub(super) parts: Vec<PartOut<'a>>,
    pub(super) role: &'static str,
}

/// A part: one of what it may say, and what has to come back with it.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_call: Option<CallOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_response: Option<ResponseOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inline_data: Option<BlobOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_data: Option<FileOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thought_signature: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
pub(super) struct CallOut<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) args: Json<'a>,
}

#[derive(Serialize)]
pub(super) struct ResponseOut<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) response: ResultOut<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<PartOut<'a>>,
}

/// What a tool gave. The API has a name for a result that is no object, and for an error.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ResultOut<'a> {
    Object(Json<'static>),
    Output { output: Cow<'a, str> },
    Error { error: Cow<'a, str> },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlobOut<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mime_type: Option<&'static str>,
    pub(super) file_uri: &'a str,
}

impl<'a> PartOut<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self {
            text: Some(text),
            ..Self::default()
        }
    }

    pub(super) fn thought(text: &'a str) -> Self {
        Self {
            thought: true,
            ..Self::text(text)
        }
    }

    /// A call, with arguments that are an object.
    pub(super) fn call(id: &'a str, name: &'a str, args: Json<'a>) -> Self {
        Self {
            function_call: Some(CallOut { id, name, args }),
            ..Self::default()
        }
    }

    pub(super) fn media(source: &'a Source<'_>) -> Self {
        match source {
            Source::Base64 { media_type, data } => Self {
                inline_data: Some(BlobOut {
                    mime_type: media_type,
                    data,
                }),
                ..Self::default()
            },
            Source::Text(text) => Self::text(text),
            Source::Url(uri) | Source::File(uri) => Self {
                file_data: Some(FileOut {
                    mime_type: media_type_of(uri),
                    file_uri: uri,
                }),
                ..Self::default()
            },
        }
    }

    /// The part with its seal, for a client that is to send it back.
    pub(super) fn sealed(self, seal: Option<&'a Seal<'_>>) -> Self {
        Self {
            thought_signature: seal.map(seal::write),
            ..self
        }
    }
}

/// The arguments of a call as an object on one line; `None` if they are none.
pub(super) fn args(arguments: &str) -> Option<Json<'static>> {
    let arguments = match arguments.trim_ascii() {
        "" => "{}",
        arguments => arguments,
    };
    let json = Json::parse(arguments).ok().filter(Json::is_object)?;
    let line = compact(json.as_str());
    Json::parse(&line).ok().map(Json::into_owned)
}

/// Valid JSON without the white space between its tokens.
pub(super) fn compact(json: &str) -> Cow<'_, str> {
    let mut in_text = false;
    let mut escaped = false;
    let mut keep = |c: char| {
        if in_text {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_text = false,
                _ => {}
            }
            return true;
        }
        in_text = c == '"';
        !c.is_ascii_whitespace()
    };
    match json.char_indices().find(|(_, c)| !keep(*c)) {
        None => Cow::Borrowed(json),
        Some((at, c)) => {
            let mut line = json[..at].to_owned();
            line.extend(json[at + c.len_utf8()..].chars().filter(|c| keep(*c)));
            Cow::Owned(line)
        }
    }
}

/// What a file is by the end of its name, which Vertex AI has to be told.
pub(super) fn media_type_of(uri: &str) -> Option<&'static str> {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let (_, ending) = path.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{args, compact};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        #[test]
        fn compact_json_is_the_same_on_one_line(name in "\\PC{0,9}", text in "[ -~\n\t]{0,12}") {
            let value = json!({ name: [text, 1, {"a": null}] });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let line = compact(&pretty);
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
            prop_assert_eq!(compact(&line), line.as_ref());
        }
    }

    #[test]
    fn arguments_are_an_object_or_nothing() {
        assert_eq!(args("").unwrap().as_str(), "{}");
        assert_eq!(
            args(" {\"a\" : \"b c\"}\n").unwrap().as_str(),
            r#"{"a":"b c"}"#
        );
        for cut in ["{\"a", "[1]", "\"x\"", "null"] {
            assert_eq!(args(cut), None, "{cut}");
        }
    }
}
