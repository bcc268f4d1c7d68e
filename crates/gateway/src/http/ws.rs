//! Streams over WebSocket: one at `/v1/streams/{id}/ws`, many on one socket at `/v1/ws`.
//!
//! Messages are JSON texts. To the client: `{"type":"event", "stream", "id", "seq", "time",
//! "event"?, "data"}`, `{"type":"end", "stream", "status", ...}`, `{"type":"error", ...}`,
//! `{"type":"subscribed"|"unsubscribed", "stream"}`. From the client, on `/v1/ws`:
//! `{"type":"subscribe", "stream", "after"?, "token"?}` and `{"type":"unsubscribe", "stream"}`.
//! `after` is an event's `id`, or its `seq`.
//!
//! Nothing is queued here: events are taken from the readers only when the socket took the last
//! ones, and a reader that is behind reads the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use everstream_core::cursor::Cursor;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, Seq, StreamId};
use everstream_core::limits;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, interval_at, timeout};

use super::error::Shape;
use super::open::{Opened, open};
use super::page;
use super::streams::{ReadQuery, authorize, cursor};
use crate::app::App;
use crate::read::{Read, Reader};

/// How long a socket without a key may stay without a subscription.
const ANONYMOUS_PATIENCE: Duration = Duration::from_secs(10);

/// `GET /v1/streams/{id}/ws`: this stream, and then the socket is closed.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let opened = async {
        let (project, stream) = authorize(&app, &id, query.token.as_deref(), &headers).await?;
        let seq = cursor(stream, query.after.as_deref(), &headers)?;
        // Refused before the upgrade, with a status that a client can see.
        open(&app, &project, stream, seq)
            .await
            .map(|opened| (stream, opened))
    };
    match opened.await {
        Ok((stream, opened)) => limited(upgrade).on_upgrade(move |socket| async move {
            let mut session = Session::new(app, socket, None, true);
            session.add(stream, opened);
            session.run().await;
        }),
        Err(error) => Shape::Problem.failure(error).into_response(),
    }
}

/// `GET /v1/ws`: as many streams as are subscribed to. Without a key each needs a read token.
pub(super) async fn many(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let project = match app.keys.authenticate(&headers) {
        Ok(caller) => Some(caller.project),
        Err(_) if !headers.contains_key("authorization") => None,
        Err(error) => return Shape::Problem.failure(error).into_response(),
    };
    limited(upgrade).on_upgrade(move |socket| async move {
        Session::new(app, socket, project, false).run().await;
    })
}

fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .max_message_size(limits::WS_MESSAGE_BYTES)
        .max_frame_size(limits::WS_MESSAGE_BYTES)
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Command {
    Subscribe {
        stream: StreamId,
        after: Option<Value>,
        token: Option<String>,
    },
    Unsubscribe {
        stream: StreamId,
    },
}

struct Session {
    app: Arc<App>,
    to_client: SplitSink<WebSocket, Message>,
    from_client: SplitStream<WebSocket>,
    project: Option<ProjectId>,
    /// The socket ends with its only stream.
    single: bool,
    /// In the order of their turns.
    readers: VecDeque<Reader>,
    /// Texts that are ready before anything is read from a stream.
    replies: Vec<Value>,
    heard: Instant,
    commands: u32,
    commands_since: Instant,
}

/// Why a session ends.
type Goodbye = CloseFrame;

impl Session {
    fn new(app: Arc<App>, socket: WebSocket, project: Option<ProjectId>, single: bool) -> Self {
        let (to_client, from_client) = socket.split();
        let now = Instant::now();
        Self {
            app,
            to_client,
            from_client,
            project,
            single,
            readers: VecDeque::new(),
            replies: Vec::new(),
            heard: now,
            commands: 0,
            commands_since: now,
        }
    }

