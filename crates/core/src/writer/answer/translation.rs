use super::estimate;
use crate::answer::{Delta, Piece};
use crate::dialect::{ClientDialect, DecodeError, Decoder, Place, Renderer, ReplyHead};
use crate::event::Usage;
use crate::fault::Fault;
use crate::frame::sse::SseEvent;
use crate::id::UnixMillis;
use crate::writer::Plan;

/// An answer on its way from the upstream's dialect to the client's.
#[derive(Debug)]
pub(super) struct Translation {
    pub(super) client: ClientDialect,
    pub(super) head: ReplyHead,
    decoder: Decoder,
    renderer: Renderer,
    /// Pieces so far.
    pieces: u64,
    counted: bool,
}

/// What one event of the upstream's, or its end, says.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// There are events for the client.
    pub(super) told: bool,
    /// It says anything at all.
    pub(super) progress: bool,
    /// Pieces of the answer.
    pub(super) pieces: u64,
    /// Choices that end.
    pub(super) finished: u32,
    pub(super) usage: Option<Usage>,
    /// The upstream gave up.
    pub(super) fault: Option<Fault>,
    /// Its own end of the answer.
    pub(super) ended: bool,
    /// It is not of the upstream's API.
    pub(super) broken: Option<DecodeError>,
}

impl Translation {
    pub(super) fn new(plan: &Plan, client: ClientDialect, now: UnixMillis) -> Self {
        let head = plan.head(now);
        Self {
            client,
            head: head.clone(),
            decoder: Decoder::new(plan.leg().provider, &head.id),
            renderer: Renderer::new(client, head),
            pieces: 0,
            counted: false,
        }
    }

    /// Where an error comes behind `before` events.
    pub(super) fn place(&self, before: u64) -> Place {
        Place {
            before,
            head: self.head.clone(),
            output: self.renderer.output(),
        }
    }

    /// Takes one event; those for the client go to `events`.
    pub(super) fn push(
        &mut self,
        plan: &Plan,
        event: &SseEvent,
        events: &mut Vec<SseEvent>,
    ) -> Heard {
        self.hear(plan, events, |decoder, out| {
            decoder.push(&event.name, &event.data, out)
        })
    }

    /// Takes the end of the stream.
    pub(super) fn finish(&mut self, plan: &Plan, events: &mut Vec<SseEvent>) -> Heard {
        self.hear(plan, events, Decoder::finish)
    }

    fn hear(
        &mut self,
        plan: &Plan,
        events: &mut Vec<SseEvent>,
        decode: impl FnOnce(&mut Decoder, &mut dyn FnMut(&Delta<'_>)) -> Result<(), DecodeError>,
    ) -> Heard {
        let Self {
            decoder,
            renderer,
            pieces,
            counted,
            ..
        } = self;
        let before = events.len();
        let mut heard = Heard::default();
        let result = decode(decoder, &mut |delta| {
            heard.progress = true;
            match delta {
                Delta::Start(_)
                | Delta::Piece {
                    piece: Piece::Close,
                    ..
                } => {}
                Delta::Piece { .. } => {
                    *pieces += 1;
                    heard.pieces += 1;
                }
                Delta::Finish { .. } => heard.finished += 1,
                Delta::Usage(usage) => {
                    *counted = true;
                    heard.usage = Some(usage.clone());
                }
                // The writer says it, as it knows whether anybody has heard anything yet.
                Delta::Error(fault) => {
                    heard.fault = Some(fault.clone());
                    return;
                }
                Delta::End => {
                    heard.ended = true;
                    if !*counted {
                        let usage = Delta::Usage(estimate(plan, *pieces));
                        renderer.push(&usage, events);
                    }
                }
            }
            renderer.push(delta, events);
        });
        heard.told = events.len() > before;
        heard.broken = result.err();
        heard
    }
}
