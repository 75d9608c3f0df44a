//! Faults of the plugin: killed before each of its system calls, each of them failing, a full or read-only disk, too
//! few descriptors. Nothing leaks and no address is given twice.
//!
//! There is no code for this in the product: strace(1) counts the real plugin's system calls and injects
//! the fault. The node's agent, kernel and files are real, too. Plugins and agents killed at random, many
//! at a time, are in `chaos.rs`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod errors;
mod kill;
mod node;
mod places;
