//! Answers for benchmarks: each token carries a stamp, so that who reads it can tell whether one is
//! missing or doubled, and how long it was on its way.

use std::sync::Arc;
use std::time::Duration;

use everstream_core::event::Usage;
use serde_json::Value;

use super::answer::{Chunks, DONE, Kind, unary};
use super::flight::Flights;
use super::named::{PROMPT_TOKENS, number};
use super::request::ReceivedRequest;
use super::script::{Script, Step};
use crate::monotonic::now_nanos;

#[cfg(test)]
mod tests;

/// The answer of a provider that has bench models alone, for a client in the same process.
pub fn answer(request: &ReceivedRequest, flights: &Arc<Flights>) -> Script {
    if request.is_model_list() {
        return Script::models(["bench-20-0"]);
    }
    let asked = request.json();
    match Bench::of(asked["model"].as_str().unwrap_or_default()) {
        Some(bench) => bench.answer(&asked, Kind::Chat, request.number, flights),
        None => Script::openai_error(
            404,
            "invalid_request_error",
            "model_not_found",
            "No bench model.",
        ),
    }
}

/// A model for benchmarks, `bench-<tokens>-<milliseconds>` and perhaps `-x<events>`: so many
/// stamped tokens, so far apart (each pause up to a quarter shorter or longer), so many events in
/// one write. After each write another stream has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bench {
    /// Tokens of the answer.
    pub tokens: u64,
    /// Between two writes, on average.
    pub interval: Duration,
    /// Events in one write.
    pub per_write: u64,
}

impl Bench {
    /// What this name asks for; `None` when it is no name of a bench model.
    pub fn of(model: &str) -> Option<Self> {
        let mut parts = model.strip_prefix("bench-")?.split('-');
        let bench = Self {
            tokens: number(parts.next()?)?,
            interval: Duration::from_millis(number(parts.next()?)?),
            per_write: match parts.next() {
                Some(per_write) => number(per_write.strip_prefix('x')?).filter(|&k| k > 0)?,
                None => 1,
            },
        };
        parts.next().is_none().then_some(bench)
    }

    /// The answer; the request's `user`, eight hexadecimal digits, is in all its stamps.
    pub(super) fn answer(
        self,
        asked: &Value,
        kind: Kind,
        request: u64,
        flights: &Arc<Flights>,
    ) -> Script {
        let model = asked["model"].as_str().unwrap_or_default();
        let user = asked["user"].as_str().unwrap_or_default();
        let stream = u32::from_str_radix(user, 16).unwrap_or(0);
        let id = format!("bench-{request}");
        let usage = Usage {
            input_tokens: PROMPT_TOKENS,
            output_tokens: self.tokens,
            ..Usage::default()
        };
        if asked["stream"] == true {
            let usage = (asked["stream_options"]["include_usage"] == true).then_some(usage);
            let chunks = Chunks::new(kind, &id, model, usage.is_some());
            self.stream(&chunks, stream, usage.as_ref(), flights)
        } else {
            let text: String = (0..self.tokens)
                .map(|n| Stamp::now(stream, n).text())
                .collect();
            Script::json(200, &unary(kind, &id, model, &text, "stop", &usage))
        }
    }

    fn stream(
        self,
        chunks: &Chunks,
        stream: u32,
        usage: Option<&Usage>,
        flights: &Arc<Flights>,
    ) -> Script {
        let event = |data: &str| Step::Event(format!("data: {data}\n\n").into());
        let mut closing = vec![event(&chunks.finish("stop"))];
        closing.extend(usage.map(|usage| event(&chunks.usage(usage))));
        closing.push(event(DONE));
        let blank = Stamp::default().text();
        let template = format!("data: {}\n\n", chunks.content(&blank));
        let at = template.find(&blank).unwrap_or(0);
        let (flights, flight) = (Arc::clone(flights), flights.of(stream));
        let content = (0..self.tokens).flat_map(move |n| {
            let begins_write = n.is_multiple_of(self.per_write);
            let pauses = n > 0 && begins_write && !self.interval.is_zero();
            let pause = pauses.then(|| Step::Pause(self.pause(stream, n)));
            let flight = flight.clone().filter(|_| begins_write);
            let room = flight.map(|f| Step::Arrived(f, flights.before(n, self.per_write)));
            let template = template.clone();
            // A closure, as the stamp is to tell when the token is written, not when the pause
            // before it began.
            let token = std::iter::once_with(move || {
                let mut block = template.into_bytes();
                let text = Stamp::now(stream, n).bytes();
                block[at..at + Stamp::LEN].copy_from_slice(&text);
                Step::Event(block.into())
            });
            pause.into_iter().chain(room).chain(token)
        });
        Script::sse_steps(
            [event(&chunks.role())]
                .into_iter()
                .chain(content)
                .chain(closing),
        )
        .events_per_write(usize::try_from(self.per_write).unwrap_or(usize::MAX))
        .split_every(usize::MAX)
    }

    /// The pause before a token: as even as chance, and the same in every run.
    fn pause(self, stream: u32, number: u64) -> Duration {
        let mixed = (u64::from(stream) << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let percent = u32::try_from(75 + (mixed >> 32) % 51).unwrap_or(100);
        self.interval * percent / 100
    }
}

/// What the content of a token says: `<stream>.<number>.<nanoseconds>` in hexadecimal digits and a
/// space, always of the same length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Whose answer it belongs to, as the request said.
    pub stream: u32,
    /// Which token of the answer, from 0.
    pub number: u32,
    /// When it was made, of the machine's monotonic clock.
    pub nanos: u64,
}

impl Stamp {
    /// Bytes of the text.
    pub const LEN: usize = 35;

    fn now(stream: u32, number: u64) -> Self {
        Self {
            stream,
            number: u32::try_from(number).unwrap_or(u32::MAX),
            nanos: now_nanos(),
        }
    }

    fn bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [b'.'; Self::LEN];
        put_hex(&mut bytes[..8], self.stream.into());
        put_hex(&mut bytes[9..17], self.number.into());
        put_hex(&mut bytes[18..34], self.nanos);
        bytes[34] = b' ';
        bytes
    }

    fn text(self) -> String {
        self.bytes().iter().copied().map(char::from).collect()
    }

    /// The stamp at the start of `text`.
    pub fn read(text: &[u8]) -> Option<Self> {
        let text = text.first_chunk::<{ Self::LEN }>()?;
        let separated = text[8] == b'.' && text[17] == b'.' && text[34] == b' ';
        separated.then_some(())?;
        Some(Self {
            stream: u32::try_from(hex(&text[..8])?).ok()?,
            number: u32::try_from(hex(&text[9..17])?).ok()?,
            nanos: hex(&text[18..34])?,
        })
    }
}

fn put_hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}
