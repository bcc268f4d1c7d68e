//! The integration tests: a real gateway over real sockets, in front of scripted providers.

mod chat;
mod cli;
mod directions;
mod docs;
mod harness;
mod list;
mod proxy;
mod socket;
mod ws;
mod ws_abuse;
