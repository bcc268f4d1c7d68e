//! What must hold once nobody asks for anything any more.

use std::cell::RefCell;
use std::rc::Rc;

use everstream_core::dialect::{Affinity, ProviderDialect};
use everstream_core::event::{Mode, Status, StreamInfo};
use everstream_core::id::StreamId;
use everstream_core::record::{End, Record};
use everstream_store::Stat;
use futures_util::FutureExt as _;
use serde_json::Value;

use crate::client::read_again;
use crate::net::Millis;
use crate::process::Process;
use crate::schedule::Schedule;
use crate::world::World;

/// A stream, as the log has it.
struct Logged {
    stat: Stat,
    question: String,
    model: String,
    /// The names of the upstreams that were asked.
    dialled: Vec<String>,
    end: End,
}

/// Looks at all streams, all upstreams and all deployments.
pub(crate) fn at_rest(world: &mut World, schedule: &Schedule, patience: Millis) {
    let found = match streams(world) {
        Ok(found) => found,
        Err(wrong) => return world.board.violate(wrong),
    };
    for logged in &found {
        if let Err(wrong) = one(world, schedule, logged, patience) {
            return world
                .board
                .violate(format!("{}: {wrong}", logged.stat.info.id));
        }
    }
    if let Err(wrong) = calls(world, schedule, &found).and_then(|()| places(world, schedule)) {
        return world.board.violate(wrong);
    }
    again(world, &found);
}

fn streams(world: &World) -> Result<Vec<Logged>, String> {
    let app = world.process.as_ref().and_then(Process::app);
    let app = app.ok_or("the gateway is gone")?;
    let mut ids = Vec::new();
    let project = "default".parse().map_err(|_| "no project")?;
    app.log
        .scan(&project, &mut |info: &StreamInfo| ids.push(info.id));
    ids.sort();
    ids.into_iter().map(|id| logged(&*app.log, id)).collect()
}

fn logged(log: &dyn everstream_store::StreamLog, id: StreamId) -> Result<Logged, String> {
    // The log of the simulation answers at once.
    let stat = log.info(id).now_or_never().ok_or("the log waits")?;
    let stat = stat.map_err(|error| format!("{id}: {error}"))?;
    let audit = log.audit(id).now_or_never().ok_or("the log waits")?;
    let audit = audit.map_err(|error| format!("{id}: {error}"))?;
    let ends: Vec<_> = audit
        .iter()
        .filter(|record| matches!(record, Record::End(_)))
        .collect();
    let (1, Some(Record::End(end))) = (ends.len(), audit.last()) else {
        return Err(format!(
            "{id} has {} terminal records: {audit:?}",
            ends.len()
        ));
    };
    let dialled = audit.iter().filter_map(|record| match record {
        Record::Dialled(dialled) => Some(dialled.upstream.clone()),
        _ => None,
    });
    let request: Value = serde_json::from_slice(&stat.accepted.request).unwrap_or_default();
    let question = request["messages"][0]["content"].as_str();
    Ok(Logged {
        question: question.unwrap_or_default().to_owned(),
        model: stat.accepted.model.clone(),
        dialled: dialled.collect(),
        end: End::clone(end),
        stat,
    })
}

/// A stream by itself.
fn one(
    world: &World,
    schedule: &Schedule,
    logged: &Logged,
    patience: Millis,
) -> Result<(), String> {
    let Logged { stat, end, .. } = logged;
    let attempts = logged.dialled.len() as u64;
    let most = schedule.attempts(&logged.model);
    if attempts > most {
        return Err(format!(
            "{attempts} attempts of {most}: {:?}",
            logged.dialled
        ));
    }
    let lasted = end.at.since(stat.accepted.created_at).as_millis();
    if lasted > u128::from(patience) {
        return Err(format!("it took {lasted} ms of {patience}"));
    }
    let frames = world.board.frames(&stat.info.id.to_string());
    if frames.len() as u64 > stat.tail.seq.get() {
        return Err(format!("{} events seen, {:?}", frames.len(), stat.tail));
    }
    if stat.info.mode == Mode::Stream && frames.len() as u64 == stat.tail.seq.get() {
        let done = frames.last().is_some_and(crate::board::Frame::is_done);
        if done != (end.status == Status::Completed) {
            return Err(format!("{:?} with {:?}", end.status, frames.last()));
        }
    }
    Ok(())
}

