//! The names that somebody may have meant.

use std::cmp::Ordering;

/// Beyond this a name is no typing mistake, and comparing it costs too much.
const NAME_BYTES: usize = 128;
/// How alike two names must be, from 0 to 1.
const LIKENESS: f64 = 0.6;

/// The candidates most like `name`, the best first, at most `max`. Letter case does not count, and
/// a name that is the other's part after a slash (`openai/gpt-4o`) counts as nearly the same.
pub fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    max: usize,
) -> Vec<String> {
    if name.is_empty() || name.len() > NAME_BYTES {
        return Vec::new();
    }
    let name = name.to_lowercase();
    let mut found: Vec<(f64, &str)> = candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= NAME_BYTES)
        .map(|candidate| (likeness(&name, &candidate.to_lowercase()), candidate))
        .filter(|&(likeness, _)| likeness >= LIKENESS)
        .collect();
    found.sort_by(|(a, first), (b, second)| match b.total_cmp(a) {
        Ordering::Equal => first.cmp(second),
        order => order,
    });
    found.dedup_by_key(|&mut (_, candidate)| candidate);
    found
        .into_iter()
        .take(max)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}

fn likeness(a: &str, b: &str) -> f64 {
    let bare = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let whole = strsim::normalized_damerau_levenshtein(a, b);
    let last = strsim::normalized_damerau_levenshtein(&bare(a), &bare(b));
    whole.max(last * 0.95)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: [&str; 5] = [
        "gpt-4o",
        "gpt-4o-mini",
        "openai/o3",
        "claude-opus-4",
        "gpt-4o",
    ];

    #[test]
    fn the_nearest_come_first_and_once() {
        assert_eq!(nearest("gpt4o", MODELS, 3), ["gpt-4o"]);
        assert_eq!(nearest("GPT-4o-mni", MODELS, 3), ["gpt-4o-mini", "gpt-4o"]);
        assert_eq!(nearest("GPT-4o-mni", MODELS, 1), ["gpt-4o-mini"]);
        assert_eq!(nearest("o3", MODELS, 3), ["openai/o3"]);
        assert_eq!(nearest("azure/o3", MODELS, 3), ["openai/o3"]);
    }

    #[test]
    fn what_is_like_nothing_gets_nothing() {
        assert!(nearest("llama", MODELS, 3).is_empty());
        assert!(nearest("", MODELS, 3).is_empty());
        assert!(nearest(&"g".repeat(1000), MODELS, 3).is_empty());
    }
}
