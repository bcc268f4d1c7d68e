//! What to do when a deployment fails after somebody has heard of its answer: the ladder.
//!
//! What was delivered cannot be taken back, so nobody else can begin anew. Where the operator or the
//! client consents, the answer goes on: from its text so far, at a deployment that takes the beginning
//! of an answer; or from a second run whose text is dropped as long as it is the same, at one that says
//! the same twice. Else, and without consent, the failure is told.

use serde::{Deserialize, Serialize};

use crate::policy::attempt::FailureKind;

/// What a route, or the client, has done with an answer that was cut. Text: `recover` or `fail`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCut {
    /// Tells the failure.
    #[default]
    Fail,
    /// Goes on with it where it can, which is charged twice.
    Recover,
}

/// What a deployment can do for an answer that was cut: what it is marked with, or, as
/// [`abilities`](crate::dialect::abilities) says, what of it holds for one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// It goes on from the beginning of an answer.
    pub continues: bool,
    /// It then says that beginning once more (Mistral).
    pub repeats: bool,
    /// It says the same to a request each time: its engine is batch-invariant.
    pub deterministic: bool,
}

impl Abilities {
    /// Whether there is anything that it can do.
    pub const fn any(self) -> bool {
        self.continues || self.deterministic
    }
}

/// An answer that was cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// What cut it.
    pub kind: FailureKind,
    /// The newest failure: the cut itself, or that of an attempt to go on.
    pub latest: FailureKind,
    /// The place of the route that was cut.
    pub at: usize,
    /// All that was delivered, if it is plain text of one choice whose end was not told.
    pub text: Option<&'a str>,
    /// Attempts so far.
    pub made: u32,
    /// The most of them.
    pub most: u32,
    /// The retry budget of the deployment that was cut has one left.
    pub in_budget: bool,
    /// It was run again already.
    pub ran_again: bool,
}

/// A deployment that takes requests, and was not asked to go on in vain.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its place on the route.
    pub place: usize,
    /// What it can.
    pub abilities: Abilities,
    /// It refuses a beginning that ends in white space.
    pub refuses_space: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// This place is asked to go on from the text so far.
    Continue(usize),
    /// This place is asked the same once more; what it says is dropped while it is what was said.
    RunAgain(usize),
    /// The failure that cut the answer is told.
    Tell,
}

impl OnCut {
    /// Both.
    pub const ALL: &'static [Self] = &[Self::Recover, Self::Fail];

    /// Its name, in configurations and requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Recover => "recover",
        }
    }

    /// The one of this name.
    pub fn find(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|one| one.as_str() == name)
    }

    /// Decides. Going on comes before running again, as it costs the rest and not the whole; a
    /// deployment that was not cut goes on before the one that was, and the one that was runs again
    /// before others, as it is the likeliest to say the same.
    pub fn decide(self, cut: &Cut<'_>, candidates: &[Candidate]) -> Rung {
        // Delivered without a text: what that was, nobody here knows.
        let text = cut.text.filter(|text| !text.is_empty());
        let Some(text) = text.filter(|_| self == Self::Recover) else {
            return Rung::Tell;
        };
        // Nobody is asked to say what a filter refused.
        let refused = cut.latest == FailureKind::ContentFilter;
        if refused || !may_pass(cut.kind) || cut.made >= cut.most {
            return Rung::Tell;
        }
        let here_again = same_may_pass(cut.kind) && cut.in_budget;
        let free = candidates
            .iter()
            .filter(|candidate| candidate.place != cut.at || here_again);
        let spaced = text.ends_with(char::is_whitespace);
        let able = free.clone().filter(|candidate| {
            candidate.abilities.continues && !(spaced && candidate.refuses_space)
        });
        if !text.trim().is_empty()
            && let Some(next) = able.min_by_key(|candidate| candidate.place == cut.at)
        {
            return Rung::Continue(next.place);
        }
        let same = free.filter(|candidate| candidate.abilities.deterministic);
        match same.min_by_key(|candidate| candidate.place != cut.at) {
            Some(next) if !cut.ran_again => Rung::RunAgain(next.place),
            _ => Rung::Tell,
        }
    }
}

/// Whether an answer that this cut may go on elsewhere.
const fn may_pass(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Unreachable
        | FailureKind::RateLimited
        | FailureKind::Overloaded
        | FailureKind::ServerError
        | FailureKind::Silent
        | FailureKind::Broken
        | FailureKind::Invalid => true,
        FailureKind::KeyRefused
        | FailureKind::ModelMissing
        | FailureKind::ContextLength
        | FailureKind::ContentFilter
        | FailureKind::BadRequest => false,
    }
}

/// Whether it may go on at the same deployment at once.
const fn same_may_pass(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::ServerError | FailureKind::Broken)
}

#[cfg(test)]
mod tests;
