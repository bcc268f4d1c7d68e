use everstream_core::event::Usage;
use serde_json::{Value, json};

/// The one `created` of every fake answer: tests compare bytes.
const CREATED: u64 = 1_700_000_000;

/// A chat completion, from which its events and its JSON body are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatAnswer {
    /// The provider's id of it.
    pub id: String,
    /// The model that the chunks name.
    pub model: String,
    /// One content chunk for each.
    pub tokens: Vec<String>,
    /// The `finish_reason`.
    pub finish: String,
    /// With figures, the usage chunk comes before `[DONE]`, and every other chunk has
    /// `"usage":null`, as `OpenAI` does when `stream_options.include_usage` is set.
    pub usage: Option<Usage>,
}

impl ChatAnswer {
    /// An answer of these tokens that ends with `stop`, without usage.
    pub fn new<T: Into<String>>(tokens: impl IntoIterator<Item = T>) -> Self {
        Self {
            id: "chatcmpl-1".into(),
            model: "fake-model".into(),
            tokens: tokens.into_iter().map(Into::into).collect(),
            finish: "stop".into(),
            usage: None,
        }
    }

    /// The same with usage: `input_tokens` as given, one output token for each of `tokens`.
    #[must_use]
    pub fn with_usage(mut self, input_tokens: u64) -> Self {
        self.usage = Some(Usage {
            input_tokens,
            output_tokens: self.tokens.len() as u64,
            ..Usage::default()
        });
        self
    }

    /// The tokens joined.
    pub fn text(&self) -> String {
        self.tokens.concat()
    }

    /// The data of every event in order, byte for byte: role, tokens, finish, usage, `[DONE]`.
    pub fn expected_data(&self) -> Vec<String> {
        let chunks = Chunks::new(Kind::Chat, &self.id, &self.model, self.usage.is_some());
        let mut data = vec![chunks.role()];
        data.extend(self.tokens.iter().map(|token| chunks.content(token)));
        data.push(chunks.finish(&self.finish));
        data.extend(self.usage.as_ref().map(|usage| chunks.usage(usage)));
        data.push(DONE.into());
        data
    }

    /// [`expected_data`](Self::expected_data) as a client sees it that did not ask for usage: the
    /// same bytes without the usage chunk.
    pub fn expected_data_without_usage(&self) -> Vec<String> {
        let mut data = self.expected_data();
        if self.usage.is_some() {
            data.remove(data.len() - 2);
        }
        data
    }

    /// The body of the answer when it is not streamed. It always has usage; zeros if none is set.
    pub fn to_json(&self) -> Value {
        let usage = self.usage.clone().unwrap_or_default();
        unary(
            Kind::Chat,
            &self.id,
            &self.model,
            &self.text(),
            &self.finish,
            &usage,
        )
    }
}

/// The data of the last event of a whole stream.
pub(super) const DONE: &str = "[DONE]";

/// Which of the two generating `OpenAI` surfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Chat,
    Text,
}

/// Renders the chunks of one streamed answer, field by field in the order that `OpenAI` has.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    kind: Kind,
    prefix: String,
    closing: &'static str,
}

impl Chunks {
    pub(super) fn new(kind: Kind, id: &str, model: &str, with_usage: bool) -> Self {
        let object = match kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Text => "text_completion",
        };
        let (id, model) = (quoted(id), quoted(model));
        Self {
            kind,
            prefix: format!(
                r#"{{"id":{id},"object":"{object}","created":{CREATED},"model":{model},"choices":["#
            ),
            closing: if with_usage {
                r#"],"usage":null}"#
            } else {
                "]}"
            },
        }
    }

    pub(super) fn role(&self) -> String {
        self.choice(r#""delta":{"role":"assistant","content":""}"#, "null")
    }

    pub(super) fn content(&self, token: &str) -> String {
        let token = quoted(token);
        match self.kind {
            Kind::Chat => self.choice(&format!(r#""delta":{{"content":{token}}}"#), "null"),
            Kind::Text => self.choice(&format!(r#""text":{token},"logprobs":null"#), "null"),
        }
    }

    pub(super) fn finish(&self, reason: &str) -> String {
        let reason = quoted(reason);
        match self.kind {
            Kind::Chat => self.choice(r#""delta":{}"#, &reason),
            Kind::Text => self.choice(r#""text":"","logprobs":null"#, &reason),
        }
    }

    pub(super) fn usage(&self, usage: &Usage) -> String {
        let usage = usage_json(usage);
        format!(r#"{}],"usage":{usage}}}"#, self.prefix)
    }

    fn choice(&self, inner: &str, finish: &str) -> String {
        let Self {
            prefix, closing, ..
        } = self;
        format!(r#"{prefix}{{"index":0,{inner},"finish_reason":{finish}}}{closing}"#)
    }
}

/// The body of an answer that is not streamed.
pub(super) fn unary(
    kind: Kind,
    id: &str,
    model: &str,
    text: &str,
    finish: &str,
    usage: &Usage,
) -> Value {
    let (object, choice) = match kind {
        Kind::Chat => (
            "chat.completion",
            json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}),
        ),
        Kind::Text => (
            "text_completion",
            json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish}),
        ),
    };
    json!({
        "id": id,
        "object": object,
        "created": CREATED,
        "model": model,
        "choices": [choice],
        "usage": usage_json(usage),
    })
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    })
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
