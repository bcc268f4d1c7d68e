//! What it costs to translate an answer, next to passing it through.
//!
//! A provider's stream goes into a [`Writer`] as the driver would feed it, one event in each read,
//! and comes out as the records that the log gets. No socket and no log takes part: what is measured
//! is framing, understanding and, if the client speaks another API, decoding and rendering. All
//! pairs say the same answer and run in one process, one after the other in each round, so that
//! their ratios hold on a machine that does other things too.

mod streams;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use everstream_core::dialect::{ClientDialect, ProviderDialect};
use everstream_core::event::{Mode, Status, Surface};
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::limits::StreamLimits;
use everstream_core::policy::attempt::AttemptPolicy;
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::policy::recovery::{Abilities, OnCut};
use everstream_core::record::Record;
use everstream_core::secret::Secrets;
use everstream_core::writer::{Input, Leg, Output, Plan, Route, UpstreamHead, Writer};

use crate::http::malformed;
use crate::load::{Figures, Run};
use crate::monotonic::cpu_nanos;

pub use streams::Shape;

/// The ways to ask for an answer that can be translated.
pub const SURFACES: [Surface; 4] = [
    Surface::ChatCompletions,
    Surface::Messages,
    Surface::Responses,
    Surface::GenerateContent,
];

/// The dialects of upstreams: those that clients speak too, so that the same answer can be written in
/// each.
pub const PROVIDERS: [(ProviderDialect, ClientDialect); 4] = [
    (ProviderDialect::OpenAiChat, ClientDialect::OpenAiChat),
    (ProviderDialect::Anthropic, ClientDialect::Anthropic),
    (
        ProviderDialect::OpenAiResponses,
        ClientDialect::OpenAiResponses,
    ),
    (ProviderDialect::Gemini, ClientDialect::Gemini),
];

/// One in each run of a pair within a round: enough to be seen by the clock.
const ANSWERS: u32 = 20;
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// Runs every pair in every shape, `rounds` times, or the pairs whose names begin with `only`. A figure `cpu_per_event_ns` is the CPU time of this
/// thread for one event of the upstream's.
///
/// # Errors
/// When an answer does not come out whole.
pub fn measure(rounds: u32, only: &str) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for round in 1..=rounds {
        for shape in Shape::ALL {
            for (provider, language) in PROVIDERS {
                let reads = shape.stream(language);
                for surface in SURFACES {
                    let target = pair(surface, provider);
                    if !target.starts_with(only) {
                        continue;
                    }
                    let plan = plan(surface, provider);
                    let begin = cpu_nanos();
                    for _ in 0..ANSWERS {
                        answer(&plan, &reads).map_err(malformed)?;
                    }
                    let nanos = crate::load::float(cpu_nanos() - begin);
                    let events = f64::from(ANSWERS) * crate::load::float(reads.len() as u64);
                    runs.push(Run {
                        target,
                        scenario: shape.scenario().into(),
                        round,
                        figures: Figures::from([("cpu_per_event_ns".into(), nanos / events)]),
                    });
                }
            }
        }
    }
    Ok(runs)
}

/// How results call a client's API in front of an upstream's.
pub fn pair(surface: Surface, provider: ProviderDialect) -> String {
    format!("{}/{}", surface.as_str(), provider.as_str())
}

/// Feeds a whole answer to a writer, as the driver does, and gives the number of events that came
/// out of it.
fn answer(plan: &Plan, reads: &[Bytes]) -> Result<usize, String> {
    let mut session = Session {
        writer: Writer::new(plan.clone(), NOW),
        outputs: Vec::new(),
        events: 0,
        status: None,
    };
    session.feed(Input::Start);
    session.feed(Input::Head(UpstreamHead {
        status: 200,
        content_type: Some("text/event-stream".into()),
        ..UpstreamHead::default()
    }));
    for read in reads {
        session.feed(Input::Bytes(read.clone()));
    }
    session.feed(Input::Ended);
    match session.status {
        // Some APIs have a call in one event.
        Some(Status::Completed) if session.events > 10 => Ok(session.events),
        status => Err(format!(
            "an answer ended as {status:?} with {} events of {} reads",
            session.events,
            reads.len()
        )),
    }
}

/// A writer, and a log that takes everything at once.
struct Session {
    writer: Writer,
    outputs: Vec<Output>,
    events: usize,
    status: Option<Status>,
}

impl Session {
    fn feed(&mut self, input: Input) {
        self.writer.step(NOW, input, &mut self.outputs);
        let mut appended = false;
        for output in self.outputs.drain(..) {
            if let Output::Append(records) = output {
                appended = true;
                for record in &records {
                    match record {
                        Record::Event(_) => self.events += 1,
                        Record::End(end) => self.status = Some(end.status),
                        _ => {}
                    }
                }
            }
        }
        if appended {
            self.feed(Input::Appended);
        }
    }
}

fn plan(surface: Surface, provider: ProviderDialect) -> Plan {
    let leg = Leg {
        upstream: "bench".to_owned(),
        provider,
        model: "m".to_owned(),
        secrets: Secrets::default(),
        head_timeout: None,
        first_event_timeout: Duration::from_mins(10),
        event_timeout: Duration::from_mins(2),
        total_timeout: None,
        context_window: None,
        abilities: Abilities::default(),
        hedge_after: None,
        keyed: false,
    };
    Plan {
        stream: StreamId::from_bits(7),
        created_at: UnixMillis(0),
        surface,
        mode: Mode::Stream,
        show_usage: true,
        choices: 1,
        asked_model: "m".to_owned(),
        route: Route::new(leg, []),
        attempts: AttemptPolicy::default(),
        on_cut: OnCut::Fail,
        deadline: None,
        request_bytes: 400,
        on_disconnect: OnDisconnect::Continue,
        echo: Bytes::new(),
        limits: StreamLimits::default(),
    }
}
