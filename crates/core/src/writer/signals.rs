//! What a writer is told, and what it tells the driver.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::content::Json;
use crate::dialect::{Handle, Prefix, ProviderDialect, ReplyHead};
use crate::error::ErrorCode;
use crate::event::{Mode, Surface};
use crate::id::{StreamId, UnixMillis};
use crate::limits::StreamLimits;
use crate::policy::attempt::AttemptPolicy;
use crate::policy::deployment::Report;
use crate::policy::disconnect::OnDisconnect;
use crate::policy::recovery::{Abilities, OnCut};
use crate::record::{Dialled, End, Record};
use crate::secret::Secrets;

/// What a writer needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The stream it writes.
    pub stream: StreamId,
    /// When it was accepted.
    pub created_at: UnixMillis,
    /// The dialect.
    pub surface: Surface,
    /// Streamed or one body.
    pub mode: Mode,
    /// Whether the client asked to see the usage chunk.
    pub show_usage: bool,
    /// How many choices a whole answer has.
    pub choices: u32,
    /// The model as the client named it.
    pub asked_model: String,
    /// Who may be asked.
    pub route: Route,
    /// How often, and when it is enough.
    pub attempts: AttemptPolicy,
    /// What happens to an answer that is cut.
    pub on_cut: OnCut,
    /// When the client wants to have heard something.
    pub deadline: Option<UnixMillis>,
    /// Size of the request, for an estimate of its tokens.
    pub request_bytes: usize,
    /// What happens when nobody reads.
    pub on_disconnect: OnDisconnect,
    /// Bounds of the stream.
    pub limits: StreamLimits,
    /// For OpenAI's responses: what of the request they repeat. Else empty.
    pub echo: Bytes,
}

impl Plan {
    /// Who is asked, or was asked last.
    pub fn leg(&self) -> &Leg {
        &self.route.legs[self.route.at]
    }

    /// Whether an answer that is cut may go on.
    pub(super) fn is_recovering(&self) -> bool {
        self.on_cut == OnCut::Recover
            && self.mode == Mode::Stream
            && self.choices <= 1
            && self.route.legs.iter().any(|leg| leg.abilities.any())
    }
}

/// The deployments of a model in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct Route {
    legs: Vec<Leg>,
    at: usize,
    /// The places that took no request when it was drawn up.
    closed: Vec<usize>,
}

impl Route {
    /// A route that begins at `first`.
    pub fn new(first: Leg, others: impl IntoIterator<Item = Leg>) -> Self {
        let mut legs = vec![first];
        legs.extend(others);
        Self {
            legs,
            at: 0,
            closed: Vec::new(),
        }
    }

    /// The same, of which these places take no request for now.
    #[must_use]
    pub fn closed(self, closed: Vec<usize>) -> Self {
        Self { closed, ..self }
    }

    /// The places that take requests, as far as it was known when it was drawn up.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> {
        (0..self.legs.len()).filter(|place| !self.closed.contains(place))
    }

    /// The place of the one that is asked, from 0.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// All of them.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// Where the deployment is that was asked so, if it is still there.
    pub(super) fn place_of(&self, asked: &Dialled) -> Option<usize> {
        let is_it = |leg: &Leg| leg.upstream == asked.upstream && leg.model == asked.model;
        self.legs.iter().position(is_it)
    }

    /// Goes on to another one. Places that are not there change nothing.
    pub(super) fn turn_to(&mut self, place: usize) {
        if place < self.legs.len() {
            self.at = place;
        }
    }
}

/// One deployment on a route.
#[derive(Clone, Debug)]
pub struct Leg {
    /// The configured name of its upstream.
    pub upstream: String,
    /// The API that it speaks.
    pub provider: ProviderDialect,
    /// The model's name there.
    pub model: String,
    /// What it is called with and nobody else may see.
    pub secrets: Secrets,
    /// Longest time to the head of its answer.
    pub head_timeout: Option<Duration>,
    /// Longest silence before the first event.
    pub first_event_timeout: Duration,
    /// Longest silence between two events.
    pub event_timeout: Duration,
    /// Longest time for all of its answer.
    pub total_timeout: Option<Duration>,
    /// How many tokens the model takes, if that is known.
    pub context_window: Option<u64>,
    /// What it can do for an answer that was cut.
    pub abilities: Abilities,
    /// When its first content is so late that another one is asked beside.
    pub hedge_after: Option<Duration>,
    /// It runs the same request under the same `Idempotency-Key` once.
    pub keyed: bool,
}

