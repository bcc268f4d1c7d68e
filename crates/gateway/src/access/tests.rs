use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::config::{Config, KeyConfig, key_hash};
use everstream_core::error::ErrorCode;
use everstream_core::id::UnixMillis;
use everstream_core::limits::{REFUSAL_GAP, REFUSALS_AT_ONCE};
use everstream_core::secret::Secret;
use everstream_core::sign::api_key::{KeyMaster, id_of};
use everstream_store::sql::Catalog;
use everstream_store::sql::sqlite::{self, SqliteConfig};
use everstream_store::sql::values::{Actor, NewKey, Scopes, SecretHash};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;

struct Bench {
    access: Access,
    catalog: Arc<dyn Catalog>,
    master: KeyMaster,
    clock: Clock,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Bench {
    /// A catalogue with one project, whose changes are followed.
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let catalog = sqlite::open(&SqliteConfig::new(dir.path().join("catalog.db")));
        let (master, clock) = (KeyMaster::new(b"master"), Clock::start());
        let bench = Self {
            access: Access::new(
                &Config::default(),
                Some(Arc::new(Directory::new(
                    Arc::clone(&catalog),
                    master.clone(),
                    clock,
                ))),
                clock,
            ),
            catalog,
            master,
            clock,
            stop: CancellationToken::new(),
            _dir: dir,
        };
        let (by, catalog) = (bench.actor(), &bench.catalog);
        let acme = "acme".parse().expect("an id");
        let made = catalog.create_organisation(&by, &acme, "Acme").await;
        made.expect("made");
        let web = "web".parse().expect("an id");
        let made = catalog.create_project(&by, &acme, &web, "Web").await;
        made.expect("made");
        bench
    }

    async fn followed() -> Self {
        let bench = Self::new().await;
        let directory = Arc::clone(bench.access.directory().expect("a directory"));
        let cursor = read_all(&directory).await.expect("read");
        tokio::spawn(follow(directory, Some(cursor), bench.stop.clone()));
        bench
    }

    fn actor(&self) -> Actor {
        Actor {
            who: "test".to_owned(),
            at: self.clock.now(),
        }
    }

    /// A new key of the project, known by `n`.
    async fn key(&self, n: u8) -> Secret {
        self.key_until(n, None).await
    }

    async fn key_until(&self, n: u8, expires_at: Option<UnixMillis>) -> Secret {
        let id = id_of([n; 10]);
        let text = self.master.key(&id, 1);
        let hash = self
            .master
            .hash(KeyText::parse(text.expose()).expect("a key"));
        let key = NewKey {
            id: id.parse().expect("an id"),
            project: "web".parse().expect("an id"),
            name: "a key".to_owned(),
            scopes: Scopes::default(),
            hash: SecretHash(hash),
            expires_at,
        };
        let made = self.catalog.create_key(&self.actor(), &key).await;
        made.expect("made");
        text
    }

    async fn ask(&self, key: &str) -> Result<Caller, ErrorCode> {
        let request = http::Request::get("/").header("authorization", format!("Bearer {key}"));
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let caller = self.access.authenticate(&parts).await;
        caller.map_err(|error| error.code)
    }

