use serde::{Deserialize, Serialize};

use crate::dialect::wire::{Figure, Str};
use crate::event::Usage;

/// The figures of a chunk, which are those of the answer so far. The prompt's include what its cache
/// had, the candidates' leave out the thoughts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageIn {
    #[serde(default)]
    prompt_token_count: Figure,
    #[serde(default)]
    candidates_token_count: Figure,
    #[serde(default)]
    thoughts_token_count: Figure,
    #[serde(default)]
    tool_use_prompt_token_count: Figure,
    #[serde(default)]
    cached_content_token_count: Figure,
    #[serde(default)]
    prompt_tokens_details: Details,
    #[serde(default)]
    candidates_tokens_details: Details,
}

/// The tokens that were sound, of a list by modality.
#[derive(Debug, Default)]
struct Details {
    audio: Option<u64>,
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Modality<'a> {
            #[serde(borrow)]
            modality: Option<Str<'a>>,
            #[serde(default)]
            token_count: Figure,
        }
        let list = Option::<Vec<Modality<'de>>>::deserialize(deserializer)?;
        let audio = list.into_iter().flatten().find(|entry| {
            let modality = entry.modality.as_ref();
            modality.is_some_and(|modality| modality.0 == "AUDIO")
        });
        Ok(Self {
            audio: audio.and_then(|entry| entry.token_count.0),
        })
    }
}

/// The figures so far. Not every chunk has all of them, and some have none.
#[derive(Debug, Default)]
pub(super) struct Totals {
    prompt: u64,
    candidates: u64,
    thoughts: u64,
    tool_use: u64,
    cached: u64,
    audio_in: u64,
    audio_out: u64,
}

impl Totals {
    /// Takes what a chunk says; `None` if that is nothing.
    pub(super) fn take(&mut self, usage: &UsageIn) -> Option<Usage> {
        let news = [
            (&mut self.prompt, usage.prompt_token_count.0),
            (&mut self.candidates, usage.candidates_token_count.0),
            (&mut self.thoughts, usage.thoughts_token_count.0),
            (&mut self.tool_use, usage.tool_use_prompt_token_count.0),
            (&mut self.cached, usage.cached_content_token_count.0),
            (&mut self.audio_in, usage.prompt_tokens_details.audio),
            (&mut self.audio_out, usage.candidates_tokens_details.audio),
        ];
        let mut any = false;
        for (total, new) in news {
            if let Some(new) = new {
                *total = new;
                any = true;
            }
        }
        any.then(|| Usage {
            input_tokens: self.prompt.saturating_add(self.tool_use),
            output_tokens: self.candidates.saturating_add(self.thoughts),
            cached_tokens: self.cached,
            audio_input_tokens: self.audio_in,
            audio_output_tokens: self.audio_out,
            reasoning_tokens: self.thoughts,
            ..Usage::default()
        })
    }
}

/// Usage as a client sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageOut {
    prompt_token_count: u64,
    candidates_token_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    thoughts_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    total_token_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<[ModalityOut; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates_tokens_details: Option<[ModalityOut; 2]>,
    /// These are no figures of a provider's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ModalityOut {
    modality: &'static str,
    token_count: u64,
}

impl From<&Usage> for UsageOut {
    fn from(usage: &Usage) -> Self {
        let some = |count: u64| (count > 0).then_some(count);
        let candidates = usage.output_tokens.saturating_sub(usage.reasoning_tokens);
        Self {
            prompt_token_count: usage.input_tokens,
            candidates_token_count: candidates,
            thoughts_token_count: some(usage.reasoning_tokens),
            cached_content_token_count: some(usage.cached_tokens),
            total_token_count: usage.input_tokens.saturating_add(usage.output_tokens),
            prompt_tokens_details: by_modality(usage.input_tokens, usage.audio_input_tokens),
            candidates_tokens_details: by_modality(candidates, usage.audio_output_tokens),
            estimated: usage.estimated,
        }
    }
}

fn by_modality(all: u64, audio: u64) -> Option<[ModalityOut; 2]> {
    let of = |modality, token_count| ModalityOut {
        modality,
        token_count,
    };
    let text = of("TEXT", all.saturating_sub(audio));
    (audio > 0).then(|| [text, of("AUDIO", audio)])
}
