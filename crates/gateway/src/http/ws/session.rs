//! One open socket.
//!
//! Nothing is queued here: events are taken from the readers only when the socket took the last
//! ones, and a reader that is behind reads the log. That a socket which takes nothing at all is
//! closed, the server sees to (`streams.write_stall`).

use std::collections::VecDeque;
use std::error::Error as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use everstream_core::cursor::Cursor;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::Event;
use everstream_core::id::{ProjectId, Seq, StreamId};
use everstream_core::limits;
use futures_util::SinkExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use crate::app::App;
use crate::http::open::{Opened, open};
use crate::http::page;
use crate::http::streams::admit;
use crate::read::{Read, Reader};

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
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

pub(super) struct Session {
    app: Arc<App>,
    socket: WebSocket,
    /// Whose streams it may read; `None` for those that it has tokens for.
    project: Option<ProjectId>,
    /// The socket ends with its only stream.
    single: bool,
    /// In the order of their turns.
    readers: VecDeque<Reader>,
    /// What is to be said before anything is read from a stream.
    replies: Vec<Value>,
    heard: Instant,
    /// When its last subscription ended, or it began.
    idle_since: Instant,
    messages: u32,
    messages_since: Instant,
}

impl Session {
    pub(super) fn new(
        app: Arc<App>,
        socket: WebSocket,
        project: Option<ProjectId>,
        single: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            app,
            socket,
            project,
            single,
            readers: VecDeque::new(),
            replies: Vec::new(),
            heard: now,
            idle_since: now,
            messages: 0,
            messages_since: now,
        }
    }

    /// Follows a stream that was opened after `seq`.
    pub(super) fn add(&mut self, stream: StreamId, seq: Seq, opened: Opened) {
        let reader = match opened {
            Opened::Reader(reader, _) => reader,
            // It finds nothing but how the stream ended.
            Opened::AtEnd => Reader::new(Arc::clone(&self.app.log), stream, seq, None),
        };
        self.readers.push_back(reader);
        self.replies
            .push(json!({ "type": "subscribed", "stream": stream }));
    }

    /// Until either side has enough.
    pub(super) async fn run(mut self) {
        let app = Arc::clone(&self.app);
        let _session = app.lifecycle.session();
        let Some(goodbye) = self.talk().await else {
            return;
        };
        self.readers.clear();
        // If the client has said goodbye first, this only sends the answer that is due.
        if self
            .socket
            .send(Message::Close(Some(goodbye)))
            .await
            .is_ok()
        {
            // A socket that is closed with bytes unread is reset, which may overtake the reason.
            let rest = async { while let Some(Ok(_)) = self.socket.recv().await {} };
            let _ = timeout(limits::WS_CLOSE_WAIT, rest).await;
        }
    }

    /// `None` when there is nobody to say goodbye to.
    async fn talk(&mut self) -> Option<CloseFrame> {
        let app = Arc::clone(&self.app);
        let silence = self.app.config.streams.heartbeat;
        let mut pings = interval_at(Instant::now() + silence, silence);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let replies = std::mem::take(&mut self.replies);
            self.send(replies).await?;
            let idle = self.readers.is_empty();
            if self.single && idle {
                return Some(goodbye(close_code::NORMAL, "the stream has ended"));
            }
            let patience = self.idle_since + limits::WS_ANONYMOUS_PATIENCE;
            tokio::select! {
                // What the client says comes first, or a long replay would hide its pongs and
                // delay its commands; `hear` bounds how much it may say.
                biased;
                message = self.socket.recv() => match message? {
                    Ok(message) => if let Some(end) = self.hear(message).await {
                        return Some(end);
                    },
                    Err(error) => return unreadable(&error),
                },
                // What it follows, it may follow to the end.
                () = app.lifecycle.leaving(), if idle => {
                    return Some(goodbye(close_code::RESTART, "this process ends; come back"));
                }
                () = app.lifecycle.stopped() => {
                    return Some(goodbye(close_code::RESTART, "this process ends; come back"));
                }
                () = sleep_until(patience), if idle && self.project.is_none() => {
                    return Some(goodbye(close_code::POLICY, "no key and no subscription"));
                }
                _ = pings.tick() => {
                    if self.heard.elapsed() > silence * 3 {
                        return Some(goodbye(close_code::POLICY, "no answer to a ping"));
                    }
                    self.socket.send(Message::Ping(bytes::Bytes::new())).await.ok()?;
                }
                read = poll_fn(|cx| poll_readers(&mut self.readers, cx)) => {
                    if let Some(end) = self.tell(read).await? {
                        return Some(end);
                    }
                }
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Option<CloseFrame> {
        self.heard = Instant::now();
        if self.messages_since.elapsed() >= Duration::from_secs(1) {
            (self.messages, self.messages_since) = (0, self.heard);
        }
        self.messages += 1;
        if self.messages > limits::WS_MESSAGES_PER_SECOND {
            return Some(goodbye(close_code::POLICY, "too many messages"));
        }
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                return Some(goodbye(close_code::UNSUPPORTED, "commands are JSON texts"));
            }
            Message::Close(_) => return Some(goodbye(close_code::NORMAL, "")),
            Message::Ping(_) | Message::Pong(_) => return None,
        };
        if let Err(error) = self.obey(&text).await {
            self.replies.push(error_text(&error));
        }
        None
    }

    async fn obey(&mut self, text: &str) -> Result<(), Error> {
        if self.single {
            let message = "This socket follows its one stream; /v1/ws takes commands.";
            return Err(Error::new(ErrorCode::InvalidValue, message));
        }
        let command = serde_json::from_str(text).map_err(|error| {
            let message = format!(
                "A command is {{\"type\":\"subscribe\",\"stream\":\"<id>\",\"after\":0}} or \
                 {{\"type\":\"unsubscribe\",\"stream\":\"<id>\"}}: {error}."
            );
            Error::new(ErrorCode::InvalidJson, message)
        })?;
        match command {
            Command::Subscribe {
                stream,
                after,
                token,
            } => {
                let subscribed = self.subscribe(stream, after, token.as_deref()).await;
                subscribed.map_err(|error| error.stream(stream))
            }
            Command::Unsubscribe { stream } => {
                self.readers.retain(|reader| reader.stream() != stream);
                self.idle_since = Instant::now();
                self.replies
                    .push(json!({ "type": "unsubscribed", "stream": stream }));
                Ok(())
            }
        }
    }

    async fn subscribe(
        &mut self,
        stream: StreamId,
        after: Option<Value>,
        token: Option<&str>,
    ) -> Result<(), Error> {
        if self.readers.iter().any(|reader| reader.stream() == stream) {
            let message = "This socket follows this stream already.";
            return Err(Error::new(ErrorCode::InvalidValue, message).param("stream"));
        }
        if self.readers.len() >= limits::WS_SUBSCRIPTIONS {
            let most = limits::WS_SUBSCRIPTIONS;
            let message = format!("A socket follows {most} streams at most.");
            return Err(Error::new(ErrorCode::InvalidValue, message));
        }
        let project = match (token, &self.project) {
            (Some(token), _) => admit(&self.app, stream, token).await?,
            (None, Some(project)) => project.clone(),
            (None, None) => {
                let message = "This socket has no API key, so a subscription needs a `token`.";
                return Err(Error::new(ErrorCode::Unauthorized, message).param("token"));
            }
        };
        let seq = after.map_or(Ok(Seq::ZERO), |after| position(stream, &after))?;
        let opened = open(&self.app, &project, stream, seq).await?;
        self.add(stream, seq, opened);
        Ok(())
    }

    /// Tells the client of a read. A reader that is done leaves, and its socket too if it was the
    /// only one it was for.
    async fn tell(&mut self, read: Read) -> Option<Option<CloseFrame>> {
        // `poll_readers` put the reader that answered last.
        let stream = self.readers.back().map(Reader::stream)?;
        let of_stream = |kind: &str, mut map: Map<String, Value>| {
            map.insert("type".into(), json!(kind));
            map.insert("stream".into(), json!(stream));
            Value::Object(map)
        };
        let event = |event: &Event| {
            let mut map = page::event(event);
            map.insert("id".into(), json!(format!("{stream}.{}", event.seq)));
            of_stream("event", map)
        };
        if !matches!(read, Read::Events(..)) {
            self.readers.pop_back();
            self.idle_since = Instant::now();
        }
        let mut end = None;
        let texts = match read {
            Read::Events(batch, before) => batch.events_after(before).iter().map(event).collect(),
            Read::Ended(end) => vec![of_stream("end", page::end(&end))],
            Read::Lost(error) => {
                let lost = goodbye(close_code::ERROR, "the stream cannot be read on");
                end = self.single.then_some(lost);
                vec![error_text(&error.stream(stream))]
            }
        };
        self.send(texts).await.map(|()| end)
    }

    async fn send(&mut self, texts: Vec<Value>) -> Option<()> {
        if texts.is_empty() {
            return Some(());
        }
        for text in texts {
            let text = Utf8Bytes::from(text.to_string());
            self.socket.feed(Message::Text(text)).await.ok()?;
        }
        self.socket.flush().await.ok()
    }
}

