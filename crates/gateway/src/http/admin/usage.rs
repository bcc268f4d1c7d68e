//! What was used, and what it cost.

use axum::Json;
use axum::response::{IntoResponse, Response};
use everstream_core::calendar::{DateTime, day_of};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::money::Money;
use everstream_store::sql::values::{
    Bucket, GroupBy, KeyId, UsageFilter, UsageQuery, UsageRow, month_start,
};
use http::{HeaderMap, header};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Media, refused};
use super::csv::csv;
use super::route::Ask;

const DAY: u64 = 24 * 3_600_000;

#[derive(Deserialize, JsonSchema)]
pub(super) struct UsageWish {
    /// Generations accepted from here on: a day in UTC (`2026-11-01`) or milliseconds since 1970. The
    /// beginning of the month if absent.
    from: Option<String>,
    /// And before here. Now if absent.
    to: Option<String>,
    /// The pieces of time, in UTC; one piece for all if absent.
    bucket: Option<BucketName>,
    /// What has sums of its own: some of `organisation`, `project`, `key` and `model`, with commas.
    group_by: Option<String>,
    /// Only this organisation's.
    organisation: Option<ProjectId>,
    /// Only this project's.
    project: Option<ProjectId>,
    /// Only this key's.
    #[schemars(with = "Option<String>")]
    key: Option<KeyId>,
    /// Only this model's.
    model: Option<String>,
    /// The form of the answer. What `Accept` says if absent.
    format: Option<Format>,
}

/// How long the pieces of time are.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum BucketName {
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Months.
    Month,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// A JSON object.
    Json,
    /// Comma-separated values.
    Csv,
}

/// What was used and what it cost.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UsageReport")]
pub(super) struct Usage {
    /// From when.
    from: UnixMillis,
    /// Until when, exclusively.
    to: UnixMillis,
    /// The sums, by time and then by what they are of.
    data: Vec<Sum>,
}

/// One sum. It has what was asked for to group by.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UsageSum")]
struct Sum {
    /// When its piece of time began.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<UnixMillis>,
    /// The organisation; empty for keys of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    organisation: Option<String>,
    /// The project.
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// The key's id; empty for keys of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The model, as clients name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Generations.
    requests: u64,
    /// Prompt tokens.
    input_tokens: u64,
    /// Completion tokens.
    output_tokens: u64,
    /// The part of the input that came from the provider's cache.
    cached_tokens: u64,
    /// The part of the input that was written to the provider's cache.
    cache_write_tokens: u64,
    /// The part of the input that was sound.
    audio_input_tokens: u64,
    /// The part of the output that was sound.
    audio_output_tokens: u64,
    /// The part of the output that was reasoning.
    reasoning_tokens: u64,
    /// What it cost, in dollars.
    cost: String,
}

/// The answer in the form that is wanted.
pub(super) struct Report {
    usage: Usage,
    format: Format,
}

pub(super) async fn show(ask: Ask<UsageWish>) -> Result<Report, Error> {
    let wish = &ask.query;
    let now = ask.app().clock.now();
    let from = moment("from", wish.from.as_deref(), month_start(now))?;
    // What was accepted in this millisecond counts.
    let to = moment("to", wish.to.as_deref(), UnixMillis(now.0 + 1))?;
    if from >= to {
        let message = "`from` is not before `to`.";
        return Err(Error::new(ErrorCode::Unprocessable, message).param("from"));
    }
    let query = UsageQuery {
        from,
        to,
        bucket: match wish.bucket {
            None => Bucket::Whole,
            Some(BucketName::Hour) => Bucket::Hour,
            Some(BucketName::Day) => Bucket::Day,
            Some(BucketName::Month) => Bucket::Month,
        },
        group_by: group_by(wish.group_by.as_deref())?,
        filter: UsageFilter {
            organisation: wish.organisation.clone(),
            project: wish.project.clone(),
            key: wish.key.clone(),
            model: wish.model.clone(),
        },
    };
    let found = ask.directory()?.catalog().usage(&query).await;
    let sums = found.map_err(refused)?.into_iter();
    let data = sums.map(|row| Sum::of(row, &query)).collect();
    Ok(Report {
        usage: Usage { from, to, data },
        format: wish.format.unwrap_or_else(|| accepted(&ask.headers)),
    })
}

