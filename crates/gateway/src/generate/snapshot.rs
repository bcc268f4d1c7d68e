//! What a stream's events make so far.

use everstream_core::dialect::openai_responses::snapshot::Snapshot;
use everstream_core::event::Event;
use everstream_core::id::Seq;
use everstream_core::limits;
use everstream_store::{LogError, ReadLimit, Stat, StreamLog};

/// What the events of a response make so far.
pub async fn snapshot(log: &dyn StreamLog, stat: &Stat) -> Result<Snapshot, LogError> {
    let mut snapshot = Snapshot::default();
    each_event(log, stat, |event| snapshot.push(event)).await?;
    Ok(snapshot)
}

/// Shows all events of a stream, up to its tail as `stat` has it, and says which is the last.
pub(super) async fn each_event(
    log: &dyn StreamLog,
    stat: &Stat,
    mut show: impl FnMut(&Event) + Send,
) -> Result<Seq, LogError> {
    let limit = ReadLimit {
        events: limits::READ_PAGE_EVENTS,
        bytes: limits::READ_PAGE_BYTES,
    };
    let mut seen = Seq::ZERO;
    while seen < stat.tail.seq {
        let page = log.read(stat.info.id, seen, limit).await?;
        let events = page.events.iter();
        let before = seen;
        for event in events.take_while(|event| event.seq <= stat.tail.seq) {
            seen = event.seq;
            show(event);
        }
        if seen == before {
            break;
        }
    }
    Ok(seen)
}
