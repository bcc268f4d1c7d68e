mod read;
mod read_part;
mod write;
mod write_part;

pub(in crate::dialect) use read::read_request;
pub(in crate::dialect) use write::write_request;
pub(super) use write_part::UNSIGNED;
