//! The list of streams: what a query means, and the page that answers it.
//!
//! A query is words that must all match. `status:running`, `model:gpt`, `surface:completions`,
//! `upstream:ollama` and `id:0k3v` look at one field (status and surface whole, the others by their
//! beginning); any other word is looked for within id, model and upstream. Case does not matter.

use std::cmp::Ordering;
use std::str::FromStr;

use crate::error::{Error, ErrorCode};
use crate::event::StreamInfo;
use crate::limits;
use crate::suggest::nearest;

/// Streams that can be paged through; who wants older ones narrows the query. It bounds the memory
/// that a list takes.
pub const WINDOW: usize = 10_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    terms: Vec<Term>,
    sort: Sort,
    /// From 1.
    page: usize,
    size: usize,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// The streams of this page, in order.
    pub streams: Vec<StreamInfo>,
    /// How many match in all.
    pub total: usize,
    /// Which page this is, from 1.
    pub page: usize,
    /// How many streams a page holds.
    pub size: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: Option<Field>,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Status,
    Model,
    Surface,
    Upstream,
}

const FIELDS: [(&str, Field); 5] = [
    ("id", Field::Id),
    ("status", Field::Status),
    ("model", Field::Model),
    ("surface", Field::Surface),
    ("upstream", Field::Upstream),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sort {
    key: SortKey,
    descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SortKey {
    CreatedAt,
    EndedAt,
    LastSeq,
    Model,
    Status,
    Id,
}

const SORT_KEYS: [(&str, SortKey); 6] = [
    ("created_at", SortKey::CreatedAt),
    ("ended_at", SortKey::EndedAt),
    ("last_seq", SortKey::LastSeq),
    ("model", SortKey::Model),
    ("status", SortKey::Status),
    ("id", SortKey::Id),
];

impl ListQuery {
    /// Reads the parameters of a request; absent ones have defaults.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidValue`] with the parameter's name.
    pub fn parse(
        query: Option<&str>,
        page: Option<&str>,
        size: Option<&str>,
        sort: Option<&str>,
    ) -> Result<Self, Error> {
        let terms = query.unwrap_or_default().split_whitespace().map(str::parse);
        let terms = terms.collect::<Result<_, _>>()?;
        let size = number(
            "size",
            size,
            limits::LIST_PAGE_SIZE,
            limits::LIST_PAGE_SIZE_MAX,
        )?;
        let page = number("page", page, 1, WINDOW / size)?;
        let sort = sort
            .filter(|sort| !sort.is_empty())
            .unwrap_or("created_at:desc")
            .parse()?;
        Ok(Self {
            terms,
            sort,
            page,
            size,
        })
    }

    /// Whether a stream is meant.
    pub fn matches(&self, info: &StreamInfo) -> bool {
        self.terms.iter().all(|term| term.matches(info))
    }

    fn order(&self, a: &StreamInfo, b: &StreamInfo) -> Ordering {
        let order = match self.sort.key {
            SortKey::CreatedAt => a.created_at.cmp(&b.created_at),
            SortKey::EndedAt => a.ended_at.cmp(&b.ended_at),
            SortKey::LastSeq => a.last_seq.cmp(&b.last_seq),
            SortKey::Model => a.model.cmp(&b.model),
            SortKey::Status => a.status.as_str().cmp(b.status.as_str()),
            SortKey::Id => Ordering::Equal,
        };
        // The id makes the order total, so that no stream is on two pages.
        let order = order.then_with(|| a.id.cmp(&b.id));
        if self.sort.descending {
            order.reverse()
        } else {
            order
        }
    }
}

/// Picks a page out of streams that come one by one, in bounded memory.
#[derive(Debug)]
pub struct Selection<'a> {
    query: &'a ListQuery,
    best: Vec<StreamInfo>,
    total: usize,
}

impl<'a> Selection<'a> {
    /// Nothing seen yet.
    pub fn new(query: &'a ListQuery) -> Self {
        Self {
            query,
            best: Vec::new(),
            total: 0,
        }
    }

    /// Looks at one stream.
    pub fn see(&mut self, info: &StreamInfo) {
        if !self.query.matches(info) {
            return;
        }
        self.total += 1;
        self.best.push(info.clone());
        let wanted = self.query.page * self.query.size;
        if self.best.len() >= 2 * wanted {
            self.best.sort_unstable_by(|a, b| self.query.order(a, b));
            self.best.truncate(wanted);
        }
    }

    /// The page.
    pub fn finish(mut self) -> ListPage {
        let ListQuery { page, size, .. } = *self.query;
        self.best.sort_unstable_by(|a, b| self.query.order(a, b));
        let streams = self
            .best
            .into_iter()
            .skip((page - 1) * size)
            .take(size)
            .collect();
        ListPage {
            streams,
            total: self.total,
            page,
            size,
        }
    }
}

impl Term {
    fn matches(&self, info: &StreamInfo) -> bool {
        let value = &self.value;
        let starts = |text: &str| text.to_lowercase().starts_with(value);
        let contains = |text: &str| text.to_lowercase().contains(value);
        let upstream = info.upstream.as_deref().unwrap_or_default();
        match self.field {
            Some(Field::Id) => starts(&info.id.to_string()),
            Some(Field::Status) => info.status.as_str() == value,
            Some(Field::Model) => starts(&info.model),
            Some(Field::Surface) => info.surface.as_str() == value,
            Some(Field::Upstream) => starts(upstream),
            None => contains(&info.id.to_string()) || contains(&info.model) || contains(upstream),
        }
    }
}

impl FromStr for Term {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        // A model's name may hold a colon (`qwen3:8b`), so only known fields are fields.
        let field = word.split_once(':').and_then(|(name, value)| {
            let field = FIELDS
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))?
                .1;
            Some((field, value))
        });
        let (field, value) = match field {
            Some((field, value)) => (Some(field), value),
            None => (None, word),
        };
        Ok(Self {
            field,
            value: value.to_lowercase(),
        })
    }
}

impl FromStr for Sort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, direction) = text.split_once(':').unwrap_or((text, "asc"));
        let known = SORT_KEYS.iter().find(|(known, _)| *known == name);
        let Some(&(_, key)) = known else {
            let names = SORT_KEYS.iter().map(|(name, _)| *name);
            let near = nearest(name, names.clone(), 1);
            let hint = near.first().map(|near| format!(" Did you mean `{near}`?"));
            let names: Vec<_> = names.collect();
            let message = format!(
                "sort is one of {}, with `:asc` or `:desc` behind it.{}",
                names.join(", "),
                hint.unwrap_or_default()
            );
            return Err(Error::new(ErrorCode::InvalidValue, message).param("sort"));
        };
        match direction {
            "asc" => Ok(Self {
                key,
                descending: false,
            }),
            "desc" => Ok(Self {
                key,
                descending: true,
            }),
            _ => {
                let message = "sort ends in `:asc` or `:desc`.";
                Err(Error::new(ErrorCode::InvalidValue, message).param("sort"))
            }
        }
    }
}

fn number(name: &str, text: Option<&str>, default: usize, most: usize) -> Result<usize, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => {
            let message = format!("{name} is a number between 1 and {most}.");
            Err(Error::new(ErrorCode::InvalidValue, message).param(name))
        }
    }
}

#[cfg(test)]
mod tests;
