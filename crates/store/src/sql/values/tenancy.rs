//! Who there is: organisations and their projects.

use everstream_core::id::{ProjectId, UnixMillis};

/// An organisation's id, of the same form as a project's.
pub type OrganisationId = ProjectId;

/// Longest name of anything in the catalogue, in characters.
pub const NAME_CHARS: usize = 200;

/// Who pays for projects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its id, for ever.
    pub id: OrganisationId,
    /// What people call it.
    pub name: String,
    /// Suspended: none of its projects' keys is let in.
    pub suspended: bool,
    /// Since when it is known.
    pub created_at: UnixMillis,
}

/// Somebody who can be suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenant {
    /// An organisation: none of its projects' keys is let in then.
    Organisation(OrganisationId),
    /// A project: none of its keys is.
    Project(ProjectId),
}

/// What owns streams and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id, for ever, and unique among all organisations: streams are owned by it.
    pub id: ProjectId,
    /// Who pays.
    pub organisation: OrganisationId,
    /// What people call it.
    pub name: String,
    /// Suspended: none of its keys is let in.
    pub suspended: bool,
    /// Since when it is known.
    pub created_at: UnixMillis,
}
