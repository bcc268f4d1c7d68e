//! Borders of messages in byte streams: incremental decoders that take bytes and give values, and
//! the one function that renders an SSE frame. They own no socket and no time.

pub mod aws_event_stream;
pub mod event;
pub mod http1;
pub mod json_array;
pub mod multipart;
pub mod sse;
