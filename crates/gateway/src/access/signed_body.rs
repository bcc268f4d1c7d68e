//! Bodies of signed requests.
//!
//! Whoever reads the body of a request that may be signed reads it through a [`SignedBody`], which
//! the server's first layer puts around it. What its signature promises is known once the caller is,
//! and from then on nobody gets the end of a body that is another one: a handler cannot forget to check.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::sign::http::BodyCheck;
use http_body::{Body as _, Frame, SizeHint};

use super::signed::refusal;

/// What a request's signature says of its body, in the extensions of the request.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    /// `Some(None)` when the body was read and nothing had been promised.
    check: Arc<OnceLock<Option<BodyCheck>>>,
    is_empty: bool,
}

/// A body that ends only if it is the one that was promised.
pub(super) struct SignedBody {
    body: Body,
    promise: Promise,
    /// Once something was read.
    check: Option<BodyCheck>,
    /// The last piece is held back until it is known to be good, so that nobody ever has all of a body
    /// that is not.
    held: Option<Bytes>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    /// Nothing is promised.
    Free,
    Bound,
    Over,
}

impl Promise {
    /// A body, and what is going to be promised of it.
    pub(super) fn of(body: Body) -> (Self, Body) {
        let promise = Self {
            check: Arc::default(),
            is_empty: body.is_end_stream(),
        };
        if promise.is_empty {
            return (promise, body);
        }
        let body = SignedBody {
            body,
            promise: promise.clone(),
            check: None,
            held: None,
            state: State::New,
        };
        (promise, Body::new(body))
    }

    /// Promises that the body passes this check; if there surely is none, it is checked now.
    pub(super) fn make(&self, check: BodyCheck) -> Result<(), Error> {
        if self.is_empty {
            return check.finish().map_err(|error| refusal(&error));
        }
        self.check.set(Some(check)).map_err(|_| {
            let message = "The body was read before its signature was checked.";
            Error::new(ErrorCode::Internal, message)
        })
    }
}

impl SignedBody {
    fn finish(&mut self) -> Result<(), Error> {
        self.state = State::Over;
        let good = self.check.take().map_or(Ok(()), BodyCheck::finish);
        good.map_err(|error| {
            self.held = None;
            refusal(&error)
        })
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        while self.state != State::Over {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose();
            let frame = frame.inspect_err(|_| {
                self.state = State::Over;
                self.held = None;
            })?;
            // Trailers are not covered, and nobody here reads any.
            let piece = frame.map(Frame::into_data).map(Result::unwrap_or_default);
            let is_last = piece.is_none() || self.body.is_end_stream();
            let checked = match (&piece, &mut self.check) {
                (Some(piece), Some(check)) => check.update(piece).map_err(|error| refusal(&error)),
                _ => Ok(()),
            };
            let checked = checked.inspect_err(|_| {
                self.state = State::Over;
                self.held = None;
            });
            let checked = checked.and_then(|()| if is_last { self.finish() } else { Ok(()) });
            checked.map_err(axum::Error::new)?;
            if let Some(piece) = piece.filter(|piece| !piece.is_empty())
                && let Some(before) = self.held.replace(piece)
            {
                return Poll::Ready(Some(Ok(before)));
            }
        }
        Poll::Ready(self.held.take().map(Ok))
    }
}

