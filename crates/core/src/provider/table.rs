//! The rows. What is not known of a provider for sure is what nearly all of its kind do. Looked up
//! in their documentation on 2026-11-22 and 23.

use super::kinds::{self, COMPATIBLE};
use super::{Auth, Provider, Shape};
use crate::ask::Field;
use crate::dialect::{ProviderDialect, ThinkingWords, Traits};

/// Most rows are this but for a few members.
const ROW: Provider = Provider {
    name: "",
    title: "",
    base_url: None,
    shape: Shape::Plain,
    domains: &[],
    dialect: ProviderDialect::OpenAiChat,
    auth: Auth::Bearer,
    keys: &[],
    address: None,
    port: None,
    lists_models: true,
    traits: COMPATIBLE,
    documentation: "",
};

/// All providers that are known. The first with a variable of its own that is set is taken for the
/// key in it.
pub static PROVIDERS: &[Provider] = &[
    Provider {
        name: "openai",
        title: "OpenAI",
        base_url: Some("https://api.openai.com/v1"),
        domains: &["openai.com"],
        keys: &["OPENAI_API_KEY"],
        address: Some("OPENAI_BASE_URL"),
        traits: Traits {
            responses: true,
            background: true,
            ..Traits::MAKERS
        },
        documentation: "https://platform.openai.com/docs/api-reference/chat",
        ..ROW
    },
    Provider {
        name: "azure",
        title: "OpenAI on Azure",
        shape: Shape::Azure,
        domains: &[
            "openai.azure.com",
            "services.ai.azure.com",
            "cognitiveservices.azure.com",
        ],
        auth: Auth::ApiKey,
        keys: &["AZURE_OPENAI_API_KEY"],
        address: Some("AZURE_OPENAI_ENDPOINT"),
        // It lists what could be deployed.
        lists_models: false,
        traits: Traits {
            background: true,
            ..Traits::MAKERS
        },
        documentation: "https://learn.microsoft.com/azure/ai-foundry/openai/reference",
        ..ROW
    },
    Provider {
        name: "everstream",
        title: "Another Everstream",
        // It says itself what the provider behind it has no word for.
        traits: Traits {
            responses: true,
            keyed: true,
            lacks: &[],
            ..Traits::MAKERS
        },
        documentation: "recovery.md",
        ..ROW
    },
    Provider {
        name: "anthropic",
        title: "Anthropic",
        base_url: Some("https://api.anthropic.com/v1"),
        domains: &["anthropic.com"],
        dialect: ProviderDialect::Anthropic,
        auth: Auth::XApiKey,
        keys: &["ANTHROPIC_API_KEY"],
        address: Some("ANTHROPIC_BASE_URL"),
        traits: Traits::MAKERS,
        documentation: "https://platform.claude.com/docs/en/api/messages",
        ..ROW
    },
    Provider {
        name: "gemini",
        title: "Google Gemini",
        base_url: Some("https://generativelanguage.googleapis.com/v1beta"),
        domains: &["generativelanguage.googleapis.com"],
        dialect: ProviderDialect::Gemini,
        auth: Auth::XGoogApiKey,
        keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        address: Some("GEMINI_BASE_URL"),
        traits: Traits::MAKERS,
        documentation: "https://ai.google.dev/api/generate-content",
        ..ROW
    },
    Provider {
        name: "vertex",
        title: "Gemini on Vertex AI",
        shape: Shape::Vertex,
        domains: &["aiplatform.googleapis.com"],
        dialect: ProviderDialect::Gemini,
        auth: Auth::Google,
        lists_models: false,
        traits: Traits {
            call_ids: false,
            ..Traits::MAKERS
        },
        documentation: "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference",
        ..ROW
    },
    Provider {
        name: "bedrock",
        title: "AWS Bedrock",
        shape: Shape::Aws,
        domains: &["amazonaws.com"],
        dialect: ProviderDialect::Bedrock,
        // It does on another host.
        lists_models: false,
        traits: Traits::MAKERS,
        documentation: "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html",
        ..ROW
    },
    Provider {
        name: "cohere",
        title: "Cohere",
        base_url: Some("https://api.cohere.com"),
        domains: &["cohere.com", "cohere.ai"],
        dialect: ProviderDialect::Cohere,
        keys: &["CO_API_KEY", "COHERE_API_KEY"],
        traits: Traits::MAKERS,
        documentation: "https://docs.cohere.com/reference/chat",
        ..ROW
    },
    Provider {
        name: "deepseek",
        title: "DeepSeek",
        base_url: Some("https://api.deepseek.com"),
        domains: &["deepseek.com"],
        keys: &["DEEPSEEK_API_KEY"],
        traits: Traits {
            lacks: &[
                Field::TopK,
                Field::Seed,
                Field::Choices,
                Field::LogitBias,
                Field::ParallelToolCalls,
                Field::Verbosity,
                Field::ServiceTier,
            ],
            thinking: ThinkingWords::SwitchAndEffort,
            json_schema: false,
            // It refuses a later turn without the reasoning of one that called a tool.
            reasoning_member: Some("reasoning_content"),
            ..COMPATIBLE
        },
        documentation: "https://api-docs.deepseek.com/api/create-chat-completion",
        ..ROW
    },
    Provider {
        name: "dashscope",
        title: "Qwen (DashScope, international)",
        base_url: Some("https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        domains: &["aliyuncs.com"],
        keys: &["DASHSCOPE_API_KEY"],
        traits: kinds::DASHSCOPE,
        documentation: "https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-openai-chat-completions",
        ..ROW
    },
    Provider {
        name: "dashscope-cn",
        title: "Qwen (DashScope, mainland China)",
        base_url: Some("https://dashscope.aliyuncs.com/compatible-mode/v1"),
        domains: &["dashscope.aliyuncs.com"],
        keys: &["DASHSCOPE_API_KEY"],
        traits: kinds::DASHSCOPE,
        documentation: "https://help.aliyun.com/zh/model-studio/qwen-api-via-openai-chat-completions",
        ..ROW
    },
    Provider {
        name: "moonshot",
        title: "Kimi (Moonshot, international)",
        base_url: Some("https://api.moonshot.ai/v1"),
        domains: &["moonshot.ai"],
        keys: &["MOONSHOT_API_KEY"],
        traits: kinds::MOONSHOT,
        documentation: "https://platform.moonshot.ai/docs/api/chat",
        ..ROW
    },
    Provider {
        name: "moonshot-cn",
        title: "Kimi (Moonshot, mainland China)",
        base_url: Some("https://api.moonshot.cn/v1"),
        domains: &["moonshot.cn"],
        keys: &["MOONSHOT_API_KEY"],
        traits: kinds::MOONSHOT,
        documentation: "https://platform.moonshot.cn/docs/api/chat",
        ..ROW
    },
    Provider {
        name: "zai",
        title: "GLM (Z.ai)",
        base_url: Some("https://api.z.ai/api/paas/v4"),
        domains: &["z.ai"],
        keys: &["ZAI_API_KEY"],
        traits: kinds::ZHIPU,
        documentation: "https://docs.z.ai/api-reference/llm/chat-completion",
        ..ROW
    },
    Provider {
        name: "zhipu",
        title: "GLM (Zhipu, mainland China)",
        base_url: Some("https://open.bigmodel.cn/api/paas/v4"),
        domains: &["bigmodel.cn"],
        keys: &["ZHIPUAI_API_KEY"],
        traits: kinds::ZHIPU,
        documentation: "https://docs.bigmodel.cn/api-reference",
        ..ROW
    },
    Provider {
        name: "mistral",
        title: "Mistral",
        base_url: Some("https://api.mistral.ai/v1"),
        domains: &["mistral.ai"],
        keys: &["MISTRAL_API_KEY"],
        // It refuses every field that it does not know, and counts usage in streams unasked.
        traits: Traits {
            lacks: &[
                Field::TopK,
                Field::Logprobs,
                Field::LogitBias,
                Field::Verbosity,
                Field::ServiceTier,
            ],
            usage_in_streams: false,
            random_seed: true,
            speakers: false,
            short_call_ids: true,
            prefill: true,
            prefill_mark: Some("prefix"),
            prefill_repeats: true,
            ..COMPATIBLE
        },
        documentation: "https://docs.mistral.ai/api/endpoint/chat",
        ..ROW
    },
    Provider {
        name: "groq",
        title: "Groq",
        base_url: Some("https://api.groq.com/openai/v1"),
        domains: &["groq.com"],
        keys: &["GROQ_API_KEY"],
        traits: Traits {
            max_tokens: false,
            lacks: &[
                Field::TopK,
                Field::Choices,
                Field::Logprobs,
                Field::LogitBias,
            ],
            speakers: false,
            ..COMPATIBLE
        },
        documentation: "https://console.groq.com/docs/openai",
        ..ROW
    },
    Provider {
        name: "together",
        title: "Together",
        base_url: Some("https://api.together.xyz/v1"),
        domains: &["together.xyz", "together.ai"],
        keys: &["TOGETHER_API_KEY"],
        documentation: "https://docs.together.ai/reference/chat-completions-1",
        ..ROW
    },
    Provider {
        name: "openrouter",
        title: "OpenRouter",
        base_url: Some("https://openrouter.ai/api/v1"),
        domains: &["openrouter.ai"],
        keys: &["OPENROUTER_API_KEY"],
        traits: Traits {
            reasoning_details: true,
            cache_control: true,
            ..COMPATIBLE
        },
        documentation: "https://openrouter.ai/docs/api/reference/parameters",
        ..ROW
    },
    Provider {
        name: "xai",
        title: "xAI",
        base_url: Some("https://api.x.ai/v1"),
        domains: &["x.ai"],
        keys: &["XAI_API_KEY"],
        traits: Traits {
            max_tokens: false,
            lacks: &[Field::TopK, Field::LogitBias],
            ..COMPATIBLE
        },
        documentation: "https://docs.x.ai/docs/api-reference",
        ..ROW
    },
    Provider {
        name: "fireworks",
        title: "Fireworks",
        base_url: Some("https://api.fireworks.ai/inference/v1"),
        domains: &["fireworks.ai"],
        keys: &["FIREWORKS_API_KEY"],
        documentation: "https://docs.fireworks.ai/api-reference/post-chatcompletions",
        ..ROW
    },
    Provider {
        name: "ollama",
        title: "Ollama",
        base_url: Some("http://127.0.0.1:11434/v1"),
        port: Some(11434),
        traits: Traits {
            lacks: &[Field::TopK, Field::Choices, Field::LogitBias],
            reasoning_member: Some("reasoning"),
            ..COMPATIBLE
        },
        documentation: "https://docs.ollama.com/api/openai-compatibility",
        ..ROW
    },
    Provider {
        name: "llama.cpp",
        title: "llama.cpp",
        base_url: Some("http://127.0.0.1:8080/v1"),
        port: Some(8080),
        traits: Traits {
            reasoning_member: Some("reasoning_content"),
            ..COMPATIBLE
        },
        documentation: "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        ..ROW
    },
    Provider {
        name: "vllm",
        title: "vLLM",
        base_url: Some("http://127.0.0.1:8000/v1"),
        port: Some(8000),
        traits: kinds::VLLM,
        documentation: "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        ..ROW
    },
    Provider {
        name: "sglang",
        title: "SGLang",
        base_url: Some("http://127.0.0.1:30000/v1"),
        port: Some(30000),
        traits: Traits {
            reasoning_member: Some("reasoning_content"),
            ..kinds::VLLM
        },
        documentation: "https://docs.sglang.ai/basic_usage/openai_api_completions.html",
        ..ROW
    },
    Provider {
        name: "lmstudio",
        title: "LM Studio",
        base_url: Some("http://127.0.0.1:1234/v1"),
        port: Some(1234),
        documentation: "https://lmstudio.ai/docs/developer/openai-compat",
        ..ROW
    },
    Provider {
        name: "smollm",
        title: "Everstream's small model",
        base_url: Some("http://127.0.0.1:24080/v1"),
        port: Some(24080),
        documentation: "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        ..ROW
    },
];
