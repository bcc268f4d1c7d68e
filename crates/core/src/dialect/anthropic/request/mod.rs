mod read;
mod read_block;
mod write;
mod write_message;

pub(in crate::dialect) use read::read_request;
pub(in crate::dialect) use write::write_request;
