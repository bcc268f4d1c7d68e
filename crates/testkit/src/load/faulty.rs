//! A route of ten upstreams, some of which fail in all the ways in which providers do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::ask::Client;
use super::{Bench, Figures, float, put_delays, seconds_since};
use crate::monotonic::now_nanos;
use crate::provider::{Cut, Flights, ReceivedRequest, Script, bench};

/// One for each of the route's upstreams, in the paths below which they are called: `/u0` to `/u9`.
const PREFIX: &str = "/u";
/// What all of them are asked for.
const MODEL: &str = "bench-20-1";
const TOKENS: u64 = 20;
/// An answer that is not whole by then has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer of upstream `n`, of which the first `faulty` fail each time.
pub(super) fn answer(request: &ReceivedRequest, flights: &Arc<Flights>, faulty: u32) -> Script {
    let named = request.path.strip_prefix(PREFIX);
    let found = named.and_then(|rest| rest.split_once('/'));
    let number = found.and_then(|(number, _)| number.parse::<u32>().ok());
    match number {
        Some(number) if number < faulty => fault(request.number),
        _ => bench::answer(request, flights),
    }
}

/// Faults before the first content, one after the other: what a gateway can hide.
fn fault(request: u64) -> Script {
    let overloaded = || Script::openai_error(503, "server_error", "overloaded", "No room.");
    match request % 5 {
        0 => overloaded(),
        1 => Script::hang_up(Cut::Reset),
        2 => Script::sse([r#"{"error":{"message":"It broke down.","type":"server_error"}}"#]),
        3 => Script::openai_error(500, "server_error", "internal_error", "It broke down."),
        _ => overloaded().pause_before_head(PATIENCE),
    }
}

/// Clients that ask again as soon as they are answered, for so long, and what they got.
pub(super) async fn faulty(bench: &Bench, clients: u32, seconds: f64) -> io::Result<Figures> {
    let failed = Arc::new(AtomicU64::new(0));
    let tasks = tokio::task::LocalSet::new();
    let cpu = bench.cpu()?;
    let started = now_nanos();
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let (bench, failed) = (bench.clone(), Arc::clone(&failed));
        let all = async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                let Ok(mut client) = Client::connect(&bench, MODEL, TOKENS, true).await else {
                    failed.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                // A connection lasts until an answer fails on it.
                while Instant::now() < until {
                    let answer = timeout_at(Instant::now() + PATIENCE, once(&mut client));
                    let Ok(Ok(time)) = answer.await else {
                        failed.fetch_add(1, Ordering::Relaxed);
                        break;
                    };
                    times.push(time);
                }
            }
            times
        };
        running.spawn_local_on(all, &tasks);
    }
    let mut times = Vec::new();
    tasks
        .run_until(async {
            while let Some(one) = running.join_next().await {
                times.extend(one.map_err(io::Error::other)?);
            }
            Ok::<_, io::Error>(())
        })
        .await?;
    let wall = seconds_since(started);
    let whole = float(times.len() as u64);
    let failed = float(failed.load(Ordering::Relaxed));
    let mut figures = Figures::from([
        ("whole_per_s".into(), whole / wall),
        ("failed_percent".into(), 100.0 * failed / (whole + failed)),
    ]);
    if let (Some(before), Some(after)) = (cpu, bench.cpu()?) {
        let micros = (after - before) * 1e6 / whole;
        figures.insert("cpu_per_answer_us".into(), micros);
    }
    put_delays(&mut figures, "answer", times);
    Ok(figures)
}

/// The nanoseconds to the end of a whole answer.
async fn once(client: &mut Client) -> io::Result<u64> {
    let mut arrivals = Vec::new();
    let mut answer = client.ask().await?;
    while answer.read(&mut arrivals).await? {}
    Ok(now_nanos() - answer.asked_at)
}
