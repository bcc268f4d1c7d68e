//! The one reader loop: from the log up to the tail, then live, and from the log again when behind.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use everstream_core::error::Error;
use everstream_core::id::{Seq, StreamId};
use everstream_core::limits;
use everstream_core::record::{End, Tail};
use everstream_store::{LogError, LogFuture, Page, ReadLimit, StreamLog};

use crate::generate::live::{Attachment, Batch, Ending, Next};
use crate::store_error;

/// Something that reads one stream from a position on. Dropping it is leaving.
pub struct Reader {
    log: Arc<dyn StreamLog>,
    stream: StreamId,
    seen: Seq,
    /// Its place at the live stream, while this process writes it.
    attachment: Option<Attachment>,
    ending: Option<Ending>,
    state: State,
}

enum State {
    Idle,
    Reading(LogFuture<'static, Result<Page, LogError>>),
    Waiting(LogFuture<'static, ()>),
}

/// What a reader gets.
#[derive(Debug)]
pub enum Read {
    /// Events, of which those after the given seq are new to it.
    Events(Arc<Batch>, Seq),
    /// Nothing follows.
    Ended(Arc<End>),
    /// The stream is not over, but nothing more of it can be read here.
    Lost(Error),
}

impl Reader {
    /// A reader that has seen everything up to `seen`.
    pub fn new(
        log: Arc<dyn StreamLog>,
        stream: StreamId,
        seen: Seq,
        attachment: Option<Attachment>,
    ) -> Self {
        Self {
            log,
            stream,
            seen,
            attachment,
            ending: None,
            state: State::Idle,
        }
    }

    /// The stream it reads.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// The newest event it was given.
    pub fn seen(&self) -> Seq {
        self.seen
    }

    /// Who answers, as far as that is known here.
    pub fn upstream(&self) -> Option<String> {
        if let Some(Ending::Logged(end)) = self.ending() {
            return end.upstream.clone();
        }
        self.attachment.as_ref()?.live().upstream()
    }

    /// The next events, or how it ended.
    pub async fn next(&mut self) -> Read {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// How the stream ended, if it did and this reader was given all of it.
    pub fn ending(&self) -> Option<Ending> {
        match &self.attachment {
            Some(attachment) => attachment.ending_at(self.seen),
            None => self.ending.clone(),
        }
    }

    /// See [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        loop {
            match &mut self.state {
                State::Idle => match &self.attachment {
                    Some(attachment) => match ready!(attachment.poll_next(self.seen, cx)) {
                        Next::Batch(batch) => return Poll::Ready(self.give(batch)),
                        Next::Ended(ending) => return Poll::Ready(ended(ending)),
                        Next::Behind => self.state = self.reading(),
                    },
                    None => self.state = self.reading(),
                },
                State::Reading(reading) => {
                    let page = ready!(reading.as_mut().poll(cx));
                    self.state = State::Idle;
                    if let Some(read) = self.take_page(page) {
                        return Poll::Ready(read);
                    }
                }
                State::Waiting(waiting) => {
                    ready!(waiting.as_mut().poll(cx));
                    self.state = State::Idle;
                }
            }
        }
    }

    /// A page from the log becomes a read, or a reason to wait.
    fn take_page(&mut self, page: Result<Page, LogError>) -> Option<Read> {
        let page = match page {
            Ok(page) => page,
            Err(error) => return Some(Read::Lost(store_error(&error).stream(self.stream))),
        };
        let last = page.events.last().map_or(self.seen, |event| event.seq);
        if let (true, Some(end)) = (last >= page.tail.seq, page.end) {
            self.ending = Some(Ending::Logged(end));
        }
        if !page.events.is_empty() {
            let batch = Batch::render(self.stream, page.events);
            return Some(self.give(Arc::new(batch)));
        }
        if let Some(ending) = self.ending.clone() {
            return Some(ended(ending));
        }
        if self.attachment.is_none() {
            self.state = State::Waiting(self.waiting(page.tail));
        }
        None
    }

    fn give(&mut self, batch: Arc<Batch>) -> Read {
        let before = self.seen;
        self.seen = batch.last();
        Read::Events(batch, before)
    }

    fn reading(&self) -> State {
        let (log, stream, seen) = (Arc::clone(&self.log), self.stream, self.seen);
        let limit = ReadLimit {
            events: limits::READ_PAGE_EVENTS,
            bytes: limits::READ_PAGE_BYTES,
        };
        State::Reading(Box::pin(async move { log.read(stream, seen, limit).await }))
    }

    fn waiting(&self, seen: Tail) -> LogFuture<'static, ()> {
        let (log, stream) = (Arc::clone(&self.log), self.stream);
        Box::pin(async move { log.wait(stream, seen).await })
    }
}

fn ended(ending: Ending) -> Read {
    match ending {
        Ending::Logged(end) => Read::Ended(end),
        Ending::Lost(error) => Read::Lost(error),
    }
}
