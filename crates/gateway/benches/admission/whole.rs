//! What it costs until a request may begin, with the same calls that `http/generate.rs` makes: who calls
//! and what it may, the limits, whether a budget covers it, its place among those that run; and at its
//! end to give back and to correct what was taken.
//!
//! There are five limits of each subject: requests in a minute and in a day, tokens in and out in a
//! minute, and how many run at once.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use everstream::access::{Caller, Peer, client_address};
use everstream::app::App;
use everstream::clock::Clock;
use everstream::generate;
use everstream::pipeline::{self, Address, Planned};
use everstream::upstream::assemble::assemble;
use everstream::upstream::models::ModelDirectory;
use everstream_core::config::{Env, key_hash, show_key_hash};
use everstream_core::event::{Surface, Usage};
use everstream_core::sign::api_key::KeyMaster;
use everstream_store::config::MemoryConfig;
use everstream_store::memory::MemoryLog;
use everstream_store::sql::values::{Actor, Budget, Period, Scope};
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Script};
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::catalogue::{MASTER, ORGANISATION, PROJECT, catalogue, directory, id};
use super::credentials::{BODY, Issuer, PATH, STATIC_KEY, bearer, parse, signed};
use super::{DIFFERENT, Rows, cpu_time, micros, process_time, runtime};

/// Requests that run at the same time.
const BATCH: usize = 64;
const BATCHES: usize = 400;
/// For what waits for a disk.
const FEW_BATCHES: usize = 20;
/// A gateway.
pub(crate) struct Bench {
    runtime: Runtime,
    app: Arc<App>,
    master: KeyMaster,
    size: usize,
    issuer: Issuer,
    /// The nonces that were used.
    nonces: usize,
    rows: Rows,
    _provider: FakeProvider,
    _dir: TempDir,
}

/// Where the time of a batch goes.
#[derive(Default)]
struct Costs {
    identified: Duration,
    understood: Duration,
    entered: Duration,
    ended: Duration,
}

impl Bench {
    pub(crate) fn new(size: usize) -> Self {
        let runtime = runtime();
        let master = KeyMaster::new(&MASTER);
        let file = runtime.block_on(catalogue(size, &master));
        let dir = tempfile::tempdir_in(directory()).expect("a directory");
        // Budgets are written into it.
        std::fs::copy(file, dir.path().join("keys.db")).expect("copied");
        let issuer = Issuer::new(dir.path());
        let answer = |_: &_| Script::chat_json(&ChatAnswer::new(["Hello"]));
        let provider = runtime.block_on(FakeProvider::start(answer));
        provider.set_models(["m"]);
        let app = runtime.block_on(start(&dir, &provider, &issuer));
        Self {
            runtime,
            app,
            master,
            size,
            issuer,
            nonces: 0,
            rows: Rows::default(),
            _provider: provider,
            _dir: dir,
        }
    }

    /// Measures everything.
    pub(crate) fn run(mut self) -> Rows {
        let count = BATCHES * BATCH;
        let configured = |_| post(bearer(STATIC_KEY));
        let requests = (0..count).map(configured).collect();
        self.measure("a key of the configuration", requests);
        let requests = self.catalogued(count);
        self.measure("a key of the catalogue", requests);
        let requests = self.signed(count);
        self.measure("a signed request, its body's digest too", requests);
        let tokens = self.issuer.tokens(0..1_000, self.app.clock.now());
        let requests = tokens.into_iter().cycle().take(count);
        let requests = requests.map(post).collect();
        self.measure("a token (JWT, RS256), seen before", requests);
        self.budgets();
        self.runtime.block_on(self.app.stop());
        self.rows
    }

    fn catalogued(&self, count: usize) -> Vec<Request<Body>> {
        let requests = (0..count).map(|n| {
            let key = self.master.key(&id(n % self.keys()), 1);
            post(bearer(key.expose()))
        });
        requests.collect()
    }

    fn signed(&mut self, count: usize) -> Vec<Request<Body>> {
        let nonces = self.nonces..self.nonces + count;
        self.nonces = nonces.end;
        let now = self.app.clock.now();
        let requests = nonces.map(|n| signed(&self.master, &id(n % self.keys()), n, now));
        requests.map(from_somewhere).collect()
    }

