//! What was seen, as the tables of `docs/recovery.md`.

use std::path::Path;

use super::cell::{Form, Seen, SetUp};
use super::script::Phase;

/// One fault, played once.
pub(super) struct Row {
    pub(super) phase: Phase,
    pub(super) fault: &'static str,
    /// How it can be played.
    pub(super) forms: &'static [Form],
    pub(super) set_up: SetUp,
    pub(super) form: Form,
    pub(super) seen: Seen,
}

const BEGIN: &str = "<!-- written by the tests, UPDATE=1 -->\n";
const END: &str = "<!-- end -->";

/// Compares with the page, or writes it.
pub(super) fn check(rows: &[Row]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recovery.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (was, after) = rest.split_once(END).unwrap();
    let is = page(rows);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, [before, BEGIN, &is, END, after].concat()).unwrap();
        return;
    }
    let changed = is.lines().filter(|line| !was.contains(line));
    let changed: Vec<&str> = changed.collect();
    assert!(
        was == is,
        "docs/recovery.md is stale: look at what changed, and run this test with UPDATE=1.\n{}",
        changed.join("\n")
    );
}

fn page(rows: &[Row]) -> String {
    let phases = Phase::ALL.map(|phase| {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.phase == phase).collect();
        format!(
            "\n### {}\n\n| fault | set-up | the client gets | calls | the log | within |\n\
             |---|---|---|---|---|---|\n{}",
            phase.title(),
            lines(&rows)
        )
    });
    phases.concat() + "\n"
}

/// A line for each outcome of each fault.
fn lines(rows: &[&Row]) -> String {
    rows.chunk_by(|one, next| one.fault == next.fault)
        .flat_map(|rows| {
            let mut outcomes: Vec<&Seen> = Vec::new();
            for row in rows {
                if !outcomes.contains(&&row.seen) {
                    outcomes.push(&row.seen);
                }
            }
            outcomes.into_iter().enumerate().map(|(index, seen)| {
                let fault = if index == 0 { rows[0].fault } else { "" };
                let asked = asked(rows, seen);
                let Seen {
                    client,
                    calls,
                    log,
                    within,
                } = seen;
                format!("| {fault} | {asked} | {client} | {calls} | {log} | {within} |\n")
            })
        })
        .collect()
}

/// The set-ups in which the outcome was seen.
fn asked(rows: &[&Row], seen: &Seen) -> String {
    let of = |form: Option<Form>, is_so: &dyn Fn(&Row) -> bool| {
        let mut set_ups = Vec::new();
        for row in rows {
            let is_of = form.is_none_or(|form| row.form == form);
            if is_of && is_so(row) && !set_ups.contains(&row.set_up) {
                set_ups.push(row.set_up);
            }
        }
        set_ups
    };
    let seen_in = |form| of(form, &|row| row.seen == *seen);
    let words = |form| {
        let set_ups = seen_in(form);
        if set_ups == of(form, &|_| true) {
            return "any".to_owned();
        }
        let titles: Vec<&str> = set_ups.iter().map(|set_up| set_up.title()).collect();
        titles.join(", ")
    };
    let forms = rows[0].forms;
    if forms
        .iter()
        .all(|form| seen_in(Some(*form)) == seen_in(None))
    {
        return words(None);
    }
    let parts = forms.iter().filter_map(|&form| {
        let is_seen = !seen_in(Some(form)).is_empty();
        is_seen.then(|| format!("{}: {}", form.title(), words(Some(form))))
    });
    parts.collect::<Vec<_>>().join("; ")
}