/// The next read of any reader, in turns; the reader that answers goes to the back.
fn poll_readers(readers: &mut VecDeque<Reader>, cx: &mut Context<'_>) -> Poll<Read> {
    for at in 0..readers.len() {
        if let Poll::Ready(read) = readers[at].poll_next(cx) {
            let reader = readers.remove(at);
            readers.extend(reader);
            return Poll::Ready(read);
        }
    }
    Poll::Pending
}

/// The position that an `after` names: an event's id, or its seq.
fn position(stream: StreamId, after: &Value) -> Result<Seq, Error> {
    let text = after
        .as_str()
        .map_or_else(|| after.to_string(), str::to_owned);
    let cursor = Cursor::parse(&text, Some(stream)).map_err(|error| {
        let message = format!("after is wrong: {error}.");
        Error::new(ErrorCode::InvalidCursor, message).param("after")
    })?;
    Ok(cursor.seq)
}

/// What to tell a client whose bytes cannot be read on, if it is there to be told.
fn unreadable(error: &axum::Error) -> Option<CloseFrame> {
    use tungstenite::Error::{Capacity, Protocol, Utf8};
    match error.source()?.downcast_ref()? {
        Capacity(_) => Some(goodbye(close_code::SIZE, "commands are small")),
        Utf8(_) => Some(goodbye(close_code::INVALID, "a text is UTF-8")),
        Protocol(_) => Some(goodbye(close_code::PROTOCOL, "this is not WebSocket")),
        _ => None,
    }
}

fn goodbye(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame {
        code,
        reason: Utf8Bytes::from_static(reason),
    }
}

fn error_text(error: &Error) -> Value {
    let (code, message) = (error.code.as_str(), &error.message);
    let mut text = json!({ "type": "error", "code": code, "message": message });
    if let Some(stream) = error.stream {
        text["stream"] = json!(stream);
    }
    if let Some(param) = &error.param {
        text["param"] = json!(param);
    }
    text
}
