use std::borrow::Cow;

use bytes::Bytes;

use super::usage::{Totals, UsageIn};
use crate::dialect::json::{Scanner, scan, text_of};
use crate::dialect::observe::{Closing, Kind, Observation};
use crate::dialect::openai::fault_from_event;
use crate::event::Usage;
use crate::frame::sse::SseEvent;

/// The type of the event that ends a stream.
pub(in crate::dialect) const END: &str = "message_stop";

/// Looks at the events of one answer, in order.
#[derive(Debug, Default)]
pub struct Observer {
    totals: Totals,
    /// It was said why the answer ends.
    finished: bool,
    /// The content block that was opened and not closed.
    open: Option<u64>,
}

impl Observer {
    /// Looks at an event. One without a name, which the API's SDKs would not see, gets that of its
    /// type.
    pub fn observe(&mut self, event: &mut SseEvent) -> Observation {
        let data = event.data.clone();
        if &*event.name == b"error" {
            return Kind::Error(fault_from_event(&data).into()).into();
        }
        let Some(seen) = Seen::of(&data) else {
            return Kind::Malformed.into();
        };
        if event.name.is_empty() && !seen.kind.is_empty() {
            event.name = name_of(&seen.kind);
        }
        if seen.failed {
            return Kind::Error(fault_from_event(&data).into()).into();
        }
        self.finished |= seen.finish;
        match &*seen.kind {
            "content_block_start" => self.open = seen.index,
            "content_block_stop" => self.open = None,
            _ => {}
        }
        Observation {
            kind: match seen.event_kind() {
                Kind::Done if !self.finished => {
                    Kind::Cut("sent message_stop without a stop_reason")
                }
                kind => kind,
            },
            finished: u32::from(seen.finish),
            usage: self.take(seen.usage),
        }
    }

    /// Looks at the whole body of an answer that is not streamed.
    pub fn observe_body(&mut self, body: &[u8]) -> Observation {
        let Some(seen) = Seen::of(body) else {
            return Kind::Malformed.into();
        };
        if seen.failed {
            return Kind::Error(fault_from_event(body).into()).into();
        }
        Observation {
            kind: Kind::Content,
            finished: u32::from(seen.finish),
            usage: self.take(seen.usage),
        }
    }

    /// What the end of the upstream's stream makes of the answer.
    pub fn close(&self) -> Closing {
        if self.finished {
            Closing::Lacks(SseEvent {
                name: Bytes::from_static(END.as_bytes()),
                data: Bytes::from_static(br#"{"type":"message_stop"}"#),
            })
        } else {
            Closing::Cut("ended its answer without a stop_reason")
        }
    }

    /// The content block that is open.
    pub const fn open_block(&self) -> Option<u64> {
        self.open
    }

    fn take(&mut self, usage: Option<&str>) -> Option<Usage> {
        // Figures that cannot be read count as absent.
        let usage: UsageIn = serde_json::from_str(usage?).ok()?;
        self.totals.take(&usage)
    }
}

/// What a scan of an event finds.
#[derive(Default)]
struct Seen<'a> {
    kind: Cow<'a, str>,
    /// The type of the block that it opens.
    block: &'a str,
    index: Option<u64>,
    usage: Option<&'a str>,
    finish: bool,
    failed: bool,
}

impl<'a> Seen<'a> {
    fn of(data: &'a [u8]) -> Option<Self> {
        let mut seen = Self::default();
        scan(data.trim_ascii(), |scanner| {
            scanner.members(|name, scanner| {
                match &*name.text {
                    "type" => seen.kind = text_of(scanner.value()?).ok()?,
                    "delta" => seen.inner(scanner, &["stop_reason"])?,
                    "message" => seen.inner(scanner, &["usage"])?,
                    "content_block" => seen.inner(scanner, &["type"])?,
                    "index" => seen.index = scanner.value()?.parse().ok(),
                    "usage" => seen.usage = Some(scanner.value()?),
                    "stop_reason" => seen.finish |= scanner.value()? != "null",
                    "error" => seen.failed |= scanner.value()? != "null",
                    _ => scanner.pass()?,
                }
                Some(())
            })
        })?;
        seen.failed |= seen.kind == "error";
        Some(seen)
    }

    /// Looks for one of these members in an object within the event. `None` if it is none.
    fn inner(&mut self, scanner: &mut Scanner<'a>, sought: &[&str]) -> Option<()> {
        if scanner.peek()? != b'{' {
            return (scanner.value()? == "null").then_some(());
        }
        scanner.members(|name, scanner| {
            let value = scanner.value()?;
            if sought.contains(&&*name.text) {
                match &*name.text {
                    "stop_reason" => self.finish |= value != "null",
                    "usage" => self.usage = Some(value),
                    _ => self.block = value,
                }
            }
            Some(())
        })
    }

