use crate::ask::Field;

/// Where a field is in a request. What requests of this dialect cannot hold has the name that it
/// has at OpenAI.
pub(in crate::dialect) fn path(field: Field) -> String {
    let name = match field {
        Field::Message(index) => return format!("messages[{index}]"),
        Field::Part(index, part) => return format!("messages[{index}].content[{part}]"),
        Field::Tool(index) => return format!("tools[{index}]"),
        Field::ToolChoice => "tool_choice",
        Field::ParallelToolCalls => "tool_choice.disable_parallel_tool_use",
        Field::MaxTokens => "max_tokens",
        Field::Temperature => "temperature",
        Field::TopP => "top_p",
        Field::TopK => "top_k",
        Field::FrequencyPenalty => "frequency_penalty",
        Field::PresencePenalty => "presence_penalty",
        Field::Seed => "seed",
        Field::Stop => "stop_sequences",
        Field::Choices => "n",
        Field::Logprobs => "logprobs",
        Field::LogitBias => "logit_bias",
        Field::Format => "output_config.format",
        Field::Thinking => "thinking",
        Field::Verbosity => "verbosity",
        Field::ServiceTier => "service_tier",
    };
    name.to_owned()
}
