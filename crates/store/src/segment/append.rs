//! Creating streams, taking them over, and appending to them.

use std::sync::Arc;
use std::time::Duration;

use everstream_core::id::{Epoch, StreamId};
use everstream_core::record::{Accepted, Record};
use tokio::sync::oneshot;

use super::index::Index;
use super::pace::Kind;
use super::sync::Job;
use super::writer::{Standing, Writer};
use super::{Shared, lock};
use crate::admit::{Extent, admit, is_bounded, weight};
use crate::config::Sync;
use crate::{Created, Lease, LogError};

/// How often a lock that another process holds is tried again: it holds it for one append.
const LOCK_RETRY: Duration = Duration::from_millis(1);

type Synced = oneshot::Receiver<Result<(), LogError>>;

/// What an attempt came to.
enum Attempt<T> {
    /// It is done once the sync is.
    Done(T, Option<Synced>),
    /// Something that is not yet durable stands in the way: try again when it is, or is not.
    After(Synced),
    /// The log is too full by what this takes: make room and try again.
    Full,
    /// The append may be there already.
    Compare,
}

impl Shared {
    pub(super) async fn create(
        &self,
        id: StreamId,
        accepted: Arc<Accepted>,
    ) -> Result<Created, LogError> {
        let claims = accepted.claim.is_some();
        let records = [Record::Accepted(accepted)];
        let _guard = if claims {
            Some(self.claim_guard().await?)
        } else {
            None
        };
        let mut may_drop = true;
        loop {
            let attempt = self.appending(
                |writer| self.try_create(writer, id, &records),
                || {
                    let records = records.clone();
                    Box::new(move |shared, writer| shared.try_create(writer, id, &records))
                },
            );
            match attempt.await?? {
                Attempt::Done(created, synced) => {
                    self.wait_for(synced).await?;
                    return Ok(created);
                }
                Attempt::After(synced) => {
                    let _ = self.pace.patiently(Kind::Sync, synced).await?;
                }
                Attempt::Full => self.free(&records, &mut may_drop).await?,
                Attempt::Compare => return Err(LogError::Exists),
            }
        }
    }

    async fn claim_guard(&self) -> Result<super::claims::ClaimGuard, LogError> {
        loop {
            self.check_open()?;
            let guard = self.reading(|shared| shared.claims.try_lock()).await?;
            let guard = guard.map_err(|error| LogError::Io(format!("claims.lock: {error}")))?;
            if let Some(guard) = guard {
                return Ok(guard);
            }
            tokio::time::sleep(LOCK_RETRY).await;
        }
    }

    fn try_create(
        &self,
        writer: &mut Writer,
        id: StreamId,
        records: &[Record; 1],
    ) -> Result<Attempt<Created>, LogError> {
        let [Record::Accepted(accepted)] = records else {
            return Err(LogError::Exists);
        };
        self.check_open()?;
        if accepted.claim.is_some() {
            self.refresh();
        }
        {
            let mut index = lock(&self.index);
            if index.is_taken(id) || writer.staged.contains_key(&id) {
                return Err(LogError::Exists);
            }
            if let Some(claim) = accepted.claim {
                let holder = index.graves.holder(claim.key);
                if holder.is_some_and(|holder| writer.staged.contains_key(&holder)) {
                    drop(index);
                    return Ok(Attempt::After(self.queue(writer)?));
                }
                if let Some(claimed) = index.claimed(claim.key, self.now()) {
                    return Ok(Attempt::Done(Created::Claimed(claimed), None));
                }
                // A claim that is left of something forgotten is free.
                if let Some(holder) = holder {
                    index.graves.release(claim.key, holder);
                }
            }
        }
        if self.excess(weight(records)) > 0 {
            return Ok(Attempt::Full);
        }
        let after = admit(&self.config.limits, Extent::default(), records)?;
        let standing = Standing {
            extent: Extent::default(),
            epoch: Epoch::FIRST,
            holder: self.own,
            last: None,
        };
        let synced = self.commit(writer, id, standing, after, records)?;
        let lease = Lease {
            epoch: Epoch::FIRST,
            tail: after.tail,
        };
        Ok(Attempt::Done(Created::New(lease), synced))
    }

