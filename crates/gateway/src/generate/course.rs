//! The deployments that may answer one request, and what each of them is sent.

use std::sync::Arc;

use bytes::Bytes;
use everstream_core::dialect::openai::Envelope;
use everstream_core::dialect::{Prefix, ProviderDialect, Target};
use everstream_core::error::Error;
use everstream_core::event::{Mode, Surface};
use everstream_core::id::UnixMillis;
use everstream_core::limits;
use everstream_core::policy::attempt::{AttemptPolicy, FailureKind};
use everstream_core::policy::hedge::HedgeAfter;
use everstream_core::policy::recovery::{Abilities, OnCut};
use everstream_core::secret::Secrets;
use everstream_core::writer::{Advice, Breakage, Leg, Route};
use tokio::sync::Semaphore;

use super::attach::Call;
use super::draft::Draft;
use crate::billing::Target as Priced;
use crate::random;
use crate::upstream::health::{Health, Leave};
use crate::upstream::{Deployment, Routed, Shadow, Upstream};

/// A request, and who may be asked, in order.
#[derive(Debug)]
pub struct Course {
    envelope: Envelope,
    mode: Mode,
    first: Stop,
    others: Vec<Stop>,
    shadows: Vec<Shadow>,
    pub(super) attempts: AttemptPolicy,
    pub(super) on_cut: OnCut,
    /// W3C trace context to hand on.
    pub(super) traceparent: Option<String>,
    /// Headers for upstreams of the client's own dialect.
    pub(super) headers: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Stop {
    deployment: Deployment,
    /// What it can do for this answer, if that is cut.
    abilities: Abilities,
    /// What it is sent the first time, if that is written already.
    body: Option<Bytes>,
    /// Leave to ask it the first time, if it was had before.
    leave: Option<Leave>,
    asked: bool,
    /// It runs the same request under the same key once.
    keyed: bool,
}

impl Stop {
    fn new(deployment: Deployment) -> Self {
        Self {
            keyed: deployment.upstream.traits(&deployment.model).keyed,
            deployment,
            abilities: Abilities::default(),
            body: None,
            leave: None,
            asked: false,
        }
    }
}

impl Course {
    /// Writes the request for the first deployment that can be asked it, and leaves out all that
    /// cannot.
    ///
    /// # Errors
    /// Why the first one cannot be asked, if none can.
    pub fn new(envelope: Envelope, mode: Mode, routed: Routed) -> Result<Self, Error> {
        let Routed {
            first,
            others,
            attempts,
            on_cut,
            shadows,
        } = routed;
        let mut refused = None;
        let mut stops = Vec::with_capacity(1 + others.len());
        for deployment in std::iter::once(first).chain(others) {
            let draft = Draft::new(&envelope, mode, &deployment);
            match draft.prepare(stops.is_empty()) {
                Ok(body) => stops.push(Stop {
                    abilities: draft.abilities(on_cut),
                    body,
                    ..Stop::new(deployment)
                }),
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        let mut stops = stops.into_iter();
        match (stops.next(), refused) {
            (Some(first), _) => Ok(Self {
                envelope,
                mode,
                first,
                others: stops.collect(),
                shadows,
                attempts,
                on_cut,
                traceparent: None,
                headers: Vec::new(),
            }),
            (None, error) => Err(error.unwrap_or_else(|| {
                let message = "There is nobody to ask.";
                Error::new(everstream_core::error::ErrorCode::Internal, message)
            })),
        }
    }

    /// Sends an upstream of the client's own dialect what `write` says, and not what the request says,
    /// the first time.
    pub fn replace(&mut self, upstream: &str, write: impl Fn(&Target<'_>) -> Bytes) {
        let native = self.envelope.surface().native();
        for stop in std::iter::once(&mut self.first).chain(&mut self.others) {
            if stop.deployment.upstream.name() != upstream {
                continue;
            }
            let draft = Draft::new(&self.envelope, self.mode, &stop.deployment);
            let aimed = draft.aim(|dialect, target| (dialect == native).then(|| write(target)));
            stop.body = aimed.or(stop.body.take());
        }
    }

    /// What is known of those who may be asked, in order.
    pub fn deployments(&self) -> Vec<Arc<Health>> {
        let stops = self.stops();
        stops
            .map(|stop| Arc::clone(&stop.deployment.health))
            .collect()
    }

    /// The deployments that may be asked, in order.
    pub fn targets(&self) -> impl Iterator<Item = Priced<'_>> {
        self.stops().map(|stop| Priced {
            upstream: stop.deployment.upstream.name(),
            model: &stop.deployment.model,
            context_window: stop.deployment.context_window,
        })
    }

    /// What those who may be asked are called with.
    pub(super) fn secrets(&self) -> impl Iterator<Item = Secrets> {
        self.stops()
            .map(|stop| stop.deployment.upstream.secrets().clone())
    }

    /// Asks the deployment at `place` first, with this leave.
    pub fn begin_with(&mut self, place: usize, leave: Leave) {
        if (1..=self.others.len()).contains(&place) {
            let stop = self.others.remove(place - 1);
            let usual = std::mem::replace(&mut self.first, stop);
            self.others.insert(0, usual);
        }
        self.first.leave = Some(leave);
    }

    /// The courses of the copies that are due, and the room for them.
    pub(super) fn shadows(&mut self) -> impl Iterator<Item = (Self, Arc<Semaphore>)> + '_ {
        let shadows = std::mem::take(&mut self.shadows).into_iter();
        shadows.map(|Shadow { deployment, room }| {
            let course = Self {
                envelope: self.envelope.clone(),
                mode: self.mode,
                first: Stop::new(deployment),
                others: Vec::new(),
                shadows: Vec::new(),
                attempts: AttemptPolicy::ONE,
                on_cut: OnCut::Fail,
                // Its calls are no part of the client's trace.
                traceparent: None,
                headers: self.headers.clone(),
            };
            (course, room)
        })
    }

    /// As the writer sees it. Who takes no request just now is of interest only to clients with a
    /// `deadline`, whose time is shared among the others.
    pub(super) fn route(&self, deadline: Option<UnixMillis>) -> Route {
        let surface = self.envelope.surface();
        let after = self.attempts.hedge_after;
        let leg = |stop: &Stop| leg(stop, surface, after);
        let route = Route::new(leg(&self.first), self.others.iter().map(leg));
        if deadline.is_none() {
            return route;
        }
        let refused = |stop: &Stop| stop.deployment.health.refused().is_some();
        let stops = self.stops().enumerate();
        let closed = stops.filter_map(|(place, stop)| refused(stop).then_some(place));
        route.closed(closed.collect())
    }

    /// What is known after a failure of the deployment at `failed`. A retry is taken out of its
    /// budget, unless somebody else can be asked instead, or the same with another key: for an answer
    /// that `began`, to go on.
    pub(super) fn advice(&self, failed: usize, kind: Option<FailureKind>, began: bool) -> Advice {
        let mut fresh = false;
        let mut open = Vec::new();
        for (place, stop) in self.stops().enumerate() {
            if stop.deployment.health.refused().is_none() {
                open.push(place);
                fresh |= !stop.asked && (stop.abilities.any() || !began);
            }
        }
        let failed = self.stops().nth(failed);
        let health = failed.map(|stop| &stop.deployment.health);
        let rest = health.and_then(|health| health.refused());
        let blames_key = kind.is_some_and(FailureKind::blames_key);
        let open_still = health.filter(|_| blames_key && rest.is_none());
        let other_key = open_still.is_some_and(|health| health.has_another_key());
        Advice {
            open,
            other_key,
            in_budget: !fresh && !other_key && health.is_some_and(|health| health.may_retry()),
            rest: rest.map(|refused| refused.rest()).unwrap_or_default(),
            random: random::u64().unwrap_or_default(),
        }
    }

    /// The first place that was not asked, takes requests and has a retry in its budget, which is taken
    /// out: what is asked beside another one must not multiply an outage.
    pub(super) fn hedge(&mut self) -> Option<usize> {
        let stops = std::iter::once(&mut self.first).chain(&mut self.others);
        let mut stops = stops.enumerate();
        let (place, stop) = stops.find(|(_, stop)| {
            let health = &stop.deployment.health;
            !stop.asked && health.refused().is_none() && health.may_retry()
        })?;
        stop.asked = true;
        Some(place)
    }

    /// What the deployment at `place` is asked, if it may be: for an answer, or to go on from `prefix`.
    pub(super) fn call(
        &mut self,
        place: usize,
        prefix: Option<&Prefix>,
    ) -> Result<(Leave, Call), Breakage> {
        let stop = match place {
            0 => &mut self.first,
            _ => self.others.get_mut(place - 1).unwrap_or(&mut self.first),
        };
        let Deployment {
            upstream, health, ..
        } = &stop.deployment;
        let again = std::mem::replace(&mut stop.asked, true);
        let leave = stop.leave.take().map_or_else(|| health.admit(again), Ok);
        let leave = leave.map_err(|refused| refused.breakage(upstream.name()))?;
        // Where it can be sent again, it has to be the same.
        let written = if stop.keyed {
            stop.body.clone()
        } else {
            stop.body.take()
        };
        let draft = Draft::new(&self.envelope, self.mode, &stop.deployment);
        let body = match (prefix, written) {
            (Some(prefix), _) => draft.go_on(prefix).map_err(unsent)?,
            (None, Some(body)) => body,
            (None, None) => draft.write().map_err(unsent)?,
        };
        let call = self.post(self.stop(place), body, leave.key());
        Ok((leave, call))
    }

    /// The same request to the deployment at `place` once more, with the upstream's key that it was asked
    /// with: it runs it once.
    pub(super) fn repeat(&self, place: usize, key: usize) -> Result<Call, Breakage> {
        let stop = self.stop(place);
        let body = match &stop.body {
            Some(body) => body.clone(),
            None => Draft::new(&self.envelope, self.mode, &stop.deployment)
                .write()
                .map_err(unsent)?,
        };
        Ok(self.post(stop, body, key))
    }

    /// The upstream at `place`.
    pub(super) fn upstream(&self, place: usize) -> Option<Arc<Upstream>> {
        let stop = self.stops().nth(place)?;
        Some(Arc::clone(&stop.deployment.upstream))
    }

    fn post(&self, stop: &Stop, body: Bytes, key: usize) -> Call {
        let keyed = stop.keyed;
        let Deployment {
            upstream, model, ..
        } = &stop.deployment;
        let surface = self.envelope.surface();
        let dialect = upstream.dialect_for(surface);
        let path = dialect.path(surface, model, self.mode);
        let mut headers = self.headers_for(dialect);
        if keyed {
            // As long as it may be looked for. Who has enough of it says so.
            let linger = limits::REATTACH_LINGER.as_secs();
            headers.push(("everstream-on-disconnect", format!("linger:{linger}s")));
        }
        Call {
            method: "POST",
            path: upstream.path(path, model),
            upstream: Arc::clone(upstream),
            headers,
            body: Some(body),
            keyed,
            key,
        }
    }

    fn headers_for(&self, dialect: ProviderDialect) -> Vec<(&'static str, String)> {
        let accept = match self.mode {
            Mode::Stream => dialect.framing().media_type(),
            Mode::Unary => "application/json",
        };
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("accept", accept.to_owned()),
            // The bytes of an answer are logged and passed on as they are.
            ("accept-encoding", "identity".to_owned()),
        ];
        headers.extend(
            self.traceparent
                .clone()
                .map(|context| ("traceparent", context)),
        );
        if dialect == self.envelope.surface().native() {
            headers.extend(self.headers.iter().cloned());
        }
        headers
    }

    /// The one at `place`, or the first if there is none.
    fn stop(&self, place: usize) -> &Stop {
        self.stops().nth(place).unwrap_or(&self.first)
    }

    fn stops(&self) -> impl Iterator<Item = &Stop> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

fn unsent(error: Error) -> Breakage {
    Breakage {
        code: error.code,
        message: error.message,
        nothing_ran: true,
        retry_after: None,
    }
}

fn leg(stop: &Stop, surface: Surface, hedge_after: Option<HedgeAfter>) -> Leg {
    let deployment = &stop.deployment;
    let upstream = &deployment.upstream;
    let spec = upstream.spec();
    Leg {
        upstream: upstream.name().to_owned(),
        provider: upstream.dialect_for(surface),
        model: deployment.model.clone(),
        secrets: upstream.secrets().clone(),
        head_timeout: spec.head_timeout,
        first_event_timeout: spec.first_event_timeout,
        event_timeout: spec.event_timeout,
        total_timeout: spec.total_timeout,
        context_window: deployment.context_window,
        abilities: stop.abilities,
        hedge_after: hedge_after.and_then(|after| deployment.health.hedge_after(after)),
        keyed: stop.keyed,
    }
}