    fn event_kind(&self) -> Kind {
        match &*self.kind {
            END => Kind::Done,
            "ping" => Kind::Ping,
            "message_start" => Kind::Preamble,
            "content_block_start" if matches!(self.block, "\"text\"" | "\"thinking\"") => {
                Kind::Preamble
            }
            _ => Kind::Content,
        }
    }
}

fn name_of(kind: &str) -> Bytes {
    const KNOWN: [&str; 7] = [
        "content_block_delta",
        "content_block_start",
        "content_block_stop",
        "message_start",
        "message_delta",
        END,
        "ping",
    ];
    let known = KNOWN.into_iter().find(|known| *known == kind);
    let is_line = !kind.contains(|c: char| c.is_control());
    known.map_or_else(
        || Bytes::copy_from_slice(if is_line { kind.as_bytes() } else { b"" }),
        |known| Bytes::from_static(known.as_bytes()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(observer: &mut Observer, name: &str, data: &str) -> (Observation, Bytes) {
        let mut event = SseEvent {
            name: Bytes::copy_from_slice(name.as_bytes()),
            data: Bytes::copy_from_slice(data.as_bytes()),
        };
        (observer.observe(&mut event), event.name)
    }

    #[test]
    fn events_are_what_their_types_say() {
        let cases = [
            (
                r#"{"type":"message_stop"}"#,
                Kind::Cut("sent message_stop without a stop_reason"),
            ),
            (r#"{"type": "ping"}"#, Kind::Ping),
            (r#"{"type":"message_start","message":{}}"#, Kind::Preamble),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                Kind::Preamble,
            ),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a"}}"#,
                Kind::Content,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
                Kind::Content,
            ),
            (r#"{"type":"what_may_come"}"#, Kind::Content),
            (r#"{"x":1}"#, Kind::Content),
            ("[1]", Kind::Malformed),
            (r#"{"type":"ping""#, Kind::Malformed),
            (r#"{"type":1}"#, Kind::Malformed),
            (r#"{"type":null}"#, Kind::Malformed),
            (
                r#"{"type":"content_block_delta","index":0,"delta":"x"}"#,
                Kind::Malformed,
            ),
            (
                r#"{"type":"content_block_start","content_block":[1]}"#,
                Kind::Malformed,
            ),
            (r#"{"type":"message_start","message":7}"#, Kind::Malformed),
        ];
        for (data, kind) in cases {
            let seen = observe(&mut Observer::default(), "", data).0;
            assert_eq!(seen.kind, kind, "{data}");
            assert_eq!(seen.finished, 0);
        }
    }

    #[test]
    fn a_failure_is_told_by_its_type_or_by_its_events_name() {
        let overloaded =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        for (name, data) in [("", overloaded), ("error", r#"{"message":"Overloaded"}"#)] {
            let Kind::Error(fault) = observe(&mut Observer::default(), name, data).0.kind else {
                panic!("{data} is no error");
            };
            assert_eq!(fault.message, "Overloaded");
        }
    }

    #[test]
    fn figures_add_up_over_the_events() {
        let mut observer = Observer::default();
        let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_read_input_tokens":5,"output_tokens":1}}}"#;
        let usage = observe(&mut observer, "message_start", start).0.usage;
        assert_eq!(usage.map(|usage| usage.input_tokens), Some(8));
        let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#;
        let seen = observe(&mut observer, "message_delta", delta).0;
        assert_eq!(seen.finished, 1);
        let usage = seen.usage.unwrap();
        assert_eq!(
            (usage.input_tokens, usage.cached_tokens, usage.output_tokens),
            (8, 5, 7)
        );
        let stop = observe(&mut observer, "", r#"{"type":"message_stop"}"#).0;
        assert_eq!(stop.kind, Kind::Done);
        assert!(matches!(observer.close(), Closing::Lacks(end) if &*end.name == END.as_bytes()));
        let cut = Observer::default().close();
        assert!(matches!(cut, Closing::Cut(_)), "{cut:?}");
    }

    #[test]
    fn an_event_without_a_name_gets_one() {
        let named = |name, data| observe(&mut Observer::default(), name, data).1;
        assert_eq!(named("", r#"{"type":"message_stop"}"#), "message_stop");
        assert_eq!(named("", r#"{"type":"new"}"#), "new");
        assert_eq!(named("", "{\"type\":\"a\\nb\"}"), "");
        assert_eq!(named("other", r#"{"type":"ping"}"#), "other");
    }
}
