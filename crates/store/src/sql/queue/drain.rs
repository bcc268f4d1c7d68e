//! Settles what waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::file::{Batch, Files};
use super::{OnAlert, QueueError, Shared, is_final};
use crate::sql::{Catalog, CatalogError};

/// How often the files of dead processes are looked for.
const ADOPT: Duration = Duration::from_secs(10);

pub(super) struct Drain {
    pub(super) shared: Arc<Shared>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) on_alert: OnAlert,
    pub(super) retry: (Duration, Duration),
}

impl Drain {
    /// Until the queue is closed.
    pub(super) async fn run(self) {
        let (first, last) = self.retry;
        let mut pause = first;
        let mut adopted = Instant::now();
        loop {
            let is_closing = self.shared.is_closed.load(Ordering::Acquire);
            if adopted.elapsed() >= ADOPT {
                adopted = Instant::now();
                if let Err(error) = self.with_files(Files::adopt).await {
                    tracing::warn!(%error, "what dead processes left for the ledger is not found");
                }
            }
            match self.drain().await {
                Ok(()) => {
                    self.report(None);
                    pause = first;
                    if is_closing {
                        return;
                    }
                    let written = self.shared.written.notified();
                    tokio::time::timeout(ADOPT, written).await.ok();
                }
                Err(trouble) => {
                    self.report(Some(trouble));
                    if is_closing {
                        return;
                    }
                    // What is written meanwhile waits as well, but a close does not.
                    let closed = async {
                        while !self.shared.is_closed.load(Ordering::Acquire) {
                            self.shared.written.notified().await;
                        }
                    };
                    tokio::time::timeout(pause, closed).await.ok();
                    pause = last.min(pause * 2);
                }
            }
        }
    }

    /// Settles everything, or says why not.
    async fn drain(&self) -> Result<(), String> {
        let said = |error: QueueError| error.to_string();
        while let Some(batch) = self.with_files(Files::batch).await.map_err(said)? {
            let settled = self.catalog.settle(&batch.entries).await;
            match settled {
                Ok(settled) => settled.alerts.into_iter().for_each(&self.on_alert),
                Err(error) if is_final(&error) && batch.entries.len() > 1 => {
                    self.one_by_one(&batch).await?;
                }
                Err(error) if is_final(&error) => self.refuse(&batch, 0, &error).await?,
                Err(error) => return Err(error.to_string()),
            }
            self.advance(batch).await?;
        }
        Ok(())
    }

    /// One entry must not keep the others from being settled. Those that are settled before an
    /// error are settled once more with the next batch, which changes nothing.
    async fn one_by_one(&self, batch: &Batch) -> Result<(), String> {
        for (n, entry) in batch.entries.iter().enumerate() {
            match self.catalog.settle(std::slice::from_ref(entry)).await {
                Ok(settled) => settled.alerts.into_iter().for_each(&self.on_alert),
                Err(error) if is_final(&error) => self.refuse(batch, n, &error).await?,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    async fn refuse(&self, batch: &Batch, n: usize, error: &CatalogError) -> Result<(), String> {
        let (entry, why) = (batch.entries[n].clone(), error.to_string());
        tracing::error!(
            stream = %entry.stream,
            %error,
            "the database refuses a ledger entry for good: it stands in refused.jsonl"
        );
        let refused = self
            .with_files(move |files| files.refuse(&entry, &why))
            .await;
        self.shared.status.send_modify(|status| status.refused += 1);
        refused.map_err(|error| error.to_string())
    }

    async fn advance(&self, batch: Batch) -> Result<(), String> {
        let count = batch.entries.len();
        let done = self
            .with_files(move |files| files.settled(&batch, count))
            .await;
        self.shared
            .status
            .send_modify(|status| status.settled += count as u64);
        done.map_err(|error| error.to_string())
    }

    /// The disk may hang, which is no reason for a worker of the runtime to hang with it.
    async fn with_files<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Files) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let shared = Arc::clone(&self.shared);
        let ran = tokio::task::spawn_blocking(move || shared.with_files(run));
        ran.await.unwrap_or(Err(QueueError::Closed))
    }

    fn report(&self, trouble: Option<String>) {
        self.shared.status.send_if_modified(|status| {
            let is_new = status.trouble.is_some() != trouble.is_some();
            if is_new {
                if let Some(trouble) = &trouble {
                    tracing::warn!(%trouble, waiting = status.entries, "the ledger's queue waits");
                } else {
                    tracing::info!("the ledger's queue is settled");
                }
            }
            status.trouble = trouble;
            is_new
        });
    }
}
