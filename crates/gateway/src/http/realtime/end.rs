use axum::extract::ws::close_code;
use tungstenite::Error;
use tungstenite::error::CapacityError;
use tungstenite::protocol::CloseFrame;

/// How a session ends: what each side is told.
pub(super) struct End {
    /// For the log.
    pub(super) outcome: &'static str,
    /// `None` without a code.
    pub(super) client: Option<CloseFrame>,
    /// The same.
    pub(super) upstream: Option<CloseFrame>,
}

impl End {
    /// The process ends.
    pub(super) fn restart() -> Self {
        Self {
            outcome: "draining",
            client: Some(frame(close_code::RESTART, "this process ends; come back")),
            upstream: Some(frame(close_code::AWAY, "the client is sent elsewhere")),
        }
    }

    /// The client broke.
    pub(super) fn client(error: &Error) -> Self {
        Self {
            outcome: "client_gone",
            client: Some(unreadable(error)),
            upstream: Some(frame(close_code::AWAY, "the client is gone")),
        }
    }

    /// The upstream broke.
    pub(super) fn upstream(error: &Error) -> Self {
        let what = match error {
            Error::Capacity(_) => "the upstream sent a message that is too large",
            _ => "the upstream broke off",
        };
        Self {
            outcome: "upstream_cut",
            client: Some(frame(close_code::ERROR, what)),
            upstream: Some(unreadable(error)),
        }
    }
}

/// What a side is told whose bytes cannot be read on.
fn unreadable(error: &Error) -> CloseFrame {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            frame(close_code::SIZE, "the message is too large")
        }
        Error::Utf8(_) => frame(close_code::INVALID, "a text is UTF-8"),
        _ => frame(close_code::PROTOCOL, "this is not WebSocket"),
    }
}

/// A close with a code and words.
pub(super) fn frame(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame {
        code: code.into(),
        reason: reason.into(),
    }
}
