//! The store's tests that need a disk, faulting or real.

mod backends;
mod crash;
mod damage;
mod faults;
mod long;
mod model;
mod peers;
mod script;
