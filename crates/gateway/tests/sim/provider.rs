//! The provider: scripted answers, given byte by byte over connections in memory.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use everstream::upstream::{Io, Transport};
use everstream_core::event::Mode;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::disk::ProcessDisk;
use super::random::Random;

/// What the provider answers to one request.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Streamed or one body.
    pub(crate) mode: Mode,
    /// The HTTP answer, byte for byte.
    wire: Vec<u8>,
    after: After,
    /// The events that a client gets of it, if it gets all.
    pub(crate) events: Vec<String>,
    /// Whether the provider says, one way or another, that the answer is whole.
    pub(crate) whole: bool,
}

/// What follows the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Nothing: the connection stays open.
    Silence,
    Close,
}

#[derive(Clone, Copy)]
enum Plot {
    Whole,
    WithoutDone,
    Cut,
    Error,
    Refusal,
    Silence,
    Garbage,
    Body,
}

impl Script {
    /// The answer to request `number`.
    pub(crate) fn invent(number: usize, random: &mut Random) -> Self {
        let plot = random.weighted(&[
            (40, Plot::Whole),
            (8, Plot::WithoutDone),
            (12, Plot::Cut),
            (8, Plot::Error),
            (8, Plot::Refusal),
            (8, Plot::Silence),
            (4, Plot::Garbage),
            (8, Plot::Body),
        ]);
        match plot {
            Plot::Refusal => Self::refusal(number, random),
            Plot::Body => Self::body(number, random),
            _ => Self::stream(number, plot, random),
        }
    }

