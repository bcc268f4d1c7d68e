use std::borrow::Cow;

use super::{Provider, Shape};
use crate::percent::segment;

/// What of a customer's own is in an address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'p> {
    /// The address, if it is not the provider's; on Azure and Vertex AI up to the host.
    pub base_url: Option<&'p str>,
    /// The `api-version` of Azure's older paths.
    pub api_version: Option<&'p str>,
    /// A project of Google Cloud's.
    pub project: Option<&'p str>,
    /// A location of Google Cloud's; `global` if absent.
    pub location: Option<&'p str>,
    /// A region of AWS's.
    pub region: Option<&'p str>,
}

/// Why there is no address: the setting that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unplaced(pub &'static str);

impl Provider {
    /// The address below which all of the API is, for this customer.
    ///
    /// # Errors
    /// When the provider has no address without a setting that is missing.
    pub fn base_url(&self, place: &Place<'_>) -> Result<String, Unplaced> {
        let own = place.base_url.map(|url| url.trim_end_matches('/'));
        match self.shape {
            Shape::Plain => own
                .or(self.base_url)
                .map(str::to_owned)
                .ok_or(Unplaced("base_url")),
            Shape::Azure => {
                let own = own.ok_or(Unplaced("base_url"))?;
                // People copy what the portal shows, which ends in any of these.
                let bare = ["/openai/v1", "/openai"]
                    .iter()
                    .find_map(|end| own.strip_suffix(end))
                    .unwrap_or(own);
                let end = match place.api_version {
                    Some(_) => "/openai",
                    None => "/openai/v1",
                };
                Ok(format!("{bare}{end}"))
            }
            Shape::Aws => match (own, place.region) {
                (Some(own), _) => Ok(own.to_owned()),
                (None, Some(region)) => {
                    Ok(format!("https://bedrock-runtime.{region}.amazonaws.com"))
                }
                (None, None) => Err(Unplaced("aws_region")),
            },
            Shape::Vertex => {
                let project = place.project.ok_or(Unplaced("project"))?;
                let location = place.location.unwrap_or("global");
                let host = match (own, location) {
                    (Some(own), _) => own.to_owned(),
                    (None, "global") => "https://aiplatform.googleapis.com".to_owned(),
                    (None, _) => format!("https://{location}-aiplatform.googleapis.com"),
                };
                let path = format!("projects/{project}/locations/{location}/publishers/google");
                Ok(format!("{host}/v1/{path}"))
            }
        }
    }
}

/// What Azure has below each deployment in its older paths; the rest is the resource's.
const OF_DEPLOYMENTS: [&str; 5] = [
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/images/",
    "/audio/",
];

/// Where `path`, which is below an upstream's address, is asked of `model`: on Azure with an
/// `api-version` below the model's deployment.
pub fn path(
    path: Cow<'static, str>,
    model: &str,
    azure_version: Option<&str>,
) -> Cow<'static, str> {
    let Some(version) = azure_version else {
        return path;
    };
    let separator = if path.contains('?') { '&' } else { '?' };
    let below = OF_DEPLOYMENTS.iter().any(|start| path.starts_with(start));
    let deployment = if below {
        format!("/deployments/{}", segment(model))
    } else {
        String::new()
    };
    format!("{deployment}{path}{separator}api-version={version}").into()
}
