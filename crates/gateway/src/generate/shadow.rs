//! Copies of requests that go to deployments of which no client hears: their answers are read to the
//! end, judged as all others, and dropped.

use std::sync::Arc;
use std::time::Duration;

use everstream_core::id::UnixMillis;
use everstream_core::limits::SHADOW_TIMEOUT;
use everstream_core::policy::attempt::AttemptPolicy;
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::policy::recovery::OnCut;
use everstream_core::record::{End, Record};
use everstream_core::writer::{Advice, Input, Leg, Output, Plan, Route, Writer};
use tokio::time::{Instant, sleep_until};

use super::Generator;
use super::attach;
use super::connection::{Connection, dial};
use super::course::Course;
use crate::clock::Clock;
use crate::upstream::health::Leave;

/// One copy under way.
struct Shadow {
    clock: Clock,
    course: Course,
    writer: Writer,
    leave: Option<Leave>,
    connection: Connection,
    first_content: Option<Duration>,
    end: Option<Arc<End>>,
}

/// Sends the copies of a request that are due. Nobody waits for them: not the client, and not the
/// end of the process. Where there is no room for one, there is none.
pub(super) fn cast(generator: &Generator, plan: &Plan, course: &mut Course) {
    for (course, room) in course.shadows() {
        if generator.tasks.is_closed() {
            return;
        }
        let Ok(room) = room.try_acquire_owned() else {
            tracing::debug!(stream = %plan.stream, "no room for a shadow");
            continue;
        };
        let clock = generator.clock;
        let shadow = Shadow {
            clock,
            writer: Writer::new(plan_of(plan, course.route(None)), clock.now()),
            course,
            leave: None,
            connection: Connection::None,
            first_content: None,
            end: None,
        };
        let generations = generator.tasks.clone();
        tokio::spawn(async move {
            let _room = room;
            tokio::select! {
                () = shadow.run() => {}
                // All that the process had to see to is done.
                () = generations.wait() => {}
            }
        });
    }
}

/// What the client's own generation is, for one deployment that is asked once.
fn plan_of(plan: &Plan, route: Route) -> Plan {
    let bounded = |leg: &Leg| Leg {
        total_timeout: Some(
            leg.total_timeout
                .unwrap_or(SHADOW_TIMEOUT)
                .min(SHADOW_TIMEOUT),
        ),
        ..leg.clone()
    };
    let mut legs = route
        .legs()
        .iter()
        .map(bounded)
        .collect::<Vec<_>>()
        .into_iter();
    let route = match legs.next() {
        Some(first) => Route::new(first, legs),
        None => route,
    };
    Plan {
        route,
        attempts: AttemptPolicy::ONE,
        on_cut: OnCut::Fail,
        deadline: None,
        on_disconnect: OnDisconnect::Continue,
        ..plan.clone()
    }
}

impl Shadow {
    async fn run(mut self) {
        let began = self.clock.now();
        let (mut outputs, mut input) = (Vec::new(), Input::Start);
        loop {
            self.writer.step(self.clock.now(), input, &mut outputs);
            if self.obey(&mut outputs) {
                break;
            }
            let alarm = self.writer.wake_at().map(|at| self.clock.instant(at));
            input = tokio::select! {
                biased;
                input = self.connection.next(self.clock) => input,
                () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {
                    Input::Tick
                }
            };
        }
        self.tell(began);
        self.connection.drain().await;
    }

    /// Does what the writer says, as if all of it were logged; true when it is over.
    fn obey(&mut self, outputs: &mut Vec<Output>) -> bool {
        let mut next = 0;
        while next < outputs.len() {
            let answer = match std::mem::replace(&mut outputs[next], Output::HangUp) {
                Output::Append(records) => {
                    let end = records.into_iter().find_map(|record| match record {
                        Record::End(end) => Some(end),
                        _ => None,
                    });
                    self.end = end.or(self.end.take());
                    Some(Input::Appended)
                }
                Output::Dial(place) | Output::Continue(place, _) => {
                    match self.course.call(place, None) {
                        Ok((leave, call)) => {
                            self.leave = Some(leave);
                            self.connection = dial(call);
                            None
                        }
                        Err(refused) => Some(Input::Broken(refused)),
                    }
                }
                Output::Judge(report) => {
                    self.first_content = report.first_content;
                    if let Some(leave) = self.leave.take() {
                        leave.finish(report);
                    }
                    None
                }
                Output::Consult => Some(Input::Advice(Advice::default())),
                // Nobody is asked beside it.
                Output::FindHedge => Some(Input::HedgeFound(None)),
                Output::Hedge(..) | Output::HedgeLost(..) | Output::HedgeLeads(..) => None,
                Output::HangUp => {
                    self.connection = Connection::None;
                    None
                }
                Output::Done(_) => return true,
                // It is asked once, and nothing of it is looked for again.
                Output::Reattach(..) => Some(Input::Broken(attach::nobody())),
                Output::Cancel(handle) => {
                    if let Some(upstream) = self.course.upstream(0) {
                        tokio::spawn(attach::cancel((upstream, 0), handle));
                    }
                    None
                }
            };
            if let Some(input) = answer {
                self.writer.step(self.clock.now(), input, outputs);
            }
            next += 1;
        }
        outputs.clear();
        false
    }

    /// One line for the operator. Without an error's words, in which a provider may quote the request.
    fn tell(&self, began: UnixMillis) {
        let Some(end) = &self.end else { return };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let first_content_ms = self.first_content.map(millis);
        let took_ms = millis(self.clock.now().since(began));
        tracing::info!(
            upstream = end.upstream.as_deref().unwrap_or_default(),
            status = end.status.as_str(),
            reason = end.reason.as_deref().unwrap_or_default(),
            first_content_ms,
            took_ms,
            input_tokens = end.usage.input_tokens,
            output_tokens = end.usage.output_tokens,
            "shadow"
        );
    }
}
