//! The ledger's queue.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everstream_store::disk::{Disk, OsDisk};
use everstream_store::sql::Catalog;
use everstream_store::sql::conformance::{at, budget, by, entry, project, stream};
use everstream_store::sql::queue::{LedgerQueue, QueueConfig, QueueError};
use everstream_store::sql::sqlite::{SqliteConfig, open};
use everstream_store::sql::values::{Alert, Payer, Scope};
use everstream_testkit::disk::{Fault, FaultyDisk, Loss};

const PATIENCE: Duration = Duration::from_secs(30);

fn loner() -> Payer {
    Payer {
        organisation: None,
        project: project("loner"),
        key: None,
    }
}

fn config(dir: &Path) -> QueueConfig {
    QueueConfig {
        retry: (Duration::from_millis(5), Duration::from_millis(50)),
        ..QueueConfig::new(dir)
    }
}

fn queue(config: QueueConfig, disk: Arc<dyn Disk>, catalog: &Arc<dyn Catalog>) -> LedgerQueue {
    LedgerQueue::open(config, disk, Arc::clone(catalog), Box::new(drop)).unwrap()
}

async fn drained(queue: &LedgerQueue) {
    let drained = tokio::time::timeout(PATIENCE, queue.drained()).await;
    assert!(drained.is_ok(), "still waiting: {:?}", queue.status());
}

