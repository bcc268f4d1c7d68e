use std::fmt::Write as _;

use everstream_core::dialect::ProviderDialect;
use everstream_core::event::Surface;

use super::digits;
use crate::load::Run;
use crate::translation::{PROVIDERS, SURFACES, Shape, pair};

const TITLE: &str = "
## Translation

What a client's API in front of an upstream's costs in CPU time of one core, for each event of the
upstream's: the stream goes in as it is read, one event at a time, and the events for the log come
out. There is no socket and no log in it. All pairs run in one process, in turn, and a figure is the
least of the rounds, so that other load on the machine shows little. In parentheses is how many times
that of the same stream passed through it is, which is to be at most 4. The text has 500 tokens; the
tool's arguments come in 250 pieces, but for Gemini's, which come in one.

| client | upstream | text, events/s | ns | tool, events/s | ns |
|---|---|---:|---:|---:|---:|
";

/// The table of all pairs of dialects; nothing without runs of them.
pub(super) fn translation(runs: &[Run]) -> String {
    let mut text = String::new();
    for (provider, _) in PROVIDERS {
        // What passes through comes first.
        let mut surfaces = SURFACES;
        surfaces.sort_by_key(|surface| surface.native() != provider);
        let native = surfaces[0];
        for surface in surfaces {
            text.extend(row(runs, surface, native, provider));
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("{TITLE}{text}")
}

fn row(
    runs: &[Run],
    surface: Surface,
    native: Surface,
    provider: ProviderDialect,
) -> Option<String> {
    let mut row = format!("| {} | {} |", surface.as_str(), provider.as_str());
    for shape in Shape::ALL {
        let nanos = least(runs, shape, &pair(surface, provider))?;
        let _ = write!(row, " {} | {}", digits(1e9 / nanos), digits(nanos));
        if surface != native && native.passes_through(provider) {
            let passed_through = least(runs, shape, &pair(native, provider))?;
            let _ = write!(row, " ({:.2})", nanos / passed_through);
        }
        row.push_str(" |");
    }
    row.push('\n');
    Some(row)
}

fn least(runs: &[Run], shape: Shape, target: &str) -> Option<f64> {
    runs.iter()
        .filter(|run| run.scenario == shape.scenario() && run.target == target)
        .filter_map(|run| run.figures.get("cpu_per_event_ns").copied())
        .min_by(f64::total_cmp)
}
