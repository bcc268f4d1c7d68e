//! The providers: what each says depends on its mood and on chance.

use std::io;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::board::{Board, Call};
use crate::net::{Attitude, Millis, Net};
use crate::pipe::Endpoint;
use crate::process::GATEWAY;
use crate::random::Random;
use crate::schedule::{Mood, UpstreamPlan};
use crate::tasks::Tasks;

/// What a provider does with one request. Numbers are tokens that come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Whole,
    /// The last event, and no `[DONE]`.
    WithoutDone,
    /// `[DONE]`, and no last event.
    OnlyDone(usize),
    Refuse(u16, Option<u64>),
    Cut(usize, How),
    Stall(usize),
    Malformed(usize),
    ErrorEvent(usize),
    HangUp(How),
    /// Not even a head.
    Silent,
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Close,
    Reset,
}

struct Provider {
    number: usize,
    net: Net,
    tasks: Tasks,
    board: Board,
    /// Until when which mood lasts.
    moods: Vec<(Millis, Mood)>,
}

/// Begins to be upstream `number`.
pub(crate) fn start(
    number: usize,
    plan: &UpstreamPlan,
    mut random: Random,
    net: &Net,
    tasks: &Tasks,
    board: &Board,
) {
    let port = GATEWAY + 1 + number;
    let mut until = 0;
    let moods = plan.moods.iter().map(|(time, mood)| {
        until += time;
        (until, *mood)
    });
    let provider = Rc::new(Provider {
        number,
        net: net.clone(),
        tasks: tasks.clone(),
        board: board.clone(),
        moods: moods.collect(),
    });
    let moody = Rc::clone(&provider);
    tasks.spawn(async move {
        for (until, mood) in &moody.moods {
            moody.net.note(format!("u{number} is {mood:?}"));
            moody.net.turn(port, attitude(*mood));
            let now = moody.net.now();
            moody.net.sleep(until - now).await;
        }
        moody.net.note(format!("u{number} is healthy"));
        moody.net.turn(port, Attitude::Listens);
    });
    tasks.spawn(async move {
        loop {
            let mut connection = provider.net.accept(port).await;
            let (served, random) = (Rc::clone(&provider), random.fork());
            provider.tasks.spawn(async move {
                if served.serve(&mut connection, random).await.is_err() {
                    connection.reset();
                }
            });
        }
    });
}

const fn attitude(mood: Mood) -> Attitude {
    match mood {
        Mood::Down => Attitude::Refuses,
        Mood::Deaf => Attitude::Swallows,
        _ => Attitude::Listens,
    }
}

impl Provider {
    fn mood(&self) -> Mood {
        let now = self.net.now();
        let mood = self.moods.iter().find(|(until, _)| now < *until);
        mood.map_or(Mood::Healthy, |(_, mood)| *mood)
    }

    async fn serve(&self, connection: &mut Endpoint, mut random: Random) -> io::Result<()> {
        while let Some(request) = read_request(connection).await? {
            let act = act(self.mood(), &mut random);
            let tokens = random.between(1, 12);
            let number = self.board.seen(|seen| seen.calls.len());
            let words: Vec<_> = (0..tokens).map(|n| format!("{number}.{n} ")).collect();
            let question = request["messages"][0]["content"].as_str();
            let question = question.unwrap_or_default().to_owned();
            let name = self.number;
            self.net.note(format!(
                "u{name} is asked {question} (call {number}): {act:?}"
            ));
            self.board.seen(|seen| {
                seen.calls.push(Call {
                    upstream: self.number,
                    question,
                    text: words.concat(),
                    refused: matches!(act, Act::Refuse(401 | 403 | 404 | 422 | 429 | 503, _)),
                    whole: false,
                });
            });
            let slow = random.weighted(&[(6, 10), (2, 300), (1, 2_500)]);
            let play = Play {
                provider: self,
                call: number,
                words,
                stream: request["stream"] == json!(true),
                usage: request["stream_options"]["include_usage"] == json!(true),
                gap: (0, slow),
                closes: random.chance(30),
            };
            if !play.perform(connection, act, &mut random).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn act(mood: Mood, random: &mut Random) -> Act {
    let at = random.below(6);
    let how = random.weighted(&[(1, How::Close), (1, How::Reset)]);
    match mood {
        Mood::Refusing(status, after) => Act::Refuse(status, after),
        Mood::Silent => Act::Silent,
        Mood::Flaky => {
            let status = random.weighted(&[(2, 429), (2, 500), (2, 503), (1, 502), (1, 400)]);
            random.weighted(&[
                (5, Act::Whole),
                (2, Act::WithoutDone),
                (2, Act::OnlyDone(at)),
                (3, Act::Refuse(status, None)),
                (6, Act::Cut(at, how)),
                (2, Act::Stall(at)),
                (2, Act::Malformed(at)),
                (2, Act::ErrorEvent(at)),
                (2, Act::HangUp(how)),
                (1, Act::Silent),
                (1, Act::Html),
            ])
        }
        Mood::Healthy | Mood::Down | Mood::Deaf => Act::Whole,
    }
}

/// One answer.
struct Play<'a> {
    provider: &'a Provider,
    call: usize,
    words: Vec<String>,
    stream: bool,
    usage: bool,
    /// Between two events.
    gap: (Millis, Millis),
    /// The body ends with the connection.
    closes: bool,
}

impl Play<'_> {
    /// Whether another request may follow.
    async fn perform(
        &self,
        connection: &mut Endpoint,
        act: Act,
        random: &mut Random,
    ) -> io::Result<bool> {
        match act {
            Act::Refuse(status, after) => {
                let message = json!({"error": {"message": "The provider says no.", "type": "no",
                    "code": "no"}});
                let after = after.map(|after| format!("retry-after: {after}\r\n"));
                let head = format!(
                    "HTTP/1.1 {status} No\r\n{}content-type: application/json\r\n",
                    after.unwrap_or_default()
                );
                body(connection, &head, &message.to_string()).await?;
                Ok(true)
            }
            Act::Html => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n";
                body(connection, head, "<html>Please pay.</html>").await?;
                Ok(true)
            }
            Act::HangUp(How::Close) => Ok(false),
            Act::HangUp(How::Reset) => broken(),
            Act::Silent => silence(connection).await,
            _ if self.stream => self.streamed(connection, act, random).await,
            _ => self.unary(connection, act, random).await,
        }
    }

