//! Sums over the ledger.

use everstream_core::id::{ProjectId, UnixMillis};

use super::{KeyId, OrganisationId};

/// How long the pieces of time are, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// One piece, from the beginning to the end of the question.
    #[default]
    Whole,
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Months.
    Month,
}

/// What has sums of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "any of them together")]
pub struct GroupBy {
    /// Each organisation.
    pub organisation: bool,
    /// Each project.
    pub project: bool,
    /// Each key.
    pub key: bool,
    /// Each model.
    pub model: bool,
}

/// Which generations count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// This organisation's.
    pub organisation: Option<OrganisationId>,
    /// This project's.
    pub project: Option<ProjectId>,
    /// This key's.
    pub key: Option<KeyId>,
    /// This model's.
    pub model: Option<String>,
}

/// A question to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Generations accepted from here on.
    pub from: UnixMillis,
    /// And before here.
    pub to: UnixMillis,
    /// Pieces of time.
    pub bucket: Bucket,
    /// What has sums of its own.
    pub group_by: GroupBy,
    /// Which generations count.
    pub filter: UsageFilter,
}

/// One sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageRow {
    /// When its piece of time began; 0 with [`Bucket::Whole`].
    pub since: UnixMillis,
    /// Empty unless asked for by organisation.
    pub organisation: String,
    /// Empty unless asked for by project.
    pub project: String,
    /// Empty unless asked for by key.
    pub key: String,
    /// Empty unless asked for by model.
    pub model: String,
    /// Generations.
    pub requests: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Completion tokens.
    pub output_tokens: u64,
    /// Prompt tokens from the provider's cache.
    pub cached_tokens: u64,
    /// Prompt tokens that were written to the provider's cache.
    pub cache_write_tokens: u64,
    /// Prompt tokens that were sound.
    pub audio_input_tokens: u64,
    /// Completion tokens that were sound.
    pub audio_output_tokens: u64,
    /// Completion tokens that were reasoning.
    pub reasoning_tokens: u64,
    /// Billionths of the currency.
    pub cost: u64,
}
