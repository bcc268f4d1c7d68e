use super::error::{UpstreamFault, fault_from_event};
use crate::dialect::json::{Scanner, scan};
use crate::event::Usage;

/// What one event, or one body, of an upstream's answer means to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What it is.
    pub kind: Kind,
    /// The choices it is about.
    pub choices: Marks,
    /// The figures it carries. Later ones replace earlier ones: they count from the start.
    pub usage: Option<Usage>,
    /// It carries usage and no choice: the chunk that is shown only to a client that asked.
    pub usage_only: bool,
}

/// Which choices of an answer have begun, and of which the end was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// A bit for each choice; those that are too many share the last.
    begun: u128,
    finished: u128,
}

impl Marks {
    /// Takes those of one more event, and gives how many it finishes.
    pub fn take(&mut self, event: Self) -> u32 {
        let before = self.finished();
        self.begun |= event.begun;
        self.finished |= event.finished;
        self.finished() - before
    }

    /// How many are finished. An answer that lacks its `[DONE]` is whole when as many are as were asked
    /// for.
    pub const fn finished(self) -> u32 {
        self.finished.count_ones()
    }

    /// Whether each that has begun is finished, and one has.
    pub const fn all_finished(self) -> bool {
        self.begun != 0 && self.begun == self.finished
    }

    /// Those that go on: the first, if none has begun.
    pub fn unfinished(self) -> Vec<u32> {
        let open = (self.begun & !self.finished) | u128::from(self.begun == 0);
        (0..u128::BITS)
            .filter(|bit| open & (1 << bit) != 0)
            .collect()
    }

    fn mark(&mut self, index: u32, finished: bool) {
        let bit = 1 << index.min(u128::BITS - 1);
        self.begun |= bit;
        self.finished |= if finished { bit } else { 0 };
    }
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
    /// Not one whole JSON object, or one whose choices are none.
    Malformed,
}

impl From<Kind> for Observation {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            choices: Marks::default(),
            usage: None,
            usage_only: false,
        }
    }
}

/// Whether this is the dialect's own end of a stream.
pub fn is_done(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]"
}

