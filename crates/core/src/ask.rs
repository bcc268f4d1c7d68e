//! The canonical model of a request: what any client asks, for any provider to be asked.
//!
//! Reading a request into an [`Ask`] and writing one for a provider both follow one rule: **what
//! cannot be said is refused, never dropped**. A client's dialect refuses a field that it does not
//! know, a provider's refuses what it has no word for, each with the field's path in the client's
//! own request ([`Ask::refuse`]). Left out are only:
//! - what asks for nothing: `null`, and values that are everybody's default, such as `n: 1`;
//! - [`Hints`], which do not change what the answer says;
//! - [`CacheMark`]s, where the provider caches by itself or not at all;
//! - reasoning that the model asked cannot read: another maker's, or text without its seal where
//!   the provider takes none.

use std::borrow::Cow;
use std::fmt;

use crate::content::{CacheMark, Json, Part};
use crate::dialect::ClientDialect;
use crate::error::{Error, ErrorCode};

/// A request for an answer. `None` leaves a choice to the provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask<'a> {
    /// The API that it came in through; errors name its fields.
    pub client: ClientDialect,
    /// The model as the client named it.
    pub model: Cow<'a, str>,
    /// The client wants events.
    pub stream: bool,
    /// The client wants to see the usage in the events. True where its API always shows it.
    pub show_usage: bool,
    /// What the client's API has outside of the messages for the system to say. More may be in
    /// messages with [`Role::System`], behind this.
    pub system: Vec<Part<'a>>,
    /// The conversation: one for each element of the client's list, so that errors can name them.
    /// Several in a row may have the same role.
    pub messages: Vec<Message<'a>>,
    /// The tools that the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Whether it has to.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether it may call several at a time.
    pub parallel_tool_calls: Option<bool>,
    /// Most tokens of the answer, reasoning included.
    pub max_tokens: Option<u64>,
    /// Randomness: 0 to 2, to 1 at some.
    pub temperature: Option<f64>,
    /// Tokens to choose from, by their summed probability.
    pub top_p: Option<f64>,
    /// Tokens to choose from, by their number.
    pub top_k: Option<u64>,
    /// Penalty for tokens by how often they were said.
    pub frequency_penalty: Option<f64>,
    /// Penalty for tokens that were said.
    pub presence_penalty: Option<f64>,
    /// For the same answer again, as far as the provider can.
    pub seed: Option<i64>,
    /// Texts at which the answer ends.
    pub stop: Vec<Cow<'a, str>>,
    /// How many answers.
    pub choices: Option<u32>,
    /// Log probabilities, with so many alternatives.
    pub logprobs: Option<u32>,
    /// A JSON object of OpenAI's: a bias for each token.
    pub logit_bias: Option<Json<'a>>,
    /// The form of the answer. `None` is text.
    pub format: Option<Format<'a>>,
    /// How much to think first.
    pub thinking: Thinking,
    /// How long the answer should be: `low`, `medium`, `high`.
    pub verbosity: Option<Cow<'a, str>>,
    /// The class of service, in the client's words, unless it is the default.
    pub service_tier: Option<Cow<'a, str>>,
    /// What does not change the answer.
    pub hints: Hints<'a>,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// Who says it.
    pub role: Role,
    /// Which of several people in the role.
    pub name: Option<Cow<'a, str>>,
    /// What it says. Where the client's message has a list of parts these are the same, in the same
    /// order; tool calls and reasoning that stand beside the list come behind and before it.
    pub parts: Vec<Part<'a>>,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The program. Also called developer.
    System,
    /// The person. The results of tools are theirs too.
    User,
    /// The model.
    Assistant,
}

/// A tool, a function that the client runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it does.
    pub description: Option<Cow<'a, str>>,
    /// The JSON Schema of its arguments; `None` for none.
    pub schema: Option<Json<'a>>,
    /// Whether the arguments are to keep to the schema by force.
    pub strict: Option<bool>,
    /// The prompt up to and with this tool is worth caching.
    pub cache: Option<CacheMark<'a>>,
}

/// Which tools the model calls.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice<'a> {
    /// Any or none.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Tool(Cow<'a, str>),
    /// Only these.
    Allowed {
        /// Their names.
        names: Vec<Cow<'a, str>>,
        /// And at least one of them.
        required: bool,
    },
}

/// The form of an answer that is no plain text.
#[derive(Clone, Debug, PartialEq)]
pub enum Format<'a> {
    /// Some JSON object.
    JsonObject,
    /// JSON of this schema.
    JsonSchema {
        /// The schema's name.
        name: Option<Cow<'a, str>>,
        /// What it is.
        description: Option<Cow<'a, str>>,
        /// The JSON Schema.
        schema: Json<'a>,
        /// Whether the answer is to keep to it by force.
        strict: Option<bool>,
    },
}

/// How much the model thinks before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thinking {
    /// Whether, and to which bound.
    pub mode: Option<ThinkingMode>,
    /// How hard.
    pub effort: Option<Effort>,
    /// Whether the client wants to see (a summary of) it.
    pub shown: Option<bool>,
}

/// Whether the model thinks, and to which bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingMode {
    /// It does not.
    Off,
    /// It decides for itself.
    Adaptive,
    /// It does, with so many tokens at most.
    Budget(u64),
}

/// How hard the model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// As little as can be.
    Minimal,
    /// Little.
    Low,
    /// The middle.
    Medium,
    /// Much.
    High,
    /// Very much.
    XHigh,
    /// All.
    Max,
}

