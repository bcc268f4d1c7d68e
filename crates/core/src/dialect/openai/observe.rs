use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::de::IgnoredAny;

use super::error::{UpstreamFault, fault_from_event};
use crate::dialect::json::{for_each_element, for_each_member};
use crate::event::Usage;

/// What one event, or one body, of an upstream's answer means to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What it is.
    pub kind: Kind,
    /// A choice is finished with it.
    pub finish: bool,
    /// How many choices are finished with it. An answer that lacks its `[DONE]` is whole when as
    /// many finished as were asked for.
    pub finished_choices: u32,
    /// The figures it carries. Later ones replace earlier ones: they count from the start.
    pub usage: Option<Usage>,
    /// It carries usage and no choice: the chunk that is shown only to a client that asked.
    pub usage_only: bool,
}

/// What an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[DONE]`.
    Done,
    /// Nothing that a reader would miss if another upstream had to answer instead: the role chunk,
    /// an empty delta, usage, a keepalive.
    Preamble,
    /// A part of the answer, or its end.
    Content,
    /// The upstream reports a failure.
    Error(UpstreamFault),
    /// Not one whole JSON object.
    Malformed,
}

impl From<Kind> for Observation {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            finish: false,
            finished_choices: 0,
            usage: None,
            usage_only: false,
        }
    }
}

/// Whether this is the dialect's own end of a stream.
pub fn is_done(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]"
}

/// Looks at one streamed event's data, in UTF-8 as the framer gives it.
///
/// Before the first content (`seen_content` false) all of it is looked at. After that an event is
/// taken for content unless it has a name that matters (`finish_reason` or `usage` with a value,
/// `error`), as spelt without escapes. In both cases data that is not one JSON object, from its
/// first brace to its last, is [`Kind::Malformed`]; an object of unknown shape is not.
pub fn observe(data: &[u8], seen_content: bool) -> Observation {
    if is_done(data) {
        return Kind::Done.into();
    }
    let data = data.trim_ascii();
    if seen_content && !is_notable(data) {
        let whole = data.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(data).is_ok();
        let kind = if whole {
            Kind::Content
        } else {
            Kind::Malformed
        };
        return kind.into();
    }
    inspect(data)
}

/// Looks at the whole body of an answer that is not streamed, of any surface.
pub fn observe_body(body: &[u8]) -> Observation {
    let mut observation = inspect(body.trim_ascii());
    if observation.kind == Kind::Preamble {
        observation.kind = Kind::Content;
    }
    observation.usage_only = false;
    observation
}

/// The quotes tell a name or a whole string from the same word in a text, where they are escaped.
static VALUED: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new("\"finish_reason\""), Finder::new("\"usage\"")]);
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));

fn is_notable(data: &[u8]) -> bool {
    // `"object":"error"` is notable too, so for this one what follows does not matter.
    ERROR.find(data).is_some() || VALUED.iter().any(|name| has_value(data, name))
}

fn has_value(data: &[u8], name: &Finder<'_>) -> bool {
    name.find_iter(data).any(|at| {
        let after = data[at + name.needle().len()..].trim_ascii_start();
        after
            .strip_prefix(b":")
            .is_some_and(|value| !value.trim_ascii_start().starts_with(b"null"))
    })
}

fn inspect(data: &[u8]) -> Observation {
    let mut seen = Observation::from(Kind::Preamble);
    let mut failed = false;
    let mut no_choices = true;
    let walked = for_each_member(data, |member| {
        match &*member.key {
            "choices" => no_choices = choices(member.value, &mut seen) == 0,
            "usage" => seen.usage = usage(member.value).or(seen.usage.take()),
            "error" => failed |= !is_empty(member.value),
            "object" => failed |= member.value == "\"error\"",
            _ => {}
        }
        Ok::<_, serde_json::Error>(())
    });
    if walked.is_err() {
        return Kind::Malformed.into();
    }
    if failed {
        return Kind::Error(fault_from_event(data)).into();
    }
    seen.usage_only = no_choices && seen.usage.is_some();
    seen
}

/// Gives how many there are; a value of another shape counts as one that has content, so that
/// nothing of an answer is taken for preamble.
fn choices(list: &str, seen: &mut Observation) -> usize {
    let mut count = 0;
    let walked = for_each_element(list, |choice| {
        count += 1;
        let mut finished = false;
        let walked = for_each_member(choice.as_bytes(), |member| {
            let content = match &*member.key {
                "delta" | "message" => has_content(member.value),
                "text" => !is_empty(member.value),
                "finish_reason" => {
                    finished = !is_empty(member.value);
                    finished
                }
                _ => false,
            };
            if content {
                seen.kind = Kind::Content;
            }
            Ok::<_, serde_json::Error>(())
        });
        if walked.is_err() {
            seen.kind = Kind::Content;
        }
        seen.finish |= finished;
        seen.finished_choices += u32::from(finished);
    });
    if walked.is_err() && list != "null" {
        seen.kind = Kind::Content;
        count = 1;
    }
    count
}

/// Whether a delta has anything but a role.
fn has_content(delta: &str) -> bool {
    let mut content = false;
    let walked = for_each_member(delta.as_bytes(), |member| {
        content |= member.key != "role" && !is_empty(member.value);
        Ok::<_, serde_json::Error>(())
    });
    content || walked.is_err() && !is_empty(delta)
}

fn is_empty(value: &str) -> bool {
    let inner = |open, close| value.strip_prefix(open)?.strip_suffix(close);
    value == "null"
        || value == "false"
        || value == "\"\""
        || inner('{', '}')
            .or(inner('[', ']'))
            .is_some_and(|inner| inner.trim_ascii().is_empty())
}

/// Reads figures leniently: what is no figure counts as absent, and `None` means that none was
/// there.
fn usage(value: &str) -> Option<Usage> {
    let mut usage = Usage::default();
    let mut found = false;
    for_each_member(value.as_bytes(), |member| {
        match &*member.key {
            "prompt_tokens" | "input_tokens" => {
                set(&mut usage.input_tokens, member.value, &mut found);
            }
            "completion_tokens" | "output_tokens" => {
                set(&mut usage.output_tokens, member.value, &mut found);
            }
            // DeepSeek's name for it.
            "prompt_cache_hit_tokens" => set(&mut usage.cached_tokens, member.value, &mut found),
            "prompt_tokens_details" | "input_tokens_details" => {
                detail(member.value, "cached_tokens", &mut usage.cached_tokens);
            }
            "completion_tokens_details" | "output_tokens_details" => {
                detail(
                    member.value,
                    "reasoning_tokens",
                    &mut usage.reasoning_tokens,
                );
            }
            _ => {}
        }
        Ok::<_, serde_json::Error>(())
    })
    .ok()?;
    found.then_some(usage)
}

fn detail(details: &str, name: &str, figure: &mut u64) {
    // A provider that gives null here gives no details.
    let _absent = for_each_member(details.as_bytes(), |member| {
        if member.key == name {
            set(figure, member.value, &mut false);
        }
        Ok::<_, serde_json::Error>(())
    });
}

fn set(figure: &mut u64, value: &str, found: &mut bool) {
    if let Some(tokens) = tokens(value) {
        *figure = tokens;
        *found = true;
    }
}

/// Some providers count in floating point.
fn tokens(value: &str) -> Option<u64> {
    let whole = value.split_once('.').map_or(value, |(whole, fraction)| {
        if fraction.bytes().all(|digit| digit == b'0') {
            whole
        } else {
            value
        }
    });
    whole.parse().ok()
}

#[cfg(test)]
mod tests;
