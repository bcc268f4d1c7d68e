//! Budgets, and how they stand.

use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::money::Money;
use everstream_store::sql::values::{Budget, BudgetId, BudgetState, KeyId, Period, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Done, List, Shown, page_size, refused};
use super::route::{Ask, Nothing};

/// A budget, and how it stands in its present period.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BudgetState")]
pub(super) struct BudgetSight {
    #[serde(flatten)]
    budget: BudgetFields,
    /// When its period began.
    since: UnixMillis,
    /// When its period is over.
    until: UnixMillis,
    /// What was spent in it, in dollars.
    spent: String,
    /// What is reserved in it for answers that run, in dollars.
    reserved: String,
}

/// A budget.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Budget")]
pub(super) struct BudgetFields {
    /// Its id.
    id: String,
    /// Whose spending it bounds.
    scope: ScopeKind,
    /// The id of that.
    of: String,
    /// How often it begins anew, in UTC.
    period: PeriodName,
    /// How much, in dollars.
    limit: String,
    /// Percents of it at which somebody wants to know.
    alert_at: Vec<u8>,
}

/// Whose spending a budget bounds.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ScopeKind {
    /// All of an organisation's.
    Organisation,
    /// All of a project's.
    Project,
    /// A key's.
    Key,
}

/// How often a budget begins anew.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum PeriodName {
    /// Every day.
    Day,
    /// Every month.
    Month,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct BudgetWish {
    /// The organisation whose spending it bounds. One of the three is given, for ever.
    organisation: Option<ProjectId>,
    /// The project whose spending it bounds.
    project: Option<ProjectId>,
    /// The key whose spending it bounds.
    #[schemars(with = "Option<String>")]
    key: Option<KeyId>,
    /// How often it begins anew, in UTC; for ever.
    period: PeriodName,
    /// How much, in dollars, as text: `25.00`.
    limit: String,
    /// Percents of it at which somebody wants to know, such as `[50, 80, 100]`.
    #[serde(default)]
    alert_at: Vec<u8>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct BudgetsQuery {
    /// Only those with ids after this one: the `next` of the page before.
    after: Option<String>,
    /// The most entries of the page.
    limit: Option<usize>,
}

pub(super) async fn list(ask: Ask<BudgetsQuery>) -> Result<Shown<List<BudgetSight>>, Error> {
    let limit = page_size(ask.query.limit)?;
    let after = ask.query.after.as_deref().map(str::parse::<BudgetId>);
    let after = after.transpose().map_err(|error| {
        Error::new(
            ErrorCode::InvalidValue,
            format!("`after` is wrong: {error}."),
        )
        .param("after")
    })?;
    let (catalog, now) = (ask.directory()?.catalog(), ask.app().clock.now());
    let found = catalog.budgets(None, after.as_ref(), limit + 1, now).await;
    let place = |state: &BudgetState| state.budget.id.to_string();
    Ok(List::of(found.map_err(refused)?, limit, place, Into::into))
}

pub(super) async fn put(ask: Ask<Nothing, BudgetWish>) -> Result<Shown<BudgetFields>, Error> {
    let wish = &ask.body;
    let scope = scope(wish)?;
    let limit: Money = wish.limit.parse().map_err(|error| {
        Error::new(
            ErrorCode::InvalidValue,
            format!("`limit` is wrong: {error}."),
        )
        .param("limit")
    })?;
    let budget = Budget {
        id: ask.id()?,
        scope,
        period: match wish.period {
            PeriodName::Day => Period::Day,
            PeriodName::Month => Period::Month,
        },
        limit,
        alert_at: wish.alert_at.clone(),
    };
    let catalog = ask.directory()?.catalog();
    if let Scope::Key(id) = &budget.scope
        && catalog.key(id).await.map_err(refused)?.is_none()
    {
        let message = format!("There is no key `{id}`: `everstream keys list` shows all.");
        return Err(Error::new(ErrorCode::NotFound, message).param("key"));
    }
    let put = catalog.put_budget(&ask.actor(), &budget).await;
    put.map_err(refused)?;
    Ok(Shown(budget.into()))
}

pub(super) async fn delete(ask: Ask) -> Result<Done, Error> {
    let (id, catalog) = (ask.id()?, ask.directory()?.catalog());
    let deleted = catalog.delete_budget(&ask.actor(), &id).await;
    deleted.map_err(refused).map(|()| Done)
}

fn scope(wish: &BudgetWish) -> Result<Scope, Error> {
    match (&wish.organisation, &wish.project, &wish.key) {
        (Some(id), None, None) => Ok(Scope::Organisation(id.clone())),
        (None, Some(id), None) => Ok(Scope::Project(id.clone())),
        (None, None, Some(id)) => Ok(Scope::Key(id.clone())),
        _ => {
            let message = "A budget is of one `organisation`, `project` or `key`.";
            Err(Error::new(ErrorCode::InvalidValue, message).param("project"))
        }
    }
}

impl From<Budget> for BudgetFields {
    fn from(budget: Budget) -> Self {
        let (scope, of) = match &budget.scope {
            Scope::Organisation(id) => (ScopeKind::Organisation, id.to_string()),
            Scope::Project(id) => (ScopeKind::Project, id.to_string()),
            Scope::Key(id) => (ScopeKind::Key, id.to_string()),
        };
        Self {
            id: budget.id.to_string(),
            scope,
            of,
            period: match budget.period {
                Period::Day => PeriodName::Day,
                Period::Month => PeriodName::Month,
            },
            limit: budget.limit.to_string(),
            alert_at: budget.alert_at,
        }
    }
}

impl From<BudgetState> for BudgetSight {
    fn from(state: BudgetState) -> Self {
        Self {
            budget: state.budget.into(),
            since: state.since,
            until: state.until,
            spent: Money(state.spent).to_string(),
            reserved: Money(state.reserved).to_string(),
        }
    }
}
