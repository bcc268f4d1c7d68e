//! Everstream: a streaming AI gateway in which a model's answer is a durable, resumable resource.
//!
//! The binary is a thin shell around this library, which can be embedded: build an [`App`] from a
//! [`Config`] and merge [`router`] into a router of your own, as `examples/embed.rs` does.
//! [`sse`] serves event streams of your own, and [`http::shielded`] protects your routes as
//! Everstream's are.

pub mod access;
pub mod admission;
pub mod app;
pub mod billing;
mod catalog;
pub mod cli;
pub mod clock;
mod config;
pub mod control;
pub mod generate;
pub mod http;
pub mod lifecycle;
pub mod limits;
pub mod pipeline;
#[cfg(not(feature = "sim"))]
mod random;
#[cfg(feature = "sim")]
pub mod random;
pub mod read;
mod roots;
mod secret_file;
pub mod server;
mod stream_log;
pub mod telemetry;
pub mod upstream;

use everstream_core::error::{Error, ErrorCode};
use everstream_store::LogError;

pub use app::App;
pub use config::{config_from, environment};
pub use everstream_core::config::Config;
pub use http::{Front, router};

/// Server-sent events for routes of your own: a message, and a response made of many.
pub mod sse {
    pub use crate::http::sse::Sse;
    pub use everstream_core::frame::sse::SseMessage;
}

/// What a client is told when the log refuses. The cause is for the operator's log, not for it.
pub fn store_error(error: &LogError) -> Error {
    let (code, message) = match error {
        LogError::NotFound => (
            ErrorCode::StreamNotFound,
            "There is no such stream.".to_owned(),
        ),
        LogError::Gone { .. } => (
            ErrorCode::StreamGone,
            "The stream is past retention.".to_owned(),
        ),
        LogError::EventTooLarge { .. } => (ErrorCode::EventTooLarge, error.to_string()),
        LogError::StreamTooLarge { .. } => (ErrorCode::StreamTooLarge, error.to_string()),
        LogError::Full(_) => {
            let message = "The stream log is full, so nothing new can be made durable. The operator \
                           can raise log.max_bytes or free disk space.";
            (ErrorCode::StoreFull, message.to_owned())
        }
        LogError::Exists
        | LogError::Fenced { .. }
        | LogError::Held
        | LogError::NotAtTail { .. }
        | LogError::Ended
        | LogError::Misfit(_)
        | LogError::Damaged(_)
        | LogError::Stalled
        | LogError::Io(_)
        | LogError::Closed => {
            tracing::error!(%error, "stream log");
            let message = "The stream log cannot be read or written just now.";
            (ErrorCode::StoreUnavailable, message.to_owned())
        }
    };
    Error::new(code, message)
}
