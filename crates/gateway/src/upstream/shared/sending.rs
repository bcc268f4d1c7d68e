use std::task::{Context, Poll, ready};

use bytes::Bytes;
use everstream_core::error::Error;
use h2::{Reason, SendStream};

use crate::upstream::connection::Payload;

/// The body of a request on its way out.
pub(super) struct Sending {
    stream: SendStream<Bytes>,
    /// What is left of the last piece that was asked for.
    piece: Bytes,
}

/// Whether a request ends with its head.
pub(super) fn is_empty(body: &Payload) -> bool {
    match body {
        Payload::Whole(body) => body.is_empty(),
        Payload::Streamed(upload) => upload.is_over(),
    }
}

impl Sending {
    pub(super) fn new(stream: SendStream<Bytes>) -> Self {
        Self {
            stream,
            piece: Bytes::new(),
        }
    }

    /// Hands over as much as the upstream takes. Ready when nothing is left, or when the upstream wants
    /// no more; an error when the body broke off.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Payload,
    ) -> Poll<Result<(), Error>> {
        let upload = match body {
            Payload::Whole(body) => {
                if !body.is_empty() {
                    // It is in memory, and not copied: the connection takes it as it may. It is kept
                    // for when it has to be sent again.
                    let _ = self.stream.send_data(body.clone(), true);
                }
                return Poll::Ready(Ok(()));
            }
            Payload::Streamed(upload) => upload,
        };
        // Those of a known length are marked as ended with their last piece.
        let mut ended = upload.is_over() && self.piece.is_empty();
        while !ended {
            if self.piece.is_empty() {
                match ready!(upload.poll_piece(cx)) {
                    Ok(piece) => {
                        ended = piece.is_none();
                        self.piece = piece.unwrap_or_default();
                    }
                    Err(error) => {
                        self.stream.send_reset(Reason::CANCEL);
                        return Poll::Ready(Err(error));
                    }
                }
            }
            let room = if ended { 0 } else { ready!(self.poll_room(cx)) };
            if room == 0 && !ended {
                break;
            }
            let part = self.piece.split_to(room);
            ended |= upload.is_over() && self.piece.is_empty();
            if self.stream.send_data(part, ended).is_err() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// How much of the piece is taken now; nothing when no more is wanted.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.stream.reserve_capacity(self.piece.len());
        let mut room = self.stream.capacity();
        if room == 0 {
            room = match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => 0,
            };
        }
        Poll::Ready(room.min(self.piece.len()))
    }
}