/// Looks at one streamed event's data.
///
/// Data that is not one JSON object, from its first brace to its last, is [`Kind::Malformed`], and so is
/// an object whose choices no client could read; what else is in it may be of any shape.
pub fn observe(data: &[u8]) -> Observation {
    if is_done(data) {
        return Kind::Done.into();
    }
    inspect(data.trim_ascii())
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

fn inspect(data: &[u8]) -> Observation {
    let mut seen = Choices::default();
    let mut usage = None;
    let mut failed = false;
    let mut no_choices = true;
    let scanned = scan(data, |scanner| {
        scanner.members(|name, scanner| {
            match &*name.text {
                "choices" => no_choices = choices(scanner, &mut seen)? == 0,
                "usage" => read_usage(scanner, &mut usage)?,
                // Groq's other place for them.
                "x_groq" => within(scanner, "usage", &mut |scanner| {
                    read_usage(scanner, &mut seen.usage)
                })?,
                "error" => failed |= !is_empty(scanner.value()?),
                "object" => failed |= scanner.value()? == "\"error\"",
                _ => scanner.pass()?,
            }
            Some(())
        })
    });
    if scanned.is_none() {
        return Kind::Malformed.into();
    }
    if failed {
        return Kind::Error(fault_from_event(data)).into();
    }
    let usage_only = no_choices && usage.is_some();
    Observation {
        kind: if seen.content {
            Kind::Content
        } else {
            Kind::Preamble
        },
        choices: seen.marks,
        usage_only,
        usage: usage.or(seen.usage),
    }
}

/// What is seen in choices.
#[derive(Default)]
struct Choices {
    content: bool,
    marks: Marks,
    /// Figures that stand with a choice, as at Moonshot.
    usage: Option<Usage>,
}

/// Gives how many there are. `None` if they are no list of objects.
fn choices(scanner: &mut Scanner<'_>, seen: &mut Choices) -> Option<usize> {
    if scanner.peek()? != b'[' {
        return (scanner.value()? == "null").then_some(0);
    }
    let mut count = 0;
    scanner.elements(|scanner| {
        count += 1;
        choice(scanner, seen)
    })?;
    Some(count)
}

fn choice(scanner: &mut Scanner<'_>, seen: &mut Choices) -> Option<()> {
    let mut finished = false;
    let mut index = 0;
    scanner.members(|name, scanner| {
        seen.content |= match &*name.text {
            "delta" | "message" => has_content(scanner)?,
            "text" => text(scanner)?,
            "usage" => {
                read_usage(scanner, &mut seen.usage)?;
                false
            }
            "index" => {
                index = scanner.value()?.parse().unwrap_or(0);
                false
            }
            "finish_reason" => {
                finished = text(scanner)?;
                finished
            }
            _ => {
                scanner.pass()?;
                false
            }
        };
        Some(())
    })?;
    seen.marks.mark(index, finished);
    Some(())
}

/// Whether a delta has anything but a role. It is an object, or empty.
fn has_content(scanner: &mut Scanner<'_>) -> Option<bool> {
    if scanner.peek()? != b'{' {
        return is_empty(scanner.value()?).then_some(false);
    }
    let mut content = false;
    scanner.members(|name, scanner| {
        content |= match &*name.text {
            "role" => {
                scanner.pass()?;
                false
            }
            // Mistral's models that think give a list of parts.
            "content" if scanner.peek()? == b'[' => !is_empty(scanner.value()?),
            "content" => text(scanner)?,
            _ => !is_empty(scanner.value()?),
        };
        Some(())
    })?;
    Some(content)
}

/// Whether a text says anything. `None` if it is something else than a text or nothing.
fn text(scanner: &mut Scanner<'_>) -> Option<bool> {
    let value = scanner.value()?;
    let says = !is_empty(value);
    (!says || value.starts_with('"')).then_some(says)
}

fn is_empty(value: &str) -> bool {
    match value.as_bytes() {
        b"null" | b"false" | b"\"\"" => true,
        [b'{', inner @ .., b'}'] | [b'[', inner @ .., b']'] => inner.trim_ascii().is_empty(),
        _ => false,
    }
}

/// Reads figures leniently: what is no figure counts as absent, and nothing is set if none is there.
fn read_usage(scanner: &mut Scanner<'_>, read: &mut Option<Usage>) -> Option<()> {
    if scanner.peek()? != b'{' {
        return scanner.pass();
    }
    let mut usage = Usage::default();
    let mut found = false;
    scanner.members(|name, scanner| {
        match &*name.text {
            "prompt_tokens" | "input_tokens" => {
                found |= figure(scanner, &mut usage.input_tokens)?;
            }
            "completion_tokens" | "output_tokens" => {
                found |= figure(scanner, &mut usage.output_tokens)?;
            }
            // DeepSeek's name for it, and Moonshot's.
            "prompt_cache_hit_tokens" | "cached_tokens" => {
                found |= figure(scanner, &mut usage.cached_tokens)?;
            }
            "prompt_tokens_details" | "input_tokens_details" => {
                detail(scanner, "cached_tokens", &mut usage.cached_tokens)?;
            }
            "completion_tokens_details" | "output_tokens_details" => {
                detail(scanner, "reasoning_tokens", &mut usage.reasoning_tokens)?;
            }
            _ => scanner.pass()?,
        }
        Some(())
    })?;
    if found {
        *read = Some(usage);
    }
    Some(())
}

fn detail(scanner: &mut Scanner<'_>, sought: &str, tokens: &mut u64) -> Option<()> {
    within(scanner, sought, &mut |scanner| {
        figure(scanner, tokens).map(|_| ())
    })
}

/// Reads one member of what may be an object. A provider that gives null here gives nothing.
fn within(
    scanner: &mut Scanner<'_>,
    sought: &str,
    read: &mut dyn FnMut(&mut Scanner<'_>) -> Option<()>,
) -> Option<()> {
    if scanner.peek()? != b'{' {
        return scanner.pass();
    }
    scanner.members(|name, scanner| {
        if name.text == sought {
            read(scanner)
        } else {
            scanner.pass()
        }
    })
}

/// Sets `tokens` if the value is a figure; true if it is.
fn figure(scanner: &mut Scanner<'_>, tokens: &mut u64) -> Option<bool> {
    let figure = read_tokens(scanner.value()?);
    *tokens = figure.unwrap_or(*tokens);
    Some(figure.is_some())
}

/// Some providers count in floating point.
fn read_tokens(value: &str) -> Option<u64> {
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
