//! What tells the providers of one API apart.

use super::bedrock;
use crate::ask::Field;

/// How a provider differs from the one that its dialect comes from: a part of its row in the table
/// of providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a difference of its own"
)]
pub struct Traits {
    /// `openai_chat`: the limit of tokens is named `max_tokens`, as at all but OpenAI itself, which
    /// takes `max_completion_tokens` for all of its models.
    pub max_tokens: bool,
    /// `openai_chat`: what it has no word for. Who asks for it is refused.
    pub lacks: &'static [Field],
    /// `openai_chat`: takes `safety_identifier`, `metadata` and `prompt_cache_key`. Some servers
    /// refuse whatever they do not know.
    pub hints: bool,
    /// `openai_chat`: how it is told whether and how much to think.
    pub thinking: ThinkingWords,
    /// `openai_chat`: the `tool_choice` that it takes.
    pub tool_choices: ToolChoices,
    /// `openai_chat`: takes `allowed_tools` as a `tool_choice`. Else the others are left out.
    pub allowed_tools: bool,
    /// `openai_chat`: takes a JSON Schema for the form of the answer.
    pub json_schema: bool,
    /// `openai_chat`: takes a `seed` as `random_seed` (Mistral).
    pub random_seed: bool,
    /// `openai_chat`: takes `name` in messages, for which of several people says it.
    pub speakers: bool,
    /// `openai_chat`: the ids of calls are nine letters and digits (Mistral).
    pub short_call_ids: bool,
    /// `openai_chat`: the member of an assistant's message in which it wants its reasoning back.
    pub reasoning_member: Option<&'static str>,
    /// `openai_chat`: takes `reasoning_details` back, with their seals (OpenRouter).
    pub reasoning_details: bool,
    /// `openai_chat`: takes `cache_control` on parts (OpenRouter, DashScope).
    pub cache_control: bool,
    /// `openai_chat`: a last message of the assistant's is the beginning of the answer.
    pub prefill: bool,
    /// `openai_chat`: the member by which it is marked, if it is.
    pub prefill_mark: Option<&'static str>,
    /// `openai_chat`: its answer then begins with that beginning once more (Mistral).
    pub prefill_repeats: bool,
    /// `openai_chat`: takes `stream_options`, by which it is asked for the usage of a stream.
    pub usage_in_streams: bool,
    /// `anthropic`: the model knows `thinking.type: adaptive` and `output_config.effort` (from 4.6
    /// on); else an effort is sent as a budget.
    pub adaptive_thinking: bool,
    /// `anthropic`: the `max_tokens`, which it has to have, for a request without one.
    pub default_max_tokens: u64,
    /// `gemini`: the model is of Gemini 3 or later: it takes an effort, else a budget stands for it,
    /// and wants a signature on the first call of each turn, for which Google has a word where
    /// another model made the call.
    pub gemini_3: bool,
    /// `openai_chat`: has OpenAI's responses beside its chat completions.
    pub responses: bool,
    /// `gemini`: takes the ids of calls and of their results, which Vertex AI refuses.
    pub call_ids: bool,
    /// `openai_responses`: the model reasons. It is then asked for the seals of its reasoning, which
    /// other models refuse.
    pub sealed_reasoning: bool,
    /// `openai_responses`: runs a response without a connection if it is asked to, and lets its stream
    /// be read again.
    pub background: bool,
    /// Runs the same request under the same `Idempotency-Key` once (another Everstream).
    pub keyed: bool,
    /// `bedrock`: whose model it is.
    pub bedrock_family: bedrock::Family,
}

/// How an `openai_chat` provider is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingWords {
    /// `reasoning_effort`, where `none` is not at all.
    Effort,
    /// `thinking.type`, and beside it `reasoning_effort` (DeepSeek).
    SwitchAndEffort,
    /// `thinking.type` alone; an effort is more than it can be told (Moonshot, Zhipu).
    Switch,
    /// `enable_thinking`, and beside it `thinking_budget` (DashScope).
    Budget,
}

/// Which `tool_choice` an `openai_chat` provider takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolChoices {
    /// All of OpenAI's.
    All,
    /// All but `required`.
    NotRequired,
    /// `auto` alone.
    Auto,
}

impl Traits {
    /// Those of the makers of the APIs.
    pub const MAKERS: Self = Self {
        max_tokens: false,
        lacks: &[Field::TopK],
        hints: true,
        thinking: ThinkingWords::Effort,
        tool_choices: ToolChoices::All,
        allowed_tools: true,
        json_schema: true,
        random_seed: false,
        speakers: true,
        short_call_ids: false,
        reasoning_member: None,
        reasoning_details: false,
        cache_control: false,
        prefill: false,
        prefill_mark: None,
        prefill_repeats: false,
        usage_in_streams: true,
        adaptive_thinking: true,
        default_max_tokens: 8_192,
        gemini_3: true,
        responses: false,
        call_ids: true,
        sealed_reasoning: true,
        background: false,
        keyed: false,
        bedrock_family: bedrock::Family::Claude,
    };
}

impl Default for Traits {
    fn default() -> Self {
        Self::MAKERS
    }
}
