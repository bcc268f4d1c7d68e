//! Sums over the ledger.

use everstream_core::id::ProjectId;
use everstream_core::limits::USAGE_ROWS;

use super::{all, limit};
use crate::sql::CatalogError;
use crate::sql::engine::{Effect, Operation, Row, Sql, Statement, Value};
use crate::sql::values::{Bucket, KeyId, UsageQuery, UsageRow};

/// `$1` is the kind of bucket, `$2` to `$5` say what is grouped by, `$6` and `$7` when, and `$8` to
/// `$11` who and what, empty for all.
const SUMS: Statement = Statement::new(
    "SELECT
        CASE CAST($1 AS BIGINT)
            WHEN 1 THEN at - at % 3600000 WHEN 2 THEN at - at % 86400000 WHEN 3 THEN month
            ELSE 0 END AS since,
        CASE WHEN CAST($2 AS BIGINT) = 1 THEN organisation ELSE '' END AS by_organisation,
        CASE WHEN CAST($3 AS BIGINT) = 1 THEN project ELSE '' END AS by_project,
        CASE WHEN CAST($4 AS BIGINT) = 1 THEN key_id ELSE '' END AS by_key,
        CASE WHEN CAST($5 AS BIGINT) = 1 THEN model ELSE '' END AS by_model,
        count(*),
        CAST(sum(input_tokens) AS BIGINT), CAST(sum(output_tokens) AS BIGINT),
        CAST(sum(cached_tokens) AS BIGINT), CAST(sum(cache_write_tokens) AS BIGINT),
        CAST(sum(audio_input_tokens) AS BIGINT), CAST(sum(audio_output_tokens) AS BIGINT),
        CAST(sum(reasoning_tokens) AS BIGINT),
        CAST(sum(cost) AS BIGINT)
     FROM ledger
     WHERE at >= $6 AND at < $7
        AND ($8 = '' OR organisation = $8) AND ($9 = '' OR project = $9)
        AND ($10 = '' OR key_id = $10) AND ($11 = '' OR model = $11)
     GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT $12",
);

pub(in crate::sql) struct Usage(pub(in crate::sql) UsageQuery);

impl Operation for Usage {
    type Output = Vec<UsageRow>;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Vec<UsageRow>, CatalogError> {
        let UsageQuery {
            group_by, filter, ..
        } = &self.0;
        let bucket: i64 = match self.0.bucket {
            Bucket::Whole => 0,
            Bucket::Hour => 1,
            Bucket::Day => 2,
            Bucket::Month => 3,
        };
        let text = |id: Option<&str>| Value::from(id.unwrap_or_default());
        let parameters = [
            bucket.into(),
            group_by.organisation.into(),
            group_by.project.into(),
            group_by.key.into(),
            group_by.model.into(),
            self.0.from.into(),
            self.0.to.into(),
            text(filter.organisation.as_ref().map(ProjectId::as_str)),
            text(filter.project.as_ref().map(ProjectId::as_str)),
            text(filter.key.as_ref().map(KeyId::as_str)),
            text(filter.model.as_deref()),
            limit(USAGE_ROWS + 1),
        ];
        let rows = sql.query(&SUMS, &parameters).await?;
        if rows.len() > USAGE_ROWS {
            return Err(CatalogError::Invalid(format!(
                "usage of more than {USAGE_ROWS} rows: ask for less time, larger buckets or fewer groups"
            )));
        }
        all(&rows, sums)
    }
}

fn sums(row: &Row) -> Result<UsageRow, CatalogError> {
    Ok(UsageRow {
        since: row.time(0)?,
        organisation: row.text(1)?.to_owned(),
        project: row.text(2)?.to_owned(),
        key: row.text(3)?.to_owned(),
        model: row.text(4)?.to_owned(),
        requests: row.count(5)?,
        input_tokens: row.count(6)?,
        output_tokens: row.count(7)?,
        cached_tokens: row.count(8)?,
        cache_write_tokens: row.count(9)?,
        audio_input_tokens: row.count(10)?,
        audio_output_tokens: row.count(11)?,
        reasoning_tokens: row.count(12)?,
        cost: row.count(13)?,
    })
}