/// Who was called how often.
fn calls(world: &World, schedule: &Schedule, found: &[Logged]) -> Result<(), String> {
    let mut questions: Vec<_> = found.iter().map(|logged| &logged.question).collect();
    questions.dedup();
    let all = world.board.seen(|seen| seen.calls.len());
    let mut counted = 0;
    questions.sort();
    questions.dedup();
    for question in questions {
        let of_it: Vec<_> = found.iter().filter(|l| l.question == *question).collect();
        let calls = world.board.calls(question);
        counted += calls.len();
        let dialled: usize = of_it.iter().map(|logged| logged.dialled.len()).sum();
        if calls.len() > dialled {
            return Err(format!(
                "{question}: {} calls, {dialled} logged",
                calls.len()
            ));
        }
        let claimed = of_it.iter().filter(|l| l.stat.accepted.claim.is_some());
        let held = claimed.filter(|l| !l.end.release_claim).count();
        if held > 1 {
            return Err(format!("{question}: {held} streams hold one key"));
        }
        let idempotent = of_it.iter().any(|l| schedule.is_idempotent(&l.model));
        if of_it.len() > 1 && of_it.iter().any(|l| l.stat.accepted.claim.is_none()) || idempotent {
            // The client repeats what may run twice, or may.
            continue;
        }
        for (at, call) in calls.iter().enumerate() {
            let before = &calls[..at];
            let ran = before
                .iter()
                .any(|b| b.upstream == call.upstream && !b.refused);
            if ran {
                return Err(format!(
                    "{question} was repeated and may have run: {calls:?}"
                ));
            }
        }
    }
    if counted != all {
        return Err(format!("{all} calls, {counted} of them logged"));
    }
    Ok(())
}

/// Nothing is held of any deployment.
fn places(world: &World, schedule: &Schedule) -> Result<(), String> {
    let app = world.process.as_ref().and_then(Process::app);
    let app = app.ok_or("the gateway is gone")?;
    let routes = (0..schedule.routes.len()).map(|at| format!("r{at}"));
    let own = (0..schedule.upstreams.len()).map(|at| format!("u{at}-m"));
    for model in routes.chain(own) {
        let routed = app
            .models
            .deployments(&model, ProviderDialect::OpenAiChat, Affinity::default);
        let routed = routed.map_err(|_| format!("{model} is gone"))?;
        for at in std::iter::once(&routed.first).chain(&routed.others) {
            let sight = at.health.sight();
            if sight.in_flight > 0 {
                return Err(format!("{model} at {:?} has {sight:?}", at.upstream));
            }
        }
    }
    Ok(())
}

/// Everybody still gets the same.
fn again(world: &mut World, found: &[Logged]) {
    let left = Rc::new(RefCell::new(found.len()));
    for logged in found {
        let (net, board, left) = (world.net.clone(), world.board.clone(), Rc::clone(&left));
        let stream = logged.stat.info.id.to_string();
        let unary = logged.stat.info.mode == Mode::Unary;
        let (events, question) = (logged.stat.tail.seq.get(), logged.question.clone());
        world.tasks.spawn(async move {
            let link = World::good_link();
            if let Err(wrong) = read_again(&net, &board, &link, &stream).await {
                board.violate(wrong);
            }
            let seen = board.frames(&stream).len() as u64;
            if seen != events {
                board.violate(format!("{stream}: {seen} events of {events}"));
            } else if !unary {
                board.ended(&stream, &question);
            }
            *left.borrow_mut() -= 1;
        });
    }
    if !world.until(60_000, |_| *left.borrow() == 0) {
        world.board.violate("some stream cannot be read again");
    }
}
