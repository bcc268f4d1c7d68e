use memchr::{memchr, memmem};

use crate::provider::bench::Stamp;

/// Checks one stream of a bench model while it comes in.
pub(super) struct Check {
    stream: u32,
    tokens: u64,
    has_ids: bool,
    /// Tokens so far, which is the number of the next one.
    pub(super) seen: u64,
    /// Events so far.
    pub(super) events: u64,
    /// The first token's data, its stamp included: all others are like it but for the stamp.
    pattern: Vec<u8>,
    event: Event,
    done: bool,
}

/// What there is of the event in progress.
#[derive(Default)]
struct Event {
    has_data: bool,
    has_id: bool,
}

/// The end of a token's way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When it was read.
    pub(super) at: u64,
    /// How long before that it was written.
    pub(super) delay: u64,
}

const CONTENT: &[u8] = b"\"content\":\"";

impl Check {
    /// For the answer of `tokens` tokens to the request whose `user` is `stream`.
    pub(super) fn new(stream: u32, tokens: u64, has_ids: bool) -> Self {
        Self {
            stream,
            tokens,
            has_ids,
            seen: 0,
            events: 0,
            pattern: Vec::new(),
            event: Event::default(),
            done: false,
        }
    }

    /// Takes all whole lines of `bytes`, which were read at `now`, and says how long they are.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        now: u64,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<usize, String> {
        let mut at = 0;
        while let Some(end) = memchr(b'\n', &bytes[at..]) {
            let line = &bytes[at..at + end];
            self.line(line, now, arrivals).map_err(|wrong| {
                let line = String::from_utf8_lossy(line);
                format!("stream {:08x}: {wrong}: {line:?}", self.stream)
            })?;
            at += end + 1;
        }
        Ok(at)
    }

    /// Checks that nothing is missing at the end.
    pub(super) fn finish(&self) -> Result<(), String> {
        if self.done && self.seen == self.tokens && !self.event.has_data {
            return Ok(());
        }
        Err(format!(
            "stream {:08x} ended after {} of {} tokens, {} [DONE]",
            self.stream,
            self.seen,
            self.tokens,
            if self.done { "with" } else { "without" },
        ))
    }

    fn line(
        &mut self,
        line: &[u8],
        now: u64,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), &'static str> {
        if line.is_empty() {
            return self.event_ends();
        }
        if let Some(data) = line.strip_prefix(b"data: ") {
            return self.data(data, now, arrivals);
        }
        if let Some(id) = line.strip_prefix(b"id: ") {
            let seq = id.rsplit(|&byte| byte == b'.').next();
            let seq = seq.and_then(|seq| str::from_utf8(seq).ok()?.parse().ok());
            self.event.has_id = true;
            let is_next = seq == Some(self.events + 1);
            return is_next.then_some(()).ok_or("the id is not the next one");
        }
        let is_known = line.starts_with(b":") || line.starts_with(b"retry: ");
        is_known
            .then_some(())
            .ok_or("not a line of an event stream")
    }

    fn event_ends(&mut self) -> Result<(), &'static str> {
        let event = std::mem::take(&mut self.event);
        if !event.has_data {
            return Err("a blank line without an event before it");
        }
        if event.has_id != self.has_ids {
            return Err("an event without an id, or with one that was not expected");
        }
        self.events += 1;
        Ok(())
    }

    fn data(
        &mut self,
        data: &[u8],
        now: u64,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), &'static str> {
        if self.done || std::mem::replace(&mut self.event.has_data, true) {
            return Err("data after [DONE], or twice in one event");
        }
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let found = memmem::find(data, CONTENT).map(|at| at + CONTENT.len());
        let stamped = found.and_then(|at| Some((at, Stamp::read(&data[at..])?)));
        let Some((at, stamp)) = stamped else {
            // The role, the finish, the usage.
            let whole = data.starts_with(b"{") && data.ends_with(b"}");
            return whole.then_some(()).ok_or("the data is not one object");
        };
        if stamp.stream != self.stream {
            return Err("a token of another stream");
        }
        if u64::from(stamp.number) != self.seen {
            return Err("not the next token: one was lost or doubled");
        }
        if self.pattern.is_empty() {
            self.pattern = data.to_vec();
        }
        let after = at + Stamp::LEN;
        if data[..at] != self.pattern[..at] || data[after..] != self.pattern[after..] {
            return Err("the token's data was changed");
        }
        self.seen += 1;
        arrivals.push(Arrival {
            at: now,
            delay: now.saturating_sub(stamp.nanos),
        });
        Ok(())
    }
}

/// Checks the text of an answer that is not streamed.
pub(super) fn check_text(body: &[u8], stream: u32, tokens: u64) -> Result<(), String> {
    let wrong = |what: &str| {
        let body = String::from_utf8_lossy(&body[..body.len().min(300)]);
        Err(format!("stream {stream:08x}: {what}: {body:?}"))
    };
    let Some(at) = memmem::find(body, CONTENT) else {
        return wrong("no content");
    };
    let mut rest = &body[at + CONTENT.len()..];
    for number in 0..tokens {
        let stamp = Stamp::read(rest).filter(|s| s.stream == stream);
        if stamp.is_none_or(|stamp| u64::from(stamp.number) != number) {
            return wrong("a token is lost, doubled or another stream's");
        }
        rest = &rest[Stamp::LEN..];
    }
    if rest.starts_with(b"\"") && body.ends_with(b"}") {
        Ok(())
    } else {
        wrong("the text goes on, or the body does not end")
    }
}
