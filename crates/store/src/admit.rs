//! What every backend checks before it appends.

use everstream_core::record::{Record, Tail};

use crate::LogError;
use crate::config::StreamLimits;

/// A stream as an append finds it, or leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it ends.
    pub(crate) tail: Tail,
    /// Bytes of data of its events.
    pub(crate) bytes: u64,
}

/// The stream after `records`, or why it cannot take them. Limits count for events only: what says
/// how a stream ended must fit in one that is full.
pub(crate) fn admit(
    limits: &StreamLimits,
    before: Extent,
    records: &[Record],
) -> Result<Extent, LogError> {
    if before.tail.ended {
        return Err(LogError::Ended);
    }
    let mut bytes = before.bytes;
    for record in records {
        let Record::Event(event) = record else {
            continue;
        };
        let size = event.data.len();
        if size > limits.event_bytes {
            let limit = limits.event_bytes;
            return Err(LogError::EventTooLarge { size, limit });
        }
        bytes += size as u64;
    }
    let tail = before.tail.after(records)?;
    let events = limits.stream_events.min(u64::from(u32::MAX));
    if tail.seq > before.tail.seq && tail.seq.get() > events {
        return Err(LogError::StreamTooLarge {
            what: "limits.stream_events",
            limit: events,
        });
    }
    if bytes > before.bytes && bytes > limits.stream_bytes {
        return Err(LogError::StreamTooLarge {
            what: "limits.stream_bytes",
            limit: limits.stream_bytes,
        });
    }
    // Indexes hold positions in 32 bits.
    if tail.position.0 > u64::from(u32::MAX) {
        return Err(LogError::StreamTooLarge {
            what: "records",
            limit: u64::from(u32::MAX),
        });
    }
    Ok(Extent { tail, bytes })
}

/// Bytes that `records` take, about: for the bound of the whole log.
pub(crate) fn weight(records: &[Record]) -> u64 {
    let payload = |record: &Record| match record {
        Record::Accepted(accepted) => accepted.request.len() + accepted.model.len() + 256,
        Record::Event(event) => event.name.len() + event.data.len() + 16,
        Record::Dialled(_)
        | Record::Head(_)
        | Record::Abandoned(_)
        | Record::Seam(_)
        | Record::Leased
        | Record::End(_) => 128,
    };
    64 + records.iter().map(payload).sum::<usize>() as u64
}

/// Whether the log's own bound holds for `records`. What ends a stream, or tells what became of
/// it, is let through: it is small, and without it nothing could ever be dropped.
pub(crate) fn is_bounded(records: &[Record]) -> bool {
    let ends = |record: &Record| matches!(record, Record::End(_));
    let grows = |record: &Record| matches!(record, Record::Accepted(_) | Record::Event(_));
    records.iter().any(grows) && !records.iter().any(ends)
}
