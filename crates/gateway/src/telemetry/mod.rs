//! What the program says about itself: log lines on standard error, and metrics.

pub mod billing;
pub mod metrics;

use std::io::IsTerminal as _;

use everstream_core::config::{LogFormat, TelemetryConfig};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging for the life of the process. A second call changes nothing.
pub fn start(config: &TelemetryConfig) {
    // Checked with the configuration; an embedder's own value may still be odd.
    let filter: Targets = config.level.parse().unwrap_or_default();
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Json => registry.with(lines.json()).try_init(),
        LogFormat::Text => registry
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
