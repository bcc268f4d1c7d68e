//! What a schedule is: all of it drawn from one seed before anything happens.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::net::{Link, Millis};
use crate::random::Random;

#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) upstreams: Vec<UpstreamPlan>,
    pub(crate) routes: Vec<RoutePlan>,
    pub(crate) clients: Vec<ClientPlan>,
    /// What is done to the gateway, one after the other.
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) segment_bytes: u64,
    /// For the network, the providers, and the gateway itself.
    pub(crate) seeds: [u64; 3],
}

#[derive(Debug)]
pub(crate) struct UpstreamPlan {
    pub(crate) link: Arc<Link>,
    /// Its moods and how long each lasts; then it is healthy.
    pub(crate) moods: Vec<(Millis, Mood)>,
    /// Seconds.
    pub(crate) first_event_timeout: u64,
    pub(crate) event_timeout: u64,
    pub(crate) total_timeout: Option<u64>,
    pub(crate) max_concurrency: Option<u64>,
}

/// What an upstream is like for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Healthy,
    /// Anything can happen.
    Flaky,
    /// It answers everything so; after so many seconds it wants to be asked again.
    Refusing(u16, Option<u64>),
    /// Nobody listens.
    Down,
    /// Nobody answers a connection.
    Deaf,
    /// It takes requests and says nothing.
    Silent,
}

#[derive(Debug)]
pub(crate) struct RoutePlan {
    pub(crate) strategy: &'static str,
    pub(crate) attempts: u64,
    pub(crate) idempotent: bool,
    pub(crate) upstreams: Vec<usize>,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they come in any combination"
)]
pub(crate) struct ClientPlan {
    pub(crate) starts: Millis,
    pub(crate) link: Arc<Link>,
    /// The route, or else the upstream whose own model is asked.
    pub(crate) model: Result<usize, usize>,
    pub(crate) stream: bool,
    /// Shared by clients that send the same.
    pub(crate) key: Option<u64>,
    pub(crate) on_disconnect: Option<&'static str>,
    /// Seconds for which it waits for the first event.
    pub(crate) timeout: Option<u64>,
    /// After how many events it leaves, and for how long.
    pub(crate) leaves: Vec<(u64, Millis)>,
    pub(crate) leaves_rudely: bool,
    /// It comes back by repeating its `POST`, and not by a `GET`.
    pub(crate) posts_again: bool,
    /// It repeats by itself, as SDKs do, what was not answered.
    pub(crate) retries: bool,
    /// When others read along, after its stream is known.
    pub(crate) followers: Vec<Millis>,
    /// When somebody cancels it, after its stream is known.
    pub(crate) cancels: Option<Millis>,
}

/// After so long it happens; `down` is how long nobody is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) after: Millis,
    pub(crate) kind: TroubleKind,
    pub(crate) down: Millis,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum TroubleKind {
    /// It is killed between two steps.
    Kill,
    /// It is killed in the middle of a change of the disk.
    KillAt(u64),
    /// It is asked to end.
    Leave,
}

const STRATEGIES: [&str; 6] = [
    "priority",
    "weighted",
    "least_busy",
    "latency",
    "cheapest",
    "sticky",
];

impl Schedule {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9) ^ 0x5eed);
        let upstreams = (0..random.between(1, 4)).map(|_| upstream(&mut random));
        let upstreams: Vec<_> = upstreams.collect();
        let routes = (0..random.between(1, 2)).map(|_| route(&mut random, upstreams.len()));
        let routes: Vec<_> = routes.collect();
        let clients = (0..random.between(1, 8))
            .map(|_| client(&mut random, routes.len(), upstreams.len()))
            .collect();
        let troubles = random.weighted(&[(4, 0), (3, 1), (2, 2), (1, 4)]);
        Self {
            upstreams,
            routes,
            clients,
            troubles: (0..troubles).map(|_| trouble(&mut random)).collect(),
            segment_bytes: random.weighted(&[(1, 700), (1, 8 << 10), (1, 1 << 20)]),
            seeds: [random.next(), random.next(), random.next()],
        }
    }

    /// The gateway's configuration.
    pub(crate) fn config(&self) -> String {
        // The log is the simulation's own. On disk there would be a database beside it, in real time.
        let mut text =
            String::from("listen = \"127.0.0.1:0\"\nnode = 1\nlog.backend = \"memory\"\n");
        for (at, upstream) in self.upstreams.iter().enumerate() {
            let _ = write!(
                text,
                "[[upstreams]]\nname = \"u{at}\"\nbase_url = \"http://u{at}.test/v1\"\n\
                 models = [\"u{at}-m\"]\nfirst_event_timeout = \"{}s\"\nevent_timeout = \"{}s\"\n",
                upstream.first_event_timeout, upstream.event_timeout
            );
            if let Some(total) = upstream.total_timeout {
                let _ = writeln!(text, "total_timeout = \"{total}s\"");
            }
            if let Some(most) = upstream.max_concurrency {
                let _ = writeln!(text, "max_concurrency = {most}");
            }
        }
        for at in 0..self.upstreams.len() {
            let _ = writeln!(text, "[[prices]]\nmodel = \"u{at}-m\"\ninput = \"{at}\"");
        }
        for (at, route) in self.routes.iter().enumerate() {
            let _ = write!(
                text,
                "[[routes]]\nmodel = \"r{at}\"\nstrategy = \"{}\"\nattempts = {}\nidempotent = {}\n",
                route.strategy, route.attempts, route.idempotent
            );
            for upstream in &route.upstreams {
                let _ = write!(
                    text,
                    "[[routes.deployments]]\nupstream = \"u{upstream}\"\nmodel = \"u{upstream}-m\"\n"
                );
            }
        }
        text
    }

    /// The most requests to providers for one answer.
    pub(crate) fn attempts(&self, model: &str) -> u64 {
        self.route(model).map_or(1, |route| route.attempts)
    }

    /// Whether requests may run twice at one upstream.
    pub(crate) fn is_idempotent(&self, model: &str) -> bool {
        self.route(model).is_some_and(|route| route.idempotent)
    }

    fn route(&self, model: &str) -> Option<&RoutePlan> {
        let at: usize = model.strip_prefix('r')?.parse().ok()?;
        self.routes.get(at)
    }

    /// Longer than any answer may take that the gateway makes in one life.
    pub(crate) fn patience(&self) -> Millis {
        let slowest = self.upstreams.iter().map(|upstream| {
            let connect = 10;
            let pause = 21;
            let words = 14 * 3;
            connect + pause + words + upstream.first_event_timeout + upstream.event_timeout
        });
        let attempts = self.routes.iter().map(|route| route.attempts).max();
        let seconds = slowest.max().unwrap_or(0) * attempts.unwrap_or(1) + 60;
        let links = self.upstreams.iter().map(|upstream| &upstream.link);
        let parted: Millis = links
            .chain(self.clients.iter().map(|client| &client.link))
            .flat_map(|link| &link.parted)
            .map(|parted| parted.end - parted.start)
            .sum();
        let down: Millis = self
            .troubles
            .iter()
            .map(|trouble| trouble.down + 5_000)
            .sum();
        seconds * 1_000 + parted + down
    }
}

