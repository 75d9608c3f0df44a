//! Nothing is lost and nothing is given twice, whatever ends or hinders the plugin: killed before any of its
//! system calls, any of them failing, a disk that is full or read-only, too few descriptors.
//!
//! There is no code for this in the product: strace(1) counts the real plugin's system calls and injects
//! the fault. The node's agent, kernel and files are real, too. Plugins and agents killed at random, many
//! at a time, are in `chaos.rs`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod errors;
mod kill;
mod node;
mod places;
