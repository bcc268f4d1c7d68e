//! Processes that are killed in the midst of it. A child is this test once more, told by its
//! environment what to do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use everstream_core::id::UnixMillis;
use everstream_store::disk::OsDisk;
use everstream_store::sql::conformance::{
    Instance, acme, at, budget, by, entry, project, reserve, stream,
};
use everstream_store::sql::queue::{LedgerQueue, QueueConfig};
use everstream_store::sql::sqlite::{SqliteConfig, open};
use everstream_store::sql::values::{Payer, Reserved, Scope};
use everstream_store::sql::{Catalog, CatalogError};

const ROLE: &str = "EVERSTREAM_TEST_CHILD";
const CHILDREN: u64 = 3;
const LIVES: u64 = 3;
const AMOUNT: u64 = 10;
const LIMIT: u64 = 2_000;

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().unwrap()
}

fn child(test: &str, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reserves, settles and tells, until it is killed or the budget is used up.
async fn spend(catalog: Arc<dyn Catalog>, payer: Payer, ledger: &Path, number: u64) {
    let queue = LedgerQueue::open(
        QueueConfig::new(ledger),
        Arc::new(OsDisk),
        Arc::clone(&catalog),
        Box::new(drop),
    );
    let queue = queue.unwrap();
    let mut out = std::io::stdout();
    for round in 1.. {
        let n = number * 1_000_000 + round;
        let asked = reserve(n, &payer, AMOUNT, at(0));
        match catalog.reserve(&asked).await {
            Ok(Reserved::Held(_)) => {}
            Ok(Reserved::Refused(_)) => break,
            Err(CatalogError::Busy(_)) => continue,
            Err(error) => panic!("{error}"),
        }
        queue.push(&entry(n, &payer, AMOUNT, at(0))).await.unwrap();
        writeln!(out, "spent {n}").unwrap();
        out.flush().unwrap();
    }
    queue.close().await;
}

/// Three processes at a time spend from one budget and are killed; all that they had taken into
/// their queues is in the ledger once, and the budget is overrun by no more than a reserve each.
pub(crate) fn nothing_is_lost(test: &str, instance: &dyn Instance, address: &str) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let first = runtime.block_on(async { instance.catalog() });
    let payer = runtime.block_on(acme(&*first));
    let scope = Scope::Project(project("web"));
    runtime
        .block_on(first.put_budget(&by(at(0)), &budget("web", scope, LIMIT)))
        .unwrap();
    let mut told = Vec::new();
    for life in 0..LIVES {
        let children: Vec<_> = (0..CHILDREN)
            .map(|n| {
                let number = 1 + life * CHILDREN + n;
                let dir = dir.path().display();
                child(test, &format!("{number}|{dir}|{address}"))
            })
            .collect();
        for (n, mut child) in (0_usize..).zip(children) {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            // Each is killed after another number of entries, while the others go on.
            let spent = lines.by_ref().map_while(Result::ok);
            let spent = spent.filter_map(|line| line.strip_prefix("spent ")?.parse::<u64>().ok());
            told.extend(spent.take(5 + 7 * n));
            child.kill().unwrap();
            let rest = lines.map_while(Result::ok);
            told.extend(rest.filter_map(|line| line.strip_prefix("spent ")?.parse::<u64>().ok()));
            child.wait().unwrap();
        }
    }
    assert!(told.len() >= 20, "only {} entries", told.len());
    runtime.block_on(async {
        let ledger = dir.path().to_owned();
        let queue = LedgerQueue::open(
            QueueConfig::new(ledger),
            Arc::new(OsDisk),
            Arc::clone(&first),
            Box::new(drop),
        );
        let queue = queue.unwrap();
        queue.drained().await;
        for &n in &told {
            let entry = first.ledger_entry(stream(n)).await.unwrap();
            assert!(entry.is_some(), "entry {n} is lost");
        }
        // Leases of the dead are over, and the sums are those of the ledger.
        let later = UnixMillis(at(0).0 + 60_000);
        let states = first.budgets(Some(&payer), None, 9, later).await.unwrap();
        assert_eq!(states[0].reserved, 0);
        assert!(states[0].spent >= told.len() as u64 * AMOUNT);
        assert!(states[0].spent < LIMIT + AMOUNT);
        assert_eq!(states[0].spent % AMOUNT, 0);
        queue.close().await;
    });
}

/// What a child does; false in the parent.
pub(crate) fn is_child(open: fn(&str) -> Arc<dyn Catalog>) -> bool {
    let Ok(role) = std::env::var(ROLE) else {
        return false;
    };
    let mut parts = role.splitn(3, '|');
    let number = parts.next().unwrap().parse().unwrap();
    let ledger = parts.next().unwrap();
    let address = parts.next().unwrap();
    runtime().block_on(async {
        let payer = Payer {
            organisation: Some(project("acme")),
            project: project("web"),
            key: None,
        };
        spend(open(address), payer, Path::new(ledger), number).await;
    });
    true
}

#[test]
fn sqlite() {
    let open: fn(&str) -> Arc<dyn Catalog> = |path| open(&SqliteConfig::new(path));
    if is_child(open) {
        return;
    }
    let file = crate::sqlite::File(tempfile::tempdir().unwrap());
    let path = file.path().display().to_string();
    nothing_is_lost("kills::sqlite", &file, &path);
}

#[cfg(feature = "postgres")]
#[test]
#[ignore = "needs a server: scripts/postgres.sh"]
fn postgres() {
    use everstream_store::sql::postgres;

    let open: fn(&str) -> Arc<dyn Catalog> = |name| {
        let database = crate::postgres::Database(name.to_owned());
        postgres::open(&database.config()).unwrap().0
    };
    if is_child(open) {
        return;
    }
    let database = crate::postgres::Server::database();
    nothing_is_lost("kills::postgres", &database, &database.0);
}
