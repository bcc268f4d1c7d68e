//! API keys.

use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::limits::KEY_BOUNDS;

use super::{after, all, check_name, limit, record};
use crate::sql::CatalogError;
use crate::sql::engine::{Effect, Operation, Row, Sql, Statement, Value};
use crate::sql::values::{
    Actor, ApiKey, ChangeKind, KeyId, KeyPatch, KeySecret, NewKey, Scopes, SecretHash,
};

const HAS_PROJECT: Statement = Statement::new("SELECT suspended FROM projects WHERE id = $1");
const ADD_KEY: Statement = Statement::new(
    "INSERT INTO api_keys (id, project, name, scopes, created_at, expires_at, revoked_at)
     VALUES ($1, $2, $3, $4, $5, $6, NULL) ON CONFLICT (id) DO NOTHING",
);
const ADD_SECRET: Statement = Statement::new(
    "INSERT INTO key_secrets (key_id, number, hash, created_at, expires_at)
     VALUES ($1, $2, $3, $4, NULL)",
);
/// A row for each secret of a key, the newest first; at most two secrets are kept, and each key has
/// one at least.
macro_rules! keys {
    ($which:literal) => {
        concat!(
            "SELECT k.id, k.project, p.organisation, k.name, k.scopes, k.created_at, k.expires_at,
                k.revoked_at, CASE WHEN p.suspended + o.suspended > 0 THEN 1 ELSE 0 END,
                s.number, s.hash, s.created_at, s.expires_at
             FROM ",
            $which,
            " JOIN projects p ON p.id = k.project
             JOIN organisations o ON o.id = p.organisation
             JOIN key_secrets s ON s.key_id = k.id
             ORDER BY k.id, s.number DESC"
        )
    };
}
const KEY: Statement = Statement::new(keys!("(SELECT * FROM api_keys WHERE id = $1) k"));
const KEYS: Statement = Statement::new(keys!(
    "(SELECT * FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2) k"
));
const KEYS_OF: Statement = Statement::new(keys!(
    "(SELECT * FROM api_keys WHERE id > $1 AND project = $2 ORDER BY id LIMIT $3) k"
));
const CHANGE: Statement =
    Statement::new("UPDATE api_keys SET scopes = $1, expires_at = $2 WHERE id = $3");
/// The update locks the key, so that two changes come one after the other.
const LOCK: Statement =
    Statement::new("UPDATE api_keys SET name = name WHERE id = $1 RETURNING revoked_at");
const FORGET_OLD: Statement =
    Statement::new("DELETE FROM key_secrets WHERE key_id = $1 AND number < $2");
const RETIRE: Statement = Statement::new(
    "UPDATE key_secrets SET expires_at = CAST($1 AS BIGINT)
     WHERE key_id = $2 AND (expires_at IS NULL OR expires_at > $1)",
);
const REVOKE: Statement =
    Statement::new("UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL");

pub(in crate::sql) struct CreateKey {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) key: NewKey,
}

impl Operation for CreateKey {
    type Output = ApiKey;
    const EFFECT: Effect = Effect::Writes;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<ApiKey, CatalogError> {
        let key = &self.key;
        check_name(&key.name)?;
        if sql
            .query(&HAS_PROJECT, &[(&key.project).into()])
            .await?
            .is_empty()
        {
            let (what, id) = ("project", key.project.to_string());
            return Err(CatalogError::NotFound { what, id });
        }
        let row = [
            key.id.as_str().into(),
            (&key.project).into(),
            key.name.as_str().into(),
            scopes(&key.scopes)?,
            self.by.at.into(),
            key.expires_at.into(),
        ];
        if sql.execute(&ADD_KEY, &row).await? == 0 {
            let (what, id) = ("key", key.id.to_string());
            return Err(CatalogError::Exists { what, id });
        }
        add_secret(sql, &self.by, &key.id, (1, key.hash)).await?;
        let what = (key.id.as_str(), key.project.as_str());
        record(sql, &self.by, ChangeKind::Key, "key.create", what).await?;
        known(sql, &key.id).await
    }
}

pub(in crate::sql) struct GetKey {
    pub(in crate::sql) id: KeyId,
}

impl Operation for GetKey {
    type Output = Option<ApiKey>;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Option<ApiKey>, CatalogError> {
        find(sql, &self.id).await
    }
}

pub(in crate::sql) struct ListKeys {
    pub(in crate::sql) project: Option<ProjectId>,
    pub(in crate::sql) after: Option<KeyId>,
    pub(in crate::sql) limit: usize,
}

impl Operation for ListKeys {
    type Output = Vec<ApiKey>;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Vec<ApiKey>, CatalogError> {
        let after = after(self.after.as_ref().map(KeyId::as_str));
        let rows = match &self.project {
            None => sql.query(&KEYS, &[after, limit(self.limit)]).await?,
            Some(one) => {
                let parameters = [after, one.into(), limit(self.limit)];
                sql.query(&KEYS_OF, &parameters).await?
            }
        };
        fold(&rows)
    }
}

pub(in crate::sql) struct ChangeKey {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) id: KeyId,
    pub(in crate::sql) patch: KeyPatch,
}

