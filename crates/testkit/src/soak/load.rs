use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{FAULTS, Report};
use crate::client::RawClient;
use crate::provider::{ChatAnswer, ReceivedRequest, Script};
use crate::sse::Frame;

const CHAT: &str = "/v1/chat/completions";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a reader that stalls takes nothing.
const STALL: Duration = Duration::from_secs(3);

/// Clients that know what they must get.
pub(super) struct Load {
    addr: SocketAddr,
    numbers: AtomicU64,
    streams: AtomicU64,
    events: AtomicU64,
    faults: Mutex<Vec<String>>,
}

/// What a client does.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// Reads to the end.
    Read,
    /// Is cut, twice perhaps, and resumes each time.
    Resume,
    /// Cancels in the middle.
    Cancel,
    /// Leaves in the middle and does not come back.
    Leave,
    /// Takes nothing for a while, and then everything.
    Stall,
    /// Wants one body.
    Whole,
}

impl Habit {
    fn of(number: u64) -> Self {
        match number % 20 {
            0..=3 => Self::Resume,
            4 | 5 => Self::Cancel,
            6 | 7 => Self::Leave,
            8 => Self::Stall,
            9 | 10 => Self::Whole,
            _ => Self::Read,
        }
    }
}

/// The answer to the request with this number: known to both sides.
fn answer_to(number: u64) -> ChatAnswer {
    let tokens = 10 + number * 7 % 50;
    let text = |at| {
        let padding = usize::try_from((number + at) % 200).unwrap_or(0);
        format!("{number}:{at} {}", "x".repeat(padding))
    };
    ChatAnswer::new((0..tokens).map(text))
}

fn number_of(request: &ReceivedRequest) -> u64 {
    request.json()["seed"].as_u64().unwrap_or_default()
}

/// What the provider answers.
pub(super) fn answer(request: &ReceivedRequest, pause: Duration) -> Script {
    let answer = answer_to(number_of(request));
    if request.wants_stream() {
        Script::chat_stream(&answer).pause_between(pause)
    } else {
        Script::chat_json(&answer)
    }
}

impl Load {
    pub(super) fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            numbers: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            events: AtomicU64::new(0),
            faults: Mutex::default(),
        }
    }

    /// One client after another.
    pub(super) async fn run_until(&self, end: Instant) {
        while Instant::now() < end {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let habit = Habit::of(number);
            let outcome = match timeout(PATIENCE, self.client(number, habit)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            match outcome {
                Ok(()) => {
                    self.streams.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    self.fault(format!("request {number}, {habit:?}: {error}"));
                    // Not as fast as it can if everything fails.
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn fault(&self, what: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.len() < FAULTS {
            faults.push(what);
        }
    }

    pub(super) fn progress(&self) -> String {
        let report = self.report();
        let (streams, events, faults) = (report.streams, report.events, report.faults.len());
        format!("{streams} streams, {events} events, {faults} faults")
    }

    pub(super) fn report(&self) -> Report {
        Report {
            streams: self.streams.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            faults: self
                .faults
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    async fn client(&self, number: u64, habit: Habit) -> io::Result<()> {
        let mut client = RawClient::connect(self.addr).await?;
        let answer = answer_to(number);
        let stream = !matches!(habit, Habit::Whole);
        let body = json!({"model": "soak", "stream": stream, "seed": number, "messages": []});
        let headers: &[_] = match habit {
            Habit::Leave => &[("everstream-on-disconnect", "linger:1s")],
            _ => &[],
        };
        let head = client.post_json(CHAT, &body, headers).await?;
        let id = head
            .header("everstream-stream-id")
            .unwrap_or_default()
            .to_owned();
        check(head.status == 200, || format!("status {}", head.status))?;
        if !stream {
            let got = client.read_json().await?;
            let text = &got["choices"][0]["message"]["content"];
            return check(*text == answer.text(), || format!("another text: {text}"));
        }
        let mut reading = Reading {
            load: self,
            id,
            expected: answer.expected_data(),
            seen: 0,
        };
        let part = 1 + usize::try_from(number).unwrap_or(0) % (reading.expected.len() - 2);
        match habit {
            Habit::Read | Habit::Whole => reading.rest(&mut client).await,
            Habit::Stall => {
                sleep(STALL).await;
                reading.rest(&mut client).await
            }
            Habit::Leave => {
                reading.some(&mut client, part).await?;
                client.cut()
            }
            Habit::Resume => {
                for part in [part / 2 + 1, part] {
                    reading.some(&mut client, part).await?;
                    client.cut()?;
                    sleep(Duration::from_millis(number % 300)).await;
                    client = reading.resumed().await?;
                }
                reading.rest(&mut client).await
            }
            Habit::Cancel => {
                reading.some(&mut client, part).await?;
                reading.cancel().await?;
                reading.cancelled(&mut client).await
            }
        }
    }
}

/// A client's place in the answer.
struct Reading<'a> {
    load: &'a Load,
    id: String,
    expected: Vec<String>,
    seen: usize,
}

impl Reading<'_> {
    /// Reads until `upto` events are seen.
    async fn some(&mut self, client: &mut RawClient, upto: usize) -> io::Result<()> {
        while self.seen < upto {
            let event = client.read_event().await?;
            let event = event.ok_or_else(|| wrong(format!("ends after {}", self.seen)))?;
            self.is_next(&event)?;
        }
        Ok(())
    }

    async fn rest(&mut self, client: &mut RawClient) -> io::Result<()> {
        self.some(client, self.expected.len()).await?;
        let more = client.read_event().await?;
        check(more.is_none(), || {
            format!("goes on after its end: {more:?}")
        })
    }

    fn is_next(&mut self, event: &Frame) -> io::Result<()> {
        let expected = self.expected.get(self.seen).map(String::as_str);
        let place = (Some(self.id.as_str()), Some(self.seen as u64 + 1));
        let is_right = event.data.as_deref() == expected && (event.stream(), event.seq()) == place;
        check(is_right, || format!("after event {}: {event:?}", self.seen))?;
        self.seen += 1;
        self.load.events.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn resumed(&self) -> io::Result<RawClient> {
        let mut client = RawClient::connect(self.load.addr).await?;
        let cursor = format!("{}.{}", self.id, self.seen);
        let path = format!("/v1/streams/{}", self.id);
        let head = client.get(&path, &[("last-event-id", &cursor)]).await?;
        check(head.status == 200, || {
            format!("resumed with {}", head.status)
        })?;
        Ok(client)
    }

    async fn cancel(&self) -> io::Result<()> {
        let mut client = RawClient::connect(self.load.addr).await?;
        let path = format!("/v1/streams/{}", self.id);
        let head = client.request("DELETE", &path, &[], b"").await?;
        check(head.status == 200, || {
            format!("cancelled with {}", head.status)
        })
    }

    /// What follows a cancellation: events that came before it, and the error, unless the answer
    /// was quicker.
    async fn cancelled(&mut self, client: &mut RawClient) -> io::Result<()> {
        while self.seen < self.expected.len() {
            let event = client.read_event().await?;
            let event = event.ok_or_else(|| wrong("cancelled without a word".to_owned()))?;
            let data: Value =
                serde_json::from_str(event.data.as_deref().unwrap_or_default()).unwrap_or_default();
            if data["error"]["code"] == "cancelled" {
                let more = client.read_event().await?;
                return check(more.is_none(), || format!("goes on: {more:?}"));
            }
            self.is_next(&event)?;
        }
        Ok(())
    }
}

fn check(is_right: bool, what: impl FnOnce() -> String) -> io::Result<()> {
    if is_right { Ok(()) } else { Err(wrong(what())) }
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
