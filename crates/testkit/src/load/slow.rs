use std::io;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::ask::Client;
use super::{Bench, Figures, float, put_delays};
use crate::monotonic::now_nanos;

/// After the last stream was opened, before anything is measured.
const SETTLE: Duration = Duration::from_secs(1);

/// Streams that go on while they are measured, and are left at the end of that.
pub(super) async fn slow(
    bench: &Bench,
    streams: u32,
    opened_per_second: u32,
    seconds: u64,
) -> io::Result<Figures> {
    let opening = Duration::from_secs(1) / opened_per_second;
    let begin = Instant::now();
    let measured_from = begin + opening * streams + SETTLE;
    let measured_until = measured_from + Duration::from_secs(seconds);
    // More than can come.
    let tokens = (measured_until - begin).as_secs() * 4 + 100;
    let memory_idle = bench.resident()?;
    let mut running = JoinSet::new();
    for number in 0..streams {
        let (bench, model) = (bench.clone(), format!("bench-{tokens}-400"));
        running.spawn(async move {
            sleep_until(begin + opening * number).await;
            let mut client = Client::connect(&bench, &model, tokens, true).await?;
            let mut arrivals = Vec::with_capacity(16);
            let reading = async {
                let mut answer = client.ask().await?;
                while answer.read(&mut arrivals).await? {}
                Err(io::Error::other("an answer ended too early"))
            };
            tokio::select! {
                failed = reading => failed,
                () = sleep_until(measured_until) => Ok(arrivals),
            }
        });
    }
    let window = async {
        sleep_until(measured_from).await;
        let (from, cpu_before) = (now_nanos(), bench.cpu()?);
        sleep_until(measured_until - Duration::from_millis(50)).await;
        let (until, cpu_after) = (now_nanos(), bench.cpu()?);
        Ok::<_, io::Error>((from, until, cpu_before.zip(cpu_after), bench.resident()?))
    };
    let (from, until, cpu, memory_open) = tokio::select! {
        measured = window => measured?,
        // None of them ends before the window does, unless it fails.
        Some(ended) = running.join_next() => {
            ended.map_err(io::Error::other)??;
            return Err(io::Error::other("an answer ended too early"));
        }
    };
    let mut delays = Vec::new();
    while let Some(one) = running.join_next().await {
        let arrivals = one.map_err(io::Error::other)??;
        let within = arrivals.iter().filter(|a| (from..until).contains(&a.at));
        delays.extend(within.map(|arrival| arrival.delay));
    }
    let events = float(delays.len() as u64);
    let wall = float(until - from) / 1e9;
    let mut figures = Figures::from([("events_per_s".into(), events / wall)]);
    if let Some((before, after)) = cpu {
        let used = after - before;
        figures.insert("cpu_per_event_us".into(), used * 1e6 / events);
        figures.insert("cpu_percent".into(), used * 100.0 / wall);
    }
    if let (Some(idle), Some(open)) = (memory_idle, memory_open) {
        let each = float(open.saturating_sub(idle)) / f64::from(streams) / 1024.0;
        figures.insert("memory_per_stream_kib".into(), each);
    }
    put_delays(&mut figures, "delay", delays);
    Ok(figures)
}
