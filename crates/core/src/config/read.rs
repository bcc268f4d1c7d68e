//! From the parsed file and the environment to values, with every mistake on the way noted.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use super::Source;
use super::describe::VARIABLES;
use super::env::Env;
use super::mistake::{ConfigErrors, Fault, Mistake, Place, did_you_mean, nearest};
use super::slot::Table;

/// Reads one configuration.
pub(super) struct Reader<'a> {
    source: Option<Source<'a>>,
    /// Where each line of it starts.
    lines: Vec<usize>,
    env: &'a Env,
    mistakes: Vec<Mistake>,
    /// Where each field that was read came from.
    places: BTreeMap<String, Place>,
    /// Values that may be there once only: the field, the value and where it stands.
    claims: BTreeMap<(String, String), Place>,
    /// True when the file is not TOML: what is absent may only be unreadable.
    torn: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: Option<Source<'a>>, env: &'a Env) -> Self {
        let text = source.map_or("", |source| source.text);
        let after_newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self {
            source,
            lines: std::iter::once(0).chain(after_newlines).collect(),
            env,
            mistakes: Vec::new(),
            places: BTreeMap::new(),
            claims: BTreeMap::new(),
            torn: false,
        }
    }

    /// Parses the file. What can be recovered of a file that is not TOML is given too, so that its
    /// other mistakes show at once.
    pub(super) fn parse(&mut self) -> Spanned<DeTable<'a>> {
        let text = self.source.map_or("", |source| source.text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            self.torn = true;
            let span = error.span();
            let place = span.map_or_else(|| self.document(), |span| self.place(&span));
            self.note(place, "", error.message().into(), None);
        }
        table
    }

    /// The file as a section.
    pub(super) fn root<'r>(&'r mut self, root: &'a Spanned<DeTable<'a>>) -> Table<'r, 'a> {
        Table::new(self, root.get_ref())
    }

    pub(super) fn env(&self) -> &'a Env {
        self.env
    }

    /// The end: the configuration, or every mistake.
    pub(super) fn finish<T>(mut self, config: Option<T>) -> Result<T, ConfigErrors> {
        if let (Some(config), true) = (config, self.mistakes.is_empty()) {
            return Ok(config);
        }
        if self.torn {
            // What the parser made of a broken line is of no interest beside the break itself.
            let syntax = |mistake: &&Mistake| mistake.field.is_empty();
            let broken = self.mistakes.iter().filter(syntax).filter_map(line);
            let broken: BTreeSet<_> = broken.collect();
            let on_broken =
                |mistake: &Mistake| line(mistake).is_some_and(|line| broken.contains(&line));
            self.mistakes
                .retain(|m| m.field.is_empty() || !on_broken(m));
        }
        Err(ConfigErrors::new(self.mistakes))
    }

    /// Notes that `field` has this value at this place; gives the place that had it before, if any.
    pub(super) fn claim(&mut self, field: String, value: String, place: &Place) -> Option<Place> {
        match self.claims.entry((field, value)) {
            Entry::Occupied(first) => Some(first.get().clone()),
            Entry::Vacant(free) => {
                free.insert(place.clone());
                None
            }
        }
    }

    /// All values that were claimed for `field`.
    pub(super) fn claimed(&self, field: &str) -> impl Iterator<Item = &str> {
        let claims = self.claims.keys().filter(move |(of, _)| of == field);
        claims.map(|(_, value)| value.as_str())
    }

    /// Refuses variables of the form `EVERSTREAM__...` that name nothing.
    pub(super) fn refuse_unknown_variables(&mut self, known: &BTreeSet<String>) {
        let all = self.env.names();
        let unknown = all.filter(|name| name.starts_with(VARIABLES) && !known.contains(*name));
        for name in unknown {
            let hint = nearest(name, known.iter().map(String::as_str)).map(did_you_mean);
            let fault = Fault {
                problem: "no such setting".to_owned(),
                suggestion: hint,
            };
            self.note(Place::Variable(name.to_owned()), "", fault, None);
        }
    }

    /// True when the meaning of `field`, or of anything below it, is in doubt, so that checks which
    /// build on it would only repeat a mistake.
    pub(super) fn doubtful(&self, field: &str) -> bool {
        let below = |name: &str| {
            let rest = name.strip_prefix(field);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.torn || self.mistakes.iter().any(|mistake| below(&mistake.field))
    }

    /// Notes a mistake at the place that `field` came from.
    pub(super) fn note_at(&mut self, field: &str, fault: Fault) {
        let place = self.place_of(field);
        self.note(place, field, fault, None);
    }

    pub(super) fn note(
        &mut self,
        place: Place,
        field: &str,
        fault: Fault,
        allowed: Option<String>,
    ) {
        self.mistakes.push(Mistake {
            place,
            field: field.to_owned(),
            problem: fault.problem,
            allowed,
            suggestion: fault.suggestion,
        });
    }

    /// True when something may be absent only because it could not be parsed.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Keeps where `field` was written.
    pub(super) fn keep_place(&mut self, field: &str, place: &Place) {
        self.places.insert(field.to_owned(), place.clone());
    }

    /// True when `field` does not have its default.
    pub(super) fn is_written(&self, field: &str) -> bool {
        self.places.contains_key(field)
    }

    /// Where `field` was written; the document if it was not.
    pub(super) fn place_of(&self, field: &str) -> Place {
        let place = self.places.get(field).cloned();
        place.unwrap_or_else(|| self.document())
    }

    /// The file, as the place of what is not in it.
    pub(super) fn document(&self) -> Place {
        match self.source {
            Some(source) => Place::Document(source.name.to_owned()),
            None => Place::Defaults,
        }
    }

    /// The place of a part of the file.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let Some(source) = self.source else {
            return Place::Defaults;
        };
        let line = self.lines.partition_point(|&start| start <= span.start);
        let start = self.lines.get(line.saturating_sub(1)).copied();
        let before = source
            .text
            .get(start.unwrap_or(0)..span.start)
            .unwrap_or("");
        Place::File {
            line,
            column: before.trim_start_matches('\u{feff}').chars().count() + 1,
            file: source.name.to_owned(),
        }
    }
}

fn line(mistake: &Mistake) -> Option<usize> {
    match mistake.place {
        Place::File { line, .. } => Some(line),
        _ => None,
    }
}
