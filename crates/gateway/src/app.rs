//! The one place that constructs things.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use everstream_core::config::{Config, LogBackend, LogConfig, SyncMode};
use everstream_core::sign::read_token::ReadTokens;
use everstream_core::writer::StreamLimits;
use everstream_store::StreamLog;
use everstream_store::memory::MemoryLog;
use everstream_store::segment::{SegmentLog};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::generate::registry::Registry;
use crate::generate::{Generator, recover};
use crate::lifecycle::Lifecycle;
use crate::pipeline::Keys;
use crate::upstream::models::ModelDirectory;

/// How often retention runs.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// How often streams of processes that died beside this one are looked for.
const RECOVER_EVERY: Duration = Duration::from_secs(5);

/// Everything that a request needs.
pub struct App {
    /// The frozen configuration.
    pub config: Config,
    /// Where streams are logged.
    pub log: Arc<dyn StreamLog>,
    /// Starts and runs generations.
    pub generator: Generator,
    /// Which upstream serves which model.
    pub models: Arc<ModelDirectory>,
    /// Who may call.
    pub keys: Keys,
    /// Signs read tokens.
    pub tokens: ReadTokens,
    /// The clock.
    pub clock: Clock,
    /// Whether new requests are wanted, and the background tasks.
    pub lifecycle: Lifecycle,
}