fn accepted(headers: &HeaderMap) -> Format {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/csv")) {
        Format::Csv
    } else {
        Format::Json
    }
}

fn moment(name: &str, text: Option<&str>, absent: UnixMillis) -> Result<UnixMillis, Error> {
    let Some(text) = text else {
        return Ok(absent);
    };
    let day = day_of(text).map(|day| UnixMillis(day * DAY));
    // The database counts in 63 bits.
    let millis = || {
        text.parse()
            .ok()
            .filter(|at| i64::try_from(*at).is_ok())
            .map(UnixMillis)
    };
    day.or_else(millis).ok_or_else(|| {
        let message = format!(
            "`{name}` is a day (`2026-11-01`, UTC) or a number of milliseconds since 1970."
        );
        Error::new(ErrorCode::InvalidValue, message).param(name)
    })
}

fn group_by(text: Option<&str>) -> Result<GroupBy, Error> {
    let mut group_by = GroupBy::default();
    let names = text.unwrap_or_default().split(',').map(str::trim);
    for name in names.filter(|name| !name.is_empty()) {
        match name {
            "organisation" => group_by.organisation = true,
            "project" => group_by.project = true,
            "key" => group_by.key = true,
            "model" => group_by.model = true,
            _ => {
                let message = "`group_by` has some of organisation, project, key and model, with \
                               commas between.";
                return Err(Error::new(ErrorCode::InvalidValue, message).param("group_by"));
            }
        }
    }
    Ok(group_by)
}

impl Sum {
    fn of(row: UsageRow, query: &UsageQuery) -> Self {
        let by = query.group_by;
        Self {
            since: (query.bucket != Bucket::Whole).then_some(row.since),
            organisation: by.organisation.then_some(row.organisation),
            project: by.project.then_some(row.project),
            key: by.key.then_some(row.key),
            model: by.model.then_some(row.model),
            requests: row.requests,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cached_tokens: row.cached_tokens,
            cache_write_tokens: row.cache_write_tokens,
            audio_input_tokens: row.audio_input_tokens,
            audio_output_tokens: row.audio_output_tokens,
            reasoning_tokens: row.reasoning_tokens,
            cost: Money(row.cost).to_string(),
        }
    }

    /// Its cells, empty where nothing was asked for.
    fn cells(&self) -> [String; 14] {
        let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
        [
            self.since
                .map(|at| DateTime::from(at).to_string())
                .unwrap_or_default(),
            text(&self.organisation),
            text(&self.project),
            text(&self.key),
            text(&self.model),
            self.requests.to_string(),
            self.input_tokens.to_string(),
            self.output_tokens.to_string(),
            self.cached_tokens.to_string(),
            self.cache_write_tokens.to_string(),
            self.audio_input_tokens.to_string(),
            self.audio_output_tokens.to_string(),
            self.reasoning_tokens.to_string(),
            self.cost.clone(),
        ]
    }
}

const TITLES: [&str; 14] = [
    "since",
    "organisation",
    "project",
    "key",
    "model",
    "requests",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "reasoning_tokens",
    "cost_usd",
];

impl Answer for Report {
    const STATUS: u16 = 200;

    fn media(schemas: &mut SchemaGenerator) -> Vec<Media> {
        vec![
            ("application/json", schemas.subschema_for::<Usage>()),
            ("text/csv", json_schema!({"type": "string"})),
        ]
    }

    fn response(self) -> Response {
        if self.format == Format::Json {
            return Json(self.usage).into_response();
        }
        let rows: Vec<_> = self.usage.data.iter().map(Sum::cells).collect();
        let rows = rows.iter().map(|row| row.each_ref().map(String::as_str));
        let text = csv(std::iter::once(TITLES).chain(rows));
        let headers = [
            (
                header::CONTENT_TYPE,
                "text/csv; charset=utf-8; header=present",
            ),
            (
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"usage.csv\"",
            ),
        ];
        (headers, text).into_response()
    }
}
