use bytes::Bytes;

use super::{Edit, Envelope, Reader, Refused, checked_model, splice};
use crate::dialect::gemini;
use crate::dialect::json::{for_each_member, text_of};
use crate::error::Error;
use crate::event::Surface;

/// What Google's names of models begin with.
const MODELS: &str = "models/";

impl Envelope {
    /// Reads a request of an API whose paths name the model and say whether the answer is streamed.
    /// The body may repeat the name; the path's counts.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn addressed(
        body: &Bytes,
        surface: Surface,
        model: &str,
        stream: bool,
    ) -> Result<Self, Error> {
        let model = checked_model(model.strip_prefix(MODELS).unwrap_or(model).into())?;
        let mut reader = Reader::default();
        for_each_member(body, |member| {
            match &*member.key {
                "model" | "background" => reader.member(&member, surface)?,
                _ => reader.pass(&member),
            }
            Ok::<_, Refused>(())
        })
        .map_err(|refused| refused.0)?;
        let repeated = reader.model.replace((model, 0..0));
        let mut envelope = reader.into_envelope(body, surface)?;
        envelope.places.model = repeated.map(|(_, place)| place);
        envelope.stream = stream;
        envelope.choices = gemini::candidate_count(body);
        Ok(envelope)
    }

    /// The body without `background`, with the model's name there wherever the body repeats it.
    pub(super) fn addressed_body(&self, model: &str) -> Bytes {
        let mut edits = Vec::new();
        let place = self.places.model.clone();
        let said = place.clone().and_then(|place| self.body.get(place));
        let said = said.and_then(|said| str::from_utf8(said).ok());
        if let (Some(place), Some(said)) = (place, said) {
            let said = text_of(said).unwrap_or_default();
            if said.strip_prefix(MODELS).unwrap_or(&said) != model {
                let name = serde_json::Value::from(format!("{MODELS}{model}"));
                edits.push(Edit::new(place, name.to_string()));
            }
        }
        if let Some(place) = &self.places.background {
            edits.push(Edit::new(place.clone(), String::new()));
        }
        splice(&self.body, edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn envelope(body: &str, model: &str) -> Result<Envelope, Error> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Envelope::addressed(&body, Surface::GenerateContent, model, true)
    }

    fn upstream_body(body: &str) -> Bytes {
        envelope(body, "models/m")
            .unwrap()
            .upstream_body("u", true, true)
    }

    #[test]
    fn the_path_says_the_model_and_the_body_stays_as_it_is() {
        let body = r#"{ "contents":[] , "stream": 1, "generationConfig" : {"candidateCount": 2} }"#;
        let envelope = envelope(body, "models/m").unwrap();
        assert_eq!((&*envelope.model, envelope.stream), ("m", true));
        assert_eq!((envelope.choices, envelope.background), (2, false));
        assert_eq!(envelope.upstream_body("u", true, true), body);
    }

    #[test]
    fn a_name_in_the_body_follows_and_background_is_cut_out() {
        let cases = [
            (r#"{"contents":[],"background":true}"#, r#"{"contents":[]}"#),
            (
                r#"{"background":true, "contents":[]}"#,
                r#"{"contents":[]}"#,
            ),
            (
                r#"{"model": "models/m","contents":[]}"#,
                r#"{"model": "models/u","contents":[]}"#,
            ),
            (
                r#"{"model": "u","contents":[]}"#,
                r#"{"model": "u","contents":[]}"#,
            ),
            ("{}", "{}"),
        ];
        for (body, expected) in cases {
            assert_eq!(upstream_body(body), expected, "{body}");
        }
        let background = r#"{"background":true}"#;
        assert!(envelope(background, "m").unwrap().background);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |body: &str, model: &str| {
            let error = envelope(body, model).unwrap_err();
            (error.code, error.param.unwrap_or_default())
        };
        let named = |name: &str| (ErrorCode::InvalidValue, name.into());
        assert_eq!(refused("{}", "models/"), named("model"));
        assert_eq!(refused("{}", &"x".repeat(9_999)), named("model"));
        assert_eq!(refused(r#"{"model":1}"#, "m"), named("model"));
        let twice = r#"{"background":true,"background":true}"#;
        assert_eq!(refused(twice, "m"), named("background"));
        assert_eq!(refused("{", "m").0, ErrorCode::InvalidJson);
        assert_eq!(refused("[]", "m").0, ErrorCode::InvalidValue);
    }
}
