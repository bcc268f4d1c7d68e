use std::ops::Range;

use bytes::Bytes;

use super::envelope::{Edit, model, once, splice};
use crate::dialect::json::for_each_member;
use crate::error::Error;

/// A JSON request of which nothing is read but its model: for APIs that pass through.
#[derive(Clone, Debug)]
pub struct Named {
    body: Bytes,
    model: Option<(String, Range<usize>)>,
}

impl Named {
    /// Reads a request's top-level members.
    ///
    /// # Errors
    /// As [`Envelope::parse`](super::Envelope::parse), but the model may be absent.
    pub fn parse(body: &Bytes) -> Result<Self, Error> {
        let mut found = None;
        for_each_member(body, |member| {
            if member.key == "model" {
                once("model", &mut found, (model(member.value)?, member.span))?;
            }
            Ok(())
        })
        .map_err(|refused: super::envelope::Refused| refused.0)?;
        Ok(Self {
            body: body.clone(),
            model: found,
        })
    }

    /// The model as the client named it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_ref().map(|(name, _)| name.as_str())
    }

    /// The client's bytes.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// The client's bytes, but for the model's name.
    pub fn renamed(self, name: &str) -> Bytes {
        match self.model {
            Some((known, place)) if known != name => {
                let name = serde_json::Value::from(name).to_string();
                splice(&self.body, vec![Edit::new(place, name)])
            }
            _ => self.body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn named(body: &'static str) -> Result<Named, Error> {
        Named::parse(&Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn only_the_models_name_changes() {
        let body = r#"{ "input":["a"],"model" : "my\u0041lias", "odd": 1.0 }"#;
        let request = named(body).expect("valid");
        assert_eq!(request.model(), Some("myAlias"));
        let renamed = request.clone().renamed("gpt-image-1");
        assert_eq!(
            renamed,
            r#"{ "input":["a"],"model" : "gpt-image-1", "odd": 1.0 }"#
        );
        assert_eq!(request.renamed("myAlias"), body);
        let nameless = named("{\"input\":1}").expect("valid");
        assert_eq!(nameless.model(), None);
        assert_eq!(nameless.renamed("x"), "{\"input\":1}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (body, code) in [
            ("{", ErrorCode::InvalidJson),
            ("[]", ErrorCode::InvalidValue),
            (r#"{"model":1}"#, ErrorCode::InvalidValue),
            (r#"{"model":""}"#, ErrorCode::InvalidValue),
            (r#"{"model":"a","model":"b"}"#, ErrorCode::InvalidValue),
        ] {
            assert_eq!(named(body).expect_err(body).code, code, "{body}");
        }
    }
}
