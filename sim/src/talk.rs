//! One exchange of a client with the gateway.

use std::io;
use std::sync::Arc;

use everstream_core::frame::http1::{BodyDecoder, BodyState, HeadDecoder, ResponseHead};
use everstream_testkit::sse::read_frames;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::board::Frame;
use crate::net::{Link, Net};
use crate::pipe::Endpoint;
use crate::process::GATEWAY;

/// An answer, of which the head is there.
pub(crate) struct Talk {
    connection: Endpoint,
    pub(crate) head: ResponseHead,
    decoder: BodyDecoder,
    /// What came of the body.
    body: Vec<u8>,
    /// How many of its events were handed out.
    taken: usize,
}

/// What a reader gets.
pub(crate) enum News {
    /// An event, and its id.
    Event(String, u64, Frame),
    /// The proper end of the body.
    End,
    /// The connection broke, or the body ended too early.
    Broken,
    /// What no gateway may send.
    Wrong(String),
}

impl Talk {
    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn open(net: &Net, link: &Arc<Link>, request: &str) -> io::Result<Self> {
        let mut connection = net.connect(link, GATEWAY).await?;
        connection.write_all(request.as_bytes()).await?;
        let method = request.split(' ').next().unwrap_or_default();
        let mut decoder = HeadDecoder::new(method);
        let mut buffer = [0; 4096];
        loop {
            let read = connection.read(&mut buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let decoded = decoder.push(&buffer[..read]);
            let Some(mut decoded) = decoded.map_err(io::Error::other)? else {
                continue;
            };
            let body = decoded.body.push(&mut decoded.rest).to_vec();
            return Ok(Self {
                connection,
                head: decoded.head,
                decoder: decoded.body,
                body,
                taken: 0,
            });
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.get_str(name).map(str::to_owned)
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            match self.taken_next() {
                Ok(Some((stream, seq, frame))) => return News::Event(stream, seq, frame),
                Ok(None) => {}
                Err(wrong) => return News::Wrong(wrong),
            }
            match self.more().await {
                Ok(true) => {}
                Ok(false) => return News::End,
                Err(_) => return News::Broken,
            }
        }
    }

    /// The whole body, if it is one.
    pub(crate) async fn json(&mut self) -> io::Result<Value> {
        while self.more().await? {}
        serde_json::from_slice(&self.body).map_err(io::Error::other)
    }

    /// Leaves in the middle.
    pub(crate) fn leave(self, rudely: bool) {
        if rudely {
            self.connection.reset();
        }
    }

    fn taken_next(&mut self) -> Result<Option<(String, u64, Frame)>, String> {
        let (frames, _) = read_frames(&self.body)?;
        let events = frames.into_iter().filter(|frame| frame.data.is_some());
        let Some(event) = events.into_iter().nth(self.taken) else {
            return Ok(None);
        };
        self.taken += 1;
        let id = (event.stream().map(str::to_owned), event.seq());
        let (Some(stream), Some(seq)) = id else {
            return Err(format!("an event without an id: {:?}", event.raw));
        };
        let frame = Frame {
            event: event.event,
            data: event.data.unwrap_or_default(),
        };
        Ok(Some((stream, seq, frame)))
    }

    /// Reads on; false at the proper end.
    async fn more(&mut self) -> io::Result<bool> {
        let failed = |error: everstream_core::frame::http1::Http1Error| io::Error::other(error);
        match self.decoder.state() {
            BodyState::Done => return Ok(false),
            BodyState::Failed(error) => return Err(failed(error)),
            BodyState::Open => {}
        }
        let mut buffer = [0; 4096];
        let read = self.connection.read(&mut buffer).await?;
        if read == 0 {
            return self.decoder.finish().map(|()| false).map_err(failed);
        }
        let bytes = self.decoder.push(&mut buffer[..read]);
        self.body.extend_from_slice(bytes);
        Ok(true)
    }
}