impl Effort {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Minimal, "minimal"),
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::XHigh, "xhigh"),
        (Self::Max, "max"),
    ];

    /// The word for it, at OpenAI and Anthropic alike.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// The effort of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let named = Self::NAMES.iter().find(|(_, known)| *known == name);
        named.map(|(effort, _)| *effort)
    }

    /// The effort that is about as much as a budget, for providers without budgets.
    pub const fn of_budget(tokens: u64) -> Self {
        match tokens {
            0..=2_048 => Self::Low,
            2_049..=12_288 => Self::Medium,
            _ => Self::High,
        }
    }

    /// The budget that is about as much, for providers without efforts.
    pub const fn budget(self) -> u64 {
        match self {
            Self::Minimal => 1_024,
            Self::Low => 2_048,
            Self::Medium => 8_192,
            Self::High => 16_384,
            Self::XHigh => 24_576,
            Self::Max => 32_768,
        }
    }
}

/// What says nothing about the answer, only about who asks and what the provider keeps. Left out
/// where the provider has no such field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints<'a> {
    /// The end user, for the provider to tell abusers apart.
    pub user: Option<Cow<'a, str>>,
    /// A JSON object of texts, kept with the answer.
    pub metadata: Option<Json<'a>>,
    /// Requests with the same key share a prompt cache.
    pub cache_key: Option<Cow<'a, str>>,
}

/// A field that a provider cannot express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The message at this index.
    Message(usize),
    /// A part of the message at this index.
    Part(usize, usize),
    /// The tool at this index.
    Tool(usize),
    /// [`Ask::tool_choice`]
    ToolChoice,
    /// [`Ask::parallel_tool_calls`]
    ParallelToolCalls,
    /// [`Ask::max_tokens`]
    MaxTokens,
    /// [`Ask::temperature`]
    Temperature,
    /// [`Ask::top_p`]
    TopP,
    /// [`Ask::top_k`]
    TopK,
    /// [`Ask::frequency_penalty`]
    FrequencyPenalty,
    /// [`Ask::presence_penalty`]
    PresencePenalty,
    /// [`Ask::seed`]
    Seed,
    /// [`Ask::stop`]
    Stop,
    /// [`Ask::choices`]
    Choices,
    /// [`Ask::logprobs`]
    Logprobs,
    /// [`Ask::logit_bias`]
    LogitBias,
    /// [`Ask::format`]
    Format,
    /// [`Ask::thinking`]
    Thinking,
    /// [`Ask::verbosity`]
    Verbosity,
    /// [`Ask::service_tier`]
    ServiceTier,
}

impl Ask<'_> {
    /// An empty request.
    pub fn new(client: ClientDialect) -> Self {
        Self {
            client,
            model: Cow::Borrowed(""),
            stream: false,
            show_usage: false,
            system: Vec::new(),
            messages: Vec::new(),
            tools: Vec::new(),
            tool_choice: None,
            parallel_tool_calls: None,
            max_tokens: None,
            temperature: None,
            top_p: None,
            top_k: None,
            frequency_penalty: None,
            presence_penalty: None,
            seed: None,
            stop: Vec::new(),
            choices: None,
            logprobs: None,
            logit_bias: None,
            format: None,
            thinking: Thinking::default(),
            verbosity: None,
            service_tier: None,
            hints: Hints::default(),
        }
    }

    /// The error for a field that a provider cannot express. `why` is half a sentence about the
    /// provider: "Anthropic has no seed".
    pub fn refuse(&self, field: Field, why: impl fmt::Display) -> Error {
        refused(self.client.path(field), why)
    }

    /// Refuses a field if it asks for something, with half a sentence of why.
    pub fn refuse_asked(&self, field: Field, why: &str) -> Result<(), Error> {
        if self.asks_for(field) {
            return Err(self.refuse(field, why));
        }
        Ok(())
    }

    /// Refuses each field that asks for something, of those that a provider has no word for.
    pub fn refuse_if(&self, fields: &[Field], provider: &str) -> Result<(), Error> {
        for &field in fields {
            if self.asks_for(field) {
                return Err(self.refuse(field, format_args!("{provider} has no such setting")));
            }
        }
        Ok(())
    }

    fn asks_for(&self, field: Field) -> bool {
        let some = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
        match field {
            Field::Message(index) => index < self.messages.len(),
            Field::Part(index, part) => {
                let message = self.messages.get(index);
                message.is_some_and(|message| part < message.parts.len())
            }
            Field::Tool(index) => index < self.tools.len(),
            Field::ToolChoice => self.tool_choice.is_some(),
            Field::ParallelToolCalls => self.parallel_tool_calls == Some(false),
            Field::MaxTokens => self.max_tokens.is_some(),
            Field::Temperature => self.temperature.is_some(),
            Field::TopP => self.top_p.is_some(),
            Field::TopK => self.top_k.is_some(),
            Field::FrequencyPenalty => some(self.frequency_penalty),
            Field::PresencePenalty => some(self.presence_penalty),
            Field::Seed => self.seed.is_some(),
            Field::Stop => !self.stop.is_empty(),
            Field::Choices => self.choices.is_some_and(|choices| choices != 1),
            Field::Logprobs => self.logprobs.is_some(),
            Field::LogitBias => self
                .logit_bias
                .as_ref()
                .is_some_and(|bias| bias.as_str() != "{}"),
            Field::Format => self.format.is_some(),
            Field::Thinking => self.thinking != Thinking::default(),
            Field::Verbosity => self.verbosity.is_some(),
            Field::ServiceTier => self.service_tier.is_some(),
        }
    }
}

/// The error for a part of a request that cannot be said in another API.
pub(crate) fn refused(path: impl Into<String>, why: impl fmt::Display) -> Error {
    let path = path.into();
    let message = format!("`{path}` cannot be translated for the upstream of this model: {why}.");
    Error::new(ErrorCode::Untranslatable, message).param(path)
}
