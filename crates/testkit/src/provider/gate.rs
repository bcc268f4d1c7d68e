use std::sync::Arc;

use tokio::sync::watch;

/// A point in a script that the test opens. Nothing passes before; everything passes after.
#[derive(Clone, Debug)]
pub struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    name: String,
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Gate {
    /// A closed gate; the name shows in debug output only.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(State {
            name: name.into(),
            open: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        }))
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Lets through all who wait and all who come. Opening twice changes nothing.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    /// Waits until at least `n` scripts have come to the gate, whether it let them through or not.
    /// All that a script had to write before the gate is written by then.
    pub async fn reached_by(&self, n: usize) {
        let mut waiting = self.0.waiting.subscribe();
        let came = waiting.wait_for(|&came| came >= n).await;
        came.expect("the sender lives in self");
    }

    /// Comes to the gate and waits for it to be open.
    pub(super) async fn pass(&self) {
        self.0.waiting.send_modify(|came| *came += 1);
        let mut open = self.0.open.subscribe();
        open.wait_for(|&open| open)
            .await
            .expect("the sender lives in self");
    }
}
