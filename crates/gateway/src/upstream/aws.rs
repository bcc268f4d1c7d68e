//! What calls to AWS need: their signature, or a key of Bedrock's own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everstream_core::config::{Env, SecretSource, UpstreamConfig};
use everstream_core::id::UnixMillis;
use everstream_core::secret::Secret;
use everstream_core::sign::sigv4::{self, Credentials, Scope};

use super::{BaseUrl, Request, SpecError, UpstreamSpec};

/// Signs requests to Bedrock.
#[derive(Clone, Debug)]
pub struct AwsSigner {
    /// Who signs.
    pub credentials: Credentials,
    /// Such as `us-east-1`.
    pub region: String,
}

impl AwsSigner {
    /// The headers that sign `request`, now. `target` is its path and query as they are sent.
    pub(super) fn headers(
        &self,
        host: &str,
        target: &str,
        request: &Request<'_>,
    ) -> Vec<(&'static str, String)> {
        // Not a clock of the gateway's own: AWS refuses what is five minutes off.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = UnixMillis::default().plus(now.unwrap_or(Duration::ZERO));
        let mut headers = vec![("host", host)];
        let kinds = request
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        headers.extend(kinds.take(1));
        let request = sigv4::Request {
            method: request.method,
            target,
            headers: &headers,
            body: request.body.as_deref().unwrap_or_default(),
        };
        let scope = Scope {
            region: &self.region,
            service: "bedrock",
        };
        self.credentials.sign(scope, &request, now)
    }

    /// What nobody else may see.
    pub(super) fn secrets(&self) -> impl Iterator<Item = Secret> + use<> {
        let Credentials {
            secret_access_key,
            session_token,
            ..
        } = self.credentials.clone();
        [Some(secret_access_key), session_token]
            .into_iter()
            .flatten()
    }
}

/// Gives an upstream what to call AWS with: its own key, its own credentials, a key or credentials
/// of the environment, in this order. A header of its own that authorizes it is enough too.
pub(super) fn authorize(
    spec: &mut UpstreamSpec,
    config: &UpstreamConfig,
    env: &Env,
    find: &dyn Fn(&SecretSource) -> Option<Secret>,
) -> Result<(), SpecError> {
    let given = |(name, _): &(String, String)| name.eq_ignore_ascii_case("authorization");
    if config.keys().next().is_some() || spec.headers.iter().any(given) {
        return Ok(());
    }
    let variable = |name: &str| env.non_empty(name).map(str::to_owned);
    let own = own_credentials(spec, config, find);
    if own.is_none()
        && let Some(key) = variable("AWS_BEARER_TOKEN_BEDROCK")
    {
        spec.api_key = Some(Secret::new(key));
        return Ok(());
    }
    let credentials = own.or_else(|| lent_credentials(env));
    let credentials = credentials.ok_or_else(|| SpecError::Aws {
        name: spec.name.clone(),
        missing: "there is nothing to call AWS with: set api_key, or aws_access_key_id and \
                  aws_secret_access_key, or the same in the environment",
    })?;
    let region = config.aws_region.clone();
    let region = region
        .or_else(|| region_of(&spec.base_url))
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"));
    let region = region.ok_or_else(|| SpecError::Aws {
        name: spec.name.clone(),
        missing: "the region is not known: set aws_region, or AWS_REGION in the environment",
    })?;
    spec.aws = Some(AwsSigner {
        credentials,
        region,
    });
    Ok(())
}

/// What the configuration has; what is not there yet is empty, and awaited.
fn own_credentials(
    spec: &mut UpstreamSpec,
    config: &UpstreamConfig,
    find: &dyn Fn(&SecretSource) -> Option<Secret>,
) -> Option<Credentials> {
    let mut get = |source: &SecretSource| {
        let found = find(source);
        spec.awaited |= found.is_none();
        found.unwrap_or_else(|| Secret::new(""))
    };
    let id = get(config.aws_access_key_id.as_ref()?);
    Some(Credentials {
        access_key_id: id.expose().to_owned(),
        secret_access_key: get(config.aws_secret_access_key.as_ref()?),
        session_token: config.aws_session_token.as_ref().map(get),
    })
}

fn lent_credentials(env: &Env) -> Option<Credentials> {
    Some(Credentials {
        access_key_id: env.non_empty("AWS_ACCESS_KEY_ID")?.to_owned(),
        secret_access_key: Secret::new(env.non_empty("AWS_SECRET_ACCESS_KEY")?),
        session_token: env.non_empty("AWS_SESSION_TOKEN").map(Secret::new),
    })
}

