use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::ws::{self, WebSocket};
use futures_util::{Sink, Stream};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message};

use crate::upstream::Socket;

/// One side of a session.
pub(super) trait Peer {
    /// The next message; `None` when it is gone.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>>;
    /// Whether it takes a message now.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    /// Gives it one.
    fn say(&mut self, message: Message) -> Result<(), Error>;
    /// Sends what it was given.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
}

impl Peer for Socket {
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        Pin::new(self).poll_next(cx)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Sink::poll_ready(Pin::new(self), cx)
    }

    fn say(&mut self, message: Message) -> Result<(), Error> {
        Pin::new(self).start_send(message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Sink::poll_flush(Pin::new(self), cx)
    }
}

impl Peer for WebSocket {
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let heard = Pin::new(self).poll_next(cx);
        heard.map(|message| message.map(|message| message.map(from_axum).map_err(reason)))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Sink::poll_ready(Pin::new(self), cx).map_err(reason)
    }

    fn say(&mut self, message: Message) -> Result<(), Error> {
        match to_axum(message) {
            Some(message) => Pin::new(self).start_send(message).map_err(reason),
            None => Ok(()),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Sink::poll_flush(Pin::new(self), cx).map_err(reason)
    }
}

/// The same library is below both.
fn reason(error: axum::Error) -> Error {
    match error.into_inner().downcast() {
        Ok(error) => *error,
        Err(_) => Error::ConnectionClosed,
    }
}

fn from_axum(message: ws::Message) -> Message {
    match message {
        ws::Message::Text(text) => Message::text(text.as_str()),
        ws::Message::Binary(bytes) => Message::Binary(bytes),
        ws::Message::Ping(bytes) => Message::Ping(bytes),
        ws::Message::Pong(bytes) => Message::Pong(bytes),
        ws::Message::Close(frame) => Message::Close(frame.map(|frame| CloseFrame {
            code: frame.code.into(),
            reason: frame.reason.as_str().into(),
        })),
    }
}

/// `None` for what is never heard.
fn to_axum(message: Message) -> Option<ws::Message> {
    Some(match message {
        Message::Text(text) => ws::Message::Text(text.as_str().into()),
        Message::Binary(bytes) => ws::Message::Binary(bytes),
        Message::Ping(bytes) => ws::Message::Ping(bytes),
        Message::Pong(bytes) => ws::Message::Pong(bytes),
        Message::Close(frame) => ws::Message::Close(frame.map(|frame| ws::CloseFrame {
            code: frame.code.into(),
            reason: frame.reason.as_str().into(),
        })),
        Message::Frame(_) => return None,
    })
}
