//! `[[upstreams]]`: model providers and servers, and what they have from the table of providers.

use std::path::PathBuf;
use std::time::Duration;

use super::describe::{Choice, Settings as _, choices, settings};
use super::kinds::{choice, duration, flag, whole};
use super::mistake::{Fault, Place};
use super::read::Reader;
use super::spec::{list, map};
use super::{Config, DAY, HOUR, MS, SECOND, SecretSource, address, source, values};
use crate::dialect::{ProviderDialect, Traits};
use crate::limits;
use crate::provider::{self, Auth, Place as Whereabouts, Provider, Unplaced};

settings! {
    /// `[[upstreams]]`: one model provider or server.
    pub struct UpstreamConfig {
        /// Who runs it, by a name in the table of providers (docs/providers.md). It gives the
        /// address, the API, the way to send the key and what differs; what is set here goes
        /// before.
        provider: Option<&'static Provider> = values::provider().example("openai").optional();
        /// What it is called: in `name/model`, in logs, in the header `Everstream-Upstream`. The
        /// provider's name if absent.
        name: Option<String> = values::name().example("openai").unique().optional();
        /// Where its API is. Usually ends in `/v1`. Needed unless the provider has one address for
        /// everybody; on Azure it is the resource's, `https://{resource}.openai.azure.com`.
        base_url: Option<String> = address::base_url()
            .example("https://api.openai.com/v1")
            .optional();
        /// The API that it speaks, `openai` unless its provider has another. Clients of all are
        /// served by upstreams of each.
        dialect: Option<UpstreamDialect> = choice().example("openai").optional();
        /// The key to call it with. If absent and there is a provider, the variable that the
        /// provider's own SDK reads it from. `file:<path>` is what a file holds, `vault:<path>#<field>`
        /// what Vault has; both are followed when they change (docs/secrets.md). So it is for all keys
        /// and headers of upstreams.
        api_key: Option<SecretSource> = source::key().example("${OPENAI_API_KEY}").optional();
        /// Instead of `api_key`: several keys, such as `["${KEY_ONE}", "${KEY_TWO}"]`, which take
        /// turns. One that reaches its limit, or is refused, rests alone, and the next is taken at
        /// once. What is no answer of a model, such as a list or a file, is asked with the first, so
        /// give keys of the same account.
        api_keys: Vec<SecretSource> = list(source::key());
        /// How the key is sent: as `Authorization: Bearer`, in a header of its own, or not at all;
        /// with `google`, tokens are fetched for a service account. As its provider or its dialect
        /// has it, if absent.
        auth: Option<Auth> = choice().example("bearer").optional();
        /// Where it is, in words of your own: `everstream upstreams` shows it. AWS's region and Vertex
        /// AI's location, if absent.
        region: Option<String> = values::word().example("eu-west-1").optional();
        /// Azure: the version of the API, such as `2024-10-21`, for paths with the deployment in
        /// them. Without it requests go to `/openai/v1`. The name of a model is in both cases that
        /// of a deployment.
        api_version: Option<String> = values::word().example("2024-10-21").optional();
        /// Vertex AI: the project.
        project: Option<String> = values::word().example("my-project").optional();
        /// Vertex AI: the location, `global` if absent.
        location: Option<String> = values::word().example("us-central1").optional();
        /// Vertex AI: the file with the key of a service account. If absent,
        /// `GOOGLE_APPLICATION_CREDENTIALS` names it, or else the machine's own account is asked
        /// for tokens.
        credentials: Option<PathBuf> = values::path()
            .example("/etc/everstream/google.json")
            .optional();
        /// For `bedrock`: where AWS is asked. If absent, what `base_url` says
        /// (`bedrock-runtime.<region>.amazonaws.com`), or `AWS_REGION`.
        aws_region: Option<String> = values::word().example("us-east-1").optional();
        /// For `bedrock`: the key that signs the requests, unless there is an `api_key`. If absent,
        /// `AWS_BEARER_TOKEN_BEDROCK` in the environment is the `api_key`, or else
        /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` sign.
        aws_access_key_id: Option<SecretSource> = source::word()
            .example("${AWS_ACCESS_KEY_ID}")
            .optional();
        /// The secret half of that key.
        aws_secret_access_key: Option<SecretSource> = source::key()
            .example("${AWS_SECRET_ACCESS_KEY}")
            .optional();
        /// What belongs to a key that is only lent.
        aws_session_token: Option<SecretSource> = source::key()
            .example("${AWS_SESSION_TOKEN}")
            .optional();
        /// Headers to send with every request, such as `{ "x-team" = "search" }`.
        headers: Vec<(String, SecretSource)> = map(
            "names of headers, each with its value",
            values::header_name,
            source::header_value(),
            ("x-team", "search"),
        );
        /// The models it serves. If absent, it is asked.
        models: Option<Vec<String>> = list(values::model().example("gpt-4o-mini")).or_all();
        /// Whether it is asked for the usage of every stream (`stream_options.include_usage`).
        /// Switch it off for servers that refuse the field. On unless its provider is known to.
        include_usage: Option<bool> = flag().example(true).optional();
        /// Certificates to trust beside those of the system: a file in PEM format.
        ca_file: Option<PathBuf> = values::path().example("/etc/ssl/private-ca.pem").optional();
        /// Whether the name in `base_url` may lead to private addresses, such as those of a company's
        /// network, of containers or of this machine. An address that stands in `base_url` itself,
        /// and `localhost`, need it not.
        allow_private: bool = flag().or(false);
        /// Whether `base_url` may lead to link-local addresses, among them those where clouds give
        /// their machines credentials.
        allow_link_local: bool = flag().or(false);
        /// The most connections to it that are kept open while nobody needs them.
        idle_connections: usize = whole(0..=10_000).or(limits::UPSTREAM_IDLE_CONNECTIONS);
        /// How long such a connection is kept.
        idle_timeout: Duration = duration(SECOND..=HOUR).or(limits::UPSTREAM_IDLE_TIMEOUT);
        /// Whether it is spoken to in HTTP/2 if it offers that, which goes by TLS alone. Several
        /// requests then share a connection, and many share several.
        http2: bool = flag().or(true);
        /// The longest time for connecting, TLS included.
        connect_timeout: Duration = duration(MS..=HOUR).or(limits::UPSTREAM_CONNECT_TIMEOUT);
        /// The longest time to the head of an answer. Not bounded by itself if absent: some providers
        /// send it together with the first event.
        head_timeout: Option<Duration> = duration(MS..=DAY).example("30s").optional();
        /// The longest silence before the first event. Reasoning models think for minutes.
        first_event_timeout: Duration = duration(MS..=DAY)
            .or(limits::UPSTREAM_FIRST_EVENT_TIMEOUT);
        /// The longest silence between two events; heartbeats do not count.
        event_timeout: Duration = duration(MS..=DAY).or(limits::UPSTREAM_EVENT_TIMEOUT);
        /// The longest time for a whole answer. Not bounded if absent.
        total_timeout: Option<Duration> = duration(MS..=DAY).example("1h").optional();
        /// The most requests for one of its models under way at once. Those beyond go to another
        /// deployment of their route, or wait (`limits.queue`). Not bounded if absent.
        max_concurrency: Option<u32> = whole(1..=1_000_000).example(100).optional();
        /// Makes `max_concurrency` adapt itself: it falls, never below this, while the upstream refuses
        /// requests for want of room or starves them, and rises again with what is served.
        min_concurrency: Option<u32> = whole(1..=1_000_000).example(4).optional();
        /// How often it is asked whether it is there, beside what the traffic shows: a probe that
        /// fails counts against all its deployments on routes, one that is answered helps those
        /// that are left alone to come back. Not at all if absent.
        probe_interval: Option<Duration> = duration(SECOND..=HOUR).example("30s").optional();
        /// What such a probe gets, below `base_url`. The list of models if absent.
        probe_path: Option<String> = address::probe_path().example("/models").optional();
    }
}

choices! {
    /// The API that an upstream speaks.
    pub enum UpstreamDialect {
        /// OpenAI's chat completions, and what belongs to them.
        OpenAi = "openai",
        /// OpenAI's responses.
        Responses = "responses",
        /// Anthropic's messages.
        Anthropic = "anthropic",
        /// Google's Gemini API.
        Gemini = "gemini",
        /// AWS Bedrock's Converse.
        Bedrock = "bedrock",
        /// Cohere's chat.
        Cohere = "cohere",
    }
}

/// Where Google's libraries look for the key of a service account.
const GOOGLE_CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";

impl UpstreamConfig {
    /// What it is called.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Where its API is.
    pub fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or_default()
    }

    /// The API that it speaks.
    pub fn dialect(&self) -> ProviderDialect {
        match self.dialect {
            Some(UpstreamDialect::OpenAi) => ProviderDialect::OpenAiChat,
            Some(UpstreamDialect::Responses) => ProviderDialect::OpenAiResponses,
            Some(UpstreamDialect::Anthropic) => ProviderDialect::Anthropic,
            Some(UpstreamDialect::Gemini) => ProviderDialect::Gemini,
            Some(UpstreamDialect::Bedrock) => ProviderDialect::Bedrock,
            Some(UpstreamDialect::Cohere) => ProviderDialect::Cohere,
            None => self
                .provider
                .map_or(ProviderDialect::OpenAiChat, |provider| provider.dialect),
        }
    }

    /// How it differs from the API that its dialect comes from, for this model.
    pub(super) fn traits(&self, model: &str) -> Traits {
        let host = host(self.base_url()).to_ascii_lowercase();
        let provider = self.provider.or_else(|| provider::at(&host));
        provider::traits(provider, self.dialect(), model)
    }

    /// The keys to call it with, the first one first.
    pub fn keys(&self) -> impl Iterator<Item = &SecretSource> {
        self.api_key.iter().chain(&self.api_keys)
    }

    /// Everything secret that it is called with, each with the name of its field.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, &SecretSource)> {
        let single = [
            ("api_key", &self.api_key),
            ("aws_access_key_id", &self.aws_access_key_id),
            ("aws_secret_access_key", &self.aws_secret_access_key),
            ("aws_session_token", &self.aws_session_token),
        ];
        let single = single.into_iter();
        let keys = self.api_keys.iter().map(|key| ("api_keys", key));
        let headers = self.headers.iter().map(|(_, value)| ("headers", value));
        single
            .filter_map(|(name, source)| Some((name, source.as_ref()?)))
            .chain(keys)
            .chain(headers)
    }

    /// How it knows this gateway.
    pub fn auth(&self) -> Auth {
        // A provider that speaks several APIs knows the callers of each in its own way.
        let usual = self
            .provider
            .filter(|provider| provider.dialect == self.dialect());
        let usual = usual.map(|provider| provider.auth);
        self.auth
            .or(usual)
            .unwrap_or_else(|| Auth::of_dialect(self.dialect()))
    }
}

impl Choice for Auth {
    const ALL: &'static [Self] = Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// Fills in what an upstream does not say and its provider does. Afterwards each has a name and an
/// address.
pub(super) fn complete(config: &mut Config, reader: &mut Reader<'_>) {
    for (index, upstream) in config.upstreams.iter_mut().enumerate() {
        let section = format!("upstreams[{index}]");
        if reader.is_torn() || reader.doubtful(&format!("{section}.provider")) {
            continue;
        }
        name(upstream, &section, reader);
        let own_address = upstream.base_url.is_none();
        base_url(upstream, &section, reader);
        keys(upstream, &section, reader);
        credentials(upstream, own_address, &section, reader);
    }
}

fn name(upstream: &mut UpstreamConfig, section: &str, reader: &mut Reader<'_>) {
    if upstream.name.is_some() {
        return;
    }
    let Some(provider) = upstream.provider else {
        missing(section, "name", reader);
        return;
    };
    if reader.doubtful(&format!("{section}.name")) {
        return;
    }
    let place = reader.place_of(&format!("{section}.provider"));
    let first = reader.claim(
        "upstreams[].name".to_owned(),
        provider.name.to_owned(),
        &place,
    );
    if let Some(first) = first {
        let fault = format!("without a `name` it has its provider's, the same as at {first}");
        let fault = Fault::from(fault).hint("give it a `name` of its own");
        reader.note_at(&format!("{section}.provider"), fault);
    }
    upstream.name = Some(provider.name.to_owned());
}

fn base_url(upstream: &mut UpstreamConfig, section: &str, reader: &mut Reader<'_>) {
    let Some(provider) = upstream.provider else {
        if upstream.base_url.is_none() {
            missing(section, "base_url", reader);
        }
        return;
    };
    let mut variables = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter();
    let region = variables.find_map(|name| reader.env().non_empty(name).map(str::to_owned));
    let region = upstream.aws_region.clone().or(region);
    let found = provider.base_url(&Whereabouts {
        base_url: upstream.base_url.as_deref(),
        api_version: upstream.api_version.as_deref(),
        project: upstream.project.as_deref(),
        location: upstream.location.as_deref(),
        region: region.as_deref(),
    });
    match found {
        Ok(url) => upstream.base_url = Some(url),
        Err(Unplaced(field)) => missing(section, field, reader),
    }
}

/// Keys that take turns are all of them, and each is another.
fn keys(upstream: &UpstreamConfig, section: &str, reader: &mut Reader<'_>) {
    let section = format!("{section}.api_keys");
    if upstream.api_keys.is_empty() || reader.doubtful(&section) {
        return;
    }
    if upstream.api_key.is_some() {
        let fault = Fault::from("there is an `api_key` beside it");
        reader.note_at(&section, fault.hint("put that into the list, too"));
    }
    for (place, key) in upstream.api_keys.iter().enumerate() {
        if upstream.api_keys[..place].contains(key) {
            reader.note_at(&format!("{section}[{place}]"), "the same key twice".into());
        }
    }
}

/// The key that the provider's own SDK would use. It goes to no other address than the provider's.
fn credentials(
    upstream: &mut UpstreamConfig,
    own_address: bool,
    section: &str,
    reader: &mut Reader<'_>,
) {
    if upstream.auth() == Auth::Google && upstream.credentials.is_none() {
        let path = reader.env().non_empty(GOOGLE_CREDENTIALS);
        upstream.credentials = path.map(Into::into);
    }
    let Some(provider) = upstream.provider else {
        return;
    };
    let host = host(upstream.base_url()).to_ascii_lowercase();
    if upstream.keys().next().is_some()
        || reader.doubtful(&format!("{section}.api_key"))
        || reader.doubtful(&format!("{section}.api_keys"))
        || !(own_address || provider.is_at(&host))
    {
        return;
    }
    let mut variables = provider.keys.iter();
    let found = variables.find_map(|&name| Some((name, reader.env().non_empty(name)?)));
    let Some((variable, key)) = found else {
        return;
    };
    match values::key(key.trim()) {
        Ok(key) => upstream.api_key = Some(key.into()),
        Err(fault) => {
            let field = format!("{section}.api_key");
            reader.note(Place::Variable(variable.to_owned()), &field, fault, None);
        }
    }
}

/// The host of an address that was checked.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    authority.split(':').next().unwrap_or_default()
}

fn missing(section: &str, field: &str, reader: &mut Reader<'_>) {
    let path = format!("{section}.{field}");
    if reader.doubtful(&path) {
        return;
    }
    let fields = UpstreamConfig::fields();
    let named = fields.into_iter().find(|known| known.name == field);
    let place = reader.place_of(section);
    let allowed = named.map(|field| field.shape.allowed);
    reader.note(place, &path, "the field is missing".into(), allowed);
}
