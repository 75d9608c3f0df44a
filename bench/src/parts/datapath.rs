//! What a packet costs inside the datapath, in nanoseconds.

#[path = "../../../crates/datapath/tests/support/mod.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "the datapath's own tests, which stop when they cannot go on"
)]
mod support;

use anyhow::{Result, anyhow};

use crate::context::Bench;
use crate::results::{Better, Part, Table};
use crate::stats::summary;
use support::cost::{EMPTY, costs};

/// Measurements of each path in a round, the median of which is the round's value: one takes some 25
/// microseconds, and an interrupt doubles it.
const EACH: usize = 200;

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("datapath", "The datapath's cost of a packet");
    part.note(
        "BPF_PROG_TEST_RUN of the Pod's program: the kernel runs it alone, on one packet, with warm caches. \
         The datapath keeps no state of a connection, so the first packet costs what every packet costs.",
    );
    part.case(EMPTY, "a program that returns at once: what the measuring itself costs");
    bench.progress.step("datapath: nanoseconds per packet");
    let rounds = bench.rounds * EACH;
    // They are the datapath's tests' own means, which panic; the report is to have the reason.
    let measured = std::panic::catch_unwind(|| support::sandbox(|bpffs| costs(bpffs, rounds)));
    let measured =
        measured.map_err(|_| anyhow!("the datapath could not be measured; the reason is above"))?;
    let mut table = Table::new("datapath/cost", "datapath", "ns/packet", Better::Lower, EMPTY);
    for cost in measured {
        for round in cost.nanoseconds.chunks(EACH).filter_map(summary) {
            table.record(&cost.path, round.median);
        }
    }
    part.tables.push(table);
    Ok(part)
}
