//! The results as a page: per scenario a table of medians, and how they compare with nginx.

use std::fmt::Write as _;

use super::Run;

mod page;
mod translation;

pub use page::page;

/// What all others are compared with, and what their own cost is taken from.
const REFERENCE: &str = "nginx";
const DIRECT: &str = "direct";

/// A figure of a scenario, as a column of its table.
struct Column {
    title: &'static str,
    figure: &'static str,
    /// Of the figure's unit in one of the column's.
    scale: f64,
    show: Show,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    /// The figure alone.
    Figure,
    /// And how many times nginx's it is.
    Ratio,
    /// What is left without the provider's own, and how many times nginx's that is.
    Added,
}

/// The rows of a scenario: all targets, in the order in which they first ran.
fn table(runs: &[Run], scenario: &str, columns: &[Column]) -> String {
    let of_scenario = || runs.iter().filter(|run| run.scenario == scenario);
    let mut targets: Vec<&str> = Vec::new();
    for run in of_scenario() {
        if !targets.contains(&run.target.as_str()) {
            targets.push(&run.target);
        }
    }
    let mut text = String::from("| |");
    for column in columns {
        let _ = write!(text, " {} |", column.title);
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(columns.len()));
    text.push('\n');
    for target in targets {
        let _ = write!(text, "| {target} |");
        for column in columns {
            let _ = write!(text, " {} |", cell(runs, scenario, target, column));
        }
        text.push('\n');
    }
    text
}

fn cell(runs: &[Run], scenario: &str, target: &str, column: &Column) -> String {
    // Compared within a round, as neighbours in time share what else the machine did.
    let figure = |run: &Run, target: &str| {
        let same = |other: &&Run| {
            other.scenario == scenario && other.round == run.round && other.target == target
        };
        let found = runs.iter().find(same)?.figures.get(column.figure)?;
        let own = match column.show {
            Show::Added => figure_of(runs, run.round, scenario, DIRECT, column.figure)?,
            Show::Figure | Show::Ratio => 0.0,
        };
        Some((found - own) / column.scale)
    };
    let rounds = || {
        runs.iter()
            .filter(|run| run.scenario == scenario && run.target == target)
    };
    let values = rounds().filter_map(|run| figure(run, target)).collect();
    let Some(value) = median(values) else {
        return "-".into();
    };
    if column.show == Show::Added && target == DIRECT {
        return "-".into();
    }
    let ratios = rounds()
        .filter_map(|run| Some(figure(run, target)? / figure(run, REFERENCE)?))
        // Noise may make what is added less than nothing.
        .filter(|ratio| ratio.is_finite() && *ratio >= 0.0)
        .collect();
    match median(ratios).filter(|_| column.show != Show::Figure && target != REFERENCE) {
        Some(ratio) => format!("{} ({ratio:.2})", digits(value)),
        None => digits(value),
    }
}

fn figure_of(runs: &[Run], round: u32, scenario: &str, target: &str, figure: &str) -> Option<f64> {
    let run = runs
        .iter()
        .find(|run| run.round == round && run.scenario == scenario && run.target == target)?;
    run.figures.get(figure).copied()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len().is_multiple_of(2) {
        Some(f64::midpoint(values[middle - 1], upper))
    } else {
        Some(upper)
    }
}

/// Three digits or more, grouped.
fn digits(value: f64) -> String {
    let size = value.abs();
    if size < 10.0 {
        return format!("{value:.2}");
    }
    if size < 100.0 {
        return format!("{value:.1}");
    }
    let plain = format!("{size:.0}");
    let mut grouped = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