/// What the ledger has of the streams 1 to `last`.
async fn settled(catalog: &dyn Catalog, last: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for n in 1..=last {
        if catalog.ledger_entry(stream(n)).await.unwrap().is_some() {
            found.push(n);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn catches_up_when_the_database_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("database");
    let catalog = open(&SqliteConfig::new(home.join("control.db")));
    let alerts = Arc::new(Mutex::new(Vec::<Alert>::new()));
    let told = Arc::clone(&alerts);
    let on_alert = Box::new(move |alert| told.lock().unwrap().push(alert));
    let config = config(&dir.path().join("ledger"));
    let queue =
        LedgerQueue::open(config, Arc::new(OsDisk), Arc::clone(&catalog), on_alert).unwrap();
    for n in 1..=250 {
        queue.push(&entry(n, &loner(), 1, at(n))).await.unwrap();
    }
    let status = queue.status();
    assert_eq!((status.entries, status.settled), (250, 0));
    assert!(catalog.check().await.unwrap_err().is_unavailable());

    std::fs::create_dir(&home).unwrap();
    drained(&queue).await;
    assert_eq!(settled(&*catalog, 251).await.len(), 250);
    // Entries that come once more count once, and budgets tell.
    let scope = Scope::Project(project("loner"));
    catalog
        .put_budget(&by(at(0)), &budget("b", scope, 510))
        .await
        .unwrap();
    for n in [250, 251, 251] {
        queue.push(&entry(n, &loner(), 10, at(n))).await.unwrap();
    }
    drained(&queue).await;
    let state = catalog
        .budgets(Some(&loner()), None, 9, at(0))
        .await
        .unwrap();
    assert_eq!(state[0].spent, 260);
    assert_eq!(
        alerts
            .lock()
            .unwrap()
            .iter()
            .map(|a| a.percent)
            .collect::<Vec<_>>(),
        [50]
    );
    queue.close().await;
    let late = queue.push(&entry(252, &loner(), 1, at(0))).await;
    assert!(matches!(late, Err(QueueError::Closed)));
    let left: Vec<_> = OsDisk.list(&dir.path().join("ledger")).unwrap();
    assert_eq!(left, ["guard"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn says_when_it_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("database");
    let catalog = open(&SqliteConfig::new(home.join("control.db")));
    let config = QueueConfig {
        max_bytes: 1_000,
        ..config(&dir.path().join("ledger"))
    };
    let queue = queue(config, Arc::new(OsDisk), &catalog);
    let mut taken = 0;
    let error = loop {
        match queue.push(&entry(taken + 1, &loner(), 1, at(0))).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, QueueError::Full { limit: 1_000, .. }),
        "{error}"
    );
    assert!(taken > 1);
    std::fs::create_dir(&home).unwrap();
    drained(&queue).await;
    queue.push(&entry(99, &loner(), 1, at(0))).await.unwrap();
    drained(&queue).await;
    let count = usize::try_from(taken).unwrap() + 1;
    assert_eq!(settled(&*catalog, 99).await.len(), count);
}

/// The process dies at each change of the disk in turn, and the next one finds what was taken.
#[tokio::test(flavor = "multi_thread")]
async fn loses_nothing_at_any_crash() {
    let dir = tempfile::tempdir().unwrap();
    for stop in 1.. {
        let catalog = open(&SqliteConfig::new(dir.path().join(format!("{stop}.db"))));
        let nowhere = open(&SqliteConfig::new(dir.path().join("nowhere/x.db")));
        let disk = FaultyDisk::default();
        disk.set_fault(Fault::StopAt(stop));
        let mut taken = Vec::new();
        let config = || config(&PathBuf::from("/ledger"));
        let opened = LedgerQueue::open(
            config(),
            Arc::new(disk.clone()),
            Arc::clone(&nowhere),
            Box::new(drop),
        );
        let mut is_whole = false;
        if let Ok(queue) = opened {
            for n in 1..=3 {
                if queue.push(&entry(n, &loner(), 1, at(n))).await.is_ok() {
                    taken.push(n);
                }
            }
            is_whole = taken.len() == 3;
        }
        nowhere.close().await;
        disk.restart(Loss::Kill);
        let queue = queue(config(), Arc::new(disk.clone()), &catalog);
        drained(&queue).await;
        queue.close().await;
        let found = settled(&*catalog, 3).await;
        assert!(
            taken.iter().all(|n| found.contains(n)),
            "{taken:?} {found:?} at {stop}"
        );
        assert_eq!(queue.status().damaged, 0);
        if is_whole {
            assert!(stop > 3, "the crash came never");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_is_damaged_and_settles_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = open(&SqliteConfig::new(dir.path().join("nowhere/x.db")));
    let disk = FaultyDisk::default();
    let config = || config(&PathBuf::from("/ledger"));
    let dead = queue(config(), Arc::new(disk.clone()), &nowhere);
    for n in 1..=3 {
        dead.push(&entry(n, &loner(), 1, at(n))).await.unwrap();
    }
    drop(dead);
    nowhere.close().await;
    let is_queue = |path: &&PathBuf| path.extension().is_some_and(|end| end == "queue");
    let files = disk.files();
    let path = files.iter().map(|(path, _)| path).find(is_queue).unwrap();
    let third = files.iter().find(|(p, _)| p == path).unwrap().1.len() - 5;
    disk.rot(path, third, 1);
    disk.restart(Loss::Kill);
    let catalog = open(&SqliteConfig::new(dir.path().join("control.db")));
    let queue = queue(config(), Arc::new(disk.clone()), &catalog);
    drained(&queue).await;
    assert_eq!(settled(&*catalog, 3).await, [1, 2]);
    assert_eq!(queue.status().damaged, 1);
    let kept = disk.files();
    assert!(
        kept.iter()
            .any(|(path, _)| path.extension().is_some_and(|end| end == "damaged"))
    );
}

/// Two processes on one directory: the living one does not touch the other's files until it is dead.
#[tokio::test(flavor = "multi_thread")]
async fn takes_over_from_the_dead_only() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let nowhere = open(&SqliteConfig::new(dir.path().join("nowhere/x.db")));
    let catalog = open(&SqliteConfig::new(dir.path().join("control.db")));
    let blue = queue(config(&ledger), Arc::new(OsDisk), &nowhere);
    blue.push(&entry(1, &loner(), 1, at(1))).await.unwrap();
    let green = queue(config(&ledger), Arc::new(OsDisk), &catalog);
    green.push(&entry(2, &loner(), 1, at(2))).await.unwrap();
    drained(&green).await;
    assert_eq!(settled(&*catalog, 2).await, [2]);
    green.close().await;
    blue.close().await;
    let next = queue(config(&ledger), Arc::new(OsDisk), &catalog);
    drained(&next).await;
    assert_eq!(settled(&*catalog, 2).await, [1, 2]);
}
