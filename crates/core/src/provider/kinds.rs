//! What several rows have in common.

use crate::ask::Field;
use crate::dialect::{ThinkingWords, ToolChoices, Traits};

/// Who speaks OpenAI's chat completions and is not OpenAI.
pub(super) const COMPATIBLE: Traits = Traits {
    max_tokens: true,
    hints: false,
    allowed_tools: false,
    lacks: &[],
    ..Traits::MAKERS
};

/// vLLM, and who took its request over.
pub(super) const VLLM: Traits = Traits {
    prefill: true,
    prefill_mark: Some("continue_final_message"),
    ..COMPATIBLE
};

pub(super) const DASHSCOPE: Traits = Traits {
    lacks: &[
        Field::FrequencyPenalty,
        Field::LogitBias,
        Field::Verbosity,
        Field::ServiceTier,
    ],
    thinking: ThinkingWords::Budget,
    tool_choices: ToolChoices::NotRequired,
    cache_control: true,
    prefill: true,
    prefill_mark: Some("partial"),
    ..COMPATIBLE
};

pub(super) const MOONSHOT: Traits = Traits {
    max_tokens: false,
    lacks: &[
        Field::TopK,
        Field::LogitBias,
        Field::Verbosity,
        Field::ServiceTier,
    ],
    thinking: ThinkingWords::Switch,
    reasoning_member: Some("reasoning_content"),
    prefill: true,
    prefill_mark: Some("partial"),
    ..COMPATIBLE
};

pub(super) const ZHIPU: Traits = Traits {
    lacks: &[
        Field::TopK,
        Field::FrequencyPenalty,
        Field::PresencePenalty,
        Field::Seed,
        Field::Choices,
        Field::Logprobs,
        Field::LogitBias,
        Field::ParallelToolCalls,
        Field::Verbosity,
        Field::ServiceTier,
    ],
    thinking: ThinkingWords::Switch,
    tool_choices: ToolChoices::Auto,
    json_schema: false,
    reasoning_member: Some("reasoning_content"),
    ..COMPATIBLE
};
