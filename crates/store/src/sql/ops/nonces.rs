//! Nonces of signed requests.

use everstream_core::id::UnixMillis;
use everstream_core::sign::nonce::NonceId;

use crate::sql::CatalogError;
use crate::sql::engine::{Effect, Operation, Sql, Statement, Value};

const CLAIM: Statement = Statement::new(
    "INSERT INTO nonces (id, good_until) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
);
const PRUNE: Statement = Statement::new("DELETE FROM nonces WHERE good_until < $1");

pub(in crate::sql) struct ClaimNonce {
    pub(in crate::sql) nonce: NonceId,
    pub(in crate::sql) good_until: UnixMillis,
}

impl Operation for ClaimNonce {
    type Output = bool;
    // A power loss takes longer than a nonce is good.
    const EFFECT: Effect = Effect::Leases;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<bool, CatalogError> {
        let id = Value::Bytes(self.nonce.as_bytes().to_vec());
        let claimed = sql.execute(&CLAIM, &[id, self.good_until.into()]).await?;
        Ok(claimed == 1)
    }
}

pub(in crate::sql) struct PruneNonces {
    pub(in crate::sql) before: UnixMillis,
}

impl Operation for PruneNonces {
    type Output = u64;
    const EFFECT: Effect = Effect::Leases;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<u64, CatalogError> {
        sql.execute(&PRUNE, &[self.before.into()]).await
    }
}
