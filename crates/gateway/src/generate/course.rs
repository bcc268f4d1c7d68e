//! The deployments that may answer one request, and what each of them is sent.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use everstream_core::dialect::openai::Envelope;
use everstream_core::dialect::{Prefix, ProviderDialect, Target, continuation_body, upstream_body};
use everstream_core::error::Error;
use everstream_core::event::{Mode, Surface};
use everstream_core::policy::attempt::AttemptPolicy;
use everstream_core::policy::hedge::HedgeAfter;
use everstream_core::policy::recovery::Abilities;
use everstream_core::writer::{Advice, Breakage, Leg, Route};

use crate::random;
use crate::upstream::health::Leave;
use crate::upstream::{Deployment, Routed, Upstream};

/// A request, and who may be asked, in order.
#[derive(Debug)]
pub struct Course {
    envelope: Envelope,
    mode: Mode,
    first: Stop,
    others: Vec<Stop>,
    pub(super) attempts: AttemptPolicy,
    /// W3C trace context to hand on.
    pub(super) traceparent: Option<String>,
    /// Headers for upstreams of the client's own dialect.
    pub(super) headers: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Stop {
    deployment: Deployment,
    /// What it is sent the first time, if that is written already.
    body: Option<Bytes>,
    asked: bool,
}

/// What an upstream is asked.
pub(super) struct Call {
    pub(super) upstream: Arc<Upstream>,
    pub(super) path: Cow<'static, str>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Course {
    /// Writes the request for the first deployment that can be asked it, and leaves out all that
    /// cannot.
    ///
    /// # Errors
    /// Why the first one cannot be asked, if none can.
    pub fn new(envelope: Envelope, mode: Mode, routed: Routed) -> Result<Self, Error> {
        let Routed { first, others, .. } = routed;
        let mut refused = None;
        let mut stops = Vec::with_capacity(1 + others.len());
        for deployment in std::iter::once(first).chain(others) {
            match prepare(&envelope, mode, &deployment, stops.is_empty()) {
                Ok(body) => stops.push(Stop {
                    deployment,
                    body,
                    asked: false,
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
                attempts: routed.attempts,
                traceparent: None,
                headers: Vec::new(),
            }),
            (None, error) => Err(error.unwrap_or_else(|| {
                let message = "There is nobody to ask.";
                Error::new(everstream_core::error::ErrorCode::Internal, message)
            })),
        }
    }

    /// Sends an upstream `body` in place of what the request says, the first time.
    pub fn replace(&mut self, upstream: &str, write: impl Fn(&Deployment, Mode) -> Option<Bytes>) {
        let mode = self.mode;
        for stop in std::iter::once(&mut self.first).chain(&mut self.others) {
            if stop.deployment.upstream.name() == upstream
                && let Some(body) = write(&stop.deployment, mode)
            {
                stop.body = Some(body);
            }
        }
    }

    /// As the writer sees it.
    pub(super) fn route(&self) -> Route {
        let surface = self.envelope.surface();
        let after = self.attempts.hedge_after;
        let leg = |stop: &Stop| leg(&stop.deployment, surface, after);
        Route::new(leg(&self.first), self.others.iter().map(leg))
    }

    /// What is known after a failure of the deployment at `failed`. A retry is taken out of its
    /// budget, unless somebody else can be asked instead.
    pub(super) fn advice(&self, failed: usize) -> Advice {
        let mut fresh = false;
        let mut open = Vec::new();
        for (place, stop) in self.stops().enumerate() {
            if stop.deployment.health.refused().is_none() {
                open.push(place);
                fresh |= !stop.asked;
            }
        }
        let failed = self.stops().nth(failed);
        let health = failed.map(|stop| &stop.deployment.health);
        let rest = health.and_then(|health| health.refused());
        Advice {
            open,
            in_budget: !fresh && health.is_some_and(|health| health.may_retry()),
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
            upstream,
            model,
            health,
            ..
        } = &stop.deployment;
        let again = std::mem::replace(&mut stop.asked, true);
        let leave = health.admit(again);
        let leave = leave.map_err(|refused| refused.breakage(upstream.name()))?;
        let body = match (prefix, stop.body.take()) {
            (Some(prefix), _) => {
                go_on(&self.envelope, self.mode, &stop.deployment, prefix).map_err(unsent)?
            }
            (None, Some(body)) => body,
            (None, None) => write(&self.envelope, self.mode, &stop.deployment).map_err(unsent)?,
        };
        let surface = self.envelope.surface();
        let dialect = upstream.dialect_for(surface);
        let path = dialect.path(surface, model, self.mode);
        let call = Call {
            path: upstream.path(path, model),
            upstream: Arc::clone(upstream),
            headers: self.headers_for(dialect),
            body,
        };
        Ok((leave, call))
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

    fn stops(&self) -> impl Iterator<Item = &Stop> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// The body for a deployment, if it is wanted now; else only whether there can be one.
fn prepare(
    envelope: &Envelope,
    mode: Mode,
    deployment: &Deployment,
    wanted: bool,
) -> Result<Option<Bytes>, Error> {
    let surface = envelope.surface();
    let dialect = deployment.upstream.dialect_for(surface);
    if !wanted && surface.passes_through(dialect) {
        return Ok(None);
    }
    let body = write(envelope, mode, deployment)?;
    Ok(wanted.then_some(body))
}

fn write(envelope: &Envelope, mode: Mode, deployment: &Deployment) -> Result<Bytes, Error> {
    let Deployment {
        upstream, model, ..
    } = deployment;
    let target = Target {
        model,
        stream: mode == Mode::Stream,
        traits: &upstream.traits(model),
    };
    upstream_body(envelope, upstream.dialect_for(envelope.surface()), &target)
}

/// The body of a request to go on with an answer that begins so.
fn go_on(
    envelope: &Envelope,
    mode: Mode,
    deployment: &Deployment,
    prefix: &Prefix,
) -> Result<Bytes, Error> {
    let Deployment {
        upstream, model, ..
    } = deployment;
    let target = Target {
        model,
        stream: mode == Mode::Stream,
        traits: &upstream.traits(model),
    };
    let dialect = upstream.dialect_for(envelope.surface());
    continuation_body(envelope, dialect, &target, prefix)
}

fn unsent(error: Error) -> Breakage {
    Breakage {
        code: error.code,
        message: error.message,
        nothing_ran: true,
        retry_after: None,
    }
}

fn leg(deployment: &Deployment, surface: Surface, hedge_after: Option<HedgeAfter>) -> Leg {
    let upstream = &deployment.upstream;
    let spec = upstream.spec();
    Leg {
        upstream: upstream.name().to_owned(),
        provider: upstream.dialect_for(surface),
        model: deployment.model.clone(),
        secrets: upstream.secrets(),
        head_timeout: spec.head_timeout,
        first_event_timeout: spec.first_event_timeout,
        event_timeout: spec.event_timeout,
        total_timeout: spec.total_timeout,
        context_window: deployment.context_window,
        abilities: Abilities::default(),
        hedge_after: hedge_after.and_then(|after| deployment.health.hedge_after(after)),
    }
}
