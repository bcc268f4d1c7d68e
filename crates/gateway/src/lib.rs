//! Everstream as a library and a binary.
