//! Requests that say whose they are.

use http::Request;
use hyper::service::Service;

use crate::access::Peer;

/// A service whose requests all come from one connection.
pub(super) struct FromPeer<S> {
    pub service: S,
    pub peer: Option<Peer>,
}

impl<S, B> Service<Request<B>> for FromPeer<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> S::Future {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.service.call(request)
    }
}