    fn stream(number: usize, plot: Plot, random: &mut Random) -> Self {
        let large = random.chance(20);
        let mut events = Vec::new();
        if random.chance(50) {
            events.push(chunk(r#"{"role":"assistant","content":""}"#, "null"));
        }
        let content = random.below(if large { 30 } else { 14 });
        for n in 0..content {
            let size = if large {
                random.below(6000)
            } else {
                random.below(40)
            };
            let delta = format!(r#"{{"content":"{number}.{n} {}"}}"#, "x".repeat(size));
            events.push(chunk(&delta, "null"));
        }
        let finished = matches!(plot, Plot::Whole | Plot::WithoutDone);
        if finished {
            events.push(chunk("{}", "\"stop\""));
        }
        let mut wire = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
            connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
        let mut sent = events.clone();
        match plot {
            Plot::Whole => sent.push("[DONE]".to_owned()),
            Plot::Error => {
                sent.push(r#"{"error":{"message":"overloaded","code":503}}"#.to_owned());
            }
            Plot::Garbage => sent.push("{\"choices\":[".to_owned()),
            _ => {}
        }
        for data in &sent {
            let frame = format!("data: {data}\n\n");
            wire.extend(format!("{:x}\r\n{frame}\r\n", frame.len()).into_bytes());
        }
        let silent = matches!(plot, Plot::Silence) || (finished && random.chance(10));
        if !silent && (finished || random.chance(50)) {
            wire.extend(b"0\r\n\r\n");
        }
        if finished {
            // The gateway closes what is whole but for the mark.
            events.push("[DONE]".to_owned());
        }
        Self {
            mode: Mode::Stream,
            wire,
            after: if silent { After::Silence } else { After::Close },
            events,
            whole: finished,
        }
    }

    fn refusal(number: usize, random: &mut Random) -> Self {
        let status = ["400 No", "429 Wait", "500 Oh", "503 Later"][random.below(4)];
        let body = format!(r#"{{"error":{{"message":"refused {number}"}}}}"#);
        Self {
            mode: Mode::Stream,
            wire: http(status, &body),
            after: After::Close,
            events: Vec::new(),
            whole: false,
        }
    }

    fn body(number: usize, random: &mut Random) -> Self {
        let text = "y".repeat(random.below(300));
        let body = format!(
            r#"{{"n":{number},"choices":[{{"message":{{"content":"{text}"}},"finish_reason":"stop"}}]}}"#
        );
        let mut wire = http("200 OK", &body);
        let whole = random.chance(80);
        if !whole {
            wire.truncate(wire.len() - 1 - random.below(body.len()));
        }
        Self {
            mode: Mode::Unary,
            wire,
            after: After::Close,
            events: if whole { vec![body] } else { Vec::new() },
            whole,
        }
    }
}

fn chunk(delta: &str, finish: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\n");
    format!("{head}content-length: {length}\r\n\r\n{body}").into_bytes()
}

/// The provider. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Provider(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    scripts: Vec<Script>,
    connections: Vec<Connection>,
    /// For each script how many requests for it arrived, whole or in part.
    calls: Vec<u32>,
    /// How many of the next connections are refused.
    refusing: usize,
}

struct Connection {
    io: DuplexStream,
    request: Vec<u8>,
    script: Option<usize>,
    sent: usize,
    open: bool,
}

impl Provider {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes up an answer, and gives the number that a request asks for it with.
    pub(crate) fn script(&self, random: &mut Random) -> usize {
        let mut state = self.lock();
        let number = state.scripts.len();
        state.scripts.push(Script::invent(number, random));
        state.calls.push(0);
        number
    }

    pub(crate) fn get(&self, number: usize) -> Option<Script> {
        self.lock().scripts.get(number).cloned()
    }

    pub(crate) fn calls(&self) -> Vec<u32> {
        self.lock().calls.clone()
    }

    pub(crate) fn refuse(&self, times: usize) {
        self.lock().refusing = times;
    }

    /// How the process on `disk` gets here: not at all once it is dead.
    pub(crate) fn transport(&self, disk: ProcessDisk) -> Transport {
        let provider = self.clone();
        Arc::new(move || Box::pin(ready(provider.connect(&disk))))
    }

    fn connect(&self, disk: &ProcessDisk) -> io::Result<Box<dyn Io>> {
        let mut state = self.lock();
        if disk.is_dead() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.refusing > 0 {
            state.refusing -= 1;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        state.connections.push(Connection {
            io: ours,
            request: Vec::new(),
            script: None,
            sent: 0,
            open: true,
        });
        Ok(Box::new(theirs))
    }

    /// How many connections still have something to say.
    pub(crate) fn speaking(&self) -> usize {
        let mut state = self.lock();
        state.listen();
        state.speaking().len()
    }

    /// Lets one of the connections that have something to say send up to `bytes`.
    pub(crate) fn speak(&self, which: usize, bytes: usize) -> Option<usize> {
        let mut state = self.lock();
        state.listen();
        let speaking = state.speaking();
        let at = *speaking.get(which % speaking.len().max(1))?;
        state.speak(at, bytes);
        state.connections[at].script
    }

    /// Drops one of the open connections in the middle.
    pub(crate) fn cut(&self, which: usize) -> Option<usize> {
        let mut state = self.lock();
        state.listen();
        let speaking = state.speaking();
        let at = *speaking.get(which % speaking.len().max(1))?;
        state.connections.remove(at).script
    }
}

impl State {
    /// Reads the requests that came.
    fn listen(&mut self) {
        for connection in &mut self.connections {
            while connection.open {
                let mut buffer = [0; 4096];
                let mut buffer = ReadBuf::new(&mut buffer);
                let mut cx = Context::from_waker(Waker::noop());
                match Pin::new(&mut connection.io).poll_read(&mut cx, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        connection.request.extend_from_slice(buffer.filled());
                    }
                    Poll::Ready(_) => connection.open = false,
                    Poll::Pending => break,
                }
            }
            if connection.script.is_none()
                && let Some(number) = asked(&connection.request)
            {
                connection.script = Some(number);
                self.calls[number] += 1;
            }
        }
        self.connections.retain(|connection| connection.open);
    }

    fn speaking(&self) -> Vec<usize> {
        let has_more = |connection: &Connection| {
            let script = connection
                .script
                .and_then(|number| self.scripts.get(number));
            script.is_some_and(|script| {
                connection.sent < script.wire.len() || script.after == After::Close
            })
        };
        let all = self.connections.iter().enumerate();
        all.filter(|(_, connection)| has_more(connection))
            .map(|(at, _)| at)
            .collect()
    }

    fn speak(&mut self, at: usize, bytes: usize) {
        let connection = &mut self.connections[at];
        let Some(script) = connection
            .script
            .and_then(|number| self.scripts.get(number))
        else {
            return;
        };
        let end = (connection.sent + bytes).min(script.wire.len());
        let mut cx = Context::from_waker(Waker::noop());
        while connection.sent < end {
            let rest = &script.wire[connection.sent..end];
            match Pin::new(&mut connection.io).poll_write(&mut cx, rest) {
                Poll::Ready(Ok(written)) if written > 0 => connection.sent += written,
                Poll::Ready(_) => {
                    connection.open = false;
                    return;
                }
                Poll::Pending => return,
            }
        }
        if connection.sent == script.wire.len() && script.after == After::Close {
            let _ = Pin::new(&mut connection.io).poll_shutdown(&mut cx);
            connection.open = false;
        }
    }
}

/// The number in a request's model, once it is there.
fn asked(request: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(request).ok()?;
    let (_, rest) = text.split_once("\"model\":\"s")?;
    let (number, _) = rest.split_once('"')?;
    number.parse().ok()
}
