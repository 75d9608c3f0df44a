//! What policy takes: the first packet of a connection by the number of rules, and the time until a change is in force.
//!
//! `cargo run --release -p datapath --example policy`, as root. Compare figures of one run with each other, not with
//! those of another machine.

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

use support::cost::rules::{Rules, first_with_rules, time_to_know};

const ROUNDS: u16 = 20_000;

fn main() {
    println!("{:<40} {:>8} {:>8}", "nanoseconds of a first packet", "minimum", "median");
    for (kind, count) in [
        (Rules::Addresses, 0),
        (Rules::Addresses, 10),
        (Rules::Addresses, 12_500),
        (Rules::Ports, 10),
        (Rules::Ports, 12_500),
        (Rules::Addresses, 10),
        (Rules::Addresses, 0),
    ] {
        let (costs, taken) = support::sandbox(|bpffs| first_with_rules(bpffs, kind, count, ROUNDS));
        for (family, mut costs) in costs {
            costs.sort_by(f64::total_cmp);
            let (least, median) = (costs[0], costs[costs.len() / 2]);
            println!("{:<40} {least:>8.0} {median:>8.0}", format!("{family}, {count} rules of {kind:?}"));
        }
        println!("{:<40} {:>8.3} ms", "  until they are in force", taken.as_secs_f64() * 1e3);
    }
    for (addresses, blocks, pods) in [(100_000, 0, 1), (0, 10_000, 110)] {
        let [all, one] = support::sandbox(|bpffs| time_to_know(bpffs, addresses, blocks, pods));
        println!(
            "{addresses} addresses, {blocks} blocks with excepts, {pods} Pods: {:.3} ms; one address more: {:.3} ms",
            all.as_secs_f64() * 1e3,
            one.as_secs_f64() * 1e3
        );
    }
}
