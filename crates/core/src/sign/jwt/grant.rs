//! What a scope of a token grants here.

use std::fmt;
use std::str::FromStr;

/// What the bearer of a token may use. Names are as in the scopes of API keys: whole, or a beginning
/// with `*` after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// `everstream:*`: all that its project may.
    All,
    /// `everstream:surface:<name>`: an API.
    Surface(String),
    /// `everstream:model:<name>`
    Model(String),
    /// `everstream:topic:<name>`
    Topic(String),
}

/// Text that is no scope of this gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not `everstream:*` or `everstream:surface:`, `everstream:model:` or `everstream:topic:` and a name"
)]
pub struct NoGrant;

impl FromStr for Grant {
    type Err = NoGrant;

    fn from_str(scope: &str) -> Result<Self, NoGrant> {
        let own = scope.strip_prefix("everstream:").ok_or(NoGrant)?;
        if own == "*" {
            return Ok(Self::All);
        }
        match own.split_once(':') {
            None | Some((_, "")) => Err(NoGrant),
            Some(("surface", name)) => Ok(Self::Surface(name.to_owned())),
            Some(("model", name)) => Ok(Self::Model(name.to_owned())),
            Some(("topic", name)) => Ok(Self::Topic(name.to_owned())),
            Some(_) => Err(NoGrant),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everstream:*"),
            Self::Surface(name) => write!(f, "everstream:surface:{name}"),
            Self::Model(name) => write!(f, "everstream:model:{name}"),
            Self::Topic(name) => write!(f, "everstream:topic:{name}"),
        }
    }
}

/// Grants with spaces between, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants(pub Vec<Grant>);

impl FromStr for Grants {
    type Err = NoGrant;

    fn from_str(text: &str) -> Result<Self, NoGrant> {
        let grants: Vec<Grant> = text
            .split_ascii_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        (!grants.is_empty()).then_some(Self(grants)).ok_or(NoGrant)
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, grant) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{grant}")?;
        }
        Ok(())
    }
}