    /// Asks until the answer is this one, which has to be within the second that is promised.
    async fn soon(&self, key: &str, expected: Result<(), ErrorCode>) {
        let asked = async {
            while self.ask(key).await.map(drop) != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(1), asked).await;
        asked.expect("known within a second");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn a_key_lets_its_project_in_until_it_is_revoked() {
    let bench = Bench::followed().await;
    let key = bench.key(1).await;
    bench.soon(key.expose(), Ok(())).await;
    let caller = bench.ask(key.expose()).await.expect("let in");
    assert_eq!(caller.project.as_str(), "web");
    assert_eq!(caller.organisation.expect("known").as_str(), "acme");
    let id = caller.key.expect("known");
    let revoked = bench.catalog.revoke_key(&bench.actor(), &id).await;
    revoked.expect("revoked");
    bench.soon(key.expose(), Err(ErrorCode::Unauthorized)).await;
}

#[tokio::test]
async fn a_rotated_key_overlaps_with_the_one_it_replaces() {
    let bench = Bench::followed().await;
    let old = bench.key(1).await;
    bench.soon(old.expose(), Ok(())).await;
    let id = KeyText::parse(old.expose()).expect("a key").id;
    let new = bench.master.key(id, 2);
    assert_eq!(
        bench.ask(new.expose()).await.map(drop),
        Err(ErrorCode::Unauthorized)
    );
    let hash = bench
        .master
        .hash(KeyText::parse(new.expose()).expect("a key"));
    let until = bench.clock.now().plus(Duration::from_millis(400));
    let id = id.parse().expect("an id");
    let rotated = bench
        .catalog
        .rotate_key(&bench.actor(), &id, SecretHash(hash), until)
        .await;
    rotated.expect("rotated");
    bench.soon(new.expose(), Ok(())).await;
    if bench.clock.now() < until {
        assert!(bench.ask(old.expose()).await.is_ok());
    }
    bench.soon(old.expose(), Err(ErrorCode::Unauthorized)).await;
    assert!(bench.ask(new.expose()).await.is_ok());
}

#[tokio::test]
async fn a_key_ends_when_it_expires() {
    let bench = Bench::followed().await;
    let until = bench.clock.now().plus(Duration::from_millis(300));
    let key = bench.key_until(1, Some(until)).await;
    bench.soon(key.expose(), Ok(())).await;
    bench.soon(key.expose(), Err(ErrorCode::Unauthorized)).await;
    assert!(bench.clock.now() >= until);
}

#[tokio::test]
async fn without_the_database_known_keys_go_on_and_made_up_ones_are_refused_at_once() {
    let bench = Bench::followed().await;
    let used = bench.key(1).await;
    let unused = bench.key(2).await;
    bench.soon(used.expose(), Ok(())).await;
    let directory = Arc::clone(bench.access.directory().expect("a directory"));
    while directory
        .known(&id_of([2; 10]))
        .await
        .expect("asked")
        .is_none()
    {
        tokio::task::yield_now().await;
    }
    directory.changed(&id_of([2; 10]));
    bench.catalog.close().await;
    assert!(bench.ask(used.expose()).await.is_ok());
    // One that the filter knows is not refused: whether it is good only the database can say.
    assert_eq!(
        bench.ask(unused.expose()).await.map(drop),
        Err(ErrorCode::AccessUnavailable)
    );
    // The database would have answered that it is closed, so it was not asked.
    for n in 100..200 {
        let made_up = KeyMaster::new(b"another").key(&id_of([n; 10]), 1);
        assert_eq!(
            bench.ask(made_up.expose()).await.map(drop),
            Err(ErrorCode::Unauthorized)
        );
    }
}

#[tokio::test]
async fn it_is_open_until_the_first_key_and_never_again() {
    let bench = Bench::new().await;
    let (nobody, ()) = http::Request::new(()).into_parts();
    // Nothing is known yet, so nobody is let in on a guess.
    assert!(bench.access.authenticate(&nobody).await.is_err());
    let directory = Arc::clone(bench.access.directory().expect("a directory"));
    let cursor = read_all(&directory).await.expect("read");
    assert!(bench.access.authenticate(&nobody).await.is_ok());
    let key = bench.key(1).await;
    tokio::spawn(follow(directory, Some(cursor), bench.stop.clone()));
    bench.soon(key.expose(), Ok(())).await;
    assert!(bench.access.authenticate(&nobody).await.is_err());
    let id = id_of([1; 10]).parse().expect("an id");
    let revoked = bench.catalog.revoke_key(&bench.actor(), &id).await;
    revoked.expect("revoked");
    bench.soon(key.expose(), Err(ErrorCode::Unauthorized)).await;
    assert!(bench.access.authenticate(&nobody).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_one_after_the_other_and_who_has_a_key_does_not_wait_for_them() {
    let mut config = Config::default();
    config.keys.push(KeyConfig {
        project: "one".parse().expect("an id"),
        hash: key_hash("good"),
        on_disconnect: None,
    });
    let access = Access::new(&config, None, Clock::start());
    let ask = async |key: &str, from: u32| {
        let peer = Peer {
            address: Ipv4Addr::from_bits(from).into(),
            is_tls: false,
        };
        let request = http::Request::get("/").extension(peer);
        let request = request.header("authorization", format!("Bearer {key}"));
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let came = Instant::now();
        let caller = access.authenticate(&parts).await;
        (caller.is_ok(), came.elapsed())
    };
    for from in 0..=REFUSALS_AT_ONCE {
        assert_eq!(ask("made up", from).await, (false, Duration::ZERO));
    }
    let (_, waited) = ask("made up", u32::MAX).await;
    assert!(waited >= REFUSAL_GAP, "{waited:?}");
    assert_eq!(ask("good", 1).await, (true, Duration::ZERO));
}
