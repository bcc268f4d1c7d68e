use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{ChatAnswer, DONE};
use super::flight::Flight;
use super::gate::Gate;

/// What the provider does with one request, byte for byte. Steps are made as they are played, so
/// a script may be endless.
pub struct Script {
    pub(super) before_head: Option<Step>,
    pub(super) head: Option<Head>,
    pub(super) framing: Framing,
    pub(super) steps: Steps,
    pub(super) style: Style,
}

type Steps = Box<dyn Iterator<Item = Step> + Send>;

/// One thing to do. When the steps run out, [`Step::End`] is done.
#[derive(Clone, Debug)]
pub enum Step {
    /// An SSE block with LF as its line end, blank line included; it counts as an event. Sent as
    /// one HTTP chunk, in one write.
    Event(Bytes),
    /// Bytes of the body; sent with what follows, or before the script waits.
    Bytes(Bytes),
    /// Writes what is gathered.
    Flush,
    /// Waits, in tokio's time.
    Pause(Duration),
    /// Waits for the test.
    Wait(Gate),
    /// Waits until so many tokens have arrived at the client.
    Arrived(Arc<Flight>, u64),
    /// FIN, wherever the answer is.
    CloseClean,
    /// RST, wherever the answer is. What the client has not yet received may be lost with it.
    Reset,
    /// The proper end of the body. The connection stays usable if its framing allows.
    End,
}

/// How an answer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection is closed properly, the body is not ended.
    Close,
    /// The connection is reset.
    Reset,
}

impl From<Cut> for Step {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Close => Self::CloseClean,
            Cut::Reset => Self::Reset,
        }
    }
}

/// What ends a line of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// As nearly all providers do.
    #[default]
    Lf,
    /// Carriage return and line feed.
    CrLf,
    /// A lone carriage return.
    Cr,
}

impl LineEnd {
    pub(super) const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::Cr => b"\r",
        }
    }
}

/// How the end of the body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    Length,
    /// A `Content-Length` that is not the body's.
    Lying(u64),
    /// Nothing announced: the body ends with the connection.
    UntilClose,
}

#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
}

/// How bytes are put on the wire.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    pub(super) line_end: LineEnd,
    pub(super) bom: bool,
    pub(super) comments: bool,
    pub(super) events_per_write: usize,
    pub(super) pause: Duration,
    pub(super) split_every: Option<usize>,
}

/// Whole answers.
impl Script {
    /// A streamed chat completion: role chunk, a chunk for each token, finish chunk, usage chunk
    /// if the answer has usage, `[DONE]`; one HTTP chunk and one write for each.
    pub fn chat_stream(answer: &ChatAnswer) -> Self {
        Self::sse(answer.expected_data())
    }

    /// The same answer as one JSON body.
    pub fn chat_json(answer: &ChatAnswer) -> Self {
        Self::json(200, &answer.to_json())
    }

    /// An SSE answer whose events have these data, each of one line.
    pub fn sse<D: Into<String>>(
        data: impl IntoIterator<Item = D, IntoIter: Send + 'static>,
    ) -> Self {
        let event = |data: D| Step::Event(format!("data: {}\n\n", data.into()).into());
        Self::sse_steps(data.into_iter().map(event))
    }

    /// An SSE answer of these steps.
    pub fn sse_steps(steps: impl IntoIterator<Item = Step, IntoIter: Send + 'static>) -> Self {
        let head = Head::new(200, &[("content-type", "text/event-stream; charset=utf-8")]);
        Self::new(Some(head), Framing::Chunked, steps)
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = [("content-type", "application/json")];
        Self::status(status, &headers, body.to_string())
    }

    /// An error in the shape that `OpenAI` gives it.
    pub fn openai_error(status: u16, kind: &str, code: &str, message: &str) -> Self {
        Self::json(status, &error_body(kind, code, message))
    }

    /// The list of models.
    pub fn models<M: AsRef<str>>(models: impl IntoIterator<Item = M>) -> Self {
        let row = |model: M| json!({"id": model.as_ref(), "object": "model", "created": 0, "owned_by": "fake"});
        let rows: Vec<Value> = models.into_iter().map(row).collect();
        Self::json(200, &json!({"object": "list", "data": rows}))
    }

    /// Any answer whose body is known at once.
    pub fn status(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let head = Head::new(status, headers);
        Self::new(Some(head), Framing::Length, [Step::Bytes(body.into())])
    }

    /// These bytes instead of an HTTP answer, and then a proper close.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::new(None, Framing::UntilClose, [Step::Bytes(bytes.into())])
    }

    /// Nothing at all: the connection is closed or reset once the request has been read.
    pub fn hang_up(how: Cut) -> Self {
        Self::new(None, Framing::UntilClose, [how.into()])
    }

    fn new(
        head: Option<Head>,
        framing: Framing,
        steps: impl IntoIterator<Item = Step, IntoIter: Send + 'static>,
    ) -> Self {
        Self {
            before_head: None,
            head,
            framing,
            steps: Box::new(steps.into_iter()),
            style: Style {
                events_per_write: 1,
                ..Style::default()
            },
        }
    }
}

