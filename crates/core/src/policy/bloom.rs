//! Which key ids may exist: a filter in front of every lookup, so that a flood of made-up keys never
//! reaches the database.

use fastbloom::AtomicBloomFilter;

/// How often an id that does not exist passes, at most, while the filter is not
/// [full](KnownKeys::is_full): one in a thousand.
pub const FALSE_POSITIVES: f64 = 0.001;

/// A Bloom filter of key ids. One that was inserted always passes, at once and for all threads; ids
/// are not taken out, so it is built anew from time to time and the new one put in its place.
#[derive(Debug)]
pub struct KnownKeys {
    filter: AtomicBloomFilter,
    expected: usize,
}

impl KnownKeys {
    /// An empty filter for `expected` ids, of some 15 bits each. The `seed` is random and secret:
    /// who knew it could make up ids that pass.
    pub fn new(expected: usize, seed: u128) -> Self {
        let expected = expected.max(MIN_EXPECTED);
        let builder = AtomicBloomFilter::with_false_pos(FALSE_POSITIVES).seed(&seed);
        Self {
            filter: builder.expected_items(expected),
            expected,
        }
    }

    /// A filter of these ids with room for as many again. It is what a rebuild makes; ids that are
    /// inserted into the old filter meanwhile must be inserted into the new one too, before it
    /// takes its place.
    pub fn of<'a>(ids: impl ExactSizeIterator<Item = &'a str>, seed: u128) -> Self {
        let known = Self::new(ids.len().saturating_mul(2), seed);
        ids.for_each(|id| known.insert(id));
        known
    }

    /// Lets `id` pass from now on.
    pub fn insert(&self, id: &str) {
        self.filter.insert(id);
    }

    /// Whether the key may exist. `false` is certain.
    pub fn may_exist(&self, id: &str) -> bool {
        self.filter.contains(id)
    }

    /// Whether `ids` ids are more than it was made for: time to rebuild.
    pub const fn is_full(&self, ids: usize) -> bool {
        ids > self.expected
    }
}

/// A filter of a few ids would have so few bits that nearly all are set soon.
const MIN_EXPECTED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u128 = 0x5eed_5eed;

    fn ids(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{prefix}{n}")).collect()
    }

    fn passing(known: &KnownKeys, ids: &[String]) -> usize {
        ids.iter().filter(|id| known.may_exist(id)).count()
    }

    #[test]
    fn known_ids_pass_and_few_others() {
        let known_ids = ids("ak-", 20_000);
        let known = KnownKeys::new(20_000, SEED);
        let strangers = ids("no-", 100_000);
        assert_eq!(passing(&known, &strangers), 0);
        known_ids.iter().for_each(|id| known.insert(id));
        assert!(!known.is_full(known_ids.len()) && known.is_full(20_001));
        assert_eq!(passing(&known, &known_ids), known_ids.len());
        // 100 are expected at most; the seed is fixed, and so is the count.
        let passed = passing(&known, &strangers);
        assert!(passed <= 150, "{passed} of 100,000 pass");
    }

    #[test]
    fn a_rebuilt_filter_forgets_and_has_room() {
        let kept = ids("ak-", 5_000);
        let gone = ids("gone-", 5_000);
        let known = KnownKeys::of(
            kept.iter()
                .chain(&gone)
                .map(String::as_str)
                .collect::<Vec<_>>()
                .into_iter(),
            SEED,
        );
        assert_eq!(passing(&known, &gone), gone.len());
        let rebuilt = KnownKeys::of(kept.iter().map(String::as_str), SEED);
        assert_eq!(passing(&rebuilt, &kept), kept.len());
        assert!(passing(&rebuilt, &gone) <= 10);
        assert!(!rebuilt.is_full(10_000));
        rebuilt.insert("new");
        assert!(rebuilt.may_exist("new"));
    }

    #[test]
    fn another_seed_lets_other_strangers_pass() {
        let known_ids = ids("ak-", 20_000);
        let strangers = ids("no-", 100_000);
        let passing = |seed| {
            let known = KnownKeys::new(20_000, seed);
            known_ids.iter().for_each(|id| known.insert(id));
            let passing = strangers.iter().filter(|id| known.may_exist(id));
            passing.cloned().collect::<Vec<_>>()
        };
        assert_eq!(passing(1), passing(1));
        assert_ne!(passing(1), passing(2));
    }
}
