use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the clock that all processes of one machine share; `Instant` cannot be sent from
/// one to another.
pub(crate) fn now_nanos() -> u64 {
    nanos(ClockId::Monotonic)
}

/// Nanoseconds that this thread has run.
pub(crate) fn cpu_nanos() -> u64 {
    nanos(ClockId::ThreadCPUTime)
}

fn nanos(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
