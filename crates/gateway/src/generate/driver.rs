//! Runs one writer against the world: the only user of the upstream's socket and of the append.
//!
//! All that one read of the socket brought becomes one append, and then one piece for the readers.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use everstream_core::content::Json;
use everstream_core::dialect::{Handle, Prefix};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::Surface;
use everstream_core::id::{Epoch, Seq, StreamId, UnixMillis};
use everstream_core::policy::attempt::FailureKind;
use everstream_core::record::Record;
use everstream_core::writer::{Breakage, Input, Output, Writer};
use everstream_store::{Lease, StreamLog};
use tokio::time::{Sleep, sleep_until};

use super::Generator;
use super::attach::{self, Asked, Call};
use super::connection::{Connection, dial};
use super::costs::Costs;
use super::course::Course;
use super::hedge::{self, Hedge};
use super::live::{Ending, Live, News};
use super::registry::Lost;
use super::snapshot::snapshot;
use super::transcript::Transcript;
use crate::limits::Permit;
use crate::store_error;
use crate::upstream::health::Leave;

const FIRST: Seq = Seq::new(1);

pub(super) struct Driver {
    generator: Generator,
    live: Arc<Live>,
    lease: Lease,
    writer: Writer,
    /// Who may be asked; `None` as soon as nobody else may be.
    pub(super) course: Option<Box<Course>>,
    /// The place on it that is asked, and the leave to do so.
    pub(super) place: usize,
    pub(super) leave: Option<Leave>,
    /// What failed last.
    failure: Option<FailureKind>,
    /// The upstream that was asked last.
    pub(super) asked: Option<Asked>,
    pub(super) connection: Connection,
    /// Who is asked beside.
    pub(super) hedge: Option<Box<Hedge>>,
    costs: Box<Costs>,
    /// What is told of it in the program's own log.
    transcript: Option<Box<Transcript>>,
    /// The error of the last append, for readers if the log takes nothing any more.
    append_error: Option<Error>,
    /// What the generation took of its limits, until its end is logged.
    permit: Permit,
}

impl Driver {
    pub(super) fn new(
        generator: Generator,
        live: Arc<Live>,
        lease: Lease,
        writer: Writer,
        course: Course,
        costs: Box<Costs>,
    ) -> Self {
        Self {
            place: writer.place(),
            generator,
            live,
            lease,
            writer,
            course: Some(Box::new(course)),
            leave: None,
            failure: None,
            asked: None,
            connection: Connection::None,
            hedge: None,
            costs,
            transcript: None,
            append_error: None,
            permit: Permit::default(),
        }
    }

    /// What is asked and answered is logged.
    pub(super) fn told(self, transcript: Option<Box<Transcript>>) -> Self {
        Self { transcript, ..self }
    }

    /// The generation takes part in limits.
    pub(super) fn limited(self, permit: Permit) -> Self {
        Self { permit, ..self }
    }

    /// Steps the writer until it is done.
    pub(super) fn run(self) -> impl Future<Output = ()> + Send {
        let mut driver = self;
        // An `async fn` that took `self` would hold it twice, which is much for one of many tasks.
        async move { driver.drive().await }
    }

    async fn drive(&mut self) {
        let live = Arc::clone(&self.live);
        // However this task ends, a panic included, no reader may wait for ever.
        let _farewell = Farewell {
            generator: self.generator.clone(),
            live: Arc::clone(&live),
            epoch: self.lease.epoch,
        };
        let mut alarm = pin!(sleep_until(self.generator.clock.instant(UnixMillis(0))));
        let mut alarm_at = None;
        let mut outputs = Vec::new();
        let mut input = Input::Start;
        loop {
            self.writer
                .step(self.generator.clock.now(), input, &mut outputs);
            if self.obey(&mut outputs).await {
                break;
            }
            self.set_alarm(alarm.as_mut(), &mut alarm_at);
            input = tokio::select! {
                biased;
                () = live.attention.notified() => match live.news() {
                    News { stop: Some(ErrorCode::BudgetExhausted), .. } => {
                        // Boxed, because it is rare beside all else that this task does.
                        let log = Arc::clone(&self.generator.log);
                        Input::Exhausted(Box::pin(delivered(log, live.id())).await)
                    }
                    News { stop: Some(why), .. } => Input::Stop(why),
                    News { keep: true, .. } => Input::Keep,
                    News { readers, .. } => Input::Readers(readers),
                },
                input = self.connection.next(self.generator.clock) => input,
                input = hedge::next(&mut self.hedge, self.generator.clock), if self.hedge.is_some() => input,
                () = alarm.as_mut(), if alarm_at.is_some() => {
                    alarm_at = None;
                    Input::Tick
                }
            };
        }
        self.connection.drain().await;
    }

