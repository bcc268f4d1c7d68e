//! What must hold of the log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstream_core::event::{Event, Status};
use everstream_core::id::{Seq, StreamId};
use everstream_core::record::{Claim, End, Record};
use everstream_store::{LogError, ReadLimit, StreamLog};

use super::board::render;
use super::log::Account;
use super::process::{Host, Process};

/// Longer than any silence, linger time or period that a schedule may have.
pub(crate) const LONG: Duration = Duration::from_mins(4);
const PAGE: ReadLimit = ReadLimit {
    events: 7,
    bytes: 4096,
};

/// A stream was opened: no other holds its claim.
pub(crate) fn began(host: &Host, id: StreamId, claim: Option<Claim>) {
    let Some(claim) = claim else { return };
    for other in host.book.streams() {
        let account = host.book.get(other);
        let holds = other != id && account.claim == Some(claim) && !account.leases.is_empty();
        let released = account.ending.is_some_and(|(_, released)| released);
        if holds && !released && !may_be_dropped(host, &account) {
            let (one, two) = (account.number, host.book.get(id).number);
            host.board
                .violate(format!("s{one} and s{two} hold one claim"));
        }
    }
}

/// The log says that it does not have a stream.
pub(crate) fn refused(host: &Host, id: StreamId, error: &LogError) {
    let account = host.book.get(id);
    match error {
        LogError::Gone { .. } => dropped(host, id),
        LogError::NotFound if account.leases.is_empty() => {}
        error => host.board.violate(format!("s{}: {error}", account.number)),
    }
}

/// The log says that a stream is past retention.
pub(crate) fn dropped(host: &Host, id: StreamId) {
    let account = host.book.get(id);
    if !may_be_dropped(host, &account) {
        host.board
            .violate(format!("s{} was dropped too early", account.number));
    }
}

fn may_be_dropped(host: &Host, account: &Account) -> bool {
    let keep = host.settings.retain_after_end;
    account
        .ending
        .is_some_and(|(at, _)| host.now().since(at) >= keep)
}

/// All that was ever delivered is in the log as this process finds it.
pub(crate) fn holds_what_was_seen(host: &Host, process: &Process) {
    for id in host.book.streams() {
        let found = process.block_on(events(&*process.log, id));
        if process.disk.is_dead() {
            return;
        }
        match found {
            Err(error) => refused(host, id, &error),
            Ok(found) => {
                let number = host.book.get(id).number;
                let seen = host.board.seen(number);
                let (logged, seen) = (render(id, found), seen.frames);
                if !logged.starts_with(&seen) {
                    let (had, has) = (seen.len(), logged.len());
                    let what = format!("s{number}: {had} events were delivered, of {has} logged");
                    host.board
                        .violate(format!("{what}: {}", difference(&seen, &logged)));
                }
            }
        }
    }
}

fn difference(seen: &[Bytes], logged: &[Bytes]) -> String {
    let at = seen
        .iter()
        .zip(logged)
        .position(|(one, other)| one != other);
    match at {
        Some(at) => format!("{:?} became {:?}", seen[at], logged[at]),
        None => format!("{:?} is lost", seen.get(logged.len())),
    }
}

async fn events(log: &dyn StreamLog, id: StreamId) -> Result<Vec<Event>, LogError> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let page = log.read(id, Seq::new(events.len() as u64), PAGE).await?;
        if page.events.is_empty() {
            return Ok(events);
        }
        events.extend(page.events);
    }
}

/// The streams that should have ended and have not, as far as this process knows.
pub(crate) fn unended(host: &Host, process: &Process) -> Vec<StreamId> {
    let mut all = host.book.streams();
    all.retain(|id| {
        let stat = process.block_on(process.log.info(*id));
        stat.is_ok_and(|stat| stat.end.is_none())
    });
    all
}

/// Everything is over: each stream is there once and for all, and is what the provider said.
pub(crate) fn whole(host: &Host, process: &Process) {
    holds_what_was_seen(host, process);
    let calls = host.provider.calls();
    for id in host.book.streams() {
        let number = host.book.get(id).number;
        let calls = calls.get(number).copied().unwrap_or(0);
        let read = async {
            let events = events(&*process.log, id).await?;
            Ok((events, process.log.audit(id).await?))
        };
        let wrong = match process.block_on(read) {
            Ok((events, audit)) => stream(host, number, &events, &audit, calls).err(),
            Err(LogError::NotFound) if calls > 0 => Some("called, and not logged".to_owned()),
            // Whether it may be missing was looked at before.
            Err(LogError::NotFound | LogError::Gone { .. }) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(wrong) = wrong {
            host.board.violate(format!("s{number}: {wrong}"));
        }
    }
    for (number, calls) in calls.iter().enumerate() {
        if *calls > 1 {
            host.board
                .violate(format!("s{number} was called {calls} times"));
        }
    }
}

fn stream(
    host: &Host,
    number: usize,
    events: &[Event],
    audit: &[Record],
    calls: u32,
) -> Result<(), String> {
    let ends: Vec<_> = audit
        .iter()
        .filter(|record| matches!(record, Record::End(_)))
        .collect();
    let (1, Some(Record::End(end))) = (ends.len(), audit.last()) else {
        return Err(format!("it has {} terminal records: {audit:?}", ends.len()));
    };
    if let Some(seen) = host.board.seen(number).end
        && seen != *end
    {
        return Err(format!(
            "it ended as {end:?}, and a reader was told {seen:?}"
        ));
    }
    if !audit
        .iter()
        .any(|record| matches!(record, Record::Dialled(_)))
        && calls > 0
    {
        return Err("it was called before that was logged".to_owned());
    }
    let script = host.provider.get(number).ok_or("it has no script")?;
    let data: Vec<_> = events
        .iter()
        .map(|event| String::from_utf8_lossy(&event.data))
        .collect();
    if end.status == Status::Completed {
        if script.whole && calls == 1 && data == script.events {
            return Ok(());
        }
        return Err(format!("completed with {data:?} of {:?}", script.events));
    }
    interrupted(end, &data, &script.events)
}

/// What the provider said, as far as it goes, and one error event.
fn interrupted(
    end: &Arc<End>,
    data: &[std::borrow::Cow<'_, str>],
    script: &[String],
) -> Result<(), String> {
    let Some((last, before)) = data.split_last() else {
        return Err(format!("it has no event: {end:?}"));
    };
    let error = serde_json::from_str::<serde_json::Value>(last);
    if !error.is_ok_and(|error| error["error"].is_object()) {
        return Err(format!("{:?} with {last} as its last event", end.status));
    }
    if before.len() > script.len() || before.iter().zip(script).any(|(one, other)| one != other) {
        return Err(format!(
            "it has {before:?}, and the provider said {script:?}"
        ));
    }
    Ok(())
}
