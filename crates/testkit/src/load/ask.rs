use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Bench;
use super::check::{Arrival, Check, check_text};
use crate::client::{BodyEnd, RawClient};
use crate::http::malformed;
use crate::monotonic::now_nanos;
use crate::provider::{Flight, Flights};

/// One client: a connection and the request that it repeats.
pub(super) struct Client {
    connection: RawClient,
    request: Vec<u8>,
    /// Where in `request` the stream's number stands.
    user_at: usize,
    tokens: u64,
    has_ids: bool,
    flights: Arc<Flights>,
}

/// The number of the next answer: none is asked for twice.
static NEXT: AtomicU32 = AtomicU32::new(1);

const BLANK_USER: &str = "--------";

impl Client {
    /// Connects, to ask for answers of `tokens` tokens of `model`.
    pub(super) async fn connect(
        bench: &Bench,
        model: &str,
        tokens: u64,
        stream: bool,
    ) -> io::Result<Self> {
        let target = &bench.target;
        let body = format!(
            r#"{{"model":"{model}","user":"{BLANK_USER}","stream":{stream},"messages":[{{"role":"user","content":"Count, please."}}]}}"#
        );
        let mut head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            target.addr,
            body.len(),
        );
        if let Some(key) = &target.key {
            head.extend(["authorization: Bearer ", key, "\r\n"]);
        }
        if let Some(policy) = &target.on_disconnect {
            head.extend(["everstream-on-disconnect: ", policy, "\r\n"]);
        }
        let request = format!("{head}\r\n{body}");
        Ok(Self {
            connection: RawClient::connect(target.addr).await?,
            user_at: request.find(BLANK_USER).unwrap_or(0),
            request: request.into_bytes(),
            tokens,
            has_ids: target.has_ids,
            flights: Arc::clone(&bench.flights),
        })
    }

    /// Asks, and reads the head of the answer.
    pub(super) async fn ask(&mut self) -> io::Result<Answer<'_>> {
        let stream = NEXT.fetch_add(1, Ordering::Relaxed);
        let user = format!("{stream:08x}");
        self.request[self.user_at..self.user_at + user.len()].copy_from_slice(user.as_bytes());
        let flight = self.flights.of(stream);
        let asked_at = now_nanos();
        self.connection.send(&self.request).await?;
        let head = self.connection.read_head().await?;
        if head.status != 200 {
            let (body, _) = self.connection.read_body().await?;
            let body = String::from_utf8_lossy(&body);
            return Err(malformed(format!("status {}: {body}", head.status)));
        }
        Ok(Answer {
            asked_at,
            stream,
            flight,
            check: Check::new(stream, self.tokens, self.has_ids),
            client: self,
        })
    }
}

/// An answer that is coming in.
pub(super) struct Answer<'a> {
    /// When it was asked for.
    pub(super) asked_at: u64,
    pub(super) check: Check,
    stream: u32,
    flight: Option<Arc<Flight>>,
    client: &'a mut Client,
}

impl Answer<'_> {
    /// Reads what is there of a streamed answer, or waits for more; false at its proper end.
    pub(super) async fn read(&mut self, arrivals: &mut Vec<Arrival>) -> io::Result<bool> {
        let connection = &mut self.client.connection;
        let more = connection.read_more().await?;
        let now = now_nanos();
        let taken = self.check.take(connection.unread(), now, arrivals);
        connection.consume(taken.map_err(malformed)?);
        if let Some(flight) = &self.flight {
            flight.arrived(self.check.seen);
        }
        if !more {
            if connection.body_end() != Some(BodyEnd::Clean) || !connection.unread().is_empty() {
                return Err(malformed(format!("stream {:08x} was cut", self.stream)));
            }
            self.check.finish().map_err(malformed)?;
        }
        Ok(more)
    }

    /// Reads an answer that is not streamed.
    pub(super) async fn read_whole(self) -> io::Result<()> {
        let (body, end) = self.client.connection.read_body().await?;
        if end != BodyEnd::Clean {
            return Err(malformed(format!("stream {:08x} was cut", self.stream)));
        }
        check_text(&body, self.stream, self.client.tokens).map_err(malformed)
    }
}
