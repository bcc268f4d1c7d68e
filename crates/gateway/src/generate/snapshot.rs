//! What a stream's events make so far.

use everstream_core::dialect::openai_responses::snapshot::Snapshot;
use everstream_core::id::Seq;
use everstream_core::limits;
use everstream_store::{LogError, ReadLimit, Stat, StreamLog};

/// What the events of a response make so far.
pub async fn snapshot(log: &dyn StreamLog, stat: &Stat) -> Result<Snapshot, LogError> {
    let limit = ReadLimit {
        events: limits::READ_PAGE_EVENTS,
        bytes: limits::READ_PAGE_BYTES,
    };
    let (mut snapshot, mut seen) = (Snapshot::default(), Seq::ZERO);
    while seen < stat.tail.seq {
        let page = log.read(stat.info.id, seen, limit).await?;
        let Some(last) = page.events.last() else {
            break;
        };
        seen = last.seq;
        let events = page.events.iter();
        events
            .filter(|event| event.seq <= stat.tail.seq)
            .for_each(|event| snapshot.push(event));
    }
    Ok(snapshot)
}
