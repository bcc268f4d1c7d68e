//! What a start does with the generations of a process that died.

use std::sync::Arc;

use everstream_core::dialect::{Place, ReplyHead};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Event, Status, Surface, Usage, tokens_of};
use everstream_core::id::{Seq, StreamId};
use everstream_core::limits;
use everstream_core::record::{Accepted, End, Position, Record, Tail};
use everstream_core::writer::{Resumption, Trail, Writer};
use everstream_store::{Lease, LogError, ReadLimit, Stat};

use super::live::Live;
use super::registry::Lost;
use super::snapshot::{each_event, snapshot};
use super::{Generator, Request};

/// Understands and routes a logged request once more; `None` when that cannot be done any more.
pub type Replan<'a> = &'a (dyn Fn(&Accepted) -> Option<Request> + Send + Sync);

/// Resolves every stream whose writer is dead (PROTOCOL.md section 3.3):
///
/// - an answer whose own terminal event was logged is completed;
/// - a request of which nothing was sent yet is run now, under a new epoch;
/// - one that its provider may still be running is looked for there, under a new epoch too;
/// - one that was cut after some of it was delivered goes on, if the operator or the client consents and
///   somebody is able to, under a new epoch too;
/// - any other ends `interrupted` with the typed error event. What was paid for stays readable, and
///   nothing is called again without consent.
///
/// Streams of this process that the log took no end of, as its disk was full for a while, end the
/// way their readers were told.
pub async fn recover(generator: &Generator, replan: Replan<'_>) {
    // A process that drains does not end while this runs.
    let _busy = generator.tasks.token();
    for (id, lost) in generator.registry.lost() {
        match end_lost(generator, id, lost).await {
            Ok(()) | Err(LogError::Gone { .. } | LogError::Ended | LogError::Fenced { .. }) => {
                generator.registry.remove(id);
                tracing::warn!(stream = %id, "ended late");
            }
            Err(error) => tracing::debug!(stream = %id, %error, "cannot be ended yet"),
        }
    }
    // It begins nothing, and leaves the dead to its successor.
    if generator.tasks.is_closed() {
        return;
    }
    for id in generator.log.orphans().await {
        match resolve(generator, id, replan).await {
            Ok(status) => tracing::warn!(stream = %id, status = status.as_str(), "recovered"),
            // Another process was quicker.
            Err(LogError::Held | LogError::Ended | LogError::Fenced { .. }) => {}
            Err(error) => tracing::error!(stream = %id, %error, "cannot be recovered"),
        }
    }
}

/// Ends a stream of this process that the log took no end of when it was time.
async fn end_lost(generator: &Generator, id: StreamId, lost: Lost) -> Result<(), LogError> {
    let log = &generator.log;
    // Asked in the order of appends: what hung before has happened then, or never will.
    let nowhere = Tail {
        position: Position(u64::MAX),
        ..Tail::default()
    };
    let lease = Lease {
        epoch: lost.epoch,
        tail: nowhere,
    };
    match log.append(id, lease, &[]).await {
        Err(LogError::NotFound) => return Ok(()),
        Ok(_) | Err(LogError::NotAtTail { .. }) => {}
        Err(error) => return Err(error),
    }
    let stat = log.info(id).await?;
    let verdict = verdict(generator, &stat).await?;
    let verdict = verdict.map(|found| match (found, lost.code) {
        (ErrorCode::NotStarted, _) | (_, None) => found,
        (_, Some(told)) => told,
    });
    let lease = Lease {
        tail: stat.tail,
        ..lease
    };
    end(generator, &stat, lease, verdict).await?;
    // Somebody may be watching the list.
    let _ = generator.changes.send(id);
    Ok(())
}

async fn resolve(
    generator: &Generator,
    id: StreamId,
    replan: Replan<'_>,
) -> Result<Status, LogError> {
    let lease = generator.log.lease(id).await?;
    let resolved = run_or_end(generator, id, lease, replan).await;
    if let Err(LogError::Full(_) | LogError::Io(_)) = &resolved {
        // This process holds it now, so nobody else will end it.
        let (epoch, code) = (lease.epoch, None);
        generator.registry.lose_unread(id, Lost { epoch, code });
    }
    resolved
}

/// Runs or ends a stream that is leased to this process.
async fn run_or_end(
    generator: &Generator,
    id: StreamId,
    lease: Lease,
    replan: Replan<'_>,
) -> Result<Status, LogError> {
    let stat = generator.log.info(id).await?;
    let verdict = verdict(generator, &stat).await?;
    let is_cut = matches!(
        verdict,
        Some(ErrorCode::GatewayRestarted | ErrorCode::OutcomeUnknown)
    );
    if is_cut
        && let Some(request) = replan(&stat.accepted)
        && let Some(writer) = resume(generator, &stat, lease, &request).await?
    {
        let live = Live::behind(id, lease.tail.seq);
        let request = adopt(generator, &stat, request);
        generator.launch(&live, lease, request, writer, None);
        live.attention.notify_one();
        return Ok(Status::Running);
    }
    if verdict == Some(ErrorCode::NotStarted) {
        let now = generator.clock.now();
        let waits = stat.accepted.deadline.is_none_or(|until| now < until);
        let age = now.since(stat.accepted.created_at);
        let in_time = waits && age < limits::RECOVER_RUN_WINDOW;
        if let Some(request) = in_time.then(|| replan(&stat.accepted)).flatten() {
            let live = Live::new(id);
            let plan = generator.plan(id, &request, &stat.accepted);
            let writer = Writer::new(plan, generator.clock.now());
            let request = adopt(generator, &stat, request);
            generator.launch(&live, lease, request, writer, None);
            // Nobody reads it yet, which the writer has to know.
            live.attention.notify_one();
            return Ok(Status::Running);
        }
    }
    end(generator, &stat, lease, verdict).await
}

