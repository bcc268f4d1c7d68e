//! The stream log of the configuration.

use std::io;
use std::path::Path;
use std::sync::Arc;

use everstream_core::config::{Backend, Config, SyncMode};
use everstream_core::limits;
use everstream_store::StreamLog;
use everstream_store::config::{self as store, MemoryConfig, SegmentConfig};
use everstream_store::disk::Disk;
use everstream_store::memory::MemoryLog;
use everstream_store::segment::SegmentLog;

use crate::clock::Clock;
use crate::secret_file;

/// The log, and the secret of read tokens, which lies beside it so that every process on this
/// directory knows the others' tokens.
pub(crate) fn open(
    config: &Config,
    data_dir: &Path,
    disk: Arc<dyn Disk>,
    clock: Clock,
) -> io::Result<(Arc<dyn StreamLog>, [u8; 32])> {
    let now: store::Clock = Arc::new(move || clock.now());
    let limits = log_limits(config);
    let (retain_after_end, tombstone_for) = (config.log.retention, config.log.tombstone);
    let max_bytes = config.log.max_bytes;
    match config.log.backend {
        Backend::Memory => {
            let config = MemoryConfig {
                max_bytes,
                retain_after_end,
                tombstone_for,
                limits,
            };
            Ok((Arc::new(MemoryLog::new(config, now)), secret_file::fresh()?))
        }
        Backend::Disk => {
            let dir = data_dir.to_owned();
            secret_file::create_dir(&dir)?;
            let secret = secret_file::load_or_create(&dir.join("secret"))?;
            let config = SegmentConfig {
                dir,
                sync: match config.log.sync {
                    SyncMode::None => store::Sync::None,
                    SyncMode::Interval => store::Sync::Interval(config.log.sync_interval),
                    SyncMode::Always => store::Sync::Always,
                },
                segment_bytes: config.log.segment_bytes,
                patience: config.log.stall_timeout,
                max_bytes,
                retain_after_end,
                tombstone_for,
                limits,
            };
            let log = SegmentLog::open(config, disk, now);
            let log = log.map_err(|error| io::Error::other(error.to_string()))?;
            Ok((Arc::new(log), secret))
        }
    }
}

/// What one stream may hold.
pub(crate) fn stream_limits(config: &Config) -> limits::StreamLimits {
    limits::StreamLimits {
        event_bytes: config.limits.event_bytes,
        stream_bytes: config.limits.stream_bytes,
        stream_events: config.limits.stream_events,
    }
}

/// The log refuses what the writer would not send; it leaves room for the error event that reports
/// a limit.
fn log_limits(config: &Config) -> limits::StreamLimits {
    let own = stream_limits(config);
    limits::StreamLimits {
        event_bytes: own.event_bytes.max(limits::UPSTREAM_ERROR_BYTES),
        stream_bytes: own.stream_bytes + limits::UPSTREAM_ERROR_BYTES as u64,
        stream_events: own.stream_events + 1,
    }
}
