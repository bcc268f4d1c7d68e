//! The `everstream` binary.
fn main() {}
