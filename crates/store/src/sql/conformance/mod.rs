//! The test of the contract: what [`Catalog`] promises, held against any backend.
//!
//! A backend implements [`Backend`] and calls [`run`], which panics at the first promise that is not
//! kept. [`model`] is the contract as a program, for tests with random operations.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use everstream_core::event::Usage;
use everstream_core::id::{ProjectId, StreamId, UnixMillis};
use everstream_core::money::Money;

use super::Catalog;
use super::values::{
    Actor, Budget, BudgetId, KeyId, LedgerEntry, NewKey, OrganisationId, Payer, Period,
    ReserveRequest, Reserved, Scope, Scopes, SecretHash,
};

mod access;
mod audit;
mod budgets;
mod ledger;
pub mod model;
mod shared;
mod tenancy;

/// What is under test.
pub trait Backend {
    /// Makes an empty database.
    fn open(&self) -> Box<dyn Instance>;
}

/// One database under test.
pub trait Instance {
    /// A catalogue on it, as one process has it; each call gives another process's.
    fn catalog(&self) -> Arc<dyn Catalog>;
}

type Case = for<'a> fn(&'a dyn Instance) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Holds every promise against `backend`, each on a database of its own, with the name of each case
/// on standard error before it.
pub async fn run(backend: &dyn Backend) {
    let cases: [(&str, Case); 16] = [
        ("organisations and projects", |i| {
            Box::pin(tenancy::organisations_and_projects(i))
        }),
        ("suspension", |i| Box::pin(tenancy::suspension(i))),
        ("keys", |i| Box::pin(access::keys(i))),
        ("rotation", |i| Box::pin(access::rotation(i))),
        ("changes of a key at once", |i| {
            Box::pin(access::changes_at_once(i))
        }),
        ("revocation", |i| Box::pin(access::revocation(i))),
        ("audit", |i| Box::pin(audit::audit(i))),
        ("changes", |i| Box::pin(audit::changes(i))),
        ("changes of others", |i| {
            Box::pin(audit::changes_of_others(i))
        }),
        ("reserves", |i| Box::pin(budgets::reserves(i))),
        ("leases", |i| Box::pin(budgets::leases(i))),
        ("budgets that come and go", |i| {
            Box::pin(budgets::come_and_go(i))
        }),
        ("settlement", |i| Box::pin(ledger::settlement(i))),
        ("usage", |i| Box::pin(ledger::usage(i))),
        ("nonces", |i| Box::pin(shared::nonces(i))),
        ("many at once", |i| Box::pin(shared::many_at_once(i))),
    ];
    for (name, case) in cases {
        eprintln!("conformance: {name}");
        case(&*backend.open()).await;
    }
}

/// A day in tests: 2026-11-23T00:00:00Z.
pub const DAY: UnixMillis = UnixMillis(1_795_392_000_000);
/// An hour, in milliseconds.
pub const HOUR: u64 = 3_600_000;

/// So many milliseconds into the [day](DAY).
pub const fn at(millis: u64) -> UnixMillis {
    UnixMillis(DAY.0 + millis)
}

/// Somebody, now.
pub fn by(now: UnixMillis) -> Actor {
    Actor {
        who: "ada".to_owned(),
        at: now,
    }
}

/// A project, or an organisation.
pub fn project(name: &str) -> ProjectId {
    name.parse().expect("a sound name")
}

/// A key's id.
pub fn key_id(name: &str) -> KeyId {
    name.parse().expect("a sound id")
}

/// A budget's id.
pub fn budget_id(name: &str) -> BudgetId {
    name.parse().expect("a sound id")
}

/// A stream.
pub fn stream(n: u64) -> StreamId {
    // The top bit is set, for those who keep ids in signed numbers.
    StreamId::new(1023, n)
}

/// A key to be made.
pub fn new_key(id: &str, of: &str) -> NewKey {
    NewKey {
        id: key_id(id),
        project: project(of),
        name: format!("Key {id}"),
        scopes: Scopes::default(),
        hash: SecretHash([7; 32]),
        expires_at: None,
    }
}

/// An organisation `acme` with the projects `web` and `app`, and a key of `web`.
pub async fn acme(catalog: &dyn Catalog) -> Payer {
    let acme: OrganisationId = project("acme");
    let by = by(at(0));
    catalog
        .create_organisation(&by, &acme, "Acme")
        .await
        .expect("created");
    for name in ["web", "app"] {
        let id = project(name);
        let made = catalog.create_project(&by, &acme, &id, name).await;
        made.expect("created");
    }
    let key = new_key("key00001", "web");
    catalog.create_key(&by, &key).await.expect("created");
    Payer {
        organisation: Some(acme),
        project: project("web"),
        key: Some(key.id),
    }
}

/// A budget for a day.
pub fn budget(id: &str, scope: Scope, nanos: u64) -> Budget {
    Budget {
        id: budget_id(id),
        scope,
        period: Period::Day,
        limit: Money(nanos),
        alert_at: vec![50, 100],
    }
}

/// A reserve for stream `n`, with a lease of a minute.
pub fn reserve(n: u64, payer: &Payer, nanos: u64, now: UnixMillis) -> ReserveRequest {
    ReserveRequest {
        stream: stream(n),
        payer: payer.clone(),
        amount: Money(nanos),
        at: now,
        now,
        lease_until: UnixMillis(now.0 + 60_000),
    }
}

/// The ledger entry of stream `n`.
pub fn entry(n: u64, payer: &Payer, nanos: u64, at: UnixMillis) -> LedgerEntry {
    LedgerEntry {
        stream: stream(n),
        payer: payer.clone(),
        model: "small".to_owned(),
        upstream: "one".to_owned(),
        at,
        usage: Usage {
            input_tokens: 10,
            output_tokens: 20,
            cached_tokens: 3,
            cache_write_tokens: 2,
            audio_input_tokens: 1,
            audio_output_tokens: 5,
            reasoning_tokens: 4,
            estimated: n % 2 == 1,
        },
        cost: Money(nanos),
    }
}

fn is_held(reserved: &Reserved) -> bool {
    matches!(reserved, Reserved::Held(_))
}
