//! Policy: what may come to a Pod of this node, and what it may send.
//!
//! Every address is of a *class*, every Pod has a *set*: for each direction, the *list* of verdicts of every class. All of
//! them are numbers, which are never used for something else. The kernel has two columns of what can change, and the
//! number of the generation in force says which of them counts: a change is written into the other column, and comes into
//! force with one write (`apply.rs`).

mod api;
mod apply;
mod blocks;
mod check;
mod columns;
mod found;
mod look_up;
mod pending;
mod plan;
mod raw;
mod tables;
mod types;

pub(crate) use tables::{Maps, Policies};
pub use types::{
    CLOSED, Change, Counts, Direction, Entry, EntryKey, Found, Interval, List, OPEN, Origin, Question, Sizes,
    State, Verdict,
};

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]
mod tests;
