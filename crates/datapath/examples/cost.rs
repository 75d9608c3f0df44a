//! What a packet costs: runs each common path many times and prints nanoseconds per packet.
//!
//! `cargo run --release -p datapath --example cost`, as root. Compare figures of one run with each
//! other, not with those of another machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a measurement that cannot go on stops"
)]

#[path = "../tests/support/mod.rs"]
mod support;

const ROUNDS: usize = 2000;

fn main() {
    let costs = support::sandbox(|bpffs| support::cost::costs(bpffs, ROUNDS));
    println!("{:<32} {:>8} {:>8}", "nanoseconds per packet", "minimum", "median");
    for mut cost in costs {
        cost.nanoseconds.sort_by(f64::total_cmp);
        println!("{:<32} {:>8.0} {:>8.0}", cost.path, cost.nanoseconds[0], cost.nanoseconds[ROUNDS / 2]);
    }
}
