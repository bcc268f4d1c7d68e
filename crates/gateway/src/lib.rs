//! Everstream as a library and a binary.

pub mod upstream;
