//! Upstreams whose secrets change while they are in use.

use std::sync::Arc;

use super::Kept;
use crate::upstream::standing::{Presented, secrets_of};
use crate::upstream::{Request, Response, SpecError, Upstream, UpstreamError, UpstreamSpec};

impl Upstream {
    /// Its secrets are followed.
    #[must_use]
    pub(super) fn kept(mut self, kept: Kept) -> Self {
        self.kept = Some(kept);
        self
    }

    /// From now on it is called with the keys, the headers and the credentials of `spec`.
    pub(super) fn present(&self, spec: &UpstreamSpec) -> Result<(), SpecError> {
        let presented = Presented::new(spec, &self.base)?;
        // Known before anybody can quote them.
        self.secrets.replace(secrets_of(spec));
        self.presented.store(Arc::new(presented));
        Ok(())
    }

    /// With a secret that may have changed elsewhere: when it is refused, and there turns out to be
    /// another, the request is sent once more. Nothing ran.
    pub(in crate::upstream) async fn send_kept(
        self: &Arc<Self>,
        key: usize,
        request: Request<'_>,
    ) -> Result<Response, UpstreamError> {
        let before = self.presented();
        let response = self.send_once(key, request.clone()).await?;
        let (true, Some(kept)) = (blames_secret(response.head.status), &self.kept) else {
            return Ok(response);
        };
        let is_other = || !Arc::ptr_eq(&before, &self.presented());
        if !is_other() {
            kept.hurried().await;
        }
        if !is_other() {
            return Ok(response);
        }
        drop(response);
        self.send_once(key, request).await
    }

    /// It answered with this status, which may mean that it does not take what it was called with.
    pub(in crate::upstream) fn refused(&self, status: u16) {
        if status == 401 {
            self.presented.load().signer.refused();
        }
        if let (true, Some(kept)) = (blames_secret(status), &self.kept) {
            kept.hurry();
        }
    }
}

const fn blames_secret(status: u16) -> bool {
    matches!(status, 401 | 403)
}
