//! Requests of a known key at a fixed rate, alone and beside a flood, in turns.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::ask::Client;
use super::flood::{Flood, Flooding};
use super::loops::{short_client, stream_once};
use super::{Bench, Figures, float, percentile, put_delays, seconds_since};
use crate::client::RawClient;
use crate::http::malformed;
use crate::monotonic::now_nanos;

/// How often each is measured, in turns, so that they share what else the machine does.
const TURNS: u32 = 4;
/// Until a flood has begun, or is over.
const SETTLE: Duration = Duration::from_millis(300);
/// How often the database was asked for a key, on the listener for operators.
const LOOKUPS: &str = "everstream_key_lookups_total";

/// Of `flood`, so many seconds alone and beside it; `operators` is where metrics are.
pub(super) async fn beside(
    bench: &Bench,
    flood: Flood,
    rate: f64,
    seconds: f64,
    operators: SocketAddr,
) -> io::Result<Figures> {
    let turn = Duration::from_secs_f64(seconds / f64::from(TURNS));
    let mut idle = vec![short_client(bench).await?];
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut answered, mut flooded) = (0, 0.0);
    let looked_up = lookups(operators).await?;
    for _ in 0..TURNS {
        sleep(SETTLE).await;
        alone.extend(steady(bench, rate, turn, &mut idle).await?);
        let flooding = Flooding::start(flood, bench.target.addr);
        sleep(SETTLE).await;
        let (before, begun) = (flooding.answered(), now_nanos());
        beside.extend(steady(bench, rate, turn, &mut idle).await?);
        answered += flooding.answered() - before;
        flooded += seconds_since(begun);
        flooding.end()?;
    }
    let p99 = |times: &mut Vec<u64>| {
        times.sort_unstable();
        float(percentile(times, 990))
    };
    let times = p99(&mut beside) / p99(&mut alone);
    let mut figures = Figures::from([
        ("p99_times".into(), times),
        ("flood_per_s".into(), float(answered) / flooded),
        ("looked_up".into(), lookups(operators).await? - looked_up),
    ]);
    put_delays(&mut figures, "alone", alone);
    put_delays(&mut figures, "beside", beside);
    Ok(figures)
}

/// Sends a request when its time has come, whether those before it are answered or not, and tells how
/// long each took. There are connections for all.
async fn steady(
    bench: &Bench,
    rate: f64,
    time: Duration,
    idle: &mut Vec<Client>,
) -> io::Result<Vec<u64>> {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let until = Instant::now() + time;
    let mut running: JoinSet<io::Result<_>> = JoinSet::new();
    let mut times = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(done) = running.join_next() => {
                let (client, time) = done.map_err(io::Error::other)??;
                idle.push(client);
                times.push(time);
            }
            now = ticks.tick() => {
                if now >= until {
                    break;
                }
                let (bench, client) = (bench.clone(), idle.pop());
                running.spawn(async move {
                    let mut client = match client {
                        Some(client) => client,
                        None => short_client(&bench).await?,
                    };
                    let (_, time) = stream_once(&mut client).await?;
                    Ok((client, time))
                });
            }
        }
    }
    while let Some(done) = running.join_next().await {
        let (client, time) = done.map_err(io::Error::other)??;
        idle.push(client);
        times.push(time);
    }
    Ok(times)
}

async fn lookups(operators: SocketAddr) -> io::Result<f64> {
    let mut client = RawClient::connect(operators).await?;
    client.get("/metrics", &[]).await?;
    let (text, _) = client.read_body().await?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(LOOKUPS));
    let count = lines.next().and_then(|count| count.trim().parse().ok());
    count.ok_or_else(|| malformed(format!("there is no {LOOKUPS} in the metrics")))
}
