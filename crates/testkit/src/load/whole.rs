//! Long answers, read to their end or left midway.

use std::io;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::ask::Client;
use super::check::Arrival;
use super::{Bench, Figures, float, put_delays, seconds_since};
use crate::http::malformed;
use crate::monotonic::now_nanos;

pub(super) async fn blast(
    bench: &Bench,
    streams: u32,
    tokens: u64,
    per_write: u64,
) -> io::Result<Figures> {
    let model = format!("bench-{tokens}-0-x{per_write}");
    let mut clients = Vec::new();
    for _ in 0..streams {
        clients.push(Client::connect(bench, &model, tokens, true).await?);
    }
    let cpu = bench.cpu()?;
    let started = now_nanos();
    let mut running = JoinSet::new();
    for mut client in clients {
        running.spawn(async move {
            let mut arrivals = Vec::new();
            let mut answer = client.ask().await?;
            while answer.read(&mut arrivals).await? {}
            Ok::<_, io::Error>((answer.check.events, arrivals))
        });
    }
    let mut events = 0;
    let mut delays = Vec::new();
    while let Some(one) = running.join_next().await {
        let (seen, arrivals) = one.map_err(io::Error::other)??;
        events += seen;
        delays.extend(arrivals.iter().map(|arrival| arrival.delay));
    }
    let (wall, events) = (seconds_since(started), float(events));
    let mut figures = Figures::from([("events_per_s".into(), events / wall)]);
    if let (Some(before), Some(after)) = (cpu, bench.cpu()?) {
        let micros = (after - before) * 1e6 / events;
        figures.insert("cpu_per_event_us".into(), micros);
    }
    put_delays(&mut figures, "delay", delays);
    Ok(figures)
}

/// Of the answers that nobody reads any more: how much of the rest the provider still sent.
pub(super) async fn leave(bench: &Bench, clients: u32, tokens: u64) -> io::Result<Figures> {
    let model = format!("bench-{tokens}-100");
    let leave_at = Instant::now() + Duration::from_millis(tokens * 100 / 3);
    let memory_idle = bench.resident()?;
    let written_before = bench.traffic.written().events;
    let mut running = JoinSet::new();
    for number in 0..clients {
        let (bench, model) = (bench.clone(), model.clone());
        running.spawn(async move {
            let mut client = Client::connect(&bench, &model, tokens, true).await?;
            let mut arrivals: Vec<Arrival> = Vec::new();
            let mut answer = client.ask().await?;
            let reading = async {
                while answer.read(&mut arrivals).await? {}
                Ok::<_, io::Error>(())
            };
            if number % 2 == 0 {
                reading.await?;
                return Ok((true, answer.check.events));
            }
            tokio::select! {
                ended = reading => {
                    ended?;
                    Err(malformed("an answer ended before its client was to leave"))
                }
                () = sleep_until(leave_at) => Ok((false, answer.check.events)),
            }
        });
    }
    sleep_until(leave_at).await;
    let memory_open = bench.resident()?;
    let (mut received, mut read_by_leavers, mut leavers) = (0, 0, 0);
    while let Some(one) = running.join_next().await {
        match one.map_err(io::Error::other)?? {
            // A gateway asks for the usage by itself, and keeps it.
            (true, events) => received += events + u64::from(bench.target.has_ids),
            (false, events) => {
                received += events;
                read_by_leavers += events;
                leavers += 1;
            }
        }
    }
    sleep(Duration::from_secs(2)).await;
    let sent = bench.traffic.written().events - written_before;
    let wasted = sent.saturating_sub(received);
    let whole = tokens + 3 + u64::from(bench.target.has_ids);
    let rest = (leavers * whole).saturating_sub(read_by_leavers);
    let mut figures = Figures::from([(
        "sent_after_leaving_percent".into(),
        100.0 * float(wasted) / float(rest),
    )]);
    if let (Some(idle), Some(open), Some(after)) = (memory_idle, memory_open, bench.resident()?) {
        figures.insert("memory_idle_mib".into(), mib(idle));
        figures.insert("memory_open_mib".into(), mib(open));
        figures.insert("memory_after_mib".into(), mib(after));
    }
    Ok(figures)
}

fn mib(bytes: u64) -> f64 {
    float(bytes) / f64::from(1 << 20)
}
