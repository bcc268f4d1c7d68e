//! The table of providers: where each is, which API it speaks, how it wants to be called, and how
//! it differs from the maker of that API.

mod address;
mod kinds;
mod models;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

pub use address::{Place, Unplaced, path};
pub use table::PROVIDERS;

use crate::dialect::{ProviderDialect, Traits};

/// A row of the table.
#[derive(PartialEq, Eq)]
pub struct Provider {
    /// What it is called in a configuration, and in routes unless that says otherwise.
    pub name: &'static str,
    /// What it is called among people.
    pub title: &'static str,
    /// Where its API is, up to its version; `None` where each customer has an address.
    pub base_url: Option<&'static str>,
    /// How paths are made.
    pub shape: Shape,
    /// Whoever is below one of these domains has its traits.
    pub domains: &'static [&'static str],
    /// The API that it speaks.
    pub dialect: ProviderDialect,
    /// How it knows its callers.
    pub auth: Auth,
    /// The environment variables of its key, the first that is set.
    pub keys: &'static [&'static str],
    /// The environment variable by which its own SDK is led to another address.
    pub address: Option<&'static str>,
    /// It is a server that people run themselves, on this port unless told otherwise.
    pub port: Option<u16>,
    /// `GET /models` lists what can be asked for.
    pub lists_models: bool,
    /// How it differs from the maker of its API.
    pub traits: Traits,
    /// Where it is documented.
    pub documentation: &'static str,
}

/// How the paths of an API are made from an upstream's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The dialect's paths below the address.
    Plain,
    /// OpenAI on Azure: below `/openai/v1`, where deployments are models; or, with an `api-version`,
    /// below `/openai/deployments/{deployment}`.
    Azure,
    /// Gemini on Vertex AI: below a project, a location and a publisher.
    Vertex,
    /// AWS: a host for each region.
    Aws,
}

/// How a provider knows its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer`, as at OpenAI.
    Bearer,
    /// `x-api-key`, as at Anthropic.
    XApiKey,
    /// `api-key`, as on Azure.
    ApiKey,
    /// `x-goog-api-key`, as at Google.
    XGoogApiKey,
    /// A token of Google's for a service account (OAuth 2.0), as on Vertex AI.
    Google,
    /// Not at all.
    None,
}

impl Auth {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Bearer,
        Self::XApiKey,
        Self::ApiKey,
        Self::XGoogApiKey,
        Self::Google,
        Self::None,
    ];

    /// Its name in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::XApiKey => "x-api-key",
            Self::ApiKey => "api-key",
            Self::XGoogApiKey => "x-goog-api-key",
            Self::Google => "google",
            Self::None => "none",
        }
    }

    /// How whoever speaks an API is called unless there is more to say.
    pub const fn of_dialect(dialect: ProviderDialect) -> Self {
        match dialect {
            ProviderDialect::OpenAiChat
            | ProviderDialect::OpenAiResponses
            | ProviderDialect::Bedrock
            | ProviderDialect::Cohere => Self::Bearer,
            ProviderDialect::Anthropic => Self::XApiKey,
            ProviderDialect::Gemini => Self::XGoogApiKey,
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.name)
    }
}

impl Provider {
    /// Whether `host` is one of its own.
    pub fn is_at(&self, host: &str) -> bool {
        self.domains.iter().any(|domain| {
            let prefix = host.strip_suffix(domain);
            prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        })
    }
}

/// The provider of this name.
pub fn find(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.name == name)
}

/// The provider at `host`.
pub fn at(host: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.is_at(host))
}

/// How `provider` differs from the maker of the API `dialect` in requests to `model`. A server that
/// is not known has what nearly all of its kind have.
pub fn traits(
    provider: Option<&'static Provider>,
    dialect: ProviderDialect,
    model: &str,
) -> Traits {
    let traits = match provider {
        Some(provider) => provider.traits,
        None if dialect == ProviderDialect::OpenAiChat => kinds::COMPATIBLE,
        None => Traits::MAKERS,
    };
    models::of_model(traits, dialect, model)
}