    /// Does what the writer said; true when it is over.
    async fn obey(&mut self, outputs: &mut Vec<Output>) -> bool {
        let mut next = 0;
        while next < outputs.len() {
            match std::mem::replace(&mut outputs[next], Output::HangUp) {
                Output::Append(records) => {
                    let input = self.append(records).await;
                    self.writer.step(self.generator.clock.now(), input, outputs);
                }
                Output::Dial(place) => {
                    if let Some(refused) = self.dial(place, None) {
                        let input = Input::Broken(refused);
                        self.writer.step(self.generator.clock.now(), input, outputs);
                    }
                }
                Output::Continue(place, prefix) => {
                    if let Some(refused) = self.dial(place, Some(&prefix)) {
                        let input = Input::Broken(refused);
                        self.writer.step(self.generator.clock.now(), input, outputs);
                    }
                }
                Output::Reattach(place, handle) => {
                    if let Some(lost) = self.reattach(place, handle.as_ref()) {
                        let input = Input::Broken(lost);
                        self.writer.step(self.generator.clock.now(), input, outputs);
                    }
                }
                Output::Cancel(run) => self.cancel(self.upstream(), Some(run)),
                Output::Judge(report) => {
                    self.failure = report.failure;
                    if let Some(leave) = self.leave.take() {
                        leave.finish(report);
                    }
                }
                Output::Consult => {
                    let advice = self.course.as_ref();
                    let began = self.lease.tail.seq >= FIRST;
                    let advice = advice.map(|c| c.advice(self.place, self.failure, began));
                    let input = Input::Advice(advice.unwrap_or_default());
                    self.writer.step(self.generator.clock.now(), input, outputs);
                }
                Output::HangUp => self.connection = Connection::None,
                Output::FindHedge => {
                    let place = self.course.as_mut().and_then(|c| c.hedge());
                    let input = Input::HedgeFound(place);
                    self.writer.step(self.generator.clock.now(), input, outputs);
                }
                Output::Hedge(place, attempt) => {
                    if let Some(input) = self.hedge(place, attempt) {
                        self.writer.step(self.generator.clock.now(), input, outputs);
                    }
                }
                Output::HedgeLost(report, run) => self.hedge_lost(report, run),
                Output::HedgeLeads(report, run) => self.hedge_leads(report, run),
                Output::Done(end) => {
                    if end.is_none() {
                        let error = self.append_error.take().unwrap_or_else(|| {
                            let message = "The stream log could not be written.";
                            Error::new(ErrorCode::StoreUnavailable, message)
                        });
                        self.live.publish(Vec::new(), Some(Ending::Lost(error)));
                    }
                    return true;
                }
            }
            next += 1;
        }
        outputs.clear();
        false
    }

    /// Appends, and only then shows the events to readers.
    async fn append(&mut self, records: Vec<Record>) -> Input {
        self.live.appending();
        let (log, id) = (&self.generator.log, self.live.id());
        let appended = match log.try_append(id, self.lease, &records) {
            Some(appended) => appended,
            None => log.append(id, self.lease, &records).await,
        };
        self.live.appended();
        match appended {
            Ok(lease) => {
                self.lease = lease;
                let mut events = Vec::with_capacity(records.len());
                let mut ending = None;
                for record in records {
                    self.costs.push(&record);
                    match record {
                        Record::Event(event) => {
                            if let Some(transcript) = &mut self.transcript {
                                transcript.push(&event);
                            }
                            events.push(event);
                        }
                        Record::Dialled(dialled) => self.live.asked(dialled.upstream),
                        Record::Abandoned(at) => {
                            self.generator.registry.metrics().abandoned(&at);
                            if let Some(upstream) = at.instead {
                                self.live.asked(upstream);
                            }
                        }
                        Record::End(end) => {
                            self.generator.registry.metrics().ended(&end);
                            // Before anybody hears of the end, and asks the next.
                            self.permit.settle(&end.usage);
                            self.costs.settle(&self.generator, id, &end);
                            if let Some(transcript) = self.transcript.take() {
                                transcript.end(&end);
                            }
                            ending = Some(Ending::Logged(end));
                        }
                        _ => {}
                    }
                }
                let began = events.first().is_some_and(|e| e.seq == FIRST);
                if !events.is_empty() && self.course.is_some() && !self.writer.may_go_on() {
                    // An answer may stream for minutes; its request need not live as long.
                    self.course = None;
                }
                if ending.is_none()
                    && !events.is_empty()
                    && self.costs.are_over(&self.generator, &self.writer)
                {
                    self.live.stop(ErrorCode::BudgetExhausted);
                }
                let news = ending.is_some() || began;
                if !events.is_empty() || ending.is_some() {
                    self.live.publish(events, ending);
                }
                if news {
                    let _ = self.generator.changes.send(self.live.id());
                }
                Input::Appended
            }
            Err(error) => {
                tracing::error!(stream = %self.live.id(), %error, "append failed");
                let error = store_error(&error);
                let code = error.code;
                self.append_error = Some(error);
                Input::AppendFailed(code)
            }
        }
    }

