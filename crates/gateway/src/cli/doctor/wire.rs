//! Server-sent events with the time at which they came, and nothing left out: what the framer for
//! providers drops on purpose, ids and comments, is what is looked at here.

use std::time::Duration;

/// What came so far.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Whole events.
    pub events: Vec<WireEvent>,
    /// How many comments came: heartbeats.
    pub comments: usize,
    /// The longest time without a byte, from the request on.
    pub longest_silence: Duration,
    /// Why the body did not end properly.
    pub cut: Option<String>,
    last_byte: Duration,
    line: Vec<u8>,
    event: WireEvent,
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WireEvent {
    /// Since the request.
    pub at: Duration,
    pub id: Option<String>,
    pub retry: Option<String>,
    /// The lines, joined by LF.
    pub data: String,
    has_data: bool,
}

impl Wire {
    /// Takes what one read brought.
    pub(super) fn push(&mut self, at: Duration, bytes: &[u8]) {
        let silence = at.saturating_sub(self.last_byte);
        self.longest_silence = self.longest_silence.max(silence);
        self.last_byte = at;
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.line(
                    at,
                    String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']),
                );
            }
        }
    }

    fn line(&mut self, at: Duration, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let event = &mut self.event;
        match field {
            "" if line.is_empty() => {
                let event = std::mem::take(event);
                if event.has_data {
                    self.events.push(WireEvent { at, ..event });
                }
            }
            "" => self.comments += 1,
            "data" => {
                if event.has_data {
                    event.data.push('\n');
                }
                event.has_data = true;
                event.data.push_str(value);
            }
            "id" => event.id = Some(value.to_owned()),
            "retry" => event.retry = Some(value.to_owned()),
            _ => {}
        }
    }
}
