//! What everybody saw, and what must hold of it at every moment.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::net::Net;

/// What was seen. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Board {
    net: Net,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) violation: Option<String>,
    pub(crate) calls: Vec<Call>,
    /// How often the gateway was disturbed.
    pub(crate) troubles: u64,
    /// By the stream's id, the frames by seq, from 1.
    streams: BTreeMap<String, BTreeMap<u64, Frame>>,
    /// What became of answers, for the summary.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

/// A request that reached a provider.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) upstream: usize,
    /// Which request of which client it comes from.
    pub(crate) question: String,
    /// The whole answer.
    pub(crate) text: String,
    /// Its status says that nothing ran.
    pub(crate) refused: bool,
    /// All of the answer was sent, with its end.
    pub(crate) whole: bool,
}

/// An event as a client got it. The `retry:` of the first event of each reply is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) event: Option<String>,
    pub(crate) data: String,
}

impl Board {
    pub(crate) fn new(net: &Net) -> Self {
        Self {
            net: net.clone(),
            seen: Rc::default(),
        }
    }

    pub(crate) fn seen<R>(&self, look: impl FnOnce(&mut Seen) -> R) -> R {
        look(&mut self.seen.borrow_mut())
    }

    pub(crate) fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.net.note(format!("VIOLATION: {what}"));
        self.seen(|seen| seen.violation.get_or_insert(what).len());
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.seen(|seen| *seen.counts.entry(what).or_default() += 1);
    }

    /// Somebody got this event: the same as everybody else did.
    pub(crate) fn frame(&self, stream: &str, seq: u64, frame: &Frame) {
        let before = self.seen(|seen| {
            let frames = seen.streams.entry(stream.to_owned()).or_default();
            let before = frames.entry(seq).or_insert_with(|| frame.clone());
            (before != frame).then(|| before.clone())
        });
        if let Some(before) = before {
            self.violate(format!("{stream}.{seq} was {before:?}, and is {frame:?}"));
        }
    }

    /// All that was seen of a stream, from 1 on without a hole.
    pub(crate) fn frames(&self, stream: &str) -> Vec<Frame> {
        self.seen(|seen| {
            let frames = seen.streams.get(stream);
            let frames = frames.into_iter().flatten().zip(1..);
            let dense = frames.take_while(|((seq, _), at)| *seq == at);
            dense.map(|((_, frame), _)| frame.clone()).collect()
        })
    }

    /// A stream ended for somebody who had read all of it: it is whole, or says that it is not.
    pub(crate) fn ended(&self, stream: &str, question: &str) {
        let frames = self.frames(stream);
        let Some(last) = frames.last() else {
            self.violate(format!("{stream} ended without an event"));
            return;
        };
        let text: String = frames.iter().filter_map(Frame::text).collect();
        if last.is_done() {
            self.count("whole streams");
            self.whole(stream, question, &text);
        } else if let Some(code) = last.error() {
            self.count("streams with an error");
            self.net.note(format!("{stream} ended with {code}"));
            let calls = self.calls(question);
            if !text.is_empty() && !calls.iter().any(|call| call.text.starts_with(&text)) {
                self.violate(format!("{stream}: nobody said {text:?}"));
            }
        } else {
            self.violate(format!("{stream} ended with {last:?}"));
        }
    }

    /// An answer that looks complete is all that a provider said, its end included.
    pub(crate) fn whole(&self, what: &str, question: &str, text: &str) {
        let calls = self.calls(question);
        if !calls.iter().any(|call| call.whole && call.text == text) {
            self.violate(format!(
                "{what} looks complete with {text:?}, and the providers said {calls:?}"
            ));
        }
    }

    pub(crate) fn calls(&self, question: &str) -> Vec<Call> {
        self.seen(|seen| {
            let calls = seen.calls.iter();
            let of_it = calls.filter(|call| call.question == question);
            of_it.cloned().collect()
        })
    }
}

impl Frame {
    pub(crate) fn is_done(&self) -> bool {
        self.data == "[DONE]"
    }

    /// The code of an error event.
    pub(crate) fn error(&self) -> Option<String> {
        let data: Value = serde_json::from_str(&self.data).ok()?;
        code_of(&data)
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.is_done() || self.error().is_some()
    }

    fn text(&self) -> Option<String> {
        let data: Value = serde_json::from_str(&self.data).ok()?;
        let text = data["choices"][0]["delta"]["content"].as_str()?;
        Some(text.to_owned())
    }
}

/// The code of an error in OpenAI's form, if it is one that says what is wrong.
pub(crate) fn code_of(data: &Value) -> Option<String> {
    let error = &data["error"];
    let said = error["message"]
        .as_str()
        .is_some_and(|text| !text.is_empty());
    let code = error["code"].as_str().or(error["type"].as_str())?;
    (said && !code.is_empty()).then(|| code.to_owned())
}
