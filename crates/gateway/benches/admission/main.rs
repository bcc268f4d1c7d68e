//! What it costs to know who calls: by each kind of credential, with few keys and with a million, and
//! while made-up keys come as fast as they can.
//!
//! `cargo bench -p everstream --bench admission -- [KEYS ...]`; without numbers, 10 and 1,000,000. A
//! catalogue of that many keys is made once, in `target/bench`, and is used again. Pin it to a core
//! for figures that can be compared.

mod credentials;

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use everstream::access::{Access, Directory, read_all};
use everstream::app::App;
use everstream::clock::Clock;
use everstream::upstream::models::ModelDirectory;
use everstream_core::config::{Config, KeyConfig, key_hash};
use everstream_core::error::ErrorCode;
use everstream_core::id::UnixMillis;
use everstream_core::limits::KEY_CACHE;
use everstream_core::sign::api_key::{KeyMaster, KeyText, id_of};
use everstream_store::sql::Catalog;
use everstream_store::sql::sqlite::{self, SqliteConfig};
use everstream_store::sql::values::{Actor, NewKey, Scopes, SecretHash};
use http::request::Parts;
use tokio::runtime::{Builder, Runtime};

use credentials::{Issuer, bearer, fresh, made_up, signed};

/// Requests of one measurement.
const REQUESTS: usize = 200_000;
/// Different requests among them.
const DIFFERENT: usize = 10_000;
const STATIC_KEY: &str = "es-a-key-of-the-configuration";

fn main() {
    let sizes = std::env::args().skip(1);
    let mut sizes: Vec<usize> = sizes.filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![10, 1_000_000];
    }
    println!("{:>9}  {:<28} {:>10}", "keys", "what", "CPU us");
    for size in sizes {
        Bench::new(size).run();
    }
}

struct Bench {
    runtime: Runtime,
    access: Arc<Access>,
    catalog: Arc<dyn Catalog>,
    master: KeyMaster,
    size: usize,
    clock: Clock,
}

