use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Which tokens of bench models have arrived, told by the client to a provider in the same process.
///
/// Without it a provider as fast as the socket takes it fills all buffers on the way, and what is
/// measured is their size.
#[derive(Debug, Default)]
pub struct Flights {
    /// Writes of one stream that may be on their way at once; 0 for any number.
    window: u64,
    by_stream: Mutex<HashMap<u32, Arc<Flight>>>,
}

/// One stream.
#[derive(Debug, Default)]
pub struct Flight {
    arrived: AtomicU64,
    more: Notify,
}

impl Flights {
    /// At most `window` writes of each stream on their way at once; 0 is no bound.
    pub fn new(window: u64) -> Self {
        Self {
            window,
            by_stream: Mutex::default(),
        }
    }

    /// The stream of this number, for both its ends; `None` when there is no bound.
    pub fn of(&self, stream: u32) -> Option<Arc<Flight>> {
        let mut streams = self
            .by_stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (self.window > 0).then(|| Arc::clone(streams.entry(stream).or_default()))
    }

    /// How many tokens must have arrived before the `number`-th (from 0) may be written.
    pub(super) fn before(&self, number: u64, per_write: u64) -> u64 {
        (number + per_write).saturating_sub(self.window * per_write)
    }
}

impl Flight {
    /// So many tokens have arrived.
    pub fn arrived(&self, tokens: u64) {
        self.arrived.store(tokens, Ordering::Release);
        self.more.notify_one();
    }

    /// Waits until so many have.
    pub(super) async fn until(&self, tokens: u64) {
        while self.arrived.load(Ordering::Acquire) < tokens {
            self.more.notified().await;
        }
    }
}
