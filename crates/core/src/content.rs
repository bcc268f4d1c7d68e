//! What messages are made of, whichever API says them: the parts of a conversation's messages and
//! of a model's answer. An answer's parts go back as they are with the next request, so both
//! directions share these types.
//!
//! Texts borrow from the bytes that they were read from wherever JSON had no escapes to resolve.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// One part of a message, in the order in which it was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<'a> {
    /// What it says.
    pub content: Content<'a>,
    /// What the model's maker wants to get back with it, untouched. On reasoning; Gemini has it on
    /// texts and tool calls too.
    pub seal: Option<Seal<'a>>,
    /// The prompt up to and with this part is worth caching. Requests only.
    pub cache: Option<CacheMark<'a>>,
}

/// What a part says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// What the model thought, or a summary of it. Empty when only its [`Seal`] is shown.
    Reasoning(Cow<'a, str>),
    /// The model's words for why it does not answer. Dialects without such a thing show it as text.
    Refusal(Cow<'a, str>),
    /// The model calls a tool.
    ToolCall(ToolCall<'a>),
    /// What a called tool gave.
    ToolResult(ToolResult<'a>),
    /// An image.
    Image {
        /// Where it is.
        source: Source<'a>,
        /// How closely to look, in OpenAI's words: `low`, `high`, `auto`.
        detail: Option<Cow<'a, str>>,
    },
    /// Sound.
    Audio(Source<'a>),
    /// A document, such as a PDF.
    Document {
        /// Where it is.
        source: Source<'a>,
        /// Its title or the name of its file.
        title: Option<Cow<'a, str>>,
    },
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall<'a> {
    /// The name by which the result refers to it. Not empty: see [`stable_call_id`].
    pub id: Cow<'a, str>,
    /// The tool.
    pub name: Cow<'a, str>,
    /// The arguments as the model wrote them: the text of a JSON object, `{}` for none, and not JSON
    /// at all if the answer was cut.
    pub arguments: Cow<'a, str>,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult<'a> {
    /// The call's id.
    pub id: Cow<'a, str>,
    /// What the tool gave: texts, images, documents.
    pub parts: Vec<Part<'a>>,
    /// The tool failed.
    pub is_error: bool,
}

/// Where something that is no text is found.
#[derive(Clone, Debug, PartialEq)]
pub enum Source<'a> {
    /// At a URL that the provider is to fetch. Not a `data:` URL.
    Url(Cow<'a, str>),
    /// Here.
    Base64 {
        /// Its media type, such as `image/png`.
        media_type: Cow<'a, str>,
        /// The bytes in base64 as they came.
        data: Cow<'a, str>,
    },
    /// Here, as plain text. Documents only.
    Text(Cow<'a, str>),
    /// At the provider, under this id.
    File(Cow<'a, str>),
}

impl<'a> Source<'a> {
    /// A source from a URL, which may be a `data:` URL in base64.
    pub fn from_url(url: Cow<'a, str>) -> Self {
        let parts = url.strip_prefix("data:").and_then(|rest| {
            let (head, data) = rest.split_once(',')?;
            Some((head.strip_suffix(";base64")?.len(), data.len()))
        });
        let Some((media_type, data)) = parts else {
            return Self::Url(url);
        };
        let start = "data:".len();
        match url {
            Cow::Borrowed(url) => Self::Base64 {
                media_type: Cow::Borrowed(&url[start..start + media_type]),
                data: Cow::Borrowed(&url[url.len() - data..]),
            },
            Cow::Owned(url) => Self::Base64 {
                media_type: Cow::Owned(url[start..start + media_type].to_owned()),
                data: Cow::Owned(url[url.len() - data..].to_owned()),
            },
        }
    }

    /// The URL, a `data:` URL for what is here. `None` for a file or a text.
    pub fn to_url(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Url(url) => Some(Cow::Borrowed(url)),
            Self::Base64 { media_type, data } => {
                Some(Cow::Owned(format!("data:{media_type};base64,{data}")))
            }
            Self::Text(_) | Self::File(_) => None,
        }
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Source<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Url(url) => Source::Url(owned(url)),
            Self::Base64 { media_type, data } => Source::Base64 {
                media_type: owned(media_type),
                data: owned(data),
            },
            Self::Text(text) => Source::Text(owned(text)),
            Self::File(id) => Source::File(owned(id)),
        }
    }
}

/// Opaque data of a model's maker that has to come back, byte for byte, with the part it is on, for
/// the model to go on from its own reasoning. Only models of the same maker can read it; for others
/// it is left out of a request, with the reasoning it seals.
#[derive(Clone, Debug, PartialEq)]
pub struct Seal<'a> {
    /// Who can read it.
    pub maker: Maker,
    /// What it is.
    pub form: SealForm,
    /// The id of the item that it seals, where there is one.
    pub id: Option<Cow<'a, str>>,
    /// The data.
    pub data: Cow<'a, str>,
}

impl Seal<'_> {
    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Seal<'static> {
        Seal {
            maker: self.maker,
            form: self.form,
            id: self.id.map(|id| Cow::Owned(id.into_owned())),
            data: Cow::Owned(self.data.into_owned()),
        }
    }
}

/// Who made a model. Anthropic's signatures hold on every platform that serves its models, so this
/// is not the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Maker {
    /// Anthropic.
    Anthropic,
    /// Google.
    Google,
    /// OpenAI.
    OpenAi,
    /// Somebody else, whose API has the data in the very form that it came in.
    Other,
}

/// What a [`Seal`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SealForm {
    /// A signature of the part it is on.
    Signature,
    /// The reasoning itself, encrypted.
    Encrypted,
}