    /// So many are used.
    fn keys(&self) -> usize {
        self.size.min(DIFFERENT)
    }

    /// The second half of these is measured: what they need was needed before then.
    fn measure(&mut self, what: &str, requests: Vec<Request<Body>>) {
        let mut costs = Costs::default();
        let mut requests = requests.into_iter();
        for batch in 0..BATCHES {
            if batch == BATCHES / 2 {
                costs = Costs::default();
            }
            let batch = requests.by_ref().take(BATCH).collect();
            self.runtime.block_on(self.batch(batch, &mut costs));
        }
        let each = |time| micros(time, BATCHES / 2 * BATCH);
        let (identified, entered, ended) = (
            each(costs.identified),
            each(costs.entered),
            each(costs.ended),
        );
        let all = identified + entered + ended;
        let figure = format!("{all:.1} = {identified:.1} + {entered:.1} + {ended:.1}");
        self.rows.put(what, figure);
        if what.contains("catalogue") {
            let understood = format!("{:.1}", each(costs.understood));
            let what = "beside that: its body is understood and routed";
            self.rows.put(what, understood);
        }
    }

    async fn batch(&self, requests: Vec<Request<Body>>, costs: &mut Costs) {
        let app = &self.app;
        let mut began = cpu_time();
        let mut lap = |sum: &mut Duration| {
            let now = cpu_time();
            *sum += now.saturating_sub(began);
            began = now;
        };
        let mut identified = Vec::with_capacity(BATCH);
        for request in requests {
            let (parts, body) = app.access.receive(request).into_parts();
            let caller = app.access.authenticate(&parts).await.expect("a caller");
            let may = caller.may_use(Surface::ChatCompletions);
            may.expect("allowed");
            let body = body.collect().await.expect("a body").to_bytes();
            identified.push((parts, body, caller));
        }
        lap(&mut costs.identified);
        let mut planned = Vec::with_capacity(BATCH);
        for (parts, body, caller) in identified {
            planned.push((
                self.plan(&parts, &body, &caller),
                client_address(&parts),
                caller,
            ));
        }
        lap(&mut costs.understood);
        let mut entered = Vec::with_capacity(BATCH);
        for (mut request, address, caller) in planned {
            let told = pipeline::enter(app, &caller, address, &mut request).await;
            let response = told.expect("let in").on(Response::new(()));
            entered.push((request, response));
        }
        lap(&mut costs.entered);
        // Other than what was reserved, so that there is something to correct.
        let used = Usage {
            input_tokens: 20,
            output_tokens: 100,
            ..Usage::default()
        };
        for (mut request, response) in entered {
            request.permit.begin();
            request.permit.settle(&used);
            drop((request, response));
        }
        lap(&mut costs.ended);
    }

    fn plan(
        &self,
        parts: &http::request::Parts,
        body: &bytes::Bytes,
        caller: &Caller,
    ) -> generate::Request {
        let address = Address {
            surface: Surface::ChatCompletions,
            path: PATH,
            query: None,
            named: None,
        };
        let planned = pipeline::plan(
            &self.app.models,
            caller,
            address,
            &parts.headers,
            body,
            None,
        );
        match planned.expect("understood") {
            Planned::Generate(generation) => generation.request,
            Planned::Resume(_) => unreachable!("it names no stream"),
        }
    }

    /// With budgets of the project and of its organisation, each request waits for a reserve in the
    /// database: one after the other, and many at once.
    fn budgets(&mut self) {
        self.runtime.block_on(self.put_budgets());
        for at_once in [1, BATCH] {
            let count = FEW_BATCHES * BATCH;
            let requests = self.catalogued(count);
            let mut requests: Vec<_> = self.runtime.block_on(async {
                let mut asked = Vec::with_capacity(count);
                for request in requests {
                    let (parts, body) = self.app.access.receive(request).into_parts();
                    let caller = self
                        .app
                        .access
                        .authenticate(&parts)
                        .await
                        .expect("a caller");
                    let body = body.collect().await.expect("a body").to_bytes();
                    let request = self.plan(&parts, &body, &caller);
                    asked.push((request, client_address(&parts), caller));
                }
                asked
            });
            let began = process_time();
            let mut delays = Vec::with_capacity(count);
            self.runtime.block_on(async {
                for batch in requests.chunks_mut(at_once) {
                    let enter = batch.iter_mut().map(async |(request, address, caller)| {
                        let came = Instant::now();
                        let told = pipeline::enter(&self.app, caller, *address, request).await;
                        told.expect("let in");
                        came.elapsed()
                    });
                    delays.extend(join_all(enter).await);
                }
                drop(requests);
                // What is reserved is given back in the background.
                sleep(Duration::from_millis(500)).await;
            });
            let cpu = micros(process_time().saturating_sub(began), count);
            delays.sort_unstable();
            let [half, most] = [50, 99].map(|part| micros(delays[count * part / 100], 1) / 1e3);
            let what = format!(
                "with two budgets, {at_once} at once: CPU of the process to enter and to give back; \
                 delay p50 and p99, ms"
            );
            self.rows
                .put(&what, format!("{cpu:.0}; {half:.2}, {most:.2}"));
        }
    }

