//! Which upstream serves a model's name.

use std::collections::BTreeMap;

use crate::limits::MODEL_NAME_BYTES;

/// An upstream as the decision sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its configured name.
    pub name: &'a str,
    /// The models it lists; `None` while that is unknown.
    pub models: Option<&'a [String]>,
    /// It speaks the request's own dialect.
    pub native: bool,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The upstream, as its place in the list of candidates.
    pub upstream: usize,
    /// The model's name there.
    pub model: &'a str,
}

/// No upstream serves the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// Names that do exist and look alike, the likest first.
    pub nearest: Vec<String>,
    /// Upstreams whose models are unknown: with their prefix the name may still be right.
    pub unlisted: Vec<String>,
}

/// Chooses the upstream for `model`: the first of these rules that applies.
///
/// 1. An alias stands for its target, which is then looked up by the rules below; aliases do not
///    chain, so they cannot form a circle.
/// 2. `upstream/model` names the upstream.
/// 3. The first upstream that lists the name.
/// 4. The only upstream there is.
/// 5. The only upstream whose list is unknown, or the only such one of the request's own dialect.
/// 6. The only upstream of the request's own dialect, if there are others.
pub fn route<'a>(
    model: &'a str,
    aliases: &'a BTreeMap<String, String>,
    upstreams: &[Candidate<'a>],
) -> Result<Choice<'a>, NotFound> {
    let name = aliases.get(model).map_or(model, String::as_str);
    prefixed(name, upstreams)
        .or_else(|| {
            let lists = |candidate: &Candidate<'_>| {
                let models = candidate.models.unwrap_or_default();
                models.iter().any(|listed| listed == name)
            };
            let upstream = upstreams.iter().position(lists);
            let upstream = upstream.or_else(|| sole(upstreams, |_| true));
            let unlisted = |c: &Candidate<'_>| c.models.is_none();
            let upstream = upstream.or_else(|| sole(upstreams, unlisted));
            let upstream = upstream.or_else(|| sole(upstreams, |c| unlisted(c) && c.native));
            let upstream = upstream.or_else(|| sole(upstreams, |c| c.native));
            upstream.map(|upstream| Choice {
                upstream,
                model: name,
            })
        })
        .ok_or_else(|| NotFound {
            nearest: nearest(model, aliases, upstreams),
            unlisted: upstreams
                .iter()
                .filter(|candidate| candidate.models.is_none())
                .map(|candidate| candidate.name.to_owned())
                .collect(),
        })
}

/// The choice that `upstream/model` spells out. The model's own name may have slashes in it.
fn prefixed<'a>(name: &'a str, upstreams: &[Candidate<'a>]) -> Option<Choice<'a>> {
    let (prefix, model) = name.split_once('/')?;
    let upstream = upstreams.iter().position(|c| c.name == prefix)?;
    (!model.is_empty()).then_some(Choice { upstream, model })
}

/// The place of the one candidate that is `such`, unless there are several.
fn sole(upstreams: &[Candidate<'_>], such: impl Fn(&Candidate<'_>) -> bool) -> Option<usize> {
    let mut places = (0..upstreams.len()).filter(|&at| such(&upstreams[at]));
    let first = places.next()?;
    places.next().is_none().then_some(first)
}

const SUGGESTIONS: usize = 3;
/// Jaro-Winkler similarity from which a name counts as a misspelling of another.
const ALIKE: f64 = 0.8;

fn nearest(
    model: &str,
    aliases: &BTreeMap<String, String>,
    upstreams: &[Candidate<'_>],
) -> Vec<String> {
    if model.len() > MODEL_NAME_BYTES {
        return Vec::new();
    }
    let listed = upstreams.iter().filter_map(|candidate| candidate.models);
    let names = aliases.keys().chain(listed.flatten());
    let mut scored: Vec<(f64, &str)> = names
        .filter(|name| name.len() <= MODEL_NAME_BYTES)
        .map(|name| (likeness(model, name), name.as_str()))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    let best = scored.into_iter().take(SUGGESTIONS);
    best.map(|(_, name)| name.to_owned()).collect()
}

/// How alike two names are, from 0 to 1. Case, and an owner before a slash that only one of them
/// has, are what people get wrong most.
fn likeness(asked: &str, known: &str) -> f64 {
    let (asked, known) = (asked.to_lowercase(), known.to_lowercase());
    let bare = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    strsim::jaro_winkler(&asked, &known).max(strsim::jaro_winkler(&bare(&asked), &bare(&known)))
}

#[cfg(test)]
mod tests;