    fn add(&mut self, stream: StreamId, opened: Opened) {
        self.replies
            .push(json!({ "type": "subscribed", "stream": stream }));
        match opened {
            Opened::Reader(reader, _) => self.readers.push_back(reader),
            Opened::AtEnd => self
                .replies
                .push(json!({ "type": "end", "stream": stream })),
        }
    }

    async fn run(mut self) {
        let app = Arc::clone(&self.app);
        let _session = app.lifecycle.session();
        if let Some(goodbye) = self.talk().await {
            let patience = self.app.config.streams.write_stall;
            let _ = timeout(patience, self.to_client.send(Message::Close(Some(goodbye)))).await;
        }
    }

    /// Until either side has enough; `None` when there is nobody to say goodbye to.
    async fn talk(&mut self) -> Option<Goodbye> {
        let app = Arc::clone(&self.app);
        let silence = self.app.config.streams.heartbeat;
        let mut pings = interval_at(Instant::now() + silence, silence);
        let started = Instant::now();
        loop {
            let replies = std::mem::take(&mut self.replies);
            self.send(replies).await?;
            if self.single && self.readers.is_empty() {
                return Some(goodbye(close_code::NORMAL, "the stream has ended"));
            }
            tokio::select! {
                message = self.from_client.next() => {
                    if let Some(end) = self.hear(message?.ok()?).await {
                        return Some(end);
                    }
                }
                read = std::future::poll_fn(|cx| poll_readers(&mut self.readers, cx)) => {
                    let texts = self.texts(read);
                    self.send(texts).await?;
                }
                // What it follows, it follows to the end.
                () = app.lifecycle.leaving(), if self.readers.is_empty() => {
                    return Some(goodbye(close_code::RESTART, "connect again"));
                }
                _ = pings.tick() => {
                    if self.heard.elapsed() > silence * 3 {
                        return Some(goodbye(close_code::POLICY, "no answer to a ping"));
                    }
                    let idle = self.project.is_none() && self.readers.is_empty();
                    if idle && started.elapsed() > ANONYMOUS_PATIENCE {
                        return Some(goodbye(close_code::POLICY, "no key and no subscription"));
                    }
                    self.write(Message::Ping(bytes::Bytes::new())).await?;
                    self.flush().await?;
                }
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Option<Goodbye> {
        self.heard = Instant::now();
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                return Some(goodbye(close_code::UNSUPPORTED, "commands are JSON texts"));
            }
            Message::Close(_) => return Some(goodbye(close_code::NORMAL, "")),
            Message::Ping(_) | Message::Pong(_) => return None,
        };
        if self.commands_since.elapsed() >= Duration::from_secs(1) {
            (self.commands, self.commands_since) = (0, Instant::now());
        }
        self.commands += 1;
        if self.commands > limits::WS_COMMANDS_PER_SECOND {
            return Some(goodbye(close_code::POLICY, "too many commands"));
        }
        let command = serde_json::from_str(&text).map_err(|error| {
            let message = format!(
                "A command is {{\"type\":\"subscribe\",\"stream\":\"<id>\",\"after\":0}}: {error}."
            );
            Error::new(ErrorCode::InvalidJson, message)
        });
        let result = match command {
            Ok(Command::Subscribe {
                stream,
                after,
                token,
            }) => self.subscribe(stream, after, token.as_deref()).await,
            Ok(Command::Unsubscribe { stream }) => {
                self.readers.retain(|reader| reader.stream() != stream);
                self.replies
                    .push(json!({ "type": "unsubscribed", "stream": stream }));
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.replies.push(error_text(&error));
        }
        None
    }

    async fn subscribe(
        &mut self,
        stream: StreamId,
        after: Option<Value>,
        token: Option<&str>,
    ) -> Result<(), Error> {
        let refused = |code, message: &str| Error::new(code, message).stream(stream);
        if self.readers.iter().any(|reader| reader.stream() == stream) {
            return Err(refused(
                ErrorCode::InvalidValue,
                "This socket follows this stream already.",
            ));
        }
        if self.readers.len() >= limits::WS_SUBSCRIPTIONS {
            let message = format!(
                "A socket follows {} streams at most.",
                limits::WS_SUBSCRIPTIONS
            );
            return Err(refused(ErrorCode::InvalidValue, &message));
        }
        let project = match (token, &self.project) {
            (None, Some(project)) => project.clone(),
            (None, None) => {
                let message = "This socket has no API key, so a subscription needs a `token`.";
                return Err(refused(ErrorCode::Unauthorized, message));
            }
            (Some(token), _) => {
                let id = stream.to_string();
                authorize(&self.app, &id, Some(token), &HeaderMap::new())
                    .await?
                    .0
            }
        };
        let seq = after.map_or(Ok(Seq::ZERO), |after| {
            let text = after
                .as_str()
                .map_or_else(|| after.to_string(), str::to_owned);
            Cursor::parse(&text, Some(stream))
                .map(|cursor| cursor.seq)
                .map_err(|error| {
                    let message = format!("after is wrong: {error}.");
                    Error::new(ErrorCode::InvalidCursor, message)
                        .param("after")
                        .stream(stream)
                })
        })?;
        let opened = open(&self.app, &project, stream, seq).await?;
        self.add(stream, opened);
        Ok(())
    }

    /// What the client is told of a read; a reader that is done leaves.
    fn texts(&mut self, read: Read) -> Vec<Value> {
        // `poll_readers` put the reader that answered last.
        let Some(stream) = self.readers.back().map(Reader::stream) else {
            return Vec::new();
        };
        match read {
            Read::Events(batch, before) => {
                let events = batch.events_after(before).iter();
                let text = |event: &everstream_core::event::Event| {
                    let mut map = page::event(event);
                    map.insert("type".into(), json!("event"));
                    map.insert("stream".into(), json!(stream));
                    map.insert("id".into(), json!(format!("{stream}.{}", event.seq)));
                    Value::Object(map)
                };
                events.map(text).collect()
            }
            Read::Ended(end) => {
                self.readers.pop_back();
                let mut map = serde_json::to_value(&*end).unwrap_or_default();
                map["type"] = json!("end");
                map["stream"] = json!(stream);
                vec![map]
            }
            Read::Lost(error) => {
                self.readers.pop_back();
                vec![error_text(&error.stream(stream))]
            }
        }
    }

    async fn send(&mut self, texts: Vec<Value>) -> Option<()> {
        if texts.is_empty() {
            return Some(());
        }
        for text in texts {
            self.write(Message::Text(Utf8Bytes::from(text.to_string())))
                .await?;
        }
        self.flush().await
    }

    async fn write(&mut self, message: Message) -> Option<()> {
        let patience = self.app.config.streams.write_stall;
        timeout(patience, self.to_client.feed(message))
            .await
            .ok()?
            .ok()
    }

    async fn flush(&mut self) -> Option<()> {
        let patience = self.app.config.streams.write_stall;
        timeout(patience, self.to_client.flush()).await.ok()?.ok()
    }
}

/// The next read of any reader, in turns; the reader that answers goes to the back.
fn poll_readers(readers: &mut VecDeque<Reader>, cx: &mut Context<'_>) -> Poll<Read> {
    for at in 0..readers.len() {
        let Some(reader) = readers.get_mut(at) else {
            break;
        };
        if let Poll::Ready(read) = reader.poll_next(cx) {
            if let Some(reader) = readers.remove(at) {
                readers.push_back(reader);
            }
            return Poll::Ready(read);
        }
    }
    Poll::Pending
}

fn goodbye(code: u16, reason: &'static str) -> Goodbye {
    CloseFrame {
        code,
        reason: Utf8Bytes::from_static(reason),
    }
}

fn error_text(error: &Error) -> Value {
    let (code, message, stream) = (error.code.as_str(), &error.message, error.stream);
    json!({ "type": "error", "stream": stream, "code": code, "message": message })
}