/// The region in AWS's own addresses: `bedrock-runtime.us-east-1.amazonaws.com`, and those of private
/// links, `vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com`.
fn region_of(base_url: &str) -> Option<String> {
    let url: BaseUrl = base_url.parse().ok()?;
    let mut labels = url.host().split('.');
    let service = |label: &str| matches!(label, "bedrock-runtime" | "bedrock-runtime-fips");
    labels.find(|label| service(label))?;
    let region = labels.next()?;
    let amazon = url.host().contains(".amazonaws.com") || url.host().ends_with(".api.aws");
    amazon.then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use everstream_core::config::{Config, Source};

    fn authorized(fields: &str, env: &[(&str, &str)]) -> Result<UpstreamSpec, SpecError> {
        let text = format!(
            "[[upstreams]]\nname = \"b\"\ndialect = \"bedrock\"\nmodels = [\"m\"]\n{fields}\n"
        );
        let source = Source {
            name: "a.toml",
            text: &text,
        };
        let env: Env = env.iter().copied().collect();
        let config = Config::parse(Some(source), &env).unwrap();
        let config = &config.upstreams[0];
        let mut spec = UpstreamSpec::new(config.name(), config.base_url());
        let find = |source: &SecretSource| source.literal().cloned();
        spec.api_key = config.api_key.as_ref().and_then(find);
        authorize(&mut spec, config, &env, &find)?;
        Ok(spec)
    }

    const AMAZON: &str = "base_url = \"https://bedrock-runtime.eu-west-1.amazonaws.com\"";
    const ID: (&str, &str) = ("AWS_ACCESS_KEY_ID", "AKIDENV");
    const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "env+secret/1");
    const TOKEN: (&str, &str) = ("AWS_SESSION_TOKEN", "env-token");
    const BEARER: (&str, &str) = ("AWS_BEARER_TOKEN_BEDROCK", "env-bearer");

    #[test]
    fn its_own_comes_before_what_the_environment_has() {
        let env = [ID, SECRET, TOKEN];
        let spec = authorized(AMAZON, &env).unwrap();
        let signer = spec.aws.unwrap();
        assert_eq!(signer.region, "eu-west-1");
        assert_eq!(signer.credentials.access_key_id, "AKIDENV");
        assert_eq!(signer.secrets().count(), 2);

        let own = format!(
            "{AMAZON}\naws_region = \"us-west-2\"\naws_access_key_id = \"AKIDOWN\"\n\
             aws_secret_access_key = \"own\""
        );
        let spec = authorized(&own, &[ID, SECRET, TOKEN, BEARER]).unwrap();
        let signer = spec.aws.unwrap();
        assert_eq!(signer.region, "us-west-2");
        assert_eq!(signer.credentials.access_key_id, "AKIDOWN");
        assert!(signer.credentials.session_token.is_none());

        let spec = authorized(AMAZON, &[ID, SECRET, BEARER]).unwrap();
        assert!(spec.aws.is_none());
        assert_eq!(spec.api_key.unwrap().expose(), "env-bearer");
        let spec = authorized(&format!("{AMAZON}\napi_key = \"own\""), &[BEARER]).unwrap();
        assert_eq!(spec.api_key.unwrap().expose(), "own");
    }

    #[test]
    fn what_is_missing_is_named() {
        let told =
            |fields: &str, env: &[(&str, &str)]| authorized(fields, env).unwrap_err().to_string();
        assert!(told(AMAZON, &[ID]).contains("aws_secret_access_key"));
        let elsewhere = "base_url = \"http://127.0.0.1:1\"";
        assert!(told(elsewhere, &[ID, SECRET]).contains("aws_region"));
        let region = ("AWS_REGION", "sa-east-1");
        let spec = authorized(elsewhere, &[ID, SECRET, region]).unwrap();
        assert_eq!(spec.aws.unwrap().region, "sa-east-1");
    }

    #[test]
    fn amazons_addresses_say_their_region() {
        for (address, region) in [
            (
                "https://bedrock-runtime.us-east-1.amazonaws.com",
                Some("us-east-1"),
            ),
            (
                "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com",
                Some("us-gov-west-1"),
            ),
            (
                "https://vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com",
                Some("eu-west-1"),
            ),
            (
                "https://bedrock-runtime.cn-north-1.amazonaws.com.cn/x",
                Some("cn-north-1"),
            ),
            ("https://bedrock-runtime.example.org", None),
            ("http://127.0.0.1:9", None),
        ] {
            assert_eq!(region_of(address).as_deref(), region, "{address}");
        }
    }
}