/// Changes to an answer. Events count from 1 and include the role chunk and `[DONE]`.
impl Script {
    /// Adds a header to the head.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Some(head) = &mut self.head {
            head.headers.retain(|(n, _)| n != name);
            head.headers.push((name.into(), value.into()));
        }
        self
    }

    /// Cuts the connection when `n` events are written.
    #[must_use]
    pub fn cut_after_events(self, n: usize, how: Cut) -> Self {
        self.end_after_events(n, vec![how.into()])
    }

    /// Sends an error object as event `n + 1`, and ends the body properly without `[DONE]`.
    #[must_use]
    pub fn error_event_after(self, n: usize) -> Self {
        let error = error_body("server_error", "internal_error", "The model broke down.");
        let event = Step::Event(format!("data: {error}\n\n").into());
        self.end_after_events(n, vec![event, Step::End])
    }

    /// Waits for `gate` before event `n`. The head and all events before it are written by then.
    #[must_use]
    pub fn gate_before_event(self, n: usize, gate: &Gate) -> Self {
        self.step_before_event(n, Step::Wait(gate.clone()))
    }

    /// Waits for `gate` before the head.
    #[must_use]
    pub fn gate_before_head(mut self, gate: &Gate) -> Self {
        self.before_head = Some(Step::Wait(gate.clone()));
        self
    }

    /// Waits before the head, in tokio's time.
    #[must_use]
    pub fn pause_before_head(mut self, pause: Duration) -> Self {
        self.before_head = Some(Step::Pause(pause));
        self
    }

    /// Puts a step before event `n`.
    #[must_use]
    pub fn step_before_event(self, n: usize, step: Step) -> Self {
        self.map_events(move |number, event| {
            let step = (number == n).then(|| step.clone());
            step.into_iter().chain([event])
        })
    }

    /// Leaves `[DONE]` out; the body ends properly.
    #[must_use]
    pub fn without_done(self) -> Self {
        let done = format!("data: {DONE}\n\n");
        self.map_events(move |_, event| {
            let is_done = matches!(&event, Step::Event(block) if block == done.as_bytes());
            (!is_done).then_some(event)
        })
    }

    /// Pauses between writes of events, in tokio's time.
    #[must_use]
    pub fn pause_between(mut self, pause: Duration) -> Self {
        self.style.pause = pause;
        self
    }

    /// Puts `k` events into one write.
    #[must_use]
    pub fn events_per_write(mut self, k: usize) -> Self {
        self.style.events_per_write = k.max(1);
        self
    }

    /// Ends the lines of events with something else.
    #[must_use]
    pub fn with_line_end(mut self, line_end: LineEnd) -> Self {
        self.style.line_end = line_end;
        self
    }

    /// Puts a UTF-8 byte order mark before the first event.
    #[must_use]
    pub fn with_bom(mut self) -> Self {
        self.style.bom = true;
        self
    }

    /// Puts comments before every event: one as a block of its own, one glued to the event.
    #[must_use]
    pub fn with_comments(mut self) -> Self {
        self.style.comments = true;
        self
    }

    /// Writes at most `n` bytes at a time and gives the reader a turn after each.
    #[must_use]
    pub fn split_every(mut self, n: usize) -> Self {
        self.style.split_every = Some(n.max(1));
        self
    }

    /// Announces a `Content-Length` that is not the body's, in place of the true framing, and
    /// closes after the body.
    #[must_use]
    pub fn lying_content_length(mut self, length: u64) -> Self {
        self.framing = Framing::Lying(length);
        self
    }

    /// Announces no length: the body ends with the connection, as in HTTP/1.0.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    fn end_after_events(mut self, n: usize, last: Vec<Step>) -> Self {
        let mut left = n;
        let kept = self.steps.take_while(move |step| {
            let is_event = matches!(step, Step::Event(_));
            let keep = !is_event || left > 0;
            left = left.saturating_sub(usize::from(is_event));
            keep
        });
        self.steps = Box::new(kept.chain(last));
        self
    }

    fn map_events<I>(mut self, mut f: impl FnMut(usize, Step) -> I + Send + 'static) -> Self
    where
        I: IntoIterator<Item = Step> + 'static,
        I::IntoIter: Send,
    {
        let mut number = 0;
        self.steps = Box::new(self.steps.flat_map(move |step| {
            if matches!(step, Step::Event(_)) {
                number += 1;
                Changed::Event(f(number, step).into_iter())
            } else {
                Changed::Other(Some(step))
            }
        }));
        self
    }
}

/// What became of a step.
enum Changed<I> {
    Event(I),
    Other(Option<Step>),
}

impl<I: Iterator<Item = Step>> Iterator for Changed<I> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        match self {
            Self::Event(steps) => steps.next(),
            Self::Other(step) => step.take(),
        }
    }
}

impl Head {
    fn new(status: u16, headers: &[(&str, &str)]) -> Self {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            status,
            headers: headers.iter().map(own).collect(),
        }
    }
}

pub(super) fn error_body(kind: &str, code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}
