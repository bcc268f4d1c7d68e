//! A provider whose behaviour is in the name of the model, for tests that cannot script it: other
//! languages, people with `curl`. [`Behaviour`] lists the names; those for benchmarks are [`Bench`]'s.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use everstream_core::event::Usage;
use serde_json::{Value, json};

use super::answer::{Chunks, DONE, Kind, unary};
use super::bench::Bench;
use super::request::ReceivedRequest;
use super::script::{Cut, Script, Step};
use super::traffic::Traffic;

#[cfg(test)]
mod tests;

/// The prompt tokens of every answer.
pub(super) const PROMPT_TOKENS: u64 = 7;
/// Most tokens, and most milliseconds, that a name may ask for.
const MAX_NUMBER: u64 = 1_000_000;
/// The dimensions of an embedding unless the request says otherwise, and at most.
const DIMENSIONS: u64 = 8;
const MAX_DIMENSIONS: u64 = 4096;

/// What `GET /v1/models` lists.
const LISTED: [&str; 9] = [
    "fake",
    "fake-200-0",
    "fake-200-0-x8",
    "fake-cut-5",
    "fake-error-429",
    "fake-error-500",
    "fake-midstream-error-5",
    "fake-nodone",
    "fake-slow-first-1000",
];

/// The text of answers goes round in these: words, and characters of two to four bytes, some of
/// them several code points long.
const TOKENS: [&str; 16] = [
    "The",
    " stream",
    " goes",
    " on",
    ",",
    " naïve",
    " café",
    " 東京",
    "から",
    "続く",
    " 🦀",
    " 👩‍🚀",
    " \"quoted\"",
    " back\\slash",
    "\n",
    " ½.",
];

/// What a model's name asks for. Any name may end in `-x<k>`: `k` events in one write.
///
/// | name | answer |
/// |---|---|
/// | `fake` | 20 tokens, 5 ms apart |
/// | `fake-<tokens>-<delay>` | so many tokens, so many milliseconds apart |
/// | `fake-cut-<n>` | as `fake`, reset after `n` tokens |
/// | `fake-error-<status>` | that status with an error body; 429 with `Retry-After: 1` |
/// | `fake-midstream-error-<n>` | as `fake`, an error event after `n` tokens |
/// | `fake-nodone` | as `fake`, without `[DONE]` |
/// | `fake-slow-first-<ms>` | as `fake`, the first token after so many milliseconds |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    tokens: u64,
    delay: Duration,
    first: Duration,
    per_write: u64,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Whole,
    NoDone,
    Cut(u64),
    Error(u64),
    Status(u16),
}

impl Behaviour {
    /// What this model's name asks for; `None` when it is not one of the names.
    pub fn of(model: &str) -> Option<Self> {
        let mut parts: Vec<&str> = model.split('-').collect();
        let mut behaviour = Self {
            tokens: 20,
            delay: Duration::from_millis(5),
            first: Duration::ZERO,
            per_write: 1,
            ending: Ending::Whole,
        };
        let per_write = parts.last().and_then(|last| last.strip_prefix('x'));
        if let Some(k) = per_write {
            behaviour.per_write = number(k).filter(|&k| k > 0)?;
            parts.pop();
        }
        match parts[..] {
            ["fake"] => {}
            ["fake", "nodone"] => behaviour.ending = Ending::NoDone,
            ["fake", "cut", n] => behaviour.ending = Ending::Cut(number(n)?),
            ["fake", "midstream", "error", n] => behaviour.ending = Ending::Error(number(n)?),
            ["fake", "slow", "first", ms] => behaviour.first = Duration::from_millis(number(ms)?),
            ["fake", "error", status] => {
                let status = number(status).and_then(|status| u16::try_from(status).ok())?;
                let status = Some(status).filter(|status| (400..600).contains(status))?;
                behaviour.ending = Ending::Status(status);
            }
            ["fake", tokens, delay] => {
                behaviour.tokens = number(tokens)?;
                behaviour.delay = Duration::from_millis(number(delay)?);
            }
            _ => return None,
        }
        Some(behaviour)
    }

    fn usage(&self) -> Usage {
        Usage {
            input_tokens: PROMPT_TOKENS,
            output_tokens: self.tokens,
            ..Usage::default()
        }
    }
}

/// The text of the `n`-th token (from 0) of every answer.
pub fn token(n: u64) -> &'static str {
    TOKENS[usize::try_from(n).unwrap_or(0) % TOKENS.len()]
}

/// The answer to a request. `GET /_calls` gives `traffic` as JSON, `POST /_reset` sets it to zero;
/// with a `key`, all other paths want it as a bearer token.
pub fn answer(request: &ReceivedRequest, traffic: &Traffic, key: Option<&str>) -> Script {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/_calls") => return Script::json(200, &counts(traffic)),
        ("POST", "/_reset") => {
            traffic.reset();
            return Script::json(200, &counts(traffic));
        }
        _ => {}
    }
    let sent = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    if key.is_some() && sent != key {
        let message = "Incorrect API key provided.";
        return Script::openai_error(401, "invalid_request_error", "invalid_api_key", message);
    }
    let script = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/models") => Script::models(LISTED),
        ("POST", "/v1/chat/completions") => generate(request, Kind::Chat),
        ("POST", "/v1/completions") => generate(request, Kind::Text),
        ("POST", "/v1/embeddings") => embed(&request.json()),
        (method, path) => {
            let message = format!("Unknown request URL: {method} {path}.");
            Script::openai_error(404, "invalid_request_error", "unknown_url", &message)
        }
    };
    script.header("x-request-id", &format!("req_{}", request.number))
}

