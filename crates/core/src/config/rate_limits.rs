//! `[[rate_limits]]`: how much callers may use.

use super::Config;
use super::describe::{Choice, settings};
use super::kinds::{choice, text};
use super::mistake::Fault;
use super::read::Reader;
use super::spec::{Scalar, list};
use crate::policy::limit::Subject;
use crate::policy::limit::bound::Bound;

settings! {
    /// `[[rate_limits]]`: how much each key, project, model or address may use (docs/limits.md).
    pub struct RateLimitConfig {
        /// Whose use is counted together: that of a `key`, of a `project`, of a `model` by all who
        /// use it, or of an `address` of clients (of IPv6 the first 64 bits).
        per: Subject = choice().example("key");
        /// The ids of keys or projects, the names of models, or the addresses that it is for; a name
        /// that ends in `*` stands for all that begin so. For all of them if absent.
        only: Option<Vec<String>> = list(pattern().example("gpt-4*")).or_all();
        /// How much: `requests`, `input-tokens` or `output-tokens` in a time of 1s to 31d, and
        /// `concurrency`, which is requests at once. All of them hold.
        bounds: Vec<Bound> = list(bound().example("requests=60/1m"));
    }
}

impl Choice for Subject {
    const ALL: &'static [Self] = &[Self::Key, Self::Project, Self::Model, Self::Address];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

fn pattern() -> Scalar<String> {
    text(
        "a name of 1 to 256 visible characters, or the beginning of some and `*`",
        |name| {
            let odd = |c: char| c.is_control() || c.is_whitespace();
            if (1..=256).contains(&name.len()) && !name.contains(odd) {
                Ok(name.to_owned())
            } else {
                Err("not a name".into())
            }
        },
    )
}

fn bound() -> Scalar<Bound> {
    text(
        "a limit such as `requests=60/1m` or `concurrency=5`",
        |text| {
            text.parse::<Bound>()
                .map_err(|error| error.to_string().into())
        },
    )
}

/// A rule without limits is a mistake.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    if reader.is_torn() || reader.doubtful("rate_limits") {
        return;
    }
    for (index, rule) in config.rate_limits.iter().enumerate() {
        if rule.bounds.is_empty() {
            let fault = Fault::from("it limits nothing");
            let fault = fault.hint("add `bounds`, such as `bounds = [\"requests=60/1m\"]`");
            reader.note_at(&format!("rate_limits[{index}]"), fault);
        }
    }
}
