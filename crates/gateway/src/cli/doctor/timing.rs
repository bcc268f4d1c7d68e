//! Whether events came as they were written. The gateway's log says when that was, so nothing has
//! to be assumed about the model's pace.

use std::time::Duration;

use super::checks::Check;
use crate::cli::gateway::lapse;

/// Events that arrive within this time arrive in the same instant.
const INSTANT: Duration = Duration::from_millis(5);
/// Events that the gateway writes within this time came in one piece from the provider.
const PIECE: Duration = Duration::from_millis(2);
/// Shorter holds are the network's, or this machine's.
const LEAST_HOLD: Duration = Duration::from_millis(25);
/// An answer written in less time shows nothing.
const LEAST_SPAN: Duration = Duration::from_millis(50);
/// An answer of fewer events shows nothing.
const LEAST_EVENTS: usize = 6;
/// Events in a piece, on average, from which on a provider's answer is lumps.
const LUMP: usize = 8;

/// One event's two times, each counted from a moment of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub arrived: Duration,
    pub logged: Duration,
}

/// What the times show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    /// Events arrive as they are written.
    Streams { events: usize, instants: usize },
    /// They are written one by one and arrive in lumps. The worst one is told.
    HeldBack { lump: usize, over: Duration },
    /// They are written in lumps: that is how they come from the provider.
    ProviderLumps {
        events: usize,
        pieces: usize,
        first: Duration,
    },
    /// Too little, or too quick, to tell.
    Unclear { events: usize, over: Duration },
}

/// Judges an answer to a request that the gateway took at `created` milliseconds since 1970.
pub(super) fn judge(created: u64, moments: &[Moment]) -> Timing {
    let events = moments.len();
    let logged = |at: usize| moments[at].logged;
    let (Some(first), Some(last)) = (moments.first(), moments.last()) else {
        let over = Duration::ZERO;
        return Timing::Unclear { events, over };
    };
    let over = last.logged.saturating_sub(first.logged);
    let wait = first.logged.saturating_sub(Duration::from_millis(created));
    if events < LEAST_EVENTS {
        return Timing::Unclear { events, over };
    }
    let pieces = groups(moments, PIECE, |moment| moment.logged);
    let provider_lumps = Timing::ProviderLumps {
        events,
        pieces: pieces.len(),
        first: wait,
    };
    if over < LEAST_SPAN {
        // All at once. If the model took long for it, somebody gathered the answer.
        let gathered = wait > 10 * LEAST_SPAN;
        return if gathered {
            provider_lumps
        } else {
            Timing::Unclear { events, over }
        };
    }
    let least = LEAST_HOLD.max(2 * median_pause(moments));
    let instants = groups(moments, INSTANT, |moment| moment.arrived);
    let held = |lump: &(usize, usize)| {
        let over = logged(lump.1).saturating_sub(logged(lump.0));
        (over >= least).then_some((lump.1 - lump.0 + 1, over))
    };
    let lumps: Vec<(usize, Duration)> = instants.iter().filter_map(held).collect();
    let in_lumps: usize = lumps.iter().map(|(events, _)| events).sum();
    // A stray hiccup is nobody's buffer.
    if let Some(&(lump, over)) = lumps.iter().max_by_key(|(_, over)| *over)
        && in_lumps * 3 >= events
    {
        return Timing::HeldBack { lump, over };
    }
    if events >= pieces.len() * LUMP {
        return provider_lumps;
    }
    let instants = instants.len();
    Timing::Streams { events, instants }
}

/// First and last of the events that share a time, within `tolerance` of the first.
fn groups(
    moments: &[Moment],
    tolerance: Duration,
    time: impl Fn(&Moment) -> Duration,
) -> Vec<(usize, usize)> {
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for (at, moment) in moments.iter().enumerate() {
        match groups.last_mut() {
            Some((first, last))
                if time(moment).saturating_sub(time(&moments[*first])) <= tolerance =>
            {
                *last = at;
            }
            _ => groups.push((at, at)),
        }
    }
    groups
}

/// The model's usual pause between two events, those without a pause left out.
fn median_pause(moments: &[Moment]) -> Duration {
    let pauses = moments
        .windows(2)
        .map(|pair| pair[1].logged.saturating_sub(pair[0].logged));
    let mut pauses: Vec<Duration> = pauses.filter(|pause| !pause.is_zero()).collect();
    pauses.sort_unstable();
    pauses.get(pauses.len() / 2).copied().unwrap_or_default()
}

impl Timing {
    /// The same in words.
    pub(super) fn check(self) -> Check {
        match self {
            Self::Streams { events, instants } => {
                let text = format!("{events} events arrived in {instants} instants, as written");
                Check::good("timing", text)
            }
            Self::HeldBack { lump, over } => {
                let text = format!(
                    "{lump} events that the gateway wrote over {} arrived in one instant. \
                     Something between here and the gateway holds bytes back: most often a proxy \
                     that buffers (nginx: `proxy_buffering off`; Apache: `flushpackets=on`), or \
                     compresses, or scans for viruses",
                    lapse(over)
                );
                Check::bad("timing", text)
            }
            Self::ProviderLumps {
                events,
                pieces,
                first,
            } => {
                let text = format!(
                    "{events} events came to the gateway in {pieces} pieces, the first after {}, \
                     and were passed on at once. Something between the gateway and the model holds \
                     them back, or the model server answers in lumps",
                    lapse(first)
                );
                Check::bad("timing", text)
            }
            Self::Unclear { events, over } => {
                let text = format!(
                    "{events} events within {} are too few, or came too fast, to tell: ask for a \
                     longer answer (--max-tokens, --prompt) or a slower model",
                    lapse(over)
                );
                Check::bad("timing", text)
            }
        }
    }
}
