//! What a fault is.

use std::time::Duration;

use everstream_testkit::provider::{Gate, Script};

use super::cell::{Form, SetUp};

/// One way to fail.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    pub(super) phase: Phase,
    pub(super) name: &'static str,
    pub(super) first: First,
    /// How often, before the provider is well.
    pub(super) times: usize,
    pub(super) forms: &'static [Form],
    pub(super) passing: Passing,
    /// TOML of the upstreams.
    pub(super) upstream: &'static str,
    /// TOML of the deployments.
    pub(super) deployments: (&'static str, &'static str),
    pub(super) headers: &'static [(&'static str, &'static str)],
}

type Play = fn(Form, &Gate) -> Script;

/// Who is asked first.
#[derive(Clone, Copy)]
pub(super) enum First {
    Plays(Play),
    /// Nobody listens.
    Nobody,
    /// It is asked with TLS, and speaks none.
    NoTls(Play),
}

/// When it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Status,
    Head,
    Preamble,
    Content,
    End,
}

/// What time has to pass for the client to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Passing {
    Never,
    /// Pauses before the only deployment is asked again, no longer than this all together.
    Pauses(Duration),
    /// The provider is silent once so many events are logged, and is given up after this.
    Silence {
        events: u64,
        after: Duration,
    },
    /// The same where the client says how long it waits: with a second deployment the first has half of
    /// that, if the answer is streamed.
    Shared {
        events: u64,
        after: Duration,
    },
    /// The provider goes on in its way once so many events are logged, and is given up after this.
    Going {
        events: u64,
        after: Duration,
    },
}

impl Phase {
    pub(super) const ALL: [Self; 6] = [
        Self::Connecting,
        Self::Status,
        Self::Head,
        Self::Preamble,
        Self::Content,
        Self::End,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Connecting => "No connection",
            Self::Status => "An error status",
            Self::Head => "No head, or not the one of an answer",
            Self::Preamble => "After the head, before content",
            Self::Content => "After content",
            Self::End => "At the end",
        }
    }
}

/// The least step in which time passes, and so what it may take more.
const GRAIN: Duration = Duration::from_secs(1);

impl Passing {
    /// Only the one deployment of a route is asked again after a pause, and of a body nothing is logged
    /// before its end.
    pub(super) fn of(self, set_up: SetUp, form: Form) -> Self {
        match self {
            Self::Pauses(_) if set_up != SetUp::One => Self::Never,
            Self::Shared { events, after } => {
                let is_shared = set_up == SetUp::Two && form == Form::Streamed;
                let after = if is_shared { after / 2 } else { after };
                Self::Silence { events, after }.of(set_up, form)
            }
            Self::Silence { after, .. } if form == Form::Body => Self::Silence { events: 0, after },
            passing => passing,
        }
    }

    /// How far to move time, after so much of it: never as far as the shortest timeout of the defaults,
    /// and near the end with care.
    pub(super) fn step(self, gone: Duration) -> Duration {
        let left = self.least().saturating_sub(gone);
        let most = match self {
            // What the provider does in between takes its own time.
            Self::Going { .. } => Duration::from_secs(10),
            _ => Duration::from_secs(30),
        };
        (left / 2).clamp(GRAIN, most)
    }

    pub(super) const fn least(self) -> Duration {
        match self {
            Self::Silence { after, .. }
            | Self::Shared { after, .. }
            | Self::Going { after, .. } => after,
            Self::Never | Self::Pauses(_) => Duration::ZERO,
        }
    }

    pub(super) fn most(self) -> Duration {
        match self {
            Self::Never => Duration::ZERO,
            Self::Pauses(all) => all + 5 * GRAIN,
            Self::Silence { after, .. }
            | Self::Shared { after, .. }
            | Self::Going { after, .. } => after + 3 * GRAIN,
        }
    }

    pub(super) fn words(self) -> String {
        match self {
            Self::Never => "at once".to_owned(),
            Self::Pauses(after)
            | Self::Silence { after, .. }
            | Self::Shared { after, .. }
            | Self::Going { after, .. } => everstream_core::units::show_duration(after),
        }
    }
}

const BOTH: &[Form] = &[Form::Streamed, Form::Body];
const FOR_EVER: usize = usize::MAX;

pub(super) const fn fault(phase: Phase, name: &'static str, play: Play) -> Fault {
    Fault {
        phase,
        name,
        first: First::Plays(play),
        times: FOR_EVER,
        forms: BOTH,
        passing: Passing::Never,
        upstream: "",
        deployments: ("", ""),
        headers: &[],
    }
}

impl Fault {
    pub(super) const fn once(mut self) -> Self {
        self.times = 1;
        self
    }

    pub(super) const fn streamed(mut self) -> Self {
        self.forms = &[Form::Streamed];
        self
    }

    pub(super) const fn pauses(mut self, most: Duration) -> Self {
        self.passing = Passing::Pauses(most);
        self
    }

    pub(super) const fn silent(mut self, events: u64, after: Duration) -> Self {
        self.passing = Passing::Silence { events, after };
        self
    }

    pub(super) const fn shared(mut self, events: u64, after: Duration) -> Self {
        self.passing = Passing::Shared { events, after };
        self
    }

    pub(super) const fn going(mut self, events: u64, after: Duration) -> Self {
        self.passing = Passing::Going { events, after };
        self
    }

    pub(super) const fn upstream(mut self, toml: &'static str) -> Self {
        self.upstream = toml;
        self
    }

    pub(super) const fn deployments(mut self, first: &'static str, second: &'static str) -> Self {
        self.deployments = (first, second);
        self
    }

    pub(super) const fn headers(
        mut self,
        headers: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.headers = headers;
        self
    }

    pub(super) const fn first(mut self, first: First) -> Self {
        self.first = first;
        self
    }
}