fn counts(traffic: &Traffic) -> Value {
    json!({
        "total": traffic.total(),
        "by_path": traffic.by_path(),
        "hangups": traffic.hangups(),
        "events_written": traffic.written().events,
    })
}

fn generate(request: &ReceivedRequest, kind: Kind) -> Script {
    let asked = request.json();
    let model = asked["model"].as_str().unwrap_or_default();
    if let Some(bench) = Bench::of(model) {
        return bench.answer(&asked, kind, request.number, &Arc::default());
    }
    let Some(behaviour) = Behaviour::of(model) else {
        let message = format!("The model `{model}` does not exist.");
        return Script::openai_error(404, "invalid_request_error", "model_not_found", &message);
    };
    if let Ending::Status(status) = behaviour.ending {
        let script = refusal(status);
        return if status == 429 {
            script.header("retry-after", "1")
        } else {
            script
        };
    }
    let id = match kind {
        Kind::Chat => format!("chatcmpl-{}", request.number),
        Kind::Text => format!("cmpl-{}", request.number),
    };
    if asked["stream"] == true {
        let with_usage = asked["stream_options"]["include_usage"] == true;
        stream(
            behaviour,
            Chunks::new(kind, &id, model, with_usage),
            kind,
            with_usage,
        )
    } else {
        whole(behaviour, kind, &id, model)
    }
}

fn refusal(status: u16) -> Script {
    let kind = match status {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    Script::openai_error(
        status,
        kind,
        "fake_error",
        "The model's name asked for this error.",
    )
}

/// The answer as events. They are rendered one by one while they are sent, so that thousands of
/// long answers at once need no memory.
fn stream(behaviour: Behaviour, chunks: Chunks, kind: Kind, with_usage: bool) -> Script {
    let event = |data: &str| Step::Event(format!("data: {data}\n\n").into());
    let Behaviour {
        tokens,
        delay,
        first,
        per_write,
        ending,
    } = behaviour;
    let preamble = (kind == Kind::Chat).then(|| event(&chunks.role()));
    let mut closing = vec![event(&chunks.finish("stop"))];
    if with_usage {
        closing.push(event(&chunks.usage(&behaviour.usage())));
    }
    closing.push(event(DONE));
    let before_content = usize::from(preamble.is_some());
    let content = (0..tokens).flat_map(move |n| {
        let wait = match n {
            0 => Some(Step::Pause(first)).filter(|_| !first.is_zero()),
            n if n % per_write == 0 && !delay.is_zero() => Some(Step::Pause(delay)),
            _ => None,
        };
        wait.into_iter().chain([event(&chunks.content(token(n)))])
    });
    let script = Script::sse_steps(preamble.into_iter().chain(content).chain(closing))
        .events_per_write(usize::try_from(per_write).unwrap_or(usize::MAX));
    let events = |n: u64| usize::try_from(n).unwrap_or(usize::MAX) + before_content;
    match ending {
        Ending::Cut(n) => script.cut_after_events(events(n), Cut::Reset),
        Ending::Error(n) => script.error_event_after(events(n)),
        Ending::NoDone => script.without_done(),
        Ending::Whole | Ending::Status(_) => script,
    }
}

/// The answer as one body, after the time that its tokens take.
fn whole(behaviour: Behaviour, kind: Kind, id: &str, model: &str) -> Script {
    let Behaviour {
        tokens,
        delay,
        first,
        ending,
        ..
    } = behaviour;
    let text: String = (0..tokens).map(token).collect();
    let body = unary(kind, id, model, &text, "stop", &behaviour.usage());
    let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
    let script = match ending {
        Ending::Error(_) => refusal(500),
        Ending::Cut(_) => {
            let whole = body.to_string();
            let half: Vec<u8> = whole.as_bytes()[..whole.len() / 2].to_vec();
            let headers = [("content-type", "application/json")];
            Script::status(200, &headers, half)
                .lying_content_length(whole.len() as u64)
                .cut_after_events(0, Cut::Reset)
        }
        _ => Script::json(200, &body),
    };
    script.pause_before_head(first.saturating_add(delay.saturating_mul(tokens)))
}

fn embed(asked: &Value) -> Script {
    let inputs = match &asked["input"] {
        Value::String(text) => vec![text.clone()],
        // A list of token ids is one input; a list of texts or of such lists is many.
        Value::Array(many) if many.iter().all(|one| !one.is_number()) => many
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect(),
        other => vec![other.to_string()],
    };
    let dimensions = asked["dimensions"]
        .as_u64()
        .unwrap_or(DIMENSIONS)
        .min(MAX_DIMENSIONS);
    let as_base64 = asked["encoding_format"] == "base64";
    let row = |(index, text): (usize, &String)| {
        let vector = vector(text, dimensions);
        let embedding = if as_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            json!(BASE64.encode(bytes))
        } else {
            json!(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    };
    let rows: Vec<Value> = inputs.iter().enumerate().map(row).collect();
    let used = PROMPT_TOKENS * inputs.len() as u64;
    Script::json(
        200,
        &json!({
            "object": "list",
            "data": rows,
            "model": asked["model"],
            "usage": {"prompt_tokens": used, "total_tokens": used},
        }),
    )
}

/// A vector that depends on all of `text`, each element in -1 to 1.
fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    let element = |n: u64| {
        // FNV-1a; the position goes in first, so that the elements differ.
        let bytes = n.to_le_bytes().into_iter().chain(text.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let sixteen_bits = i16::from_le_bytes([hash.to_le_bytes()[6], hash.to_le_bytes()[7]]);
        f32::from(sixteen_bits) / 32_768.0
    };
    (0..dimensions).map(element).collect()
}

pub(super) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&n| digits && n <= MAX_NUMBER)
}
