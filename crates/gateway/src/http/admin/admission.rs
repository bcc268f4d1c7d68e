//! Who is let in, as operators see it.

use everstream_core::error::Error;
use everstream_core::policy::overload::{EntranceSight, Shed};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Shown;
use super::route::Ask;

/// Who is let in, and who is not.
#[derive(Serialize, JsonSchema)]
pub(super) struct Admission {
    /// Generations that were let in and are not over.
    running: u32,
    /// How many may be; null for as many as come.
    max_concurrency: Option<u32>,
    /// Requests that wait.
    waiting: usize,
    /// How many were refused since the start.
    refused: Refused,
}

/// Requests that were not let in, by the reason.
#[derive(Serialize, JsonSchema)]
struct Refused {
    /// As their project has its share of the queue.
    share: u64,
    /// As the queue is full.
    full: u64,
    /// As they waited for too long.
    late: u64,
}

pub(super) async fn show(ask: Ask) -> Result<Shown<Admission>, Error> {
    let EntranceSight {
        most: max_concurrency,
        running,
        waiting,
        shed: Shed { share, full, late },
    } = ask.app().admission.sight();
    Ok(Shown(Admission {
        running,
        max_concurrency,
        waiting,
        refused: Refused { share, full, late },
    }))
}
