use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::policy::bill::{Bill, Charge};
use everstream_core::record::{Accepted, Account, End, Record};
use everstream_store::sql::values::{LedgerEntry, Payer};

/// What a generation runs up, and who pays for it.
#[derive(Debug)]
pub struct Tab {
    stream: StreamId,
    payer: Payer,
    model: String,
    at: UnixMillis,
    pub(super) bill: Bill,
}

impl Tab {
    /// The tab of a generation that begins.
    pub fn new(stream: StreamId, accepted: &Accepted) -> Self {
        Self {
            stream,
            payer: payer_of(accepted),
            model: accepted.model.clone(),
            at: accepted.created_at,
            bill: Bill::default(),
        }
    }

    /// The next record of its log.
    pub fn push(&mut self, record: &Record) {
        self.bill.push(record);
    }

    pub(super) fn entry(self, end: &End, charge: Charge) -> LedgerEntry {
        LedgerEntry {
            stream: self.stream,
            payer: self.payer,
            model: self.model,
            upstream: end.upstream.clone().unwrap_or_default(),
            at: self.at,
            usage: charge.usage,
            cost: charge.cost,
        }
    }
}

/// What the log says of a payer beside the project.
pub fn account_of(payer: &Payer) -> Account {
    Account {
        organisation: payer.organisation.as_ref().map(|id| id.as_str().into()),
        key: payer.key.as_ref().map(|id| id.as_str().into()),
    }
}

/// Who pays for a generation, as its log says.
pub fn payer_of(accepted: &Accepted) -> Payer {
    let Account { organisation, key } = &accepted.account;
    Payer {
        organisation: organisation.as_ref().and_then(|id| id.parse().ok()),
        project: accepted.project.clone(),
        key: key.as_ref().and_then(|id| id.parse().ok()),
    }
}
