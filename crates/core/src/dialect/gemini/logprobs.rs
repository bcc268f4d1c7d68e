//! Log probabilities: a list of the tokens and a list of their alternatives, where OpenAI's API and
//! the canonical model have one list of objects.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::content::Json;
use crate::dialect::wire::{Str, said};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogprobsIn<'a> {
    #[serde(borrow)]
    chosen_candidates: Option<Vec<TokenIn<'a>>>,
    #[serde(borrow)]
    top_candidates: Option<Vec<TopIn<'a>>>,
}

#[derive(Debug, Deserialize)]
struct TopIn<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<TokenIn<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenIn<'a> {
    #[serde(borrow)]
    token: Option<Str<'a>>,
    log_probability: Option<f64>,
}

impl LogprobsIn<'_> {
    /// As OpenAI's token objects; `None` without tokens.
    pub(super) fn read(self) -> Option<Json<'static>> {
        let chosen = self.chosen_candidates.filter(|list| !list.is_empty())?;
        let mut tops = self.top_candidates.unwrap_or_default().into_iter();
        let list: Vec<_> = chosen
            .into_iter()
            .map(|token| {
                let top = tops.next().and_then(|top| top.candidates);
                let top = top.into_iter().flatten().map(Token::from).collect();
                Entry {
                    token: Token::from(token),
                    top_logprobs: top,
                }
            })
            .collect();
        let raw: Box<RawValue> = to_raw_value(&list).ok()?;
        Some(Json::from(&*raw).into_owned())
    }
}

/// OpenAI's token object.
#[derive(Deserialize, Serialize)]
struct Entry<'a> {
    #[serde(flatten, borrow)]
    token: Token<'a>,
    #[serde(default, borrow)]
    top_logprobs: Vec<Token<'a>>,
}

#[derive(Deserialize, Serialize)]
struct Token<'a> {
    #[serde(rename = "token", borrow)]
    text: Cow<'a, str>,
    logprob: f64,
    bytes: Option<Vec<u8>>,
}

impl<'a> From<TokenIn<'a>> for Token<'a> {
    fn from(token: TokenIn<'a>) -> Self {
        let text = said(token.token).unwrap_or_default();
        Self {
            bytes: Some(text.as_bytes().to_vec()),
            text,
            logprob: token.log_probability.unwrap_or(0.0),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogprobsOut {
    chosen_candidates: Vec<TokenOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top_candidates: Vec<TopOut>,
}

#[derive(Serialize)]
struct TopOut {
    candidates: Vec<TokenOut>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenOut {
    token: String,
    log_probability: f64,
}

impl LogprobsOut {
    /// From lists of OpenAI's token objects that follow on each other; `None` without any.
    pub(super) fn new<'j>(lists: impl IntoIterator<Item = &'j Json<'j>>) -> Option<Self> {
        let mut chosen = Vec::new();
        let mut top = Vec::new();
        for list in lists {
            let entries = serde_json::from_str::<Vec<Entry<'_>>>(list.as_str());
            for entry in entries.unwrap_or_default() {
                chosen.push(TokenOut::from(entry.token));
                let alternatives = entry.top_logprobs.into_iter().map(TokenOut::from);
                top.push(TopOut {
                    candidates: alternatives.collect(),
                });
            }
        }
        if top.iter().all(|top| top.candidates.is_empty()) {
            top.clear();
        }
        (!chosen.is_empty()).then_some(Self {
            chosen_candidates: chosen,
            top_candidates: top,
        })
    }
}

impl From<Token<'_>> for TokenOut {
    fn from(token: Token<'_>) -> Self {
        Self {
            token: token.text.into_owned(),
            log_probability: token.logprob,
        }
    }
}