fn link(random: &mut Random, parted: u64) -> Arc<Link> {
    let least = random.weighted(&[(2, 0), (5, 1), (2, 20), (1, 200)]);
    let most = least + random.weighted(&[(3, 0), (4, 5), (2, 60), (1, 900)]);
    let parted = random.chance(parted).then(|| {
        let start = random.between(0, 60_000);
        start..start + random.between(100, 40_000)
    });
    Arc::new(Link {
        latency: (least, most),
        window: random.weighted(&[(1, 64), (2, 1 << 10), (4, 64 << 10)]),
        bandwidth: random.weighted(&[(1, 10), (2, 200), (4, 100_000)]),
        parted: parted.into_iter().collect(),
    })
}

fn upstream(random: &mut Random) -> UpstreamPlan {
    let refusal = [429, 429, 500, 503, 503, 529, 401, 404, 400];
    let moods = (0..random.between(0, 6)).map(|_| {
        let status = refusal[random.below(refusal.len())];
        let after = random.chance(40).then(|| random.between(1, 30));
        let mood = random.weighted(&[
            (5, Mood::Healthy),
            (7, Mood::Flaky),
            (4, Mood::Refusing(status, after)),
            (2, Mood::Down),
            (1, Mood::Deaf),
            (1, Mood::Silent),
        ]);
        (random.between(500, 30_000), mood)
    });
    UpstreamPlan {
        moods: moods.collect(),
        link: link(random, 15),
        first_event_timeout: random.between(2, 30),
        event_timeout: random.between(4, 20),
        total_timeout: random.chance(15).then(|| random.between(5, 60)),
        max_concurrency: random.chance(25).then(|| random.between(1, 3)),
    }
}

fn route(random: &mut Random, upstreams: usize) -> RoutePlan {
    let mut all: Vec<_> = (0..upstreams).collect();
    let mut chosen = Vec::new();
    for _ in 0..random.between(1, upstreams as u64) {
        chosen.push(all.remove(random.below(all.len())));
    }
    RoutePlan {
        strategy: STRATEGIES[random.below(STRATEGIES.len())],
        attempts: random.between(1, 6),
        idempotent: random.chance(25),
        upstreams: chosen,
    }
}

fn client(random: &mut Random, routes: usize, upstreams: usize) -> ClientPlan {
    let leaves = random.weighted(&[(5, 0), (3, 1), (1, 3)]);
    let leaves = (0..leaves).map(|_| (random.between(0, 8), random.between(0, 20_000)));
    let leaves = leaves.collect();
    let followers = random.weighted(&[(5, 0), (2, 1), (1, 3)]);
    let followers = (0..followers).map(|_| random.between(0, 15_000)).collect();
    ClientPlan {
        starts: random.between(0, 60_000),
        link: link(random, 8),
        model: if random.chance(80) {
            Ok(random.below(routes))
        } else {
            Err(random.below(upstreams))
        },
        stream: random.chance(75),
        key: random.chance(40).then(|| random.between(1, 3)),
        on_disconnect: random.weighted(&[
            (4, None),
            (3, Some("continue")),
            (1, Some("cancel")),
            (2, Some("linger:5s")),
        ]),
        timeout: random.chance(20).then(|| random.between(1, 20)),
        leaves,
        leaves_rudely: random.chance(50),
        posts_again: random.chance(40),
        retries: random.chance(40),
        followers,
        cancels: random.chance(8).then(|| random.between(0, 10_000)),
    }
}

fn trouble(random: &mut Random) -> Trouble {
    let change = random.between(1, 12);
    Trouble {
        after: random.between(0, 30_000),
        kind: random.weighted(&[
            (3, TroubleKind::Kill),
            (4, TroubleKind::KillAt(change)),
            (2, TroubleKind::Leave),
        ]),
        down: random.between(0, 5_000),
    }
}
