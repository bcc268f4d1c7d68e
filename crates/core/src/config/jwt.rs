//! `[[jwt_issuers]]`: whose tokens are accepted.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::describe::{Choice, settings};
use super::kinds::{choice, duration, flag, text};
use super::mistake::Fault;
use super::read::Reader;
use super::spec::{list, map};
use super::{Config, SECOND, address, values};
use crate::id::ProjectId;
use crate::limits;
use crate::sign::jwt::{Algorithm, Grants, Issuer, Mapping, ProjectFrom};

settings! {
    /// `[[jwt_issuers]]`: whose tokens are accepted.
    pub struct JwtIssuerConfig {
        /// What `iss` is in its tokens, to the letter.
        issuer: String = text("visible ASCII characters", name)
            .example("https://id.example.org/realms/main")
            .unique();
        /// What its tokens have to name in `aud`: one of these. Tokens for others are refused.
        audience: Vec<String> = list(text("visible ASCII characters", name).example("everstream"));
        /// Where its public keys are. If absent, the issuer is asked, at
        /// `<issuer>/.well-known/openid-configuration`. Redirects are not followed.
        jwks: Option<JwksSource> = text("a URL, or `file:<path>`", jwks)
            .example("https://id.example.org/realms/main/keys")
            .optional();
        /// How its tokens may be signed. All that there are, if absent.
        algorithms: Option<Vec<Algorithm>> = list(choice().example("RS256")).or_all();
        /// How far its clock may be from this machine's.
        leeway: Duration = duration(Duration::ZERO..=300 * SECOND).or(limits::JWT_LEEWAY);
        /// The project of its bearers: `claim:<name>`, a claim in which it is named, or a name, for
        /// all of them. A claim within others is written as a JSON pointer,
        /// `claim:/resource_access/everstream/project`. A token that names none is refused.
        project: TokenProject = text("`claim:<name>`, or the name of a project", project)
            .example("claim:groups");
        /// What that claim's values mean; others mean nothing. If it is empty they are the names of
        /// projects themselves.
        project_map: BTreeMap<String, ProjectId> = map(
            "values of the claim, each with a project",
            key,
            values::project(),
            ("team-7", "web"),
        );
        /// The claim with what a token may do, in a string with spaces between or in a list: `scope`,
        /// `scp`, or a JSON pointer. Then a token may only do what its scopes grant:
        /// `everstream:surface:<name>`, `everstream:model:<name>`, `everstream:topic:<name>`, each
        /// name perhaps a beginning with `*`, or `everstream:*` for all. If absent, each token may do
        /// all that its project may.
        scope_claim: Option<String> = text("the name of a claim, or a JSON pointer", place)
            .example("scope")
            .optional();
        /// What that claim's values grant; others grant nothing. If it is empty they have to be such
        /// scopes themselves.
        scope_map: BTreeMap<String, Grants> = map(
            "values of the claim, each with scopes",
            key,
            text("scopes with spaces between", |scopes: &str| {
                scopes.parse().map_err(|error| Fault::from(format!("{error}")))
            }),
            ("chat-user", "everstream:surface:chat_completions everstream:model:gpt-4o-mini"),
        );
        /// Certificates to trust beside those of the system: a file in PEM format.
        ca_file: Option<PathBuf> = values::path().example("/etc/ssl/private-ca.pem").optional();
        /// Whether its address may lead into private networks, and be `http://`.
        allow_private: bool = flag().or(false);
    }
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// At this URL, which may have a query.
    Url(String),
    /// In this file, which is looked at now and then.
    File(PathBuf),
}

/// Where the project of a bearer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenProject {
    /// In a claim: a JSON pointer.
    Claim(String),
    /// All bearers have the same.
    Fixed(ProjectId),
}

