//! What a schedule is: settings and steps, all of it drawn from one seed before anything runs, so
//! that steps can be taken away from one that fails.

use std::time::Duration;

use everstream_store::config::Sync;

use super::random::Random;

/// What all processes of one schedule are started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) sync: Sync,
    pub(crate) segment_bytes: u64,
    pub(crate) retain_after_end: Duration,
    pub(crate) first_event_timeout: Duration,
    pub(crate) event_timeout: Duration,
    /// The device may be slow. Its segments are then large, as a segment is left under a lock.
    pub(crate) slow_device: bool,
    /// Whether the provider goes on at the end of the schedule, or falls silent.
    pub(crate) answers: bool,
}

/// One step. What it does depends on the state it finds and on its own seed, and on nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A client sends a request, perhaps with a key that was used before.
    Request,
    /// The provider sends some bytes.
    Speak,
    /// Time passes.
    Pass,
    /// A client reads a stream from somewhere on.
    Join,
    /// A client goes away.
    Leave,
    /// A client cancels a generation.
    Cancel,
    /// The provider cuts an answer off, or refuses connections.
    Cut,
    Refuse,
    /// A process starts, beside the one that is there: that one drains.
    Start,
    /// A process that drains and has nothing left to do ends.
    Stop,
    /// The drain takes too long.
    DrainTimeout,
    /// A process is killed between two steps.
    Kill,
    /// A process is killed at one of its next changes of the disk.
    KillAt,
    /// The disk fails a process for a while.
    Fail,
    Heal,
    /// All processes die; at `sync = always` the power goes.
    PowerLoss,
    /// The device takes its time over syncs.
    SlowDown,
    SpeedUp,
    /// A process gets no CPU for a while.
    Freeze,
    Thaw,
    /// Retention runs.
    Retain,
    /// Somebody appends who lost the lease, or never had it.
    Stale,
}

const WEIGHTS: [(usize, Kind); 22] = [
    (12, Kind::Request),
    (34, Kind::Speak),
    (14, Kind::Pass),
    (10, Kind::Join),
    (6, Kind::Leave),
    (2, Kind::Cancel),
    (2, Kind::Cut),
    (1, Kind::Refuse),
    (4, Kind::Start),
    (2, Kind::Stop),
    (1, Kind::DrainTimeout),
    (2, Kind::Kill),
    (5, Kind::KillAt),
    (3, Kind::Fail),
    (3, Kind::Heal),
    (1, Kind::PowerLoss),
    (5, Kind::SlowDown),
    (3, Kind::SpeedUp),
    (1, Kind::Freeze),
    (1, Kind::Thaw),
    (2, Kind::Retain),
    (4, Kind::Stale),
];

/// A schedule.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

impl Schedule {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9));
        let sync = if random.chance(50) {
            Sync::None
        } else {
            Sync::Always
        };
        let slow_device = sync == Sync::Always && random.chance(50);
        let segment_bytes = match random.below(3) {
            _ if slow_device => 1 << 20,
            0 => 1 << 20,
            1 => 8 << 10,
            _ => 700,
        };
        let seconds = |n: usize| Duration::from_secs(n as u64);
        let settings = Settings {
            sync,
            segment_bytes,
            retain_after_end: seconds(2 + random.below(40)),
            first_event_timeout: seconds(5 + random.below(40)),
            event_timeout: seconds(2 + random.below(20)),
            slow_device,
            answers: random.chance(60),
        };
        let steps = (0..15 + random.below(60)).map(|_| Step {
            kind: random.weighted(&WEIGHTS),
            seed: random.next(),
        });
        let steps = steps.collect();
        Self {
            seed,
            settings,
            steps,
        }
    }
}
