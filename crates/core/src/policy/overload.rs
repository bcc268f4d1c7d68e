//! How much may be under way at once, and who goes next when there is no room.

mod capacity;
mod entrance;
mod queue;

pub use capacity::{Capacity, Ceiling, Load};
pub use entrance::{Entrance, EntranceSight, Refusal, Shed};
pub use queue::{FairQueue, Full, Joined, QueueSettings, Ticket};
