//! Runs what is not the gateway: providers, clients and the operator, each a task on this thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks. Clones are the same ones.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    all: Rc<RefCell<Vec<Option<Task>>>>,
    ready: Arc<Queue>,
}

#[derive(Default)]
struct Queue(Mutex<VecDeque<usize>>);

struct Bell {
    task: usize,
    queue: Arc<Queue>,
}

impl Tasks {
    /// Begins a task as soon as those that are ready had their turn.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut all = self.all.borrow_mut();
        self.ready.push(all.len());
        all.push(Some(Box::pin(task)));
    }

    /// Runs until nobody has anything to do.
    pub(crate) fn run(&self) {
        while let Some(at) = self.ready.pop() {
            let task = self.all.borrow_mut()[at].take();
            let Some(mut task) = task else { continue };
            let bell = Bell {
                task: at,
                queue: Arc::clone(&self.ready),
            };
            let waker = Waker::from(Arc::new(bell));
            let pending = task
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending();
            if pending {
                self.all.borrow_mut()[at] = Some(task);
            }
        }
    }

    /// Drops them all.
    pub(crate) fn end(&self) {
        let all = std::mem::take(&mut *self.all.borrow_mut());
        drop(all);
    }
}

impl Queue {
    fn push(&self, task: usize) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(task);
    }

    fn pop(&self) -> Option<usize> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.queue.push(self.task);
    }
}
