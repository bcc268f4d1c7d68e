//! What it costs to know who calls.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use everstream::access::{Access, Directory, read_all};
use everstream::app::App;
use everstream::clock::Clock;
use everstream::upstream::models::ModelDirectory;
use everstream_core::config::{Config, KeyConfig, key_hash};
use everstream_core::error::ErrorCode;
use everstream_core::limits::KEY_CACHE;
use everstream_core::sign::api_key::KeyMaster;
use everstream_store::sql::Catalog;
use everstream_store::sql::sqlite::{self, SqliteConfig};
use http::request::Parts;
use tokio::runtime::Runtime;

use super::catalogue::{MASTER, catalogue, directory, id};
use super::credentials::{Issuer, STATIC_KEY, bearer, fresh, made_up, signed};
use super::{DIFFERENT, Rows, cpu_time, micros, runtime};

/// Requests of one measurement.
const REQUESTS: usize = 200_000;

/// A catalogue, and who may call by it.
pub(crate) struct Bench {
    runtime: Runtime,
    access: Arc<Access>,
    catalog: Arc<dyn Catalog>,
    master: KeyMaster,
    size: usize,
    clock: Clock,
    rows: Rows,
}

impl Bench {
    pub(crate) fn new(size: usize) -> Self {
        let (runtime, clock) = (runtime(), Clock::start());
        let master = KeyMaster::new(&MASTER);
        let file = runtime.block_on(catalogue(size, &master));
        let catalog = sqlite::open(&SqliteConfig::new(file));
        let directory = Directory::new(Arc::clone(&catalog), master.clone(), clock);
        let directory = Arc::new(directory);
        let read = runtime.block_on(read_all(&directory));
        read.expect("the keys are read");
        let mut config = Config::default();
        config.keys.push(KeyConfig {
            project: "bench".parse().expect("an id"),
            hash: key_hash(STATIC_KEY),
            on_disconnect: None,
        });
        let access = Arc::new(Access::new(&config, Some(directory), clock));
        Self {
            runtime,
            access,
            catalog,
            master,
            size,
            clock,
            rows: Rows::default(),
        }
    }

    /// Measures everything.
    pub(crate) fn run(mut self) -> Rows {
        let of_catalog = self.catalogued();
        self.measure("a key of the configuration", &[bearer(STATIC_KEY)], None);
        self.measure("a key of the catalogue", &of_catalog, None);
        let signed = self.signed();
        let cost = let_in(&self.runtime, &self.access, &signed, 1);
        let what = "a signed request (RFC 9421), each with a nonce of its own";
        self.rows.put(what, format!("{cost:.2}"));
        self.tokens();
        let made_up = made_up(&KeyMaster::new(b"another"));
        let refused = Some(ErrorCode::Unauthorized);
        self.measure("a made-up key", &made_up, refused);
        let garbage = [bearer("sk-not-a-key-of-this-gateway-at-all")];
        self.measure("no key of any form", &garbage, refused);
        self.beside_a_flood(&of_catalog, Arc::new(made_up));
        self.rows
    }

    /// Requests with keys of the catalogue, as many as are remembered.
    fn catalogued(&self) -> Vec<Parts> {
        let keys = 0..self.size.min(DIFFERENT).min(KEY_CACHE / 2);
        keys.map(|n| bearer(self.master.key(&id(n), 1).expose()))
            .collect()
    }

    /// Requests that keys of the catalogue signed, each with a nonce of its own.
    fn signed(&self) -> Vec<Parts> {
        let keys = self.size.min(DIFFERENT).min(KEY_CACHE / 2);
        let now = self.clock.now();
        let requests = (0..REQUESTS).map(|n| {
            let request = signed(&self.master, &id(n % keys), n, now);
            self.access.receive(request).into_parts().0
        });
        requests.collect()
    }