impl http_body::Body for SignedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.state == State::New {
            self.check = self.promise.check.get_or_init(|| None).clone();
            let is_bound = self.check.is_some();
            self.state = if is_bound { State::Bound } else { State::Free };
        }
        if self.state == State::Free {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        let piece = ready!(self.poll_piece(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self.state {
            State::New | State::Bound => false,
            State::Free => self.body.is_end_stream(),
            State::Over => self.held.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().map_or(0, |held| held.len() as u64);
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + held);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use everstream_core::id::UnixMillis;
    use everstream_core::sign::http::{ClockWindow, Presented, Request, Signer, content_digest};
    use futures_util::stream;
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn request<'a>(fields: &'a [(&'a str, &'a str)]) -> Request<'a, [(&'a str, &'a str)]> {
        Request {
            method: "POST",
            scheme: "https",
            authority: "gateway.example",
            target: "/",
            fields,
        }
    }

    /// What a good signature says that covers this digest, or none.
    fn check(digest: Option<&str>) -> BodyCheck {
        let mut fields: Vec<_> = digest.iter().map(|it| ("content-digest", *it)).collect();
        let signer = Signer {
            key_id: "k",
            nonce: "n",
            created: NOW,
            expires: None,
        };
        let signed = signer.sign(&request(&fields), b"s").unwrap();
        fields.push(("signature-input", &signed.signature_input));
        fields.push(("signature", &signed.signature));
        let request = request(&fields);
        let presented = Presented::read(&request).unwrap().unwrap();
        let verified = presented.verify(&request, b"s", NOW, ClockWindow::default());
        verified.unwrap().body_check()
    }

    fn streamed(pieces: &[&[u8]]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|it| Bytes::copy_from_slice(it)).collect();
        Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)))
    }

    /// What a reader gets, and whether it got to the end.
    fn read(mut body: Body) -> (Vec<u8>, bool) {
        let reading = async {
            let mut got = Vec::new();
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => got.extend_from_slice(&frame.into_data().unwrap()),
                    Err(_) => return (got, false),
                }
            }
            (got, true)
        };
        futures_util::FutureExt::now_or_never(reading).unwrap()
    }

    #[test]
    fn nobody_has_all_of_a_body_that_is_another() {
        let digest = content_digest(b"as signed");
        for altered in [
            &[&b"as signe!"[..]][..],
            &[b"as ", b"sig"],
            &[b"as signed", b"."],
            &[b""],
        ] {
            let (promise, body) = Promise::of(streamed(altered));
            promise.make(check(Some(&digest))).unwrap();
            let (got, whole) = read(body);
            assert!(!whole, "{altered:?}");
            assert!(got.len() < altered.concat().len().max(1), "{altered:?}");
        }
        let (promise, body) = Promise::of(streamed(&[b"body"]));
        promise.make(check(None)).unwrap();
        assert_eq!(read(body), (Vec::new(), false));
    }

    #[test]
    fn a_body_that_is_not_there_is_checked_at_once() {
        let digest = content_digest(b"as signed");
        let (promise, _) = Promise::of(Body::empty());
        assert!(promise.make(check(Some(&digest))).is_err());
        assert!(promise.make(check(None)).is_ok());
        let (promise, _) = Promise::of(Body::empty());
        assert!(promise.make(check(Some(&content_digest(b"")))).is_ok());
    }

    #[test]
    fn who_reads_before_the_caller_is_known_gets_no_promise_after() {
        let (promise, body) = Promise::of(streamed(&[b"bo", b"dy"]));
        assert_eq!(read(body), (b"body".to_vec(), true));
        let late = promise.make(check(Some(&content_digest(b"body"))));
        assert_eq!(late.unwrap_err().code, ErrorCode::Internal);
    }

    #[test]
    fn a_length_that_is_known_stays_so() {
        let (promise, mut body) = Promise::of(Body::from("as signed"));
        promise
            .make(check(Some(&content_digest(b"as signed"))))
            .unwrap();
        let hint = body.size_hint();
        assert_eq!(hint.exact(), Some(9));
        assert!(!body.is_end_stream());
        let frame = futures_util::FutureExt::now_or_never(body.frame());
        assert!(frame.unwrap().unwrap().is_ok());
        assert!(body.is_end_stream());
    }

    proptest! {
        #[test]
        fn what_was_signed_arrives_however_it_is_cut(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9)) {
            let whole = pieces.concat();
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let (promise, body) = Promise::of(streamed(&pieces));
            promise.make(check(Some(&content_digest(&whole)))).unwrap();
            prop_assert_eq!(read(body), (whole, true));
        }
    }
}