    /// Asks the deployment at a place of the route, unless it takes no requests: for an answer, or to
    /// go on with the one that begins so.
    fn dial(&mut self, place: usize, prefix: Option<&Prefix>) -> Option<Breakage> {
        self.place = place;
        match self.course.as_mut()?.call(place, prefix) {
            Ok((leave, call)) => {
                self.leave = Some(leave);
                self.send(call);
                None
            }
            Err(refused) => Some(refused),
        }
    }

    /// Asks the upstream that was asked last for its own stream of the answer, or for the answer to the
    /// same request once more under the same key.
    fn reattach(&mut self, place: usize, handle: Option<&Handle>) -> Option<Breakage> {
        self.place = place;
        let call = match (handle, self.upstream()) {
            (Some(handle), Some(upstream)) => attach::call(upstream, handle.read()),
            (None, asked) if let Some(course) = &mut self.course => {
                match course.repeat(place, asked.map_or(0, |(_, key)| key)) {
                    Ok(call) => call,
                    Err(unsent) => return Some(unsent),
                }
            }
            _ => return Some(attach::nobody()),
        };
        self.send(call);
        None
    }

    /// The one that was asked last, by this process or the one before.
    fn upstream(&self) -> Option<Asked> {
        let before = || Some((self.course.as_ref()?.upstream(self.place)?, 0));
        self.asked.clone().or_else(before)
    }

    fn send(&mut self, call: Call) {
        self.asked = Some(call.asked());
        self.connection = self.connect(call, self.writer.attempt());
    }

    /// Sends what is asked in the attempt of this number.
    pub(super) fn connect(&self, mut call: Call, attempt: u32) -> Connection {
        if call.keyed {
            let key = format!("everstream-{}-{attempt}", self.live.id());
            call.headers.push(("idempotency-key", key));
        }
        dial(call)
    }

    /// Stops a run that goes on at an upstream without its connection.
    pub(super) fn cancel(&self, upstream: Option<Asked>, run: Option<Handle>) {
        if let (Some(upstream), Some(run)) = (upstream, run) {
            self.generator.tasks.spawn(attach::cancel(upstream, run));
        }
    }

    /// Moves the timer only when it would ring too late: most deadlines move away with each event,
    /// and a timer that rings early costs less than one that is set anew each time.
    fn set_alarm(&self, alarm: Pin<&mut Sleep>, alarm_at: &mut Option<UnixMillis>) {
        let Some(wake_at) = self.writer.wake_at() else {
            *alarm_at = None;
            return;
        };
        if alarm_at.is_none_or(|at| wake_at < at) {
            alarm.reset(self.generator.clock.instant(wake_at));
            *alarm_at = Some(wake_at);
        }
    }
}

/// What was delivered of OpenAI's items, which the last event of a response repeats. What cannot be read
/// is left out.
async fn delivered(log: Arc<dyn StreamLog>, id: StreamId) -> Option<Json<'static>> {
    let stat = log.info(id).await.ok()?;
    if stat.info.surface != Surface::Responses {
        return None;
    }
    snapshot(&*log, &stat).await.ok()?.output()
}

/// Takes the generation out of the registry when its task ends. If its end is not logged, readers
/// who would wait for ever are told, and it is left to be ended later.
struct Farewell {
    generator: Generator,
    live: Arc<Live>,
    epoch: Epoch,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let (registry, epoch) = (&self.generator.registry, self.epoch);
        match self.live.lost() {
            None => registry.remove(self.live.id()),
            Some(code) => {
                let code = Some(code);
                registry.lose(&self.live, Lost { epoch, code });
            }
        }
    }
}
