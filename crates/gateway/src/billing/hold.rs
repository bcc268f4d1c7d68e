use std::sync::Arc;

use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::limits;
use everstream_core::money::Money;
use everstream_store::sql::values::{Payer, ReserveRequest};

use super::books::Books;
use super::meter::Meter;

/// A reserve in budgets. Dropped before its generation has begun, it is given back; after that it is
/// renewed no more, and the settlement frees it.
pub struct Hold {
    books: Arc<Books>,
    pub(super) stream: StreamId,
    pub(super) payer: Payer,
    pub(super) amount: Money,
    /// When the generation was accepted.
    pub(super) at: UnixMillis,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may be held.
    Asked,
    /// Its generation runs.
    Begun,
    /// It is held beside that of a generation that runs.
    Further,
    /// Nothing is held.
    Nothing,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hold({}, {})", self.stream, self.amount)
    }
}

impl Hold {
    pub(super) fn new(
        books: &Arc<Books>,
        stream: StreamId,
        payer: Payer,
        amount: Money,
        at: UnixMillis,
    ) -> Self {
        let books = Arc::clone(books);
        Self {
            books,
            stream,
            payer,
            amount,
            at,
            state: State::Asked,
        }
    }

    /// The id that its generation has to have.
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    pub(super) fn request(&self, now: UnixMillis) -> ReserveRequest {
        ReserveRequest {
            stream: self.stream,
            payer: self.payer.clone(),
            amount: self.amount,
            at: self.at,
            now,
            lease_until: now.plus(limits::RESERVE_LEASE),
        }
    }

    /// Its generation is in the log: whatever happens, its end will be settled.
    #[must_use]
    pub fn begun(mut self) -> Self {
        self.state = State::Begun;
        self.books.keep(&self);
        self
    }

    /// It is held for a generation that has another: it is renewed, and given back when what that
    /// generation cost is settled.
    #[must_use]
    pub(super) fn further(mut self) -> Self {
        self.state = State::Further;
        self.books.keep(&self);
        self
    }

    /// Watches an answer that has this reserve.
    pub(super) fn meter(&self, lenient: bool) -> Meter {
        Meter::new(&self.books, self, lenient)
    }

    /// It was refused.
    pub(super) fn forget(mut self) {
        self.state = State::Nothing;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        match self.state {
            State::Asked => self.books.give_back(self.stream),
            State::Begun => self.books.let_go(self.stream),
            State::Further => {
                self.books.let_go(self.stream);
                self.books.give_back_later(self.stream);
            }
            State::Nothing => {}
        }
    }
}
