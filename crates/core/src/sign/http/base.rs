//! What a signature covers, and the text that is signed (RFC 9421, 2.5).

use std::fmt::Write as _;

use sfv::{InnerList, ListEntry, ListSerializer};

use super::error::SignatureError;
use super::fields::{Fields, Request};
use crate::limits::SIGNATURE_COMPONENTS;

/// One thing that a signature covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Component {
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    /// Lower case.
    Field(String),
}

impl Component {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "@method" => Self::Method,
            "@target-uri" => Self::TargetUri,
            "@authority" => Self::Authority,
            "@scheme" => Self::Scheme,
            "@request-target" => Self::RequestTarget,
            "@path" => Self::Path,
            "@query" => Self::Query,
            field if is_field_name(field) => Self::Field(field.to_owned()),
            _ => return None,
        })
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Method => "@method",
            Self::TargetUri => "@target-uri",
            Self::Authority => "@authority",
            Self::Scheme => "@scheme",
            Self::RequestTarget => "@request-target",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::Field(name) => name,
        }
    }

    fn value<F: Fields + ?Sized>(
        &self,
        request: &Request<'_, F>,
    ) -> Result<String, SignatureError> {
        Ok(match self {
            Self::Method => request.method.to_owned(),
            Self::TargetUri => {
                let (scheme, authority) = (request.scheme, request.authority());
                let target = request.target;
                // A target has at least a path, if only an empty one (RFC 9110, 4.2.3).
                let slash = if target.starts_with('/') { "" } else { "/" };
                format!("{scheme}://{authority}{slash}{target}")
            }
            Self::Authority => request.authority(),
            Self::Scheme => request.scheme.to_ascii_lowercase(),
            Self::RequestTarget => request.target.to_owned(),
            Self::Path => request.path().to_owned(),
            Self::Query => format!("?{}", request.query().unwrap_or_default()),
            Self::Field(name) => request
                .field(name)
                .ok_or_else(|| SignatureError::Absent(name.clone()))?,
        })
    }
}

/// A field's name in lower case, as RFC 9421, 2.1 wants it.
fn is_field_name(name: &str) -> bool {
    let allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(allowed)
}

/// Reads what a member of `Signature-Input` covers.
pub(super) fn covered(list: &InnerList) -> Result<Vec<Component>, SignatureError> {
    let malformed = |why| SignatureError::Malformed {
        field: "Signature-Input",
        why,
    };
    if list.items.len() > SIGNATURE_COMPONENTS {
        return Err(malformed("it covers too much"));
    }
    let mut covered = Vec::with_capacity(list.items.len());
    for item in &list.items {
        let name = item.bare_item.as_string();
        let name = name.ok_or(malformed("what it covers must be strings"))?;
        let component = item
            .params
            .is_empty()
            .then(|| Component::from_name(name.as_str()));
        let component = component.flatten();
        let component =
            component.ok_or_else(|| SignatureError::Unsupported(name.as_str().to_owned()))?;
        if covered.contains(&component) {
            return Err(SignatureError::Twice(component.name().to_owned()));
        }
        covered.push(component);
    }
    Ok(covered)
}

/// The text that is signed. `parameters` is the member of `Signature-Input`, as
/// [`parameters`] writes it.
pub(super) fn signature_base<F: Fields + ?Sized>(
    covered: &[Component],
    parameters: &str,
    request: &Request<'_, F>,
) -> Result<String, SignatureError> {
    let mut base = String::with_capacity(256 + parameters.len());
    for component in covered {
        let value = component.value(request)?;
        // A line break in a value would let one line pass for two.
        if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n')) {
            return Err(SignatureError::Absent(component.name().to_owned()));
        }
        let _ = writeln!(base, "\"{}\": {value}", component.name());
    }
    let _ = write!(base, "\"@signature-params\": {parameters}");
    Ok(base)
}

/// A member of `Signature-Input` in the one form that is signed (RFC 9421, 2.3; RFC 9651, 4.1).
pub(super) fn parameters(list: InnerList) -> String {
    let mut serializer = ListSerializer::new();
    serializer.members([&ListEntry::InnerList(list)]);
    serializer.finish().unwrap_or_default()
}