    async fn put_budgets(&self) {
        let by = Actor {
            who: "bench".to_owned(),
            at: self.app.clock.now(),
        };
        let directory = self.app.access.directory().expect("a catalogue");
        let scopes = [
            Scope::Project(PROJECT.parse().expect("an id")),
            Scope::Organisation(ORGANISATION.parse().expect("an id")),
        ];
        let periods = [("day", Period::Day), ("month", Period::Month)];
        for (scope, (name, period)) in scopes.into_iter().zip(periods) {
            let budget = Budget {
                id: name.parse().expect("an id"),
                scope,
                period,
                limit: "1000000".parse().expect("money"),
                alert_at: Vec::new(),
            };
            let put = directory.catalog().put_budget(&by, &budget).await;
            put.expect("written");
        }
        directory.budgets().notify_one();
        let parts = bearer(self.master.key(&id(0), 1).expose());
        let caller = self.app.access.authenticate(&parts).await;
        let payer = caller.expect("a caller").payer();
        while self.app.generator.billing.is_free(&payer) {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A request of some client's.
fn post(parts: http::request::Parts) -> Request<Body> {
    from_somewhere(Request::from_parts(parts, Body::from(BODY)))
}

fn from_somewhere(mut request: Request<Body>) -> Request<Body> {
    let peer = Peer {
        address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        is_tls: false,
    };
    request.extensions_mut().insert(peer);
    request
}

async fn start(dir: &TempDir, provider: &FakeProvider, issuer: &Issuer) -> Arc<App> {
    let config = parse(&settings(dir, provider, issuer));
    let assembled = assemble(&config, &Env::default()).await.expect("upstreams");
    let models = ModelDirectory::from_config(assembled.upstreams, &config);
    models.refresh().await;
    let clock = Clock::start();
    let log = MemoryLog::new(MemoryConfig::default(), Arc::new(move || clock.now()));
    let app = App::start_with(Arc::new(log), MASTER, clock, config, Arc::new(models)).await;
    let app = app.expect("a gateway");
    // The first token may wait for the keys of the issuer.
    let first = issuer.tokens(0..1, app.clock.now());
    app.access.authenticate(&first[0]).await.expect("a caller");
    app
}

fn settings(dir: &TempDir, provider: &FakeProvider, issuer: &Issuer) -> String {
    let dir = dir.path().display();
    let bounds = r#"["requests=1000000000/1m", "requests=1000000000/24h", "input-tokens=1000000000/1m",
        "output-tokens=1000000000/1m", "concurrency=100000"]"#;
    let limits = ["key", "project", "model", "address"];
    let limits = limits.map(|per| format!("[[rate_limits]]\nper = \"{per}\"\nbounds = {bounds}\n"));
    format!(
        "data_dir = \"{dir}\"\nlog.backend = \"memory\"\nadmin.listen = \"off\"\n\
         database.url = \"sqlite:{dir}/keys.db\"\n\
         [[upstreams]]\nname = \"provider\"\nbase_url = \"{}\"\napi_key = \"sk-provider\"\n\
         [[keys]]\nproject = \"bench\"\nhash = \"{}\"\n\
         [[prices]]\nmodel = \"*\"\ninput = \"3\"\noutput = \"15\"\n{}{}",
        provider.base_url(),
        show_key_hash(key_hash(STATIC_KEY)),
        limits.concat(),
        issuer.toml(),
    )
}
