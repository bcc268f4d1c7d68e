//! What one batch changes in what is known of its stream.

use std::sync::Arc;

use everstream_core::event::{Mode, Surface};
use everstream_core::id::{Epoch, ProjectId, StreamId, UnixMillis};
use everstream_core::record::codec::BatchHead;
use everstream_core::record::{Abandoned, Claim, End, Record, Tail};

use super::layout::BatchRef;

/// The effect of a batch: the same whether it was just written here, found by a recovery, or read
/// from another process's segments.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) stream: StreamId,
    pub(super) epoch: Epoch,
    pub(super) at: BatchRef,
    /// Where the stream ends after it.
    pub(super) tail: Tail,
    /// Bytes of data of its events.
    pub(super) bytes: u64,
    pub(super) opened: Option<Box<Opened>>,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) end: Option<Arc<End>>,
}

/// What the first record says, without the request.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) project: ProjectId,
    pub(super) surface: Surface,
    pub(super) mode: Mode,
    pub(super) model: Box<str>,
    pub(super) created_at: UnixMillis,
    pub(super) claim: Option<Box<Claim>>,
}

impl Step {
    /// The effect of a batch of `bytes` bytes at a place in a segment; `None` when its records
    /// cannot stand in a stream.
    pub(super) fn of(
        head: &BatchHead,
        records: &[Record],
        place: (u32, u64, usize),
    ) -> Option<Self> {
        let before = Tail {
            position: head.position,
            seq: head.seq,
            ended: false,
        };
        Self::to(head, before.after(records).ok()?, records, place)
    }

    /// As [`of`](Self::of), for records that are known to lead to `tail`.
    pub(super) fn to(
        head: &BatchHead,
        tail: Tail,
        records: &[Record],
        (segment, offset, bytes): (u32, u64, usize),
    ) -> Option<Self> {
        let at = BatchRef {
            position: u32::try_from(head.position.0).ok()?,
            seq: u32::try_from(head.seq.get()).ok()?,
            segment,
            offset: u32::try_from(offset).ok()?,
            bytes: u32::try_from(bytes).ok()?,
        };
        u32::try_from(tail.position.0).ok()?;
        let mut step = Self {
            stream: head.stream,
            epoch: head.epoch,
            at,
            tail,
            bytes: 0,
            opened: None,
            upstream: None,
            end: None,
        };
        for record in records {
            step.note(record);
        }
        Some(step)
    }

    fn note(&mut self, record: &Record) {
        match record {
            Record::Accepted(accepted) => {
                self.opened = Some(Box::new(Opened {
                    project: accepted.project.clone(),
                    surface: accepted.surface,
                    mode: accepted.mode,
                    model: accepted.model.as_str().into(),
                    created_at: accepted.created_at,
                    claim: accepted.claim.map(Box::new),
                }));
            }
            Record::Dialled(dialled) => self.upstream = Some(dialled.upstream.as_str().into()),
            Record::Abandoned(Abandoned {
                instead: Some(upstream),
                ..
            }) => self.upstream = Some(upstream.as_str().into()),
            Record::Event(event) => self.bytes += event.data.len() as u64,
            Record::End(end) => self.end = Some(Arc::clone(end)),
            Record::Head(_) | Record::Abandoned(_) | Record::Seam(_) | Record::Leased => {}
        }
    }
}