impl Plan {
    /// What the gateway knows of the answer.
    pub(super) fn head(&self) -> ReplyHead {
        ReplyHead {
            id: self.stream.to_string(),
            model: self.leg().model.clone(),
            created: self.created_at.0 / 1000,
            show_usage: self.show_usage,
            echo: self.echo.clone(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The stream is created and leased: go.
    Start,
    /// The upstream's head is here.
    Head(UpstreamHead),
    /// One read of the upstream's body.
    Bytes(Bytes),
    /// The upstream's body ended as HTTP says it should.
    Ended,
    /// The upstream could not be reached, or its connection broke.
    Broken(Breakage),
    /// The append is acknowledged.
    Appended,
    /// The append failed; nothing more can be logged.
    AppendFailed(ErrorCode),
    /// The time of [`Writer::wake_at`](super::Writer::wake_at) has come, or an earlier one.
    Tick,
    /// Somebody wants it stopped, for this reason.
    Stop(ErrorCode),
    /// Its budgets have nothing left. With it, for OpenAI's responses, the items that were delivered.
    Exhausted(Option<Json<'static>>),
    /// Readers come and go elsewhere from now on: nobody reading here is no reason to stop.
    Keep,
    /// The number of readers changed.
    Readers(usize),
    /// What is known of the route after a failure: the answer to [`Output::Consult`].
    Advice(Advice),
    /// The place of the route that can be asked beside, if there is one: the answer to
    /// [`Output::FindHedge`].
    HedgeFound(Option<usize>),
    /// A [`Head`](Self::Head), [`Bytes`](Self::Bytes), [`Ended`](Self::Ended) or
    /// [`Broken`](Self::Broken) of the one that was asked beside.
    Hedge(Box<Self>),
}

/// What the driver knows of a route.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// The places of the route that take requests just now.
    pub open: Vec<usize>,
    /// The retry budget of the one that failed has one left.
    pub in_budget: bool,
    /// The one that failed has another key, which does not rest.
    pub other_key: bool,
    /// How long the one that failed takes no request.
    pub rest: Duration,
    /// A random number, for the pause.
    pub random: u64,
}

/// What the writer needs of an upstream's response head.
#[derive(Clone, Debug, Default)]
pub struct UpstreamHead {
    /// The status.
    pub status: u16,
    /// `Content-Type`, as sent.
    pub content_type: Option<String>,
    /// `Content-Encoding`, as sent; anything but `identity` is refused, as none was asked for.
    pub content_encoding: Option<String>,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// By what its stream is found again, if the head says so.
    pub handle: Option<Handle>,
}

/// Why there is no (more of an) answer.
#[derive(Clone, Debug)]
pub struct Breakage {
    /// What kind.
    pub code: ErrorCode,
    /// For a person; names the upstream.
    pub message: String,
    /// True when the provider surely ran nothing.
    pub nothing_ran: bool,
    /// When it makes sense to ask again.
    pub retry_after: Option<Duration>,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append these at the tail, then feed [`Input::Appended`].
    Append(Vec<Record>),
    /// Send the request to this place of the route.
    Dial(usize),
    /// Send it to this place of the route with the beginning of its answer, as
    /// [`continuation_body`](crate::dialect::continuation_body) has it.
    Continue(usize, Arc<Prefix>),
    /// Ask the upstream at this place for its own stream of the answer, from the start; without a handle
    /// by the same request under the same `Idempotency-Key`.
    Reattach(usize, Option<Handle>),
    /// Stop the run that goes on at the upstream that was asked last, as far as that can be done.
    Cancel(Handle),
    /// The attempt is over, and this is what it says of the deployment.
    Judge(Report),
    /// It failed, and somebody else may answer or go on: feed [`Input::Advice`].
    Consult,
    /// Drop the connection to the upstream: its answer is not wanted any more.
    HangUp,
    /// The first content is late: feed [`Input::HedgeFound`].
    FindHedge,
    /// Send the request to this place of the route too, as the attempt of this number. What comes from
    /// there is [`Input::Hedge`].
    Hedge(usize, u32),
    /// The one that was asked beside is over, and this is what it says of its deployment: drop its
    /// connection, and stop its run if that goes on without.
    HedgeLost(Report, Option<Handle>),
    /// The one that was asked first is over, and this is what it says of its deployment: drop its
    /// connection, and stop its run if that goes on without. From now on there is only the other one,
    /// and it takes its place.
    HedgeLeads(Report, Option<Handle>),
    /// It is over. `None` when the log refused the terminal record.
    Done(Option<Arc<End>>),
}
