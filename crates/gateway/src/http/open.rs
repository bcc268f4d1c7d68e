//! Opening a stream for reading: who may, and from where.

use std::sync::Arc;

use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, Seq, StreamId};
use everstream_store::{LogError, Stat};

use crate::app::App;
use crate::read::Reader;
use crate::store_error;

/// An opened stream.
pub(super) enum Opened {
    /// It has more, or will have.
    Reader(Reader, Box<Stat>),
    /// It has ended and the cursor is at its end.
    AtEnd,
}

/// Opens `stream` after `seq` for `project`. To everybody else it does not exist.
pub(super) async fn open(
    app: &App,
    project: &ProjectId,
    stream: StreamId,
    seq: Seq,
) -> Result<Opened, Error> {
    // Attached before the log is asked, so that no event falls between the two.
    let live = app.generator.registry.get(stream);
    let stat = stat(app, project, stream).await?;
    let attachment = match live {
        None => None,
        Some(live) => {
            let most = app.config.limits.readers_per_stream;
            Some(live.attach(seq, most).ok_or_else(|| {
                let message = format!(
                    "Stream {stream} has limits.readers_per_stream = {most} readers already."
                );
                Error::new(ErrorCode::TooManyReaders, message).stream(stream)
            })?)
        }
    };
    if seq > stat.tail.seq {
        let message = format!(
            "The cursor {stream}.{seq} is beyond the end of the log, which is at {}. This must \
             not happen: please report it.",
            stat.tail.seq
        );
        return Err(Error::new(ErrorCode::CursorAhead, message).stream(stream));
    }
    if stat.tail.ended && seq == stat.tail.seq {
        return Ok(Opened::AtEnd);
    }
    let reader = Reader::new(Arc::clone(&app.log), stream, seq, attachment);
    Ok(Opened::Reader(reader, Box::new(stat)))
}

/// What is known of a stream, if `project` owns it.
pub(super) async fn stat(app: &App, project: &ProjectId, stream: StreamId) -> Result<Stat, Error> {
    match app.log.info(stream).await {
        Ok(stat) if stat.info.project == *project => Ok(stat),
        Ok(_) | Err(LogError::NotFound) => Err(not_found(stream)),
        Err(LogError::Gone { project: owner }) if owner != *project => Err(not_found(stream)),
        Err(error) => Err(store_error(&error).stream(stream)),
    }
}

fn not_found(stream: StreamId) -> Error {
    let message = format!("There is no stream {stream} in this project.");
    Error::new(ErrorCode::StreamNotFound, message)
}
