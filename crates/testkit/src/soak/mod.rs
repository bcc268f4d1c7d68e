//! Hours of streams that are opened, cut, resumed, cancelled and left, against a gateway in a process
//! of its own: every event is checked, and memory, file handles, threads and disk must stay where
//! they are.

mod gateway;
mod load;
mod sample;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use crate::provider::{Traffic, accept};
use gateway::Gateway;
use load::{Load, answer};
use sample::Sample;

/// How long, how much, and what must hold.
#[derive(Clone, Debug)]
pub struct Soak {
    /// The built `everstream`.
    pub gateway: PathBuf,
    /// For how long streams are opened. The first quarter is for warming up.
    pub duration: Duration,
    /// Streams at a time.
    pub concurrency: usize,
    /// Pause between two events of an answer: together with `concurrency` it bounds the rate.
    pub pause: Duration,
    /// How often figures are printed, and taken.
    pub every: Duration,
    /// `log.max_bytes`: the disk may not hold more.
    pub max_bytes: u64,
    /// `log.sync`.
    pub sync: String,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Streams that were seen to their end, or cancelled or left as intended.
    pub streams: u64,
    /// Events that were checked.
    pub events: u64,
    /// What was wrong, the first of it.
    pub faults: Vec<String>,
}

/// Faults that are kept; one is enough to fail.
const FAULTS: usize = 20;

impl Soak {
    /// Runs it, and prints a line of figures each time.
    ///
    /// # Errors
    /// When the gateway cannot be started, or dies.
    pub async fn run(&self) -> io::Result<Report> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let provider = listener.local_addr()?;
        let pause = self.pause;
        let traffic = Arc::new(Traffic::default());
        // Not kept: this process is to stay small as well.
        let upstream = tokio::spawn(accept(listener, traffic, move |request| {
            answer(request, pause)
        }));
        let mut gateway = Gateway::start(self, provider)?;
        let load = Arc::new(Load::new(gateway.addr));
        let idle = gateway.sample()?;
        println!("{}", Sample::HEAD);
        println!("{idle}  before the first stream");
        let mut clients = JoinSet::new();
        let end = Instant::now() + self.duration;
        for _ in 0..self.concurrency {
            let load = Arc::clone(&load);
            clients.spawn(async move { load.run_until(end).await });
        }
        let (mut samples, mut over) = (Vec::new(), None);
        let mut ticks = interval_at(Instant::now() + self.every, self.every);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let sample = gateway.sample()?;
                    println!("{sample}  {}", load.progress());
                    over = over.or_else(|| sample.over(self.max_bytes));
                    samples.push(sample);
                }
                joined = clients.join_next() => match joined {
                    Some(joined) => joined.map_err(io::Error::other)?,
                    None => break,
                }
            }
        }
        let after = gateway.sample()?;
        println!("{after}  {}", load.progress());
        let mut report = load.report();
        report.faults.extend(sample::grown(&samples));
        report.faults.extend(over);
        report.faults.extend(gateway.stop().await?);
        report.faults.truncate(FAULTS);
        upstream.abort();
        Ok(report)
    }
}
