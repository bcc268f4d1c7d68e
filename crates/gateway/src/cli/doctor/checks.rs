//! What can be seen of a streamed answer but its timing.

use std::time::Duration;

use everstream_core::limits;

use super::wire::{Wire, WireEvent};
use crate::cli::gateway::{lapse, printable};

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub about: &'static str,
    pub outcome: Outcome,
    /// What was found and, unless it is good, what it means.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    /// Worth knowing, no reason to fail.
    Odd,
    Bad,
}

impl Check {
    pub(super) fn good(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(about, Outcome::Good, text)
    }

    pub(super) fn odd(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(about, Outcome::Odd, text)
    }

    pub(super) fn bad(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(about, Outcome::Bad, text)
    }

    fn new(about: &'static str, outcome: Outcome, text: impl Into<String>) -> Self {
        Self {
            about,
            outcome,
            text: text.into(),
        }
    }
}

/// The headers by which proxies give themselves away.
const SIGNS_OF_PROXIES: [&str; 7] = [
    "server",
    "via",
    "cf-ray",
    "x-amz-cf-id",
    "x-cache",
    "x-served-by",
    "x-envoy-upstream-service-time",
];

/// What is wrong with a head whose names are in lower case, or that nothing is.
pub(super) fn of_head(head: &[(String, String)]) -> Vec<Check> {
    let get = |wanted: &str| {
        let found = head.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| printable(value))
    };
    let mut found = Vec::new();
    let kind = get("content-type").unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("text/event-stream") {
        let text = format!("Content-Type is `{kind}`: an EventSource would refuse it");
        found.push(Check::bad("headers", text));
    }
    if let Some(coding) = get("content-encoding").filter(|coding| coding != "identity") {
        let text = format!(
            "Content-Encoding is `{coding}`: something on the way compresses, and to compress it \
             gathers. Exclude text/event-stream from compression there"
        );
        found.push(Check::bad("headers", text));
    }
    if let Some(length) = get("content-length") {
        let text = format!(
            "Content-Length is {length}: something on the way waited for the whole answer to know \
             its length. Turn its buffering off"
        );
        found.push(Check::bad("headers", text));
    } else if get("transfer-encoding").is_none() {
        let text = "neither Transfer-Encoding nor Content-Length: a proxy speaks HTTP/1.0, so a \
                    cut cannot be told from the end (nginx: `proxy_http_version 1.1`)";
        found.push(Check::odd("headers", text));
    }
    let cache = get("cache-control").unwrap_or_default();
    if !cache.contains("no-transform") {
        let text = format!("Cache-Control is `{cache}`, without the gateway's no-transform");
        found.push(Check::odd("headers", text));
    }
    if get("x-accel-buffering").is_none() {
        let text = "X-Accel-Buffering is gone: a proxy (nginx does) took it out, and obeyed it if \
                    all is well below";
        found.push(Check::odd("headers", text));
    }
    if get("everstream-stream-id").is_none() {
        let text = "Everstream-Stream-Id is gone, so a client does not know what to come back to; \
                    the checks that need it are left out";
        found.push(Check::bad("headers", text));
    }
    if found.is_empty() {
        let text = "text/event-stream, chunked, not compressed, not to be buffered";
        found.push(Check::good("headers", text));
    }
    let proxies = SIGNS_OF_PROXIES.iter();
    let proxies: Vec<String> = proxies
        .filter_map(|name| get(name).map(|value| format!("{name}: {value}")))
        .collect();
    if !proxies.is_empty() {
        let text = format!("signs of {}", proxies.join(", "));
        found.push(Check::odd("proxies", text));
    }
    found
}

/// Ids, retry, heartbeats, the end.
pub(super) fn of_wire(wire: &Wire, stream: Option<&str>) -> Vec<Check> {
    vec![
        ids(&wire.events, stream),
        retry(&wire.events),
        heartbeat(wire),
        end(wire),
    ]
}

fn ids(events: &[WireEvent], stream: Option<&str>) -> Check {
    for (number, event) in (1u64..).zip(events) {
        let id = printable(event.id.as_deref().unwrap_or_default());
        let fits = id.split_once('.').is_some_and(|(of, seq)| {
            stream.is_none_or(|stream| of == stream) && seq == number.to_string()
        });
        if !fits {
            let text = format!("event {number} has the id `{id}`: something was lost or added");
            return Check::bad("ids", text);
        }
    }
    Check::good("ids", format!("1 to {}, none missing", events.len()))
}

fn retry(events: &[WireEvent]) -> Check {
    let times: Vec<&str> = events.iter().filter_map(|e| e.retry.as_deref()).collect();
    let first = events.first().and_then(|event| event.retry.as_deref());
    match (times.as_slice(), first) {
        ([millis], Some(_)) => Check::good(
            "retry",
            format!("{} ms, in the first event", printable(millis)),
        ),
        _ => Check::bad(
            "retry",
            "not once, in the first event: something rewrites the events",
        ),
    }
}

fn heartbeat(wire: &Wire) -> Check {
    let silence = wire.longest_silence;
    let (longest, comments) = (lapse(silence), wire.comments);
    // The rarest that can be configured.
    if silence > Duration::from_mins(1) {
        let text = format!(
            "no byte for {longest}, though the gateway sends a comment at least once a minute: \
             something holds them back, and idle timers will cut long silences"
        );
        return Check::bad("heartbeat", text);
    }
    if comments == 0 && silence > limits::HEARTBEAT + Duration::from_secs(1) {
        let text = format!("none in {longest}: well if streams.heartbeat is longer than that");
        return Check::odd("heartbeat", text);
    }
    let text = match comments {
        0 => format!("none was due: the longest silence was {longest}"),
        _ => format!("{comments} came; the longest silence was {longest}"),
    };
    Check::good("heartbeat", text)
}

fn end(wire: &Wire) -> Check {
    if let Some(why) = &wire.cut {
        return Check::bad("end", format!("the answer was cut: {why}"));
    }
    match wire.events.last() {
        Some(last) if last.data == "[DONE]" => Check::good("end", "[DONE]"),
        last => {
            let data = last.map(|event| event.data.as_str()).unwrap_or_default();
            let data: String = printable(data).chars().take(200).collect();
            Check::bad("end", format!("the last event is not [DONE] but `{data}`"))
        }
    }
}

/// Compares the events after the `middle`-th with those that reading on from there gave.
pub(super) fn of_resume(middle: usize, events: &[WireEvent], again: &[WireEvent]) -> Check {
    let rest = &events[middle.min(events.len())..];
    let same = |(a, b): (&WireEvent, &WireEvent)| a.id == b.id && a.data == b.data;
    if rest.len() == again.len() && rest.iter().zip(again).all(same) {
        let text = format!("after event {middle}: the same {} events again", rest.len());
        return Check::good("resume", text);
    }
    let text = format!(
        "after event {middle} came {} events, {} were due, or they differ: is Last-Event-ID \
         passed on, and are answers not cached?",
        again.len(),
        rest.len()
    );
    Check::bad("resume", text)
}