    /// Tokens of an issuer: the first time that each is seen, and again.
    fn tokens(&mut self) {
        let issuer = Issuer::new(&directory());
        let config = issuer.trusted();
        let models = ModelDirectory::from_config(Vec::new(), &config);
        let start = App::start(config, Arc::new(models));
        let app = self.runtime.block_on(start).expect("a gateway");
        let now = self.clock.now();
        // The first one may wait for the keys of the issuer.
        let first = issuer.tokens(0..1, now);
        let caller = self.runtime.block_on(app.access.authenticate(&first[0]));
        caller.expect("a caller");
        let tokens = issuer.tokens(1..2_000, now);
        for (what, rounds) in [("new", 1), ("seen before", 100)] {
            let cost = let_in(&self.runtime, &app.access, &tokens, rounds);
            let what = format!("a token (JWT, RS256), {what}");
            self.rows.put(&what, format!("{cost:.2}"));
        }
        self.runtime.block_on(app.stop());
    }

    /// The cost of requests that were all seen before, of which each is let in, or refused.
    fn measure(&mut self, what: &str, requests: &[Parts], refused: Option<ErrorCode>) {
        let ask = async |count: usize| {
            for request in requests.iter().cycle().take(count) {
                let caller = self.access.authenticate(black_box(request)).await;
                assert_eq!(caller.map_err(|error| error.code).err(), refused, "{what}");
            }
        };
        self.runtime.block_on(ask(requests.len()));
        let began = cpu_time();
        self.runtime.block_on(ask(REQUESTS));
        let cost = micros(cpu_time().saturating_sub(began), REQUESTS);
        self.rows.put(what, format!("{cost:.2}"));
    }

    /// The delay of requests with good keys, alone and beside made-up ones at full speed; and how many
    /// of these only the database could tell from good ones.
    fn beside_a_flood(&mut self, requests: &[Parts], made_up: Arc<Vec<Parts>>) {
        let alone = self.delays(requests);
        let (stop, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (access, stopped, count) = (
            Arc::clone(&self.access),
            Arc::clone(&stop),
            Arc::clone(&asked),
        );
        let flood = self.runtime.spawn(async move {
            for request in made_up.iter().cycle() {
                let _ = access.authenticate(request).await;
                if count.fetch_add(1, Ordering::Relaxed) % 64 == 0 {
                    tokio::task::yield_now().await;
                }
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let began = Instant::now();
        let beside = self.delays(requests);
        let took = began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        self.runtime.block_on(flood).expect("the flood ends");
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = asked.load(Ordering::Relaxed) as f64 / took;
        for (what, [half, most]) in [("alone", alone), ("beside made-up ones", beside)] {
            let delays = format!("{:.2}, {:.2}", micros(half, 1), micros(most, 1));
            let what = format!("delay of a good key, p50 and p99: {what}");
            self.rows.put(&what, delays);
        }
        let what = "made-up keys a second meanwhile";
        self.rows.put(what, format!("{rate:.0}"));
        // A closed catalogue refuses: what is refused otherwise was refused without it.
        self.runtime.block_on(self.catalog.close());
        let fresh = fresh(REQUESTS);
        let reached = fresh.iter().filter(|request| {
            let caller = self.runtime.block_on(self.access.authenticate(request));
            caller.is_err_and(|error| error.code == ErrorCode::AccessUnavailable)
        });
        let reached = reached.count().to_string();
        let what = "of 200,000 new made-up keys the database sees";
        self.rows.put(what, reached);
    }

    /// The median and the 99th percentile.
    fn delays(&self, requests: &[Parts]) -> [Duration; 2] {
        let mut delays = Vec::with_capacity(REQUESTS);
        self.runtime.block_on(async {
            for request in requests.iter().cycle().take(REQUESTS) {
                let began = Instant::now();
                let caller = self.access.authenticate(black_box(request)).await;
                delays.push(began.elapsed());
                assert!(caller.is_ok(), "{caller:?}");
            }
        });
        delays.sort_unstable();
        [delays[REQUESTS / 2], delays[REQUESTS * 99 / 100]]
    }
}

/// The cost of requests that are all let in, in microseconds.
fn let_in(runtime: &Runtime, access: &Access, requests: &[Parts], rounds: usize) -> f64 {
    let began = cpu_time();
    runtime.block_on(async {
        for request in (0..rounds).flat_map(|_| requests) {
            let caller = access.authenticate(black_box(request)).await;
            assert!(caller.is_ok(), "{caller:?}");
        }
    });
    let cpu = cpu_time().saturating_sub(began);
    micros(cpu, requests.len() * rounds)
}
