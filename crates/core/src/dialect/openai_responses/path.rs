use crate::ask::Field;

/// Where a field is in a request. What requests of this dialect cannot hold has the name that it has
/// in OpenAI's chat completions.
pub(in crate::dialect) fn path(field: Field) -> String {
    let name = match field {
        Field::Message(index) => return format!("input[{index}]"),
        Field::Part(index, part) => return format!("input[{index}].content[{part}]"),
        Field::Tool(index) => return format!("tools[{index}]"),
        Field::ToolChoice => "tool_choice",
        Field::ParallelToolCalls => "parallel_tool_calls",
        Field::MaxTokens => "max_output_tokens",
        Field::Temperature => "temperature",
        Field::TopP => "top_p",
        Field::TopK => "top_k",
        Field::FrequencyPenalty => "frequency_penalty",
        Field::PresencePenalty => "presence_penalty",
        Field::Seed => "seed",
        Field::Stop => "stop",
        Field::Choices => "n",
        Field::Logprobs => "top_logprobs",
        Field::LogitBias => "logit_bias",
        Field::Format => "text.format",
        Field::Thinking => "reasoning",
        Field::Verbosity => "text.verbosity",
        Field::ServiceTier => "service_tier",
    };
    name.to_owned()
}