/// The request with the reserve that the dead process held for it.
fn adopt(generator: &Generator, stat: &Stat, mut request: Request) -> Request {
    let (id, accepted) = (stat.info.id, &stat.accepted);
    request.hold = generator.billing.adopt(id, accepted, &request.order());
    request
}

/// A writer that stands where the dead one did, if its provider may be found again, or somebody may go
/// on with its answer.
async fn resume(
    generator: &Generator,
    stat: &Stat,
    lease: Lease,
    request: &Request,
) -> Result<Option<Writer>, LogError> {
    let (id, log, now) = (stat.info.id, &generator.log, generator.clock.now());
    let plan = generator.plan(id, request, &stat.accepted);
    let audit = log.audit(id).await?;
    let heard = lease.tail.seq > Seq::ZERO;
    let mut resumption = heard
        .then(|| Resumption::new(plan.clone(), &audit, now))
        .flatten();
    let mut trail = Trail::new(plan, &audit);
    if resumption.is_none() && trail.is_none() {
        return Ok(None);
    }
    let mut legal = true;
    let events = each_event(&**log, stat, |event| {
        if let Some(resumption) = &mut resumption {
            legal = legal && resumption.push(event);
        }
        if let Some(trail) = &mut trail {
            trail.push(event);
        }
    });
    let all = events.await? == lease.tail.seq;
    let ladder = resumption.filter(|_| legal && all);
    let ladder = ladder.and_then(Resumption::finish);
    let Some(trail) = trail.filter(|_| all) else {
        return Ok(ladder);
    };
    let output = place(generator, stat).await?.output;
    Ok(Some(trail.writer(ladder, output, now)))
}

/// Why the stream is not whole, if it is not.
async fn verdict(generator: &Generator, stat: &Stat) -> Result<Option<ErrorCode>, LogError> {
    let seq = stat.tail.seq.get();
    if seq == 0 {
        let audit = generator.log.audit(stat.info.id).await?;
        let dialled = audit
            .iter()
            .any(|record| matches!(record, Record::Dialled(_)));
        return Ok(Some(if dialled {
            ErrorCode::OutcomeUnknown
        } else {
            ErrorCode::NotStarted
        }));
    }
    // The last one and the one before, which where an API marks no end tells what the last one says.
    let limit = ReadLimit {
        events: 1,
        bytes: 1,
    };
    let mut last = Vec::with_capacity(2);
    for before in seq.saturating_sub(2)..seq {
        let page = generator.log.read(stat.info.id, Seq::new(before), limit);
        last.extend(page.await?.events);
    }
    let whole = stat.info.surface.is_whole(&stat.accepted.request, &last);
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
        let place = place(generator, stat).await?;
        let event = stat.info.surface.error_event(&error, &place);
        let event = Event {
            seq: seq.next(),
            time: now,
            name: event.name,
            data: event.data,
        };
        records.push(Record::Event(event));
    }
    let status = match verdict {
        None => Status::Completed,
        Some(ErrorCode::GatewayRestarted | ErrorCode::OutcomeUnknown) => Status::Interrupted,
        Some(_) => Status::Failed,
    };
    let end = Arc::new(End {
        status,
        reason: verdict.map(|code| code.as_str().to_owned()),
        http_status: verdict.map(ErrorCode::status),
        retry_after: None,
        upstream: stat.info.upstream.clone(),
        usage: usage_of(seq, &stat.accepted.request),
        release_claim: verdict == Some(ErrorCode::NotStarted),
        at: now,
    });
    records.push(Record::End(Arc::clone(&end)));
    generator.log.append(id, lease, &records).await?;
    generator.registry.metrics().ended(&end);
    generator.billing.ended(id, None, &end);
    Ok(status)
}

/// Where the error of a stream comes. The last event of a response repeats what came before.
async fn place(generator: &Generator, stat: &Stat) -> Result<Place, LogError> {
    let mut place = Place {
        before: stat.tail.seq.get(),
        head: ReplyHead::of(stat.info.id, &stat.accepted),
        output: None,
    };
    if stat.info.surface == Surface::Responses {
        place.output = snapshot(&*generator.log, stat).await?.output();
    }
    Ok(place)
}

fn message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotStarted => {
            "The request was not sent to a provider before the gateway stopped or its log failed; \
             repeat it."
        }
        ErrorCode::StoreFull | ErrorCode::StoreUnavailable => {
            "The stream log could not be written, so the answer was stopped."
        }
        ErrorCode::Internal => "The task that wrote this answer died, so the answer was stopped.",
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
        input_tokens: tokens_of(request.len()),
        output_tokens: seq.get(),
        estimated: true,
        ..Usage::default()
    }
}
