//! `kill -9` at random moments, under load.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use everstream_testkit::provider::FakeProvider;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{self, Client, Kind, Outcome};
use crate::harness::{PATIENCE, Process, Random, Site};

const CLIENTS: usize = 60;
const TOKENS: usize = 16;
const PAUSE: Duration = Duration::from_millis(12);

/// What became of all clients.
#[derive(Debug, Default)]
struct Tally {
    whole: usize,
    interrupted: usize,
    unknown: usize,
    /// Those that came back and have all of their answer.
    healed: usize,
}

struct Trial {
    site: Site,
    gateway: Option<Process>,
    random: Random,
    starts: watch::Sender<u64>,
}

impl Trial {
    async fn start(provider: &FakeProvider, sync: &str) -> Self {
        let mut site = Site::new(provider, &format!("[log]\nsync = {sync:?}"));
        let gateway = site.start().await;
        Self {
            site,
            gateway: Some(gateway),
            random: Random::seeded(),
            starts: watch::Sender::new(1),
        }
    }

    /// Clients come one after another; the gateway dies under them, once or twice.
    async fn round(&mut self, round: usize) -> Vec<(Client, Outcome)> {
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            let kind = Kind::ALL[n % Kind::ALL.len()];
            let marker = format!("r{round}-c{n}");
            let mut client = Client::new(self.addr(), marker, kind, TOKENS);
            let (delay, starts) = (self.random.millis(0, 300), self.starts.subscribe());
            clients.spawn(async move {
                sleep(delay).await;
                let outcome = client.run(starts).await;
                (client, outcome)
            });
        }
        for _ in 0..=self.random.below(2) {
            let delay = self.random.millis(50, 400);
            sleep(delay).await;
            self.restart().await;
        }
        timeout(PATIENCE, clients.join_all()).await.unwrap()
    }

    async fn restart(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.kill();
        }
        self.gateway = Some(self.site.start().await);
        self.starts.send_modify(|starts| *starts += 1);
    }

    fn addr(&self) -> SocketAddr {
        self.gateway.as_ref().unwrap().addr
    }
}

async fn kills(sync: &str, rounds: usize) -> Tally {
    let script = |request: &_| client::script(request, TOKENS, PAUSE);
    let provider = FakeProvider::start(script).await;
    let mut trial = Trial::start(&provider, sync).await;
    let mut tally = Tally::default();
    for round in 0..rounds {
        let ended = trial.round(round).await;
        check(&provider, trial.addr(), &ended).await;
        for (client, outcome) in &ended {
            match outcome {
                Outcome::Whole => tally.whole += 1,
                Outcome::Interrupted => tally.interrupted += 1,
                Outcome::Unknown => tally.unknown += 1,
            }
            if *outcome == Outcome::Whole && client.returns > 0 {
                tally.healed += 1;
            }
        }
    }
    eprintln!("sync = {sync}: {tally:?}");
    tally
}

/// What the log and the provider say of what the clients saw.
async fn check(provider: &FakeProvider, addr: SocketAddr, clients: &[(Client, Outcome)]) {
    let statuses = settled(addr).await;
    let calls = client::calls(provider);
    for (marker, calls) in &calls {
        assert_eq!(*calls, 1, "{marker} ran more than once");
    }
    for (client, outcome) in clients {
        let Client { marker, data, .. } = client;
        let Some(id) = &client.id else {
            assert_eq!(*outcome, Outcome::Unknown, "{marker}");
            continue;
        };
        assert_eq!(client::logged(addr, id).await, *data, "{marker}");
        let status = match outcome {
            Outcome::Whole => "completed",
            Outcome::Interrupted => "interrupted",
            Outcome::Unknown => panic!("{marker} knows {id} and gave up"),
        };
        assert_eq!(statuses[id], status, "{marker}");
        if *outcome == Outcome::Whole {
            assert!(calls.contains_key(marker), "{marker}: an answer of nobody");
        }
    }
}

/// The statuses once nothing runs: what nobody could come back to may take longer than the clients.
async fn settled(addr: SocketAddr) -> HashMap<String, String> {
    let settled = async {
        loop {
            let statuses = client::statuses(addr).await;
            let is_over = |status: &String| !matches!(status.as_str(), "running" | "queued");
            if statuses.values().all(is_over) {
                return statuses;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, settled).await.unwrap()
}

fn is_telling(tally: &Tally, rounds: usize) {
    let all = CLIENTS * rounds;
    let Tally {
        whole,
        interrupted,
        unknown,
        ..
    } = tally;
    assert_eq!(whole + interrupted + unknown, all, "{tally:?}");
    assert!(*interrupted > all / 20, "hardly one was hit: {tally:?}");
    assert!(*whole > all / 20, "hardly one came through: {tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_has_the_upstreams_answer_or_the_typed_interruption_and_nothing_runs_twice() {
    is_telling(&kills("interval", 12).await, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_without_any_sync() {
    is_telling(&kills("none", 4).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_with_a_sync_for_every_write() {
    is_telling(&kills("always", 4).await, 4);
}
