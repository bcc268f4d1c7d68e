use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ask::Client;
use super::check::Arrival;
use super::{Bench, Figures, float, put_delays};
use crate::monotonic::now_nanos;

/// After the last stream began to answer, before anything is measured.
const SETTLE: Duration = Duration::from_secs(1);
/// The longest wait for that.
const OPENING: Duration = Duration::from_mins(1);
/// More than can come, at a token every 400 ms.
const TOKENS: u64 = 10_000;

/// Streams that go on while they are measured, and are left at the end of that.
pub(super) async fn slow(
    bench: &Bench,
    streams: u32,
    opened_per_second: u32,
    seconds: u64,
) -> io::Result<Figures> {
    let between = Duration::from_secs(1) / opened_per_second;
    let begin = Instant::now();
    let memory_idle = bench.resident()?;
    let over = Arc::new(watch::Sender::new(false));
    let (open, mut opened) = mpsc::unbounded_channel();
    let mut running = JoinSet::new();
    for number in 0..streams {
        let (bench, open, mut over) = (bench.clone(), open.clone(), over.subscribe());
        running.spawn(async move {
            sleep_until(begin + between * number).await;
            let mut arrivals = Vec::with_capacity(16);
            tokio::select! {
                failed = follow(&bench, open, &mut arrivals) => failed,
                _ = over.wait_for(|over| *over) => Ok(arrivals),
            }
        });
    }
    let window = async {
        let all_open = async {
            for _ in 0..streams {
                opened.recv().await;
            }
        };
        let in_time = timeout(between * streams + OPENING, all_open).await;
        in_time.map_err(|_| io::Error::other("not all streams could be opened"))?;
        sleep(SETTLE).await;
        let (from, cpu_before) = (now_nanos(), bench.cpu()?);
        sleep(Duration::from_secs(seconds)).await;
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
    over.send_replace(true);
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

/// Reads one stream for as long as it is polled, and tells when it began to answer. Its end is a
/// failure.
async fn follow(
    bench: &Bench,
    open: mpsc::UnboundedSender<()>,
    arrivals: &mut Vec<Arrival>,
) -> io::Result<Vec<Arrival>> {
    let mut client = Client::connect(bench, &format!("bench-{TOKENS}-400"), TOKENS, true).await?;
    let mut answer = client.ask().await?;
    let mut open = Some(open);
    while answer.read(arrivals).await? {
        if let Some(open) = open.take_if(|_| answer.check.seen > 0) {
            // Nobody hears it once the window is over.
            let _ = open.send(());
        }
    }
    Err(io::Error::other("an answer ended too early"))
}
