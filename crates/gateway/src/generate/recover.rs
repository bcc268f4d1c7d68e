//! What a start does with the generations of a process that died.

use std::sync::Arc;

use everstream_core::dialect::openai;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Event, Status, Usage};
use everstream_core::id::{Seq, StreamId};
use everstream_core::limits;
use everstream_core::record::{Accepted, End, Record};
use everstream_store::{Lease, LogError, ReadLimit, Stat};

use super::live::Live;
use super::registry::Unended;
use super::{Generator, Request};

/// Understands and routes a logged request once more; `None` when that cannot be done any more.
pub type Replan<'a> = &'a (dyn Fn(&Accepted) -> Option<Request> + Send + Sync);

/// Resolves every stream whose writer is dead (PROTOCOL.md section 3.3):
///
/// - an answer whose own terminal event was logged is completed;
/// - a request of which nothing was sent yet is run now, under a new epoch;
/// - any other ends `interrupted` with the typed error event. What was paid for stays readable, and
///   nothing is called again without consent.
///
/// Streams of this process whose terminal record the log refused, as its disk was full for a while,
/// end the way their readers were told.
pub async fn recover(generator: &Generator, replan: Replan<'_>) {
    // A process that drains begins nothing, and does not end while this runs.
    let _busy = generator.tasks.token();
    if generator.tasks.is_closed() {
        return;
    }
    for (id, unended) in generator.registry.take_unended() {
        report(id, resolve(generator, id, unended, replan).await);
    }
    for id in generator.log.orphans().await {
        let resolved = match generator.log.lease(id).await {
            Ok(lease) => {
                let unended = Unended { lease, told: None };
                resolve(generator, id, unended, replan).await
            }
            Err(error) => Err(error),
        };
        report(id, resolved);
    }
}

fn report(id: StreamId, resolved: Result<Status, LogError>) {
    match resolved {
        Ok(status) => tracing::warn!(stream = %id, status = status.as_str(), "recovered"),
        // Another process was quicker.
        Err(LogError::Held | LogError::Ended | LogError::Fenced { .. }) => {}
        Err(error) => tracing::error!(stream = %id, %error, "cannot be recovered"),
    }
}

/// Runs or ends a stream that is leased to this process. What the log fails is tried again.
async fn resolve(
    generator: &Generator,
    id: StreamId,
    unended: Unended,
    replan: Replan<'_>,
) -> Result<Status, LogError> {
    let resolved = try_resolve(generator, id, unended, replan).await;
    if let Err(LogError::Full(_) | LogError::Io(_)) = &resolved {
        generator.registry.leave(id, unended);
    }
    resolved
}

async fn try_resolve(
    generator: &Generator,
    id: StreamId,
    Unended { lease, told }: Unended,
    replan: Replan<'_>,
) -> Result<Status, LogError> {
    let stat = generator.log.info(id).await?;
    let mut verdict = verdict(generator, &stat).await?;
    if let (Some(code), Some(told)) = (&mut verdict, told) {
        *code = told;
    }
    if verdict == Some(ErrorCode::NotStarted) {
        let age = generator.clock.now().since(stat.accepted.created_at);
        let in_time = age < limits::RECOVER_RUN_WINDOW;
        if let Some(request) = in_time.then(|| replan(&stat.accepted)).flatten() {
            let live = Live::new(id);
            generator.launch(&live, lease, request);
            // Nobody reads it yet, which the writer has to know.
            live.attention.notify_one();
            return Ok(Status::Running);
        }
    }
    end(generator, &stat, lease, verdict).await
}

/// Why the stream is not whole, if it is not.
async fn verdict(generator: &Generator, stat: &Stat) -> Result<Option<ErrorCode>, LogError> {
    let Some(before) = stat.tail.seq.get().checked_sub(1) else {
        let audit = generator.log.audit(stat.info.id).await?;
        let dialled = audit
            .iter()
            .any(|record| matches!(record, Record::Dialled(_)));
        return Ok(Some(if dialled {
            ErrorCode::OutcomeUnknown
        } else {
            ErrorCode::NotStarted
        }));
    };
    let limit = ReadLimit {
        events: 1,
        bytes: 1,
    };
    let page = generator
        .log
        .read(stat.info.id, Seq::new(before), limit)
        .await?;
    let whole = page
        .events
        .last()
        .is_some_and(|event| openai::is_done(&event.data));
    Ok((!whole).then_some(ErrorCode::GatewayRestarted))
}

async fn end(
    generator: &Generator,
    stat: &Stat,
    lease: Lease,
    verdict: Option<ErrorCode>,
) -> Result<Status, LogError> {
    let (id, seq, now) = (stat.info.id, lease.tail.seq, generator.clock.now());
    let mut records = Vec::new();
    if let Some(code) = verdict {
        let error = Error::new(code, message(code)).stream(id);
        let data = openai::error_body(&error);
        let event = Event {
            seq: seq.next(),
            time: now,
            name: bytes::Bytes::new(),
            data,
        };
        records.push(Record::Event(event));
    }
    let status = match verdict {
        None => Status::Completed,
        Some(ErrorCode::NotStarted | ErrorCode::StoreFull | ErrorCode::StoreUnavailable) => {
            Status::Failed
        }
        Some(_) => Status::Interrupted,
    };
    records.push(Record::End(Arc::new(End {
        status,
        reason: verdict.map(|code| code.as_str().to_owned()),
        http_status: verdict.map(ErrorCode::status),
        retry_after: None,
        upstream: stat.info.upstream.clone(),
        usage: usage_of(seq, &stat.accepted.request),
        release_claim: verdict == Some(ErrorCode::NotStarted),
        at: now,
    })));
    generator.log.append(id, lease, &records).await?;
    Ok(status)
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
        ErrorCode::StoreFull | ErrorCode::StoreUnavailable => {
            "The stream log could not be written, so the answer was stopped."
        }
        _ => "The gateway was stopped in the middle of this answer, which cannot be continued.",
    }
}

fn usage_of(seq: Seq, request: &[u8]) -> Usage {
    if seq == Seq::ZERO {
        return Usage::default();
    }
    Usage {
        // Four bytes a token is the usual rule of thumb for English text.
        input_tokens: request.len() as u64 / 4,
        output_tokens: seq.get(),
        estimated: true,
        ..Usage::default()
    }
}
