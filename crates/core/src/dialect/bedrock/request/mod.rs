mod media;
mod write;
mod write_message;

pub(in crate::dialect) use write::write_request;
