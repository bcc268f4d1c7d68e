//! What a start does with the generations of a process that died.

use std::sync::Arc;

use everstream_core::dialect::openai;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Event, Status, Usage};
use everstream_core::id::{Seq, StreamId};
use everstream_core::record::{End, Record};
use everstream_store::{LogError, ReadLimit, Stat};

use super::Generator;

/// Resolves every stream whose writer is dead, and tells how many there were.
///
/// An answer whose own terminal event was logged is completed. Any other ends `interrupted`, or
/// `failed` if nothing was sent, with the typed error event: what was paid for stays readable, and
/// nothing is called again without consent (PROTOCOL.md section 3.3).
pub async fn recover(generator: &Generator) -> usize {
    let orphans = generator.log.orphans().await;
    let mut resolved = 0;
    for id in orphans {
        match resolve(generator, id).await {
            Ok(status) => {
                resolved += 1;
                tracing::warn!(stream = %id, status = status.as_str(), "recovered");
            }
            // Another process was quicker.
            Err(LogError::Held | LogError::Ended | LogError::Fenced { .. }) => {}
            Err(error) => tracing::error!(stream = %id, %error, "cannot be recovered"),
        }
    }
    resolved
}

async fn resolve(generator: &Generator, id: StreamId) -> Result<Status, LogError> {
    let lease = generator.log.lease(id).await?;
    let stat = generator.log.info(id).await?;
    let audit = generator.log.audit(id).await?;
    let verdict = if last_words(generator, &stat).await? {
        None
    } else {
        Some(interruption(&audit, lease.tail.seq))
    };
    let now = generator.clock.now();
    let mut records = Vec::new();
    if let Some(code) = verdict {
        let error = Error::new(code, message(code)).stream(id);
        records.push(Record::Event(Event {
            seq: lease.tail.seq.next(),
            time: now,
            name: bytes::Bytes::new(),
            data: openai::error_body(&error),
        }));
    }
    let status = match verdict {
        None => Status::Completed,
        Some(ErrorCode::NotStarted) => Status::Failed,
        Some(_) => Status::Interrupted,
    };
    records.push(Record::End(Arc::new(End {
        status,
        reason: verdict.map(|code| code.as_str().to_owned()),
        http_status: verdict.map(ErrorCode::status),
        retry_after: None,
        upstream: stat.info.upstream,
        usage: usage_of(lease.tail.seq, &stat.accepted.request),
        release_claim: verdict == Some(ErrorCode::NotStarted),
        at: now,
    })));
    generator.log.append(id, lease, &records).await?;
    Ok(status)
}

/// Whether the last logged event is the dialect's own end.
async fn last_words(generator: &Generator, stat: &Stat) -> Result<bool, LogError> {
    if stat.tail.seq == Seq::ZERO {
        return Ok(false);
    }
    let before = Seq::new(stat.tail.seq.get() - 1);
    let page = generator
        .log
        .read(
            stat.info.id,
            before,
            ReadLimit {
                events: 1,
                bytes: 1,
            },
        )
        .await?;
    Ok(page
        .events
        .last()
        .is_some_and(|event| openai::is_done(&event.data)))
}

fn interruption(audit: &[Record], seq: Seq) -> ErrorCode {
    let dialled = audit
        .iter()
        .any(|record| matches!(record, Record::Dialled(_)));
    match (dialled, seq) {
        (false, _) => ErrorCode::NotStarted,
        (true, Seq::ZERO) => ErrorCode::OutcomeUnknown,
        (true, _) => ErrorCode::GatewayRestarted,
    }
}

fn message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotStarted => {
            "The gateway was stopped before the request was sent to a provider; repeat it."
        }
        ErrorCode::OutcomeUnknown => {
            "The gateway was stopped after the request was sent and before an answer came; the \
             provider may have run it."
        }
        _ => "The gateway was stopped in the middle of this answer, which cannot be continued.",
    }
}

fn usage_of(seq: Seq, request: &[u8]) -> Usage {
    if seq == Seq::ZERO {
        return Usage::default();
    }
    Usage {
        input_tokens: request.len() as u64 / 4,
        output_tokens: seq.get(),
        estimated: true,
        ..Usage::default()
    }
}