    pub(super) async fn append(
        &self,
        id: StreamId,
        lease: Lease,
        records: &[Record],
    ) -> Result<Lease, LogError> {
        if let Some(appended) = self.append_at_once(id, lease, records) {
            return appended;
        }
        let mut may_drop = true;
        loop {
            let attempt = self.appending(
                |writer| self.try_append(writer, id, lease, records),
                || {
                    let records = records.to_vec();
                    Box::new(move |shared, writer| shared.try_append(writer, id, lease, &records))
                },
            );
            match attempt.await?? {
                Attempt::Done(lease, synced) => {
                    self.wait_for(synced).await?;
                    return Ok(lease);
                }
                Attempt::After(synced) => {
                    let _ = self.pace.patiently(Kind::Sync, synced).await?;
                }
                Attempt::Full => self.free(records, &mut may_drop).await?,
                Attempt::Compare => return self.compare(id, lease, records),
            }
        }
    }

    /// Appends if nothing has to be waited for: nobody else's append, no room, no sync.
    pub(super) fn append_at_once(
        &self,
        id: StreamId,
        lease: Lease,
        records: &[Record],
    ) -> Option<Result<Lease, LogError>> {
        if self.config.sync == Sync::Always {
            return None;
        }
        let mut writer = self.try_writer()?;
        let _underway = self.pace.begin(Kind::Append);
        match self.try_append(&mut writer, id, lease, records) {
            Ok(Attempt::Done(lease, _)) => Some(Ok(lease)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn try_append(
        &self,
        writer: &mut Writer,
        id: StreamId,
        lease: Lease,
        records: &[Record],
    ) -> Result<Attempt<Lease>, LogError> {
        self.check_open()?;
        let standing = self.standing(writer, &lock(&self.index), id)?;
        if lease.epoch != standing.epoch || standing.holder != self.own {
            let newest = standing.epoch;
            return Err(LogError::Fenced { newest });
        }
        if lease.tail != standing.extent.tail {
            let is_behind = lease.tail.position < standing.extent.tail.position;
            return match (is_behind, writer.staged.contains_key(&id)) {
                (true, true) => Ok(Attempt::After(self.queue(writer)?)),
                (true, false) => Ok(Attempt::Compare),
                (false, _) if standing.extent.tail.ended => Err(LogError::Ended),
                (false, _) => Err(LogError::NotAtTail {
                    tail: standing.extent.tail,
                }),
            };
        }
        let after = admit(&self.config.limits, standing.extent, records)?;
        if records.is_empty() {
            return Ok(Attempt::Done(lease, None));
        }
        if is_bounded(records) && self.excess(weight(records)) > 0 {
            return Ok(Attempt::Full);
        }
        let synced = self.commit(writer, id, standing, after, records)?;
        let tail = after.tail;
        Ok(Attempt::Done(Lease { tail, ..lease }, synced))
    }

    /// Whether an append that is not at the tail repeats what is there.
    fn compare(&self, id: StreamId, lease: Lease, records: &[Record]) -> Result<Lease, LogError> {
        let tail = lock(&self.index).find(id, || self.now())?.tail();
        match lease.tail.after(records) {
            Ok(after) if self.holds(id, lease.tail, records)? => Ok(Lease {
                tail: after,
                ..lease
            }),
            _ if tail.ended => Err(LogError::Ended),
            _ => Err(LogError::NotAtTail { tail }),
        }
    }

    pub(super) async fn lease(&self, id: StreamId) -> Result<Lease, LogError> {
        self.reading(move |shared| shared.fresh(id)).await??;
        let writer = lock(&self.index).find(id, || self.now())?.writer();
        if self.is_peer(writer) {
            self.on_sync_thread(Self::adopt_dead).await?;
        }
        let attempt = self.appending(
            |writer| self.try_lease(writer, id),
            || Box::new(move |shared, writer| shared.try_lease(writer, id)),
        );
        let (lease, synced) = attempt.await??;
        self.wait_for(synced).await?;
        Ok(lease)
    }

    fn try_lease(
        &self,
        writer: &mut Writer,
        id: StreamId,
    ) -> Result<(Lease, Option<Synced>), LogError> {
        self.check_open()?;
        let standing = self.standing(writer, &lock(&self.index), id)?;
        if standing.extent.tail.ended {
            return Err(LogError::Ended);
        }
        if standing.holder == self.own || self.is_peer(standing.holder) {
            return Err(LogError::Held);
        }
        let records = [Record::Leased];
        let after = admit(&self.config.limits, standing.extent, &records)?;
        let epoch = standing.epoch.next();
        let before = Standing {
            epoch,
            holder: self.own,
            last: None,
            ..standing
        };
        let synced = self.commit(writer, id, before, after, &records)?;
        let tail = after.tail;
        Ok((Lease { epoch, tail }, synced))
    }

    fn standing(&self, writer: &Writer, index: &Index, id: StreamId) -> Result<Standing, LogError> {
        if let Some(staged) = writer
            .staged
            .get(&id)
            .filter(|_| !index.graves.contains(id))
        {
            return Ok(*staged);
        }
        let entry = index.find(id, || self.now())?;
        let holder = entry.writer();
        Ok(Standing {
            extent: entry.extent(),
            epoch: entry.epoch(),
            holder,
            last: (holder == self.own).then(|| entry.last()),
        })
    }

    /// Writes what was admitted. It is visible then, or, at `sync = always`, with the next sync,
    /// which is what there is to wait for.
    fn commit(
        &self,
        writer: &mut Writer,
        id: StreamId,
        before: Standing,
        after: Extent,
        records: &[Record],
    ) -> Result<Option<Synced>, LogError> {
        let step = writer.write(self, id, before, (records, after.tail))?;
        if self.config.sync == Sync::Always {
            let opened = step.opened.as_ref();
            if let Some(claim) = opened.and_then(|opened| opened.claim.as_ref()) {
                lock(&self.index).graves.claim(claim.key, id);
            }
            let standing = Standing {
                extent: after,
                last: Some(step.at),
                ..before
            };
            writer.staged.insert(id, standing);
            let synced = writer.enqueue(Some(step));
            self.announce(writer)?;
            return Ok(Some(synced));
        }
        if self.config.sync != Sync::None {
            self.announce(writer)?;
        }
        let mut index = lock(&self.index);
        index.apply(self.own, step);
        index.settle();
        Ok(None)
    }

    /// A place behind all that is pending.
    fn queue(&self, writer: &mut Writer) -> Result<Synced, LogError> {
        let synced = writer.enqueue(None);
        self.announce(writer)?;
        Ok(synced)
    }

    /// Tells the sync thread that there is something to do, unless it knows.
    fn announce(&self, writer: &mut Writer) -> Result<(), LogError> {
        if !writer.announced {
            let sent = self.jobs.send(Job::Appended);
            sent.map_err(|_| LogError::Io("the sync thread is gone".to_owned()))?;
            writer.announced = true;
        }
        Ok(())
    }

    /// Makes room for `records`, once.
    async fn free(&self, records: &[Record], may_drop: &mut bool) -> Result<(), LogError> {
        let wanted = weight(records);
        let max = self.config.max_bytes;
        if wanted > max || !std::mem::take(may_drop) {
            return Err(LogError::Full(format!(
                "log.max_bytes = {max} is reached, and what is left is running"
            )));
        }
        let freed = self.on_sync_thread(move |shared| shared.make_room(wanted));
        freed.await??;
        Ok(())
    }

    async fn wait_for(&self, synced: Option<Synced>) -> Result<(), LogError> {
        match synced {
            Some(synced) => {
                let synced = self.pace.patiently(Kind::Sync, synced).await?;
                synced.map_err(|_| LogError::Closed)?
            }
            None => Ok(()),
        }
    }
}
