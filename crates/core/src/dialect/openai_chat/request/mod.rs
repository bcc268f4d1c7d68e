mod call_id;
mod merge;
mod out;
mod read;
mod read_message;
mod write;
mod write_message;
mod write_thinking;
mod write_tools;

pub(in crate::dialect) use read::read_request;
pub(in crate::dialect) use write::write_request;
