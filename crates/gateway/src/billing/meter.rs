use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use everstream_core::error::Error;
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::money::Money;
use everstream_store::sql::values::Payer;

use super::Hold;
use super::books::{Asked, Books};

/// Watches what an answer costs while it streams. When half of what is reserved is used up, as much
/// again is reserved; when that is refused, the answer has to end where its reserve does.
pub struct Meter {
    books: Arc<Books>,
    payer: Payer,
    /// What is reserved at a time.
    amount: Money,
    at: UnixMillis,
    /// What is reserved in all.
    allowed: Money,
    further: Arc<Further>,
    /// Go on when the database does not answer.
    lenient: bool,
}

/// What is reserved beside the first reserve.
#[derive(Default)]
struct Further {
    holds: Mutex<Vec<Hold>>,
    state: AtomicU8,
}

const IDLE: u8 = 0;
const ASKING: u8 = 1;
const GRANTED: u8 = 2;
const REFUSED: u8 = 3;

impl Meter {
    pub(super) fn new(books: &Arc<Books>, hold: &Hold, lenient: bool) -> Self {
        Self {
            books: Arc::clone(books),
            payer: hold.payer.clone(),
            amount: hold.amount,
            at: hold.at,
            allowed: hold.amount,
            further: Arc::default(),
            lenient,
        }
    }

    /// It has cost so much by now. True if it has to end. `draw` draws the id of another reserve.
    pub fn is_over(&mut self, cost: Money, draw: impl FnOnce() -> Result<StreamId, Error>) -> bool {
        let state = &self.further.state;
        match state.load(Ordering::Acquire) {
            IDLE if cost.0 > self.allowed.0 / 2 => {
                // If none can be drawn, the next event asks again.
                if let Ok(stream) = draw() {
                    state.store(ASKING, Ordering::Release);
                    self.ask(stream);
                }
                false
            }
            GRANTED => {
                self.allowed = self.allowed.plus(self.amount);
                state.store(IDLE, Ordering::Release);
                false
            }
            REFUSED => cost >= self.allowed,
            _ => false,
        }
    }

    fn ask(&self, stream: StreamId) {
        let hold = Hold::new(
            &self.books,
            stream,
            self.payer.clone(),
            self.amount,
            self.at,
        );
        let (books, further) = (Arc::clone(&self.books), Arc::clone(&self.further));
        let lenient = self.lenient;
        self.books.errand(async move {
            let is_granted = match books.ask(&hold).await {
                Asked::Held => true,
                Asked::Refused(_) => false,
                Asked::Unavailable => lenient,
            };
            let state = if is_granted {
                let mut holds = further.holds.lock().unwrap_or_else(PoisonError::into_inner);
                holds.push(hold.further());
                GRANTED
            } else {
                REFUSED
            };
            further.state.store(state, Ordering::Release);
        });
    }
}