impl Bench {
    fn new(size: usize) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (master, clock) = (
            KeyMaster::new(b"a master secret of the benchmark"),
            Clock::start(),
        );
        let catalog = runtime.block_on(catalogue(size, &master));
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
        }
    }

    fn run(&self) {
        let of_catalog = self.catalogued();
        self.measure("key of the configuration", &[bearer(STATIC_KEY)], None);
        self.measure("key of the catalogue", &of_catalog, None);
        self.measure_once("signed request", &self.signed());
        self.tokens();
        let made_up = made_up(&KeyMaster::new(b"another"));
        self.measure("made-up key", &made_up, Some(ErrorCode::Unauthorized));
        let garbage = [bearer("sk-not-a-key-of-this-gateway-at-all")];
        self.measure(
            "no key of any form",
            &garbage,
            Some(ErrorCode::Unauthorized),
        );
        self.beside_a_flood(&of_catalog, Arc::new(made_up));
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
            let id = id(n % keys);
            let secret = self.master.secret(&id, 1);
            signed(&self.access, &id, secret.expose().as_bytes(), n, now)
        });
        requests.collect()
    }

    /// Tokens of an issuer: the first time that each is seen, and again.
    fn tokens(&self) {
        let issuer = Issuer::new(&directory());
        let config = issuer.trusted();
        let models = ModelDirectory::from_config(Vec::new(), &config);
        let start = App::start(config, Arc::new(models));
        let app = self.runtime.block_on(start).expect("a gateway");
        let bench = |access: &Access, what: &str, requests: &[Parts], rounds: usize| {
            let began = cpu_time();
            self.runtime.block_on(async {
                for request in (0..rounds).flat_map(|_| requests) {
                    let caller = access.authenticate(black_box(request)).await;
                    assert!(caller.is_ok(), "{what}: {caller:?}");
                }
            });
            self.say(
                what,
                cpu_time().saturating_sub(began),
                requests.len() * rounds,
            );
        };
        let now = self.clock.now();
        // The first one may wait for the keys of the issuer.
        let first = issuer.tokens(0..1, now);
        let caller = self.runtime.block_on(app.access.authenticate(&first[0]));
        caller.expect("a caller");
        let tokens = issuer.tokens(1..2_000, now);
        bench(&app.access, "token (JWT, RS256), new", &tokens, 1);
        bench(&app.access, "token (JWT, RS256), known", &tokens, 100);
        self.runtime.block_on(app.stop());
    }

    /// The cost of requests that are good once.
    fn measure_once(&self, what: &str, requests: &[Parts]) {
        let began = cpu_time();
        self.runtime.block_on(async {
            for request in requests {
                let caller = self.access.authenticate(black_box(request)).await;
                assert!(caller.is_ok(), "{what}: {caller:?}");
            }
        });
        self.say(what, cpu_time().saturating_sub(began), requests.len());
    }

    /// The cost of requests that were all seen before, of which each is let in, or refused.
    fn measure(&self, what: &str, requests: &[Parts], refused: Option<ErrorCode>) {
        let ask = async |count: usize| {
            for request in requests.iter().cycle().take(count) {
                let caller = self.access.authenticate(black_box(request)).await;
                assert_eq!(caller.map_err(|error| error.code).err(), refused, "{what}");
            }
        };
        self.runtime.block_on(ask(requests.len()));
        let began = cpu_time();
        self.runtime.block_on(ask(REQUESTS));
        self.say(what, cpu_time().saturating_sub(began), REQUESTS);
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    fn say(&self, what: &str, cpu: Duration, requests: usize) {
        let each = cpu.as_secs_f64() * 1e6 / requests as f64;
        println!("{:>9}  {what:<28} {each:>10.3}", self.size);
    }

    /// The delay of requests with good keys, alone and beside made-up ones at full speed; and how many
    /// of these only the database could tell from good ones.
    fn beside_a_flood(&self, requests: &[Parts], made_up: Arc<Vec<Parts>>) {
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
        for (what, [half, most]) in [("alone", alone), ("beside a flood", beside)] {
            println!(
                "{:>9}  {:<28} p50 {half:?}, p99 {most:?}",
                self.size,
                format!("delay, {what}")
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = asked.load(Ordering::Relaxed) as f64 / took;
        // A closed catalogue refuses: what is refused otherwise was refused without it.
        self.runtime.block_on(self.catalog.close());
        let fresh = fresh(REQUESTS);
        let reached = fresh.iter().filter(|request| {
            let caller = self.runtime.block_on(self.access.authenticate(request));
            caller.is_err_and(|error| error.code == ErrorCode::AccessUnavailable)
        });
        println!(
            "{:>9}  a flood of {rate:.0}/s; of {REQUESTS} new made-up keys {} would reach the database",
            self.size,
            reached.count()
        );
    }

    /// The median and the 99th percentile.
    fn delays(&self, requests: &[Parts]) -> [Duration; 2] {
        let mut delays = Vec::with_capacity(REQUESTS);
        self.runtime.block_on(async {
            for request in requests.iter().cycle().take(REQUESTS) {
                let began = Instant::now();
                let caller = self.access.authenticate(request).await;
                delays.push(began.elapsed());
                assert!(caller.is_ok());
            }
        });
        delays.sort_unstable();
        [delays[REQUESTS / 2], delays[REQUESTS * 99 / 100]]
    }
}

/// A catalogue of so many keys, which lies there from an earlier run, or is made.
async fn catalogue(size: usize, master: &KeyMaster) -> Arc<dyn Catalog> {
    let dir = directory();
    let whole = dir.join(format!("keys-{size}.db"));
    if !whole.exists() {
        let draft = dir.join(format!("keys-{size}.draft.db"));
        for rest in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{rest}", draft.display()));
        }
        eprintln!("making {size} keys");
        let catalog = sqlite::open(&SqliteConfig::new(&draft));
        fill(&*catalog, size, master).await;
        catalog.close().await;
        std::fs::rename(&draft, &whole).expect("moved");
    }
    sqlite::open(&SqliteConfig::new(whole))
}

/// Where files of the benchmark are.
fn directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target =
        target.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target").into());
    let dir = target.join("bench");
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

async fn fill(catalog: &dyn Catalog, size: usize, master: &KeyMaster) {
    let by = Actor {
        who: "bench".to_owned(),
        at: UnixMillis(1),
    };
    let (acme, web) = (
        "acme".parse().expect("an id"),
        "web".parse().expect("an id"),
    );
    let made = catalog.create_organisation(&by, &acme, "Acme").await;
    made.expect("made");
    let made = catalog.create_project(&by, &acme, &web, "Web").await;
    made.expect("made");
    for n in 0..size {
        let id = id(n);
        let text = master.key(&id, 1);
        let text = KeyText::parse(text.expose()).expect("a key");
        let key = NewKey {
            id: id.parse().expect("an id"),
            project: web.clone(),
            name: "bench".to_owned(),
            scopes: Scopes::default(),
            hash: SecretHash(master.hash(text)),
            expires_at: None,
        };
        catalog.create_key(&by, &key).await.expect("made");
    }
}

fn id(n: usize) -> String {
    let mut bits = [0; 10];
    // Ids are random: neighbours do not lie side by side.
    let n = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits[..8].copy_from_slice(&n.to_be_bytes());
    id_of(bits)
}

/// What this thread has used.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}