impl Operation for ChangeKey {
    type Output = ApiKey;
    const EFFECT: Effect = Effect::Writes;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<ApiKey, CatalogError> {
        let id = self.id.as_str();
        let present = locked(sql, &self.id).await?;
        let (wished, expires_at) = self.patch.clone().applied(present);
        let scopes = scopes(&wished)?;
        let row = [scopes.clone(), expires_at.into(), id.into()];
        sql.execute(&CHANGE, &row).await?;
        let detail = match &scopes {
            Value::Text(text) => text.as_str(),
            _ => "",
        };
        record(sql, &self.by, ChangeKind::Key, "key.change", (id, detail)).await?;
        known(sql, &self.id).await
    }
}

pub(in crate::sql) struct RotateKey {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) id: KeyId,
    pub(in crate::sql) hash: SecretHash,
    pub(in crate::sql) old_until: UnixMillis,
}

impl Operation for RotateKey {
    type Output = ApiKey;
    const EFFECT: Effect = Effect::Writes;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<ApiKey, CatalogError> {
        let id = self.id.as_str();
        let newest = locked(sql, &self.id).await?;
        let newest = newest.secrets.first().map_or(0, |secret| secret.number);
        sql.execute(&FORGET_OLD, &[id.into(), i64::from(newest).into()])
            .await?;
        sql.execute(&RETIRE, &[self.old_until.into(), id.into()])
            .await?;
        add_secret(sql, &self.by, &self.id, (newest + 1, self.hash)).await?;
        let detail = format!("secret {}", newest + 1);
        record(sql, &self.by, ChangeKind::Key, "key.rotate", (id, &detail)).await?;
        known(sql, &self.id).await
    }
}

pub(in crate::sql) struct RevokeKey {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) id: KeyId,
}

impl Operation for RevokeKey {
    type Output = ();
    const EFFECT: Effect = Effect::Writes;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        let id = self.id.as_str();
        if sql
            .execute(&REVOKE, &[self.by.at.into(), id.into()])
            .await?
            == 1
        {
            return record(sql, &self.by, ChangeKind::Key, "key.revoke", (id, "")).await;
        }
        known(sql, &self.id).await.map(drop)
    }
}

async fn add_secret<S: Sql>(
    sql: &mut S,
    by: &Actor,
    key: &KeyId,
    (number, hash): (u32, SecretHash),
) -> Result<(), CatalogError> {
    let hash = Value::Bytes(hash.0.to_vec());
    let number = i64::from(number).into();
    let row = [key.as_str().into(), number, hash, by.at.into()];
    sql.execute(&ADD_SECRET, &row).await.map(drop)
}

async fn find<S: Sql>(sql: &mut S, id: &KeyId) -> Result<Option<ApiKey>, CatalogError> {
    let rows = sql.query(&KEY, &[id.as_str().into()]).await?;
    Ok(fold(&rows)?.pop())
}

/// A key that is not revoked, and that nobody else changes before this transaction is over.
async fn locked<S: Sql>(sql: &mut S, id: &KeyId) -> Result<ApiKey, CatalogError> {
    let rows = sql.query(&LOCK, &[id.as_str().into()]).await?;
    let row = rows.first().ok_or_else(|| unknown(id))?;
    if !row.is_null(0) {
        let text = format!("key `{id}` is revoked, for ever: make a new one");
        return Err(CatalogError::Invalid(text));
    }
    known(sql, id).await
}

async fn known<S: Sql>(sql: &mut S, id: &KeyId) -> Result<ApiKey, CatalogError> {
    find(sql, id).await?.ok_or_else(|| unknown(id))
}

fn unknown(id: &KeyId) -> CatalogError {
    let (what, id) = ("key", id.to_string());
    CatalogError::NotFound { what, id }
}

fn scopes(scopes: &Scopes) -> Result<Value, CatalogError> {
    if scopes.limits.len() > KEY_BOUNDS {
        let why = format!("a key has at most {KEY_BOUNDS} limits of its own");
        return Err(CatalogError::Invalid(why));
    }
    let text = serde_json::to_string(scopes);
    let text = text.map_err(|error| CatalogError::Invalid(format!("scopes: {error}")))?;
    Ok(Value::Text(text))
}

/// Keys from a row for each of their secrets.
fn fold(rows: &[Row]) -> Result<Vec<ApiKey>, CatalogError> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for (key, secret) in all(rows, key)? {
        match keys.last_mut() {
            Some(last) if last.id == key.id => last.secrets.push(secret),
            _ => keys.push(ApiKey {
                secrets: vec![secret],
                ..key
            }),
        }
    }
    Ok(keys)
}

fn key(row: &Row) -> Result<(ApiKey, KeySecret), CatalogError> {
    let damaged = |what: &str| CatalogError::Damaged(format!("{what} of a key"));
    let key = ApiKey {
        id: row.parse(0)?,
        project: row.parse(1)?,
        organisation: row.parse(2)?,
        name: row.text(3)?.to_owned(),
        scopes: serde_json::from_str(row.text(4)?).map_err(|_| damaged("the scopes"))?,
        created_at: row.time(5)?,
        expires_at: row.maybe(6, Row::time)?,
        revoked_at: row.maybe(7, Row::time)?,
        suspended: row.flag(8)?,
        secrets: Vec::new(),
    };
    let hash = row.bytes(10)?.try_into();
    let secret = KeySecret {
        number: u32::try_from(row.count(9)?).map_err(|_| damaged("the secret's number"))?,
        hash: SecretHash(hash.map_err(|_| damaged("the secret's hash"))?),
        created_at: row.time(11)?,
        expires_at: row.maybe(12, Row::time)?,
    };
    Ok((key, secret))
}
