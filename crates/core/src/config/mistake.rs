//! What is wrong with a configuration, in words for the person who wrote it.

use std::fmt;

/// All mistakes of a configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<Mistake>);

impl ConfigErrors {
    /// A file that cannot be read at all.
    pub fn unreadable(file: &str, why: &impl fmt::Display) -> Self {
        Self(vec![Mistake {
            place: Place::Document(file.to_owned()),
            field: String::new(),
            problem: format!("the file cannot be read: {why}"),
            allowed: None,
            suggestion: None,
        }])
    }

    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by(|a, b| a.place.cmp(&b.place));
        mistakes.dedup();
        Self(mistakes)
    }

    /// Each mistake; there is at least one.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

/// One mistake. Its texts repeat names (of fields, variables, upstreams, aliases) and sizes, but no
/// other value, as any may be a secret in the wrong place; the place says where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub place: Place,
    /// The field's dotted name, such as `upstreams[0].base_url`; empty for the document as a whole.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub allowed: Option<String>,
    /// The name that was probably meant, or what to do.
    pub suggestion: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)?;
        if let Some(allowed) = &self.allowed {
            write!(f, "; expected {allowed}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; {suggestion}")?;
        }
        Ok(())
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file.
    File {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// The file's name.
        file: String,
    },
    /// Nowhere in particular in this file.
    Document(String),
    /// In an environment variable, or a flag that stands for one.
    Variable(String),
    /// Nowhere: there is no file, and the defaults are at fault.
    Defaults,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { line, column, file } => write!(f, "{file}:{line}:{column}"),
            Self::Document(name) | Self::Variable(name) => f.write_str(name),
            Self::Defaults => f.write_str("defaults"),
        }
    }
}

/// What a value's own check found wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) problem: String,
    pub(super) suggestion: Option<String>,
}

impl Fault {
    pub(super) fn hint(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

impl<T: Into<String>> From<T> for Fault {
    fn from(problem: T) -> Self {
        Self {
            problem: problem.into(),
            suggestion: None,
        }
    }
}

/// The candidate that was probably meant by `name`: spelt nearly so, or cut short or extended.
pub(super) fn nearest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let name = plain(name);
    let distance = |candidate: &&str| {
        let candidate = plain(candidate);
        let shorter = name.len().min(candidate.len());
        if shorter >= 3 && (name.starts_with(&candidate) || candidate.starts_with(&name)) {
            1
        } else {
            strsim::damerau_levenshtein(&name, &candidate)
        }
    };
    let nearest = candidates.into_iter().min_by_key(distance)?;
    (distance(&nearest) <= name.chars().count().max(3) / 3).then_some(nearest)
}

/// "did you mean `x`?"
pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}
