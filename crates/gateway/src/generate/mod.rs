//! Generations: what starts one, runs it to its end, and shows it to readers while it runs.

mod attach;
mod batch;
mod connection;
mod costs;
mod course;
mod draft;
mod driver;
mod hedge;
pub mod live;
pub mod recover;
pub mod registry;
mod shadow;
pub mod snapshot;
mod transcript;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstream_core::dialect::openai_responses;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Mode, Surface};
use everstream_core::id::{Epoch, ProjectId, Seq, StreamId};
use everstream_core::limits;
use everstream_core::limits::StreamLimits;
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::policy::recovery::OnCut;
use everstream_core::record::{Accepted, Account, Claim, Digest};
use everstream_core::writer::{Plan, Writer};
use everstream_store::sql::values::Payer;
use everstream_store::{Claimed, Created, Lease, LogError, StreamLog};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Admitted, Slot, Way};
use crate::billing::{Billing, Hold, Order, Tab, account_of};
use crate::clock::Clock;
use crate::limits::Permit;
use crate::random;
use crate::store_error;
use costs::Costs;
pub use course::Course;
use driver::Driver;
use live::{Attachment, Live};
use registry::{Lost, Registry};
use transcript::Transcript;

/// Starts generations and owns their tasks.
#[derive(Clone)]
pub struct Generator {
    /// Prices, budgets and the ledger.
    pub billing: Arc<Billing>,
    /// Where streams are logged.
    pub log: Arc<dyn StreamLog>,
    /// The generations that run here.
    pub registry: Arc<Registry>,
    /// The clock of records and deadlines.
    pub clock: Clock,
    /// This node's number, part of every id it draws.
    pub node: u16,
    /// Bounds of one stream.
    pub limits: StreamLimits,
    /// How long an SDK's own retry finds the generation it belongs to.
    pub retry_window: Duration,
    /// The ids of streams that begin, answer or end here, for whoever watches the list.
    pub changes: broadcast::Sender<StreamId>,
    /// Whether prompts and answers stand in the program's own log.
    pub logs_prompts: bool,
    /// Every running generation; the lifecycle waits for it to be empty.
    pub tasks: TaskTracker,
}

/// A generation to start: an admitted, routed request.
#[derive(Debug)]
pub struct Request {
    /// The owner.
    pub project: ProjectId,
    /// Who pays beside it.
    pub account: Account,
    /// The dialect.
    pub surface: Surface,
    /// Streamed or one body.
    pub mode: Mode,
    /// The model as the client named it.
    pub model: String,
    /// Whether the client asked to see the usage chunk.
    pub show_usage: bool,
    /// How many choices a whole answer has.
    pub choices: u32,
    /// The body as the client sent it.
    pub body: Bytes,
    /// Whom to ask, and what.
    pub course: Course,
    /// How long the client waits for the first event.
    pub timeout: Option<Duration>,
    /// What requests belong together.
    pub session: Option<String>,
    /// What is to become of an answer that is cut, if the client says so.
    pub on_cut: Option<OnCut>,
    /// The `Idempotency-Key`, if there is one.
    pub claim: Option<Claim>,
    /// What an SDK's own retry of this request would look like.
    pub retry_digest: Option<Digest>,
    /// What happens when nobody reads.
    pub on_disconnect: OnDisconnect,
    /// W3C trace context to hand on.
    pub traceparent: Option<String>,
    /// Headers of the client's that its provider has to see, if that is of the client's dialect.
    pub headers: Vec<(&'static str, String)>,
    /// Its place among the generations that run.
    pub slot: Option<Slot>,
    /// What it took of its limits.
    pub permit: Permit,
    /// What is reserved for it in budgets.
    pub hold: Option<Hold>,
}

impl Request {
    /// Reserves the worst that it may cost, in all budgets that cover the payer.
    ///
    /// # Errors
    /// When one is used up, or as for [`Billing::reserve`].
    pub async fn reserve(&mut self, payer: Payer, generator: &Generator) -> Result<(), Error> {
        self.account = account_of(&payer);
        let billing = &generator.billing;
        if billing.is_free(&payer) {
            return Ok(());
        }
        let order = self.order();
        let held = billing.reserve(payer, &order, || generator.draw_id());
        self.hold = held.await?;
        Ok(())
    }

    fn order(&self) -> Order<'_> {
        Order {
            surface: self.surface,
            body: &self.body,
            choices: self.choices,
            targets: self.course.targets().collect(),
            at_once: 1 + u64::from(self.course.attempts.hedge_after.is_some()),
        }
    }

    /// Waits for its turn, which counts as waiting for the first event.
    ///
    /// # Errors
    /// When it does not come in time, or too many wait already.
    pub async fn admit(&mut self, admission: &Arc<Admission>) -> Result<(), Error> {
        let came = Instant::now();
        let deployments = self.course.deployments();
        let admitted = admission.enter(&self.project, deployments, self.timeout);
        let Admitted { slot, way } = admitted.await?;
        self.slot = Some(slot);
        if let Way::By(place, leave) = way {
            self.course.begin_with(place, leave);
        }
        let left = |timeout: Duration| timeout.saturating_sub(came.elapsed());
        self.timeout = self.timeout.map(left);
        Ok(())
    }
}

/// What [`Generator::start`] did.
#[derive(Debug)]
pub enum Started {
    /// A generation runs, and this is its first reader.
    New(Attachment),
    /// Another stream holds the request's `Idempotency-Key`.
    Claimed(Claimed),
}

