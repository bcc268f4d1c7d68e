//! A request as one deployment is asked it.

use bytes::Bytes;
use everstream_core::dialect::openai::Envelope;
use everstream_core::dialect::{
    Prefix, ProviderDialect, Target, abilities, continuation_body, upstream_body,
};
use everstream_core::error::Error;
use everstream_core::event::Mode;
use everstream_core::policy::recovery::{Abilities, OnCut};

use crate::upstream::Deployment;

pub(super) struct Draft<'a> {
    envelope: &'a Envelope,
    mode: Mode,
    deployment: &'a Deployment,
}

impl<'a> Draft<'a> {
    pub(super) const fn new(
        envelope: &'a Envelope,
        mode: Mode,
        deployment: &'a Deployment,
    ) -> Self {
        Self {
            envelope,
            mode,
            deployment,
        }
    }

    /// The body, if it is wanted now; else only whether there can be one.
    pub(super) fn prepare(&self, wanted: bool) -> Result<Option<Bytes>, Error> {
        let surface = self.envelope.surface();
        let dialect = self.deployment.upstream.dialect_for(surface);
        if !wanted && surface.passes_through(dialect) {
            return Ok(None);
        }
        let body = self.write()?;
        Ok(wanted.then_some(body))
    }

    /// The body.
    pub(super) fn write(&self) -> Result<Bytes, Error> {
        self.aim(|dialect, target| upstream_body(self.envelope, dialect, target))
    }

    /// The body of a request to go on with an answer that begins so.
    pub(super) fn go_on(&self, prefix: &Prefix) -> Result<Bytes, Error> {
        self.aim(|dialect, target| continuation_body(self.envelope, dialect, target, prefix))
    }

    /// What the deployment can do for an answer that is cut, as far as that is wanted.
    pub(super) fn abilities(&self, on_cut: OnCut) -> Abilities {
        let marked = self.deployment.marked;
        if on_cut == OnCut::Fail || self.mode == Mode::Unary || !marked.any() {
            return Abilities::default();
        }
        self.aim(|dialect, target| abilities(self.envelope, dialect, target, marked))
    }

    /// What `write` makes of the API that the deployment speaks, and of what it is there.
    pub(super) fn aim<T>(&self, write: impl FnOnce(ProviderDialect, &Target<'_>) -> T) -> T {
        let Deployment {
            upstream, model, ..
        } = self.deployment;
        let target = Target {
            model,
            stream: self.mode == Mode::Stream,
            traits: &upstream.traits(model),
        };
        write(upstream.dialect_for(self.envelope.surface()), &target)
    }
}
