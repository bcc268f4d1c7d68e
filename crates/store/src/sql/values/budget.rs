//! Budgets.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use everstream_core::id::{ProjectId, StreamId, UnixMillis};
use everstream_core::money::Money;

use super::{KeyId, OrganisationId, Payer, day_start, month_after, month_start};
use crate::sql::CatalogError;

/// A budget's id: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetId(Arc<str>);

impl BudgetId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BudgetId {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, CatalogError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(CatalogError::Invalid(
                "a budget id has 1 to 64 characters of A-Z a-z 0-9 . _ -".to_owned(),
            ))
        }
    }
}

impl fmt::Debug for BudgetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for BudgetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whose spending a budget bounds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of an organisation's.
    Organisation(OrganisationId),
    /// All of a project's.
    Project(ProjectId),
    /// A key's.
    Key(KeyId),
}

impl Scope {
    /// Whether what `payer` spends counts.
    pub fn covers(&self, payer: &Payer) -> bool {
        match self {
            Self::Organisation(id) => payer.organisation.as_ref() == Some(id),
            Self::Project(id) => payer.project == *id,
            Self::Key(id) => payer.key.as_ref() == Some(id),
        }
    }
}

/// How often a budget begins anew, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// At midnight.
    Day,
    /// On the first of the month.
    Month,
}

impl Period {
    /// When the period of `at` began.
    pub const fn start(self, at: UnixMillis) -> UnixMillis {
        match self {
            Self::Day => day_start(at),
            Self::Month => month_start(at),
        }
    }

    /// When the period of `at` is over.
    pub const fn end(self, at: UnixMillis) -> UnixMillis {
        match self {
            Self::Day => UnixMillis(day_start(at).0 + 24 * 3_600_000),
            Self::Month => month_after(at),
        }
    }
}

/// A bound on spending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its id.
    pub id: BudgetId,
    /// Whose spending.
    pub scope: Scope,
    /// In which time.
    pub period: Period,
    /// How much.
    pub limit: Money,
    /// Shares of the limit, in percent, at which somebody wants to know.
    pub alert_at: Vec<u8>,
}

/// How a budget stands in its present period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetState {
    /// The budget.
    pub budget: Budget,
    /// When its period began.
    pub since: UnixMillis,
    /// When its period is over.
    pub until: UnixMillis,
    /// What was settled in it, in billionths. More than [`Money`] may add up.
    pub spent: u64,
    /// What is reserved in it.
    pub reserved: u64,
}

/// A reserve of the worst that a generation may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The generation. One reserve each: repeating it changes nothing.
    pub stream: StreamId,
    /// Who is to pay.
    pub payer: Payer,
    /// The worst case.
    pub amount: Money,
    /// When the generation was accepted: it counts in the periods of this time, and its ledger entry
    /// has the same.
    pub at: UnixMillis,
    /// Now.
    pub now: UnixMillis,
    /// When the reserve is freed by itself, unless it is renewed before.
    pub lease_until: UnixMillis,
}

/// What became of a reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is held in these budgets; none when no budget covers the payer.
    Held(Vec<Held>),
    /// A budget is used up. Nothing is held in any.
    Refused(Refusal),
}

/// A budget after a reserve, for alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The budget.
    pub budget: BudgetId,
    /// Its limit.
    pub limit: Money,
    /// Spent so far, in billionths.
    pub spent: u64,
    /// Reserved, with this reserve.
    pub reserved: u64,
}

/// Which budget refused, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The budget; the first by id when several are used up.
    pub budget: BudgetId,
    /// Its limit.
    pub limit: Money,
    /// Spent so far, in billionths.
    pub spent: u64,
    /// Reserved by others.
    pub reserved: u64,
    /// When its next period begins.
    pub resets_at: UnixMillis,
}
