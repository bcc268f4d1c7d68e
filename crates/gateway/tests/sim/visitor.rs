//! A client that reads a stream, and what it makes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use everstream::generate::Generator;
use everstream::read::{Read, Reader};
use everstream_core::error::ErrorCode;
use everstream_core::id::{Seq, StreamId};
use everstream_core::limits;
use everstream_store::StreamLog;
use tokio::time::sleep;

use super::board::Fate;
use super::check;
use super::disk::ProcessDisk;
use super::log::SimLog;
use super::process::Host;
use super::random::Random;

/// A client that reads.
pub(crate) struct Visitor {
    pub(crate) process: u32,
    pub(crate) reader: usize,
    pub(crate) host: Host,
    pub(crate) log: Arc<SimLog>,
    pub(crate) disk: ProcessDisk,
    pub(crate) pace: Random,
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.host.board.stand_up(self.reader, Fate::Gone);
    }
}

impl Visitor {
    /// As `http/open.rs` opens a stream.
    pub(crate) async fn open(self, generator: &Generator, id: StreamId, seq: Seq) {
        let board = &self.host.board;
        let number = self.host.book.get(id).number;
        let live = generator.registry.get(id);
        let stat = match self.log.info(id).await {
            Ok(stat) => stat,
            Err(error) => {
                if !self.disk.is_dead() {
                    check::refused(&self.host, id, &error);
                }
                return;
            }
        };
        let attachment = live.and_then(|live| live.attach(seq, limits::STREAM_READERS));
        if seq > stat.tail.seq && !self.disk.is_dead() {
            let tail = stat.tail.seq;
            board.violate(format!(
                "s{number}.{seq} was seen, and the log is at {tail}"
            ));
        }
        if stat.tail.ended && stat.tail.seq == seq {
            board.stand_up(self.reader, Fate::Finished);
            return;
        }
        let attached = attachment.is_some();
        let log = Arc::<SimLog>::clone(&self.log);
        let reader = Reader::new(log, id, seq, attachment);
        self.follow(number, reader, attached).await;
    }

    pub(crate) async fn follow(mut self, number: usize, mut reader: Reader, attached: bool) {
        let id = reader.stream();
        loop {
            let read = reader.next().await;
            if self.disk.is_dead() {
                return;
            }
            let (board, name) = (&self.host.board, self.reader);
            match read {
                Read::Events(batch, before) => {
                    let last = batch.last();
                    board.note(&format!("r{name} got s{number} {before}..{last}"));
                    board.saw(number, &batch, before);
                    if attached {
                        board.kept(self.process, number, &batch);
                        self.is_logged(id, last).await;
                    }
                }
                Read::Ended(end) => {
                    board.note(&format!("r{name} got s{number} {:?}", end.status));
                    board.saw_end(number, reader.seen(), &end);
                    board.stand_up(name, Fate::Finished);
                    return;
                }
                Read::Lost(error) => {
                    board.note(&format!("r{name} lost s{number}: {:?}", error.code));
                    if error.code == ErrorCode::Internal {
                        board.violate(format!("s{number}: {}", error.message));
                    }
                    if error.code == ErrorCode::StreamGone {
                        check::dropped(&self.host, id);
                    }
                    return;
                }
            }
            self.dawdle().await;
        }
    }

    /// What came out of memory is in the log already.
    async fn is_logged(&self, id: StreamId, seq: Seq) {
        if let Ok(stat) = self.log.info(id).await
            && stat.tail.seq < seq
        {
            let (number, tail) = (self.host.book.get(id).number, stat.tail.seq);
            let board = &self.host.board;
            board.violate(format!(
                "s{number}.{seq} was delivered, the log is at {tail}"
            ));
        }
    }

    async fn dawdle(&mut self) {
        if self.host.hurry.load(Ordering::Relaxed) {
            return;
        }
        let pause = self
            .pace
            .weighted(&[(12, 0), (3, 30), (3, 900), (1, 8_000)]);
        if pause > 0 {
            sleep(Duration::from_millis(pause)).await;
        }
    }
}