/// A mark that the prompt up to here is worth caching.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheMark<'a> {
    /// For how long, in Anthropic's words: `5m`, `1h`.
    pub ttl: Option<Cow<'a, str>>,
}

impl<'a> From<Content<'a>> for Part<'a> {
    fn from(content: Content<'a>) -> Self {
        Self {
            content,
            seal: None,
            cache: None,
        }
    }
}

impl<'a> Part<'a> {
    /// A part that is text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Content::Text(text.into()).into()
    }
}

/// One JSON value, byte for byte as it came.
#[derive(Clone)]
pub struct Json<'a>(Cow<'a, RawValue>);

impl<'a> Json<'a> {
    /// Checks that `text` is one JSON value. Nothing is copied; white space around it goes.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self::from)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The JSON Schema of an object without members, for tools without arguments.
    pub fn empty_schema() -> Self {
        let schema = r#"{"type":"object","properties":{}}"#;
        Self(Cow::Owned(
            RawValue::from_string(schema.to_owned()).unwrap_or_default(),
        ))
    }

    /// Its text, borrowed as long as the value was.
    pub fn into_text(self) -> Cow<'a, str> {
        match self.0 {
            Cow::Borrowed(raw) => Cow::Borrowed(raw.get()),
            Cow::Owned(raw) => Cow::Owned(raw.get().to_owned()),
        }
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Json<'static> {
        Json(Cow::Owned(self.0.into_owned()))
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(Cow::Borrowed(raw))
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl PartialEq for Json<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An id for a tool call whose provider gave none: the same whenever the same answer is read, and
/// another one in every answer, as a conversation may have calls of many.
pub fn stable_call_id(answer: &str, choice: u32, call: u32) -> String {
    let seed = format!("{answer}\n{choice}\n{call}");
    format!("call_{}", short_hash(&seed))
}

/// 24 hexadecimal digits of SHA-256.
pub(crate) fn short_hash(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let mut digits = String::with_capacity(24);
    for byte in &hash[..12] {
        for half in [byte >> 4, byte & 15] {
            digits.extend(char::from_digit(half.into(), 16));
        }
    }
    digits
}