    async fn unary(
        &self,
        connection: &mut Endpoint,
        act: Act,
        random: &mut Random,
    ) -> io::Result<bool> {
        self.pause(random).await;
        let whole = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": self.words.concat()}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}})
        .to_string();
        let half = &whole[..whole.len() / 2];
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        match act {
            Act::Whole | Act::WithoutDone => {
                self.said_all();
                body(connection, head, &whole).await?;
                return Ok(true);
            }
            Act::Malformed(_) | Act::OnlyDone(_) => {
                body(connection, head, half).await?;
                return Ok(true);
            }
            _ => {}
        }
        let head = format!("{head}content-length: {}\r\n\r\n{half}", whole.len());
        connection.write_all(head.as_bytes()).await?;
        match act {
            Act::Stall(_) => silence(connection).await,
            Act::Cut(_, How::Reset) => broken(),
            _ => Ok(false),
        }
    }

    async fn streamed(
        &self,
        connection: &mut Endpoint,
        act: Act,
        random: &mut Random,
    ) -> io::Result<bool> {
        let framing = if self.closes {
            "connection: close\r\n"
        } else {
            "transfer-encoding: chunked\r\n"
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{framing}\r\n");
        connection.write_all(head.as_bytes()).await?;
        let role = json!({"role": "assistant", "content": ""});
        self.event(connection, &chunk(&role, None)).await?;
        let stops_at = match act {
            Act::OnlyDone(at)
            | Act::Cut(at, _)
            | Act::Stall(at)
            | Act::Malformed(at)
            | Act::ErrorEvent(at) => at.min(self.words.len()),
            _ => self.words.len(),
        };
        for word in &self.words[..stops_at] {
            self.pause(random).await;
            let delta = json!({"content": word});
            self.event(connection, &chunk(&delta, None)).await?;
        }
        self.pause(random).await;
        match act {
            Act::Cut(_, How::Reset) => return broken(),
            Act::Cut(_, How::Close) => return Ok(false),
            Act::Stall(_) => return silence(connection).await,
            Act::Malformed(_) => self.event(connection, "{\"choices\":[").await?,
            Act::OnlyDone(_) => self.event(connection, "[DONE]").await?,
            Act::ErrorEvent(_) => {
                let error = json!({"error": {"message": "It broke.", "code": "server_error"}});
                self.event(connection, &error.to_string()).await?;
            }
            _ => {
                self.said_all();
                self.event(connection, &chunk(&json!({}), Some("stop")))
                    .await?;
                if self.usage {
                    let usage = json!({"prompt_tokens": 3, "completion_tokens": self.words.len(),
                        "total_tokens": 3 + self.words.len()});
                    let event = json!({"id": "c", "object": "chat.completion.chunk", "created": 1,
                        "model": "m", "choices": [], "usage": usage});
                    self.event(connection, &event.to_string()).await?;
                }
                if act != Act::WithoutDone {
                    self.event(connection, "[DONE]").await?;
                }
            }
        }
        if !self.closes {
            connection.write_all(b"0\r\n\r\n").await?;
        }
        Ok(!self.closes)
    }

    async fn event(&self, connection: &mut Endpoint, data: &str) -> io::Result<()> {
        let event = format!("data: {data}\n\n");
        let event = if self.closes {
            event
        } else {
            format!("{:x}\r\n{event}\r\n", event.len())
        };
        connection.write_all(event.as_bytes()).await
    }

    async fn pause(&self, random: &mut Random) {
        let (least, most) = self.gap;
        self.provider.net.sleep(random.between(least, most)).await;
    }

    /// From here on the gateway may have all of it.
    fn said_all(&self) {
        let board = &self.provider.board;
        board.seen(|seen| seen.calls[self.call].whole = true);
    }
}

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    .to_string()
}

async fn body(connection: &mut Endpoint, head: &str, body: &str) -> io::Result<()> {
    let all = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    connection.write_all(all.as_bytes()).await
}

/// Waits until the other side has had enough.
async fn silence(connection: &mut Endpoint) -> io::Result<bool> {
    let mut byte = [0; 64];
    while connection.read(&mut byte).await? > 0 {}
    Ok(false)
}

/// The connection is to be reset.
fn broken() -> io::Result<bool> {
    Err(io::ErrorKind::ConnectionReset.into())
}

/// The body of the next request; `None` when no more come.
async fn read_request(connection: &mut Endpoint) -> io::Result<Option<Value>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "));
            let length: usize = length.and_then(|l| l.parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                let body = serde_json::from_slice(&bytes[end + 4..end + 4 + length]);
                return body.map(Some).map_err(io::Error::other);
            }
        }
        let read = connection.read(&mut buffer).await?;
        if read == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
}
