//! The integration tests: a real gateway over real sockets, in front of scripted providers.

mod chat;
mod directions;
mod harness;
mod identity;
mod refusals;
mod resume;
mod talk;
mod wire;
