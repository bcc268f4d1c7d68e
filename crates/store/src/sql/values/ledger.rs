//! What generations cost.

use everstream_core::event::Usage;
use everstream_core::id::{ProjectId, StreamId, UnixMillis};
use everstream_core::money::Money;
use serde::{Deserialize, Serialize};

use super::{BudgetId, KeyId, OrganisationId};

/// Whose money a generation costs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payer {
    /// The organisation, if the project has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationId>,
    /// The project.
    pub project: ProjectId,
    /// The key, if it came with one of the catalogue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
}

/// One generation in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The generation; there is one entry for each.
    pub stream: StreamId,
    /// Who pays.
    pub payer: Payer,
    /// The model as the client named it.
    pub model: String,
    /// The upstream that answered; empty when none was called.
    #[serde(default)]
    pub upstream: String,
    /// When the generation was accepted, which no repetition says otherwise.
    pub at: UnixMillis,
    /// What was used.
    pub usage: Usage,
    /// What it costs.
    pub cost: Money,
}

/// What a settlement did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Entries that are new.
    pub settled: usize,
    /// Entries that the ledger had before; they changed nothing.
    pub repeated: usize,
    /// Thresholds of budgets that these entries, and no others, have crossed.
    pub alerts: Vec<Alert>,
}

/// A budget of which more than a wanted share is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The budget.
    pub budget: BudgetId,
    /// When its period began.
    pub since: UnixMillis,
    /// The threshold that was crossed, in percent.
    pub percent: u8,
    /// The limit.
    pub limit: Money,
    /// Spent so far, in billionths.
    pub spent: u64,
}
