use std::borrow::Cow;

use crate::content::short_hash;
use crate::dialect::traits::Traits;

/// Longest id of a call that OpenAI takes.
const LONGEST: usize = 40;
/// The length of the ids that Mistral takes.
const SHORT: usize = 9;

/// An id that the provider takes, and the same for the call and its result.
pub(super) fn call_id<'a>(id: &'a str, traits: &Traits) -> Cow<'a, str> {
    let fits = if traits.short_call_ids {
        id.len() == SHORT && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    } else {
        id.len() <= LONGEST
    };
    if fits {
        return Cow::Borrowed(id);
    }
    let hash = short_hash(id);
    Cow::Owned(if traits.short_call_ids {
        hash.chars().take(SHORT).collect()
    } else {
        format!("call_{hash}")
    })
}