impl JwtIssuerConfig {
    /// By what its tokens are judged.
    pub fn rules(&self) -> Issuer {
        let project = match &self.project {
            TokenProject::Fixed(project) => ProjectFrom::Fixed(project.clone()),
            TokenProject::Claim(place) => ProjectFrom::Claim {
                place: place.clone(),
                map: self.project_map.clone(),
            },
        };
        let all = || Algorithm::ALL.to_vec();
        Issuer {
            name: self.issuer.clone(),
            audiences: self.audience.clone(),
            algorithms: self.algorithms.clone().unwrap_or_else(all),
            skew: self.leeway,
            mapping: Mapping {
                project,
                scopes: self.scope_claim.clone(),
                scope_map: self.scope_map.clone(),
            },
        }
    }
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl fmt::Display for TokenProject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(place) => write!(f, "claim:{place}"),
            Self::Fixed(project) => project.fmt(f),
        }
    }
}

impl Choice for Algorithm {
    const ALL: &'static [Self] = Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// Checks what more than one field of an issuer has a say in.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    // Mistaken entries are not among those that were read, and the places of others not certain.
    if reader.is_torn() || reader.doubtful("jwt_issuers") {
        return;
    }
    for (index, issuer) in config.jwt_issuers.iter().enumerate() {
        let section = format!("jwt_issuers[{index}]");
        if issuer.audience.is_empty() {
            let fault = Fault::from("without it, tokens for anybody would be accepted");
            let hint = "add what the issuer puts into `aud` for this gateway";
            reader.note_at(&format!("{section}.audience"), fault.hint(hint));
        }
        address(issuer, &section, reader);
        let fixed = matches!(issuer.project, TokenProject::Fixed(_));
        if fixed && !issuer.project_map.is_empty() {
            let fault = Fault::from("this is of no use unless `project` is `claim:<name>`");
            reader.note_at(&format!("{section}.project_map"), fault);
        }
        if issuer.scope_claim.is_none() && !issuer.scope_map.is_empty() {
            let fault = Fault::from("this is of no use without `scope_claim`");
            reader.note_at(&format!("{section}.scope_map"), fault);
        }
    }
}

/// The keys have to be somewhere, and nobody else may be able to change them on their way.
fn address(issuer: &JwtIssuerConfig, section: &str, reader: &mut Reader<'_>) {
    let (field, url) = match &issuer.jwks {
        Some(JwksSource::File(_)) => return,
        Some(JwksSource::Url(url)) => ("jwks", url),
        None => ("issuer", &issuer.issuer),
    };
    let field = format!("{section}.{field}");
    if address::url_of(url.split('?').next().unwrap_or_default()).is_err() {
        let fault = Fault::from("this is no URL at which its keys could be asked for");
        reader.note_at(&field, fault.hint("set `jwks` to where its keys are"));
        return;
    }
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let in_the_clear = scheme.eq_ignore_ascii_case("http");
    if in_the_clear && !issuer.allow_private && !is_here(rest) {
        let fault = Fault::from("keys that come in the clear could be anybody's");
        let hint = "use https://, or set `allow_private` if the way there is your own";
        reader.note_at(&field, fault.hint(hint));
    }
}

/// Whether what follows a URL's scheme is at this machine.
fn is_here(rest: &str) -> bool {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let bracketed = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next());
    let host = bracketed.unwrap_or_else(|| authority.split(':').next().unwrap_or_default());
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn name(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        Err("it is empty".into())
    } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("there are blanks, line ends or characters other than visible ASCII".into())
    }
}

fn key(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    Ok(text.to_owned())
}

fn jwks(text: &str) -> Result<JwksSource, Fault> {
    if let Some(path) = text.strip_prefix("file:") {
        return values::path_of(path).map(JwksSource::File);
    }
    let (address, query) = text.split_once('?').unwrap_or((text, ""));
    address::url_of(address)?;
    if query.contains('#') || query.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("a URL has visible ASCII characters only, and here no fragment".into());
    }
    Ok(JwksSource::Url(text.to_owned()))
}

fn project(text: &str) -> Result<TokenProject, Fault> {
    if let Some(claim) = text.strip_prefix("claim:") {
        return place(claim).map(TokenProject::Claim);
    }
    let project = text.parse().map_err(|_| {
        Fault::from("not the name of a project").hint("a claim is written `claim:<name>`")
    });
    project.map(TokenProject::Fixed)
}

/// A JSON pointer (RFC 6901), which is also made of the name of a claim.
fn place(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err("the claim has no name".into());
    }
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Ok(format!("/{}", text.replace('~', "~0").replace('/', "~1")))
}
