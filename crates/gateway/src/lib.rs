//! Everstream as a library and a binary.

pub mod cli;
mod config;

pub use config::{config_from, environment};
