use std::sync::Arc;

use everstream_core::dialect::figures::UsageFinder;
use everstream_core::error::Error;
use tokio::time::Instant;

use super::incoming::Counters;
use super::table::Row;
use crate::access::Caller;
use crate::http::limited::Dues;

/// What is said in the log about a request that was passed through: one line, at its end. Nothing of
/// what was asked or answered is in it.
pub(super) struct Record {
    path: &'static str,
    project: String,
    upstream: String,
    model: String,
    counters: Arc<Counters>,
    /// What it took of its limits and budgets.
    dues: Dues,
    started: Instant,
    status: u16,
    received: u64,
    usage: Option<UsageFinder>,
    outcome: &'static str,
}

impl Record {
    pub(super) fn begin(
        row: &'static Row,
        caller: &Caller,
        (upstream, model): (&str, &str),
        counters: Arc<Counters>,
        dues: Dues,
    ) -> Self {
        Self {
            path: row.path,
            project: caller.project.to_string(),
            upstream: upstream.to_owned(),
            model: model.to_owned(),
            counters,
            dues,
            started: Instant::now(),
            status: 0,
            received: 0,
            usage: (!row.usage.is_empty()).then(|| UsageFinder::new(row.usage)),
            // What remains if nobody says otherwise.
            outcome: "client_gone",
        }
    }

    /// The upstream's status is known. Usage is looked for where an answer is text.
    pub(super) fn answered(&mut self, status: u16, is_text: bool) {
        self.status = status;
        // What is refused costs nothing.
        self.dues.answered((200..300).contains(&status));
        self.usage = self.usage.take().filter(|_| is_text);
    }

    /// A piece of the answer has come.
    pub(super) fn received(&mut self, piece: &[u8]) {
        self.received += piece.len() as u64;
        if let Some(usage) = &mut self.usage {
            usage.push(piece);
        }
    }

    /// It ended with this error.
    pub(super) fn failed(&mut self, error: Error) -> Error {
        self.outcome = error.code.as_str();
        error
    }

    /// How it ended.
    pub(super) fn ended(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let usage = self.usage.take().and_then(UsageFinder::usage);
        // Nothing was used if nobody answered.
        if self.status > 0 {
            self.dues.settle(usage.as_ref());
        }
        let usage = usage.map(|usage| usage.to_string()).unwrap_or_default();
        tracing::info!(
            path = self.path,
            project = self.project,
            upstream = self.upstream,
            model = self.model,
            status = self.status,
            outcome = self.outcome,
            sent = self.counters.sent(),
            received = self.received,
            usage,
            seconds = self.started.elapsed().as_secs_f64(),
            "passed through"
        );
    }
}
