//! How much a request asks for, as far as it says so: what its worst case is reckoned from.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::wire::Figure;
use crate::event::Surface;

/// The limits that a request sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The most tokens of each choice, reasoning included.
    pub output: Option<u64>,
    /// How many choices the provider makes, if it is more than it gives.
    pub made: Option<u64>,
    /// Whether sound is spoken of.
    pub audio: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    max_tokens: Figure,
    max_completion_tokens: Figure,
    max_output_tokens: Figure,
    best_of: Figure,
    #[serde(rename = "generationConfig", alias = "generation_config")]
    generation: Generation,
    modalities: Option<IgnoredAny>,
    audio: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Generation {
    #[serde(rename = "maxOutputTokens", alias = "max_output_tokens")]
    most: Figure,
    #[serde(rename = "responseModalities", alias = "response_modalities")]
    modalities: Option<IgnoredAny>,
}

/// Reads a request's limits. A body that cannot be read, or says something twice, sets none: what is
/// reckoned with then is more.
pub fn extent(surface: Surface, body: &Bytes) -> Extent {
    let fields: Fields = serde_json::from_slice(body).unwrap_or_default();
    let Fields {
        max_tokens,
        max_completion_tokens,
        max_output_tokens,
        best_of,
        generation,
        modalities,
        audio,
    } = fields;
    let output = match surface {
        Surface::Embeddings => Some(0),
        // The newer name counts where both are set.
        Surface::ChatCompletions => max_completion_tokens.0.or(max_tokens.0),
        Surface::Completions | Surface::Messages => max_tokens.0,
        Surface::Responses => max_output_tokens.0,
        Surface::GenerateContent => generation.most.0,
    };
    let said = modalities.is_some() || audio.is_some() || generation.modalities.is_some();
    Extent {
        output,
        made: best_of.0.filter(|_| surface == Surface::Completions),
        audio: said || mentions_sound(body),
    }
}

/// Whether a message may hold sound: `input_audio`, `audio/wav` and the like.
fn mentions_sound(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"audio").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(surface: Surface, body: &str) -> Extent {
        extent(surface, &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn each_api_has_its_own_word_for_the_limit() {
        let output = |surface, body| read(surface, body).output;
        for (surface, body, most) in [
            (Surface::ChatCompletions, r#"{"max_tokens":7}"#, Some(7)),
            (
                Surface::ChatCompletions,
                r#"{"max_tokens":7,"max_completion_tokens":9}"#,
                Some(9),
            ),
            (Surface::ChatCompletions, r#"{"max_output_tokens":7}"#, None),
            (Surface::Completions, r#"{"max_tokens":5}"#, Some(5)),
            (Surface::Messages, r#"{"max_tokens":6}"#, Some(6)),
            (Surface::Responses, r#"{"max_output_tokens":8}"#, Some(8)),
            (
                Surface::GenerateContent,
                r#"{"generationConfig":{"maxOutputTokens":4}}"#,
                Some(4),
            ),
            (Surface::Embeddings, r#"{"input":"x"}"#, Some(0)),
            (Surface::ChatCompletions, r#"{"max_tokens":null}"#, None),
            (
                Surface::ChatCompletions,
                r#"{"max_tokens":1,"max_tokens":900}"#,
                None,
            ),
            (Surface::ChatCompletions, "no JSON", None),
        ] {
            assert_eq!(output(surface, body), most, "{body}");
        }
        let many = read(Surface::Completions, r#"{"best_of":4}"#);
        assert_eq!(many.made, Some(4));
    }

    #[test]
    fn sound_is_noticed_however_it_is_asked_for() {
        let audio = |body| read(Surface::ChatCompletions, body).audio;
        assert!(audio(r#"{"modalities":["text"]}"#));
        assert!(audio(r#"{"messages":[{"type":"input_audio"}]}"#));
        assert!(!audio(r#"{"messages":[{"content":"hello"}]}"#));
    }
}
