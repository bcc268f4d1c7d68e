use super::said::{Known, Repeat, Said};
use super::usage::estimate;
use crate::answer::{Delta, Finish, Piece, Reason};
use crate::dialect::{ClientDialect, DecodeError, Decoder, Place, Renderer, ReplyHead};
use crate::event::Usage;
use crate::fault::Fault;
use crate::frame::sse::SseEvent;
use crate::writer::Plan;

/// An answer on its way from the upstream's dialect to the client's.
#[derive(Debug)]
pub(super) struct Translation {
    pub(super) client: ClientDialect,
    pub(super) head: ReplyHead,
    decoder: Decoder,
    voice: Voice,
    /// Pieces so far.
    pieces: u64,
    counted: bool,
    /// Choices whose end was told.
    finished: Vec<u32>,
    /// What is dropped, as an earlier attempt said it.
    repeat: Repeat,
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
    /// It cannot be heard on.
    pub(super) broken: Option<Broken>,
}

/// Why an answer cannot be heard on.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is not of the upstream's API, or was cut.
    Api(DecodeError),
    /// It should say again what was delivered, and does not.
    Diverged,
}

impl Translation {
    pub(super) fn new(plan: &Plan, client: ClientDialect) -> Self {
        let head = plan.head();
        Self {
            client,
            head: head.clone(),
            decoder: Decoder::new(plan.leg().provider, &head.id),
            voice: Voice {
                renderer: Renderer::new(client, head),
                said: plan.is_recovering().then(Said::default),
                before: None,
            },
            pieces: 0,
            counted: false,
            finished: Vec::new(),
            repeat: Repeat::Over,
        }
    }

    /// Another attempt goes on with the answer: its events are read from their start and rendered as
    /// if they were of the first. If it `repeats` what was delivered, that is dropped.
    pub(super) fn go_on(&mut self, plan: &Plan, before: &Usage, repeats: bool) {
        self.decoder = Decoder::new(plan.leg().provider, &self.head.id);
        self.pieces = 0;
        self.counted = false;
        self.finished.clear();
        self.voice.before = Some(before.clone());
        self.repeat = match &self.voice.said {
            Some(said) if repeats => Repeat::of(said),
            _ => Repeat::Over,
        };
    }

    /// Its events will be the client's own.
    pub(super) fn reread(&mut self, plan: &Plan) {
        self.decoder = Decoder::new(plan.surface.native(), &self.head.id);
    }

    /// All that was delivered, if it can be gone on from.
    pub(super) fn said(&self) -> Option<&str> {
        self.voice.said.as_ref()?.text()
    }

    /// Where an error comes behind `before` events.
    pub(super) fn place(&self, before: u64) -> Place {
        Place {
            before,
            head: self.head.clone(),
            output: self.voice.renderer.output(),
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

    /// Ends it for the client, as if it had reached its limit of tokens.
    pub(super) fn stopped(&mut self, plan: &Plan, usage: &Usage) -> Vec<SseEvent> {
        let mut events = Vec::new();
        let open = (0..plan.choices.max(1)).filter(|choice| !self.finished.contains(choice));
        for choice in open {
            let finish = Finish {
                reason: Reason::Length,
                detail: None,
            };
            self.voice
                .say(&Delta::Finish { choice, finish }, &mut events);
        }
        self.voice.say(&Delta::Usage(usage.clone()), &mut events);
        self.voice.say(&Delta::End, &mut events);
        events
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
            voice,
            pieces,
            counted,
            finished,
            repeat,
            ..
        } = self;
        let told = events.len();
        let mut heard = Heard::default();
        let result = decode(decoder, &mut |delta| {
            if heard.broken.is_some() {
                return;
            }
            let said = voice.said.as_ref();
            let part = said.map_or(Known::Not, |said| repeat.hear(said, delta));
            if part == Known::Otherwise {
                heard.broken = Some(Broken::Diverged);
                return;
            }
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
                Delta::Finish { choice, .. } => {
                    finished.push(*choice);
                    heard.finished += 1;
                }
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
                        voice.say(&Delta::Usage(estimate(plan, *pieces)), events);
                    }
                }
            }
            match part {
                Known::Not => voice.say(delta, events),
                Known::Before(new) => {
                    let piece = Piece::Text(new.into());
                    voice.say(&Delta::Piece { choice: 0, piece }, events);
                }
                Known::Whole | Known::Otherwise => {}
            }
        });
        heard.told = events.len() > told;
        heard.broken = heard.broken.or(result.err().map(Broken::Api));
        heard
    }
}

/// How the client hears an answer, through all attempts at it.
#[derive(Debug)]
struct Voice {
    renderer: Renderer,
    /// What was delivered, where the answer may have to go on from it.
    said: Option<Said>,
    /// What earlier attempts used, where this one goes on from them.
    before: Option<Usage>,
}

impl Voice {
    fn say(&mut self, delta: &Delta<'_>, events: &mut Vec<SseEvent>) {
        if let Some(said) = &mut self.said {
            said.hear(delta);
        }
        match (delta, &self.before) {
            (Delta::Start(_), Some(_)) => {}
            (Delta::Usage(usage), Some(before)) => {
                let sum = Delta::Usage(before.plus(usage));
                self.renderer.push(&sum, events);
            }
            _ => self.renderer.push(delta, events),
        }
    }
}
