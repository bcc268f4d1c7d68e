//! The store's tests that need a disk, faulting or real.

mod backends;
