use crate::ask::Field;

/// Where a field is in a request. Functions may be declared in several `tools`; nearly always it is
/// one. What requests of this dialect cannot hold has the name that it has at OpenAI.
pub(in crate::dialect) fn path(field: Field) -> String {
    let name = match field {
        Field::Message(index) => return format!("contents[{index}]"),
        Field::Part(index, part) => return format!("contents[{index}].parts[{part}]"),
        Field::Tool(index) => return format!("tools[0].functionDeclarations[{index}]"),
        Field::ToolChoice => "toolConfig.functionCallingConfig",
        Field::ParallelToolCalls => "parallel_tool_calls",
        Field::MaxTokens => "generationConfig.maxOutputTokens",
        Field::Temperature => "generationConfig.temperature",
        Field::TopP => "generationConfig.topP",
        Field::TopK => "generationConfig.topK",
        Field::FrequencyPenalty => "generationConfig.frequencyPenalty",
        Field::PresencePenalty => "generationConfig.presencePenalty",
        Field::Seed => "generationConfig.seed",
        Field::Stop => "generationConfig.stopSequences",
        Field::Choices => "generationConfig.candidateCount",
        Field::Logprobs => "generationConfig.responseLogprobs",
        Field::LogitBias => "logit_bias",
        Field::Format => "generationConfig.responseMimeType",
        Field::Thinking => "generationConfig.thinkingConfig",
        Field::Verbosity => "verbosity",
        Field::ServiceTier => "serviceTier",
    };
    name.to_owned()
}
