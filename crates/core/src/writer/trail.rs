//! A writer that finds an answer again whose former writer died: its provider may be running it still.

use crate::content::Json;
use crate::dialect::{Handle, Tally};
use crate::error::{Error, ErrorCode};
use crate::event::{Event, Mode};
use crate::frame::sse::SseEvent;
use crate::id::{Seq, UnixMillis};
use crate::record::Record;

use super::answer::Answer;
use super::calls::Calls;
use super::outcome::Outcome;
use super::resume::stopped;
use super::{Plan, Writer};

/// What the log says of an attempt that may be going on at its provider.
#[derive(Debug)]
pub struct Trail {
    plan: Plan,
    /// How many attempts were made, and which of them it is.
    made: u32,
    attempt: u32,
    /// By what it is found; `None` where the request is sent again under its key.
    handle: Option<Handle>,
    heard: Tally,
    bytes: u64,
}

impl Trail {
    /// The attempt at the generation of `plan` that did not come to nothing, as these records beside its
    /// events say. `None` where its provider has no way back to it, or is not on the route any more.
    pub fn new(mut plan: Plan, audit: &[Record]) -> Option<Self> {
        let calls = Calls::read(audit);
        if calls.are_several {
            return None;
        }
        let (attempt, place, handle) = calls
            .open
            .iter()
            .filter_map(|call| {
                let place = plan.route.place_of(call.dialled)?;
                let handle = match call.head {
                    Some(head) if plan.mode == Mode::Stream => Some(head.handle.clone()?),
                    _ if plan.route.legs()[place].keyed => None,
                    _ => return None,
                };
                Some((call.dialled.attempt, place, handle))
            })
            // Of two that were asked at once the one that is known to run.
            .min_by_key(|(_, _, handle)| handle.is_none())?;
        plan.route.turn_to(place);
        Some(Self {
            plan,
            made: calls.made,
            attempt,
            handle,
            heard: Tally::default(),
            bytes: 0,
        })
    }

    /// Takes the next event of the log.
    pub fn push(&mut self, event: &Event) {
        self.bytes += event.data.len() as u64;
        self.heard.push(&SseEvent {
            name: event.name.clone(),
            data: event.data.clone(),
        });
    }

    /// The writer behind the last event. It waits for [`Input::Start`](super::Input::Start), and looks
    /// for the provider's stream then. If that is not found, `ladder` says who goes on, and if there is
    /// none, the failure is told; `output` is what was delivered of OpenAI's items, which that repeats.
    pub fn writer(
        self,
        ladder: Option<Writer>,
        output: Option<Json<'static>>,
        now: UnixMillis,
    ) -> Writer {
        let Self {
            plan,
            made,
            attempt,
            handle,
            heard,
            bytes,
        } = self;
        let cut = match heard.events() {
            0 => unknown(),
            _ => stopped(),
        };
        let mut writer = ladder.unwrap_or_else(|| {
            let place = plan.route.at();
            let mut writer = Writer::new(plan, now);
            writer.answer = Answer::logged(&writer.plan, heard.events(), output);
            writer.attempts.reread(made, attempt, vec![place]);
            writer.seq = Seq::new(heard.events());
            writer.acknowledged = writer.seq;
            writer.bytes = bytes;
            writer
        });
        writer.attempts.latest = None;
        writer.lost_before(now, handle, heard, cut);
        writer
    }
}

/// What is told if an attempt of which nothing was heard is not found. Nobody else is asked: it may
/// have run.
fn unknown() -> Outcome {
    let message = "The gateway was stopped after the request was sent and before an answer came; the \
                   provider may have run it.";
    Outcome::failed(Error::new(ErrorCode::OutcomeUnknown, message))
}
