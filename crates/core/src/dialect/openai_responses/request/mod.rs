mod read;
mod read_item;
mod write;
mod write_item;

pub(in crate::dialect) use read::read_request;
pub(in crate::dialect) use write::write_request;
