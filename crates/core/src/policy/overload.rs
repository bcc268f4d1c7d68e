//! How much may be under way at once, and who goes next when there is no room.

mod capacity;
mod queue;

pub use capacity::{Capacity, Ceiling, Load};
pub use queue::{FairQueue, Full, QueueSettings, Ticket};
