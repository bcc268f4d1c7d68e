//! Clients that ask again as soon as they are answered.

use std::io;
use std::time::Duration;

use tokio::task::JoinSet;

use super::ask::Client;
use super::{Bench, Figures, float, put_delays, seconds_since};
use crate::monotonic::now_nanos;

/// With its role, its finish and `[DONE]`, five events.
const SHORT_TOKENS: u64 = 2;
const PLAIN_TOKENS: u64 = 20;

/// Opens the target's connections to the provider and fills its caches.
pub(super) async fn warm_up(bench: &Bench) -> io::Result<()> {
    let mut client = short_client(bench).await?;
    for _ in 0..100 {
        stream_once(&mut client).await?;
    }
    Ok(())
}

pub(super) async fn first_token(bench: &Bench, requests: u64) -> io::Result<Figures> {
    let mut client = short_client(bench).await?;
    let mut waits = Vec::new();
    for _ in 0..requests {
        let (first, _) = stream_once(&mut client).await?;
        waits.push(first);
    }
    let mut figures = Figures::new();
    put_delays(&mut figures, "first_token", waits);
    Ok(figures)
}

pub(super) async fn short(bench: &Bench, clients: u32, seconds: f64) -> io::Result<Figures> {
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(short_client(bench).await?);
    }
    repeat(bench, connected, seconds, async |client| {
        stream_once(client).await.map(|(_, whole)| whole)
    })
    .await
}

pub(super) async fn plain(bench: &Bench, clients: u32, seconds: f64) -> io::Result<Figures> {
    let mut connected = Vec::new();
    for _ in 0..clients {
        let model = format!("bench-{PLAIN_TOKENS}-0");
        connected.push(Client::connect(bench, &model, PLAIN_TOKENS, false).await?);
    }
    repeat(bench, connected, seconds, async |client| {
        let answer = client.ask().await?;
        let asked_at = answer.asked_at;
        answer.read_whole().await?;
        Ok(now_nanos() - asked_at)
    })
    .await
}

pub(super) async fn short_client(bench: &Bench) -> io::Result<Client> {
    Client::connect(
        bench,
        &format!("bench-{SHORT_TOKENS}-0"),
        SHORT_TOKENS,
        true,
    )
    .await
}

/// The nanoseconds to the first token, and to the end.
pub(super) async fn stream_once(client: &mut Client) -> io::Result<(u64, u64)> {
    let mut arrivals = Vec::new();
    let mut answer = client.ask().await?;
    while answer.read(&mut arrivals).await? {}
    let first = arrivals
        .first()
        .map_or(0, |first| first.at - answer.asked_at);
    Ok((first, now_nanos() - answer.asked_at))
}

/// All clients at once, each again and again until the time is over.
async fn repeat<F>(
    bench: &Bench,
    clients: Vec<Client>,
    seconds: f64,
    once: F,
) -> io::Result<Figures>
where
    F: AsyncFn(&mut Client) -> io::Result<u64> + Clone + 'static,
{
    let tasks = tokio::task::LocalSet::new();
    let cpu = bench.cpu()?;
    let started = now_nanos();
    let until = started + nanos(Duration::from_secs_f64(seconds));
    let mut times = Vec::new();
    let mut running = JoinSet::new();
    for mut client in clients {
        let once = once.clone();
        let all = async move {
            let mut times = Vec::new();
            while now_nanos() < until {
                times.push(once(&mut client).await?);
            }
            Ok::<_, io::Error>(times)
        };
        running.spawn_local_on(all, &tasks);
    }
    tasks
        .run_until(async {
            while let Some(one) = running.join_next().await {
                times.extend(one.map_err(io::Error::other)??);
            }
            Ok::<_, io::Error>(())
        })
        .await?;
    let wall = seconds_since(started);
    let count = float(times.len() as u64);
    let mut figures = Figures::from([("answers_per_s".into(), count / wall)]);
    if let (Some(before), Some(after)) = (cpu, bench.cpu()?) {
        let micros = (after - before) * 1e6 / count;
        figures.insert("cpu_per_answer_us".into(), micros);
    }
    put_delays(&mut figures, "answer", times);
    Ok(figures)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
