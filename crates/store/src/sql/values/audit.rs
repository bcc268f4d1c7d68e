//! What happened, and what is new.

use everstream_core::id::UnixMillis;

/// Who changes something, and when: it stands in the audit log beside what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// An admin's name, or the part of the program that did it.
    pub who: String,
    /// Now.
    pub at: UnixMillis,
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place: 1, 2, 3 ... in the order of time, without holes.
    pub number: u64,
    /// When.
    pub at: UnixMillis,
    /// Who.
    pub who: String,
    /// What was done, as `key.revoke`.
    pub action: String,
    /// To what: its id.
    pub target: String,
    /// The rest, as JSON or plain text. Never a secret.
    pub detail: String,
}

/// Which rows of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only what this one did.
    pub who: Option<String>,
    /// Only what was done to this.
    pub target: Option<String>,
    /// Only rows before this number: the next page goes on from the last row of this one.
    pub before: Option<u64>,
}

/// A place in the list of changes: all up to it are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(pub u64);

/// What a change was made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// An organisation: its keys are to be read again.
    Organisation,
    /// A project: its keys are to be read again.
    Project,
    /// A key.
    Key,
    /// A budget.
    Budget,
}

impl ChangeKind {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::Project => "project",
            Self::Key => "key",
            Self::Budget => "budget",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Organisation, Self::Project, Self::Key, Self::Budget]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub number: u64,
    /// What it was made to.
    pub kind: ChangeKind,
    /// The id of that.
    pub id: String,
}

/// What changed since a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The changes, oldest first.
    pub list: Vec<Change>,
    /// Where to ask on from.
    pub cursor: Cursor,
    /// Some changes after the cursor asked about are no longer listed: whatever is cached may be
    /// out of date.
    pub has_gap: bool,
}
