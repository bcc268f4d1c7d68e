//! What an upstream has from its provider.

use super::describe::{Choice, Settings as _};
use super::mistake::{Fault, Place};
use super::read::Reader;
use super::{Config, SecretSource, UpstreamConfig, UpstreamDialect, values};
use crate::dialect::{ProviderDialect, Traits};
use crate::provider::{self, Auth, Place as Whereabouts, Unplaced};

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
