//! What a log is opened with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::id::UnixMillis;
use everstream_core::limits;

pub use everstream_core::limits::StreamLimits;

/// Where a log takes the time from.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + std::marker::Sync>;

/// When an append is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Once the kernel has it: a killed process loses nothing, a power loss what the kernel had not
    /// written yet.
    None,
    /// As `None`, and a power loss takes at most what was appended in this time.
    Interval(Duration),
    /// Once the device has it. Appends that come while the device is busy share its next turn.
    Always,
}

/// What a [`SegmentLog`](crate::segment::SegmentLog) is opened with.
#[derive(Clone, Debug)]
pub struct SegmentConfig {
    /// The data directory; the log lives in `log/` below it.
    pub dir: PathBuf,
    /// When an append is durable.
    pub sync: Sync,
    /// A segment is closed once it is this large. A quarter of `max_bytes` at most, and 1 GiB.
    pub segment_bytes: u64,
    /// All segments together: `log.max_bytes`.
    pub max_bytes: u64,
    /// How long a stream can be read after its end.
    pub retain_after_end: Duration,
    /// How long it is known to have existed after that.
    pub tombstone_for: Duration,
    /// What one stream may hold.
    pub limits: StreamLimits,
    /// How long a disk may hang before who waits for it is told. `Duration::MAX`: for ever, and
    /// nobody watches it.
    pub patience: Duration,
}

impl SegmentConfig {
    /// The defaults for a data directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            sync: Sync::None,
            segment_bytes: limits::SEGMENT_BYTES,
            max_bytes: limits::LOG_BYTES,
            retain_after_end: limits::RETENTION,
            tombstone_for: limits::TOMBSTONE,
            limits: StreamLimits::default(),
            patience: limits::LOG_PATIENCE,
        }
    }
}

/// What a [`MemoryLog`](crate::memory::MemoryLog) is opened with.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// All streams together: `log.max_bytes`.
    pub max_bytes: u64,
    /// How long a stream can be read after its end.
    pub retain_after_end: Duration,
    /// How long it is known to have existed after that.
    pub tombstone_for: Duration,
    /// What one stream may hold.
    pub limits: StreamLimits,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            max_bytes: limits::LOG_BYTES,
            retain_after_end: limits::RETENTION,
            tombstone_for: limits::TOMBSTONE,
            limits: StreamLimits::default(),
        }
    }
}