impl Generator {
    /// Logs the request and spawns its writer. From here the generation lives without its client.
    ///
    /// # Errors
    /// When the log cannot take it; no upstream was called then.
    pub async fn start(&self, mut request: Request) -> Result<Started, Error> {
        let created_at = self.clock.now();
        let accepted = Arc::new(Accepted {
            project: request.project.clone(),
            account: request.account.clone(),
            surface: request.surface,
            mode: request.mode,
            model: request.model.clone(),
            created_at,
            claim: request.claim,
            include_usage: request.show_usage,
            deadline: request.timeout.map(|timeout| created_at.plus(timeout)),
            session: request.session.clone(),
            on_cut: request.on_cut,
            headers: request
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            request: request.body.clone(),
        });
        let (id, lease) = loop {
            let id = match &request.hold {
                Some(hold) => hold.stream(),
                None => self.draw_id()?,
            };
            let unsure = Unsure(Some((self, id)));
            let created = self.log.create(id, Arc::clone(&accepted)).await;
            if !matches!(created, Err(LogError::Stalled)) {
                unsure.settle();
            }
            match created {
                Ok(Created::New(lease)) => break (id, lease),
                Ok(Created::Claimed(claimed)) => return Ok(Started::Claimed(claimed)),
                Err(LogError::Exists) if request.hold.is_none() => {}
                Err(error) => {
                    let mut error = store_error(&error);
                    error.retry_after = Some(limits::LOG_RETRY_AFTER);
                    return Err(error);
                }
            }
        };
        request.hold = request.hold.map(Hold::begun);
        let live = Live::new(id);
        let attachment = live.attach(Seq::ZERO, limits::STREAM_READERS);
        let attachment = attachment
            .ok_or_else(|| Error::new(ErrorCode::Internal, "A new stream refused its reader."))?;
        let plan = self.plan(id, &request, &accepted);
        request.course.headers.clone_from(&request.headers);
        shadow::cast(self, &plan, &mut request.course);
        let writer = Writer::new(plan, self.clock.now());
        let tab = Some(Tab::new(id, &accepted));
        self.launch(&live, lease, request, writer, tab);
        Ok(Started::New(attachment))
    }

    /// While the log hangs: tells the readers of streams whose task hangs in it. All others end by
    /// themselves.
    pub fn tell_of_stall(&self) {
        if !self.log.is_stalled() {
            return;
        }
        for live in self.registry.all() {
            let message = "The stream log does not answer just now; read the stream again later.";
            let error = Error::new(ErrorCode::StoreUnavailable, message);
            live.give_up_append(error.stream(live.id()));
        }
    }

    /// Spawns the writer of a stream that is leased to this process. Without a tab, what it cost is
    /// read from its log in the end.
    fn launch(
        &self,
        live: &Arc<Live>,
        lease: Lease,
        request: Request,
        writer: Writer,
        tab: Option<Tab>,
    ) {
        let (id, now) = (live.id(), self.clock.now());
        // What another process has begun it has told.
        let is_told = self.logs_prompts && tab.is_some();
        let transcript = is_told.then(|| Box::new(Transcript::begin(id, &request)));
        self.registry.insert(live);
        // Nobody may be watching.
        let _ = self.changes.send(id);
        if let Some(digest) = request.retry_digest {
            self.registry.remember(digest, live, now, self.retry_window);
        }
        let mut course = request.course;
        course.traceparent = request.traceparent;
        course.headers = request.headers;
        let is_streamed = request.mode == Mode::Stream;
        let hold = request.hold.as_ref().filter(|_| is_streamed);
        let costs = Box::new(Costs::new(self, tab, hold));
        let mut permit = request.permit;
        permit.begin();
        let driver = Driver::new(self.clone(), Arc::clone(live), lease, writer, course, costs);
        let driver = driver.limited(permit).told(transcript);
        let held = (request.slot, request.hold);
        self.tasks.spawn(async move {
            driver.run().await;
            // However the task ends: one that dies drops it too.
            drop(held);
        });
    }

    fn plan(&self, stream: StreamId, request: &Request, accepted: &Accepted) -> Plan {
        Plan {
            stream,
            created_at: accepted.created_at,
            surface: request.surface,
            mode: request.mode,
            show_usage: request.show_usage,
            choices: request.choices,
            asked_model: request.model.clone(),
            route: request.course.route(accepted.deadline),
            attempts: request.course.attempts,
            on_cut: request.course.on_cut,
            deadline: accepted.deadline,
            request_bytes: request.body.len(),
            on_disconnect: request.on_disconnect,
            limits: self.limits,
            echo: match request.surface {
                Surface::Responses => openai_responses::echo(&request.body),
                _ => Bytes::new(),
            },
        }
    }

    pub(crate) fn draw_id(&self) -> Result<StreamId, Error> {
        let random = random::u64().map_err(|error| {
            Error::new(
                ErrorCode::Internal,
                format!("The system gave no randomness: {error}."),
            )
        })?;
        Ok(StreamId::new(self.node, random))
    }
}

/// A stream that may be created without anybody who writes it: the log hangs, or the request was
/// dropped while it was waited for. It is ended if it turns up.
struct Unsure<'a>(Option<(&'a Generator, StreamId)>);

impl Unsure<'_> {
    fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        if let Some((generator, id)) = self.0 {
            let (epoch, code) = (Epoch::FIRST, ErrorCode::NotStarted);
            let live = Live::new(id);
            live.lost();
            generator.registry.lose(
                &live,
                Lost {
                    epoch,
                    code: Some(code),
                },
            );
        }
    }
}
