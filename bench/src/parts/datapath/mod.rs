//! What a packet costs inside the datapath, in nanoseconds.

#[path = "../../../../crates/datapath/tests/support/mod.rs"]
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
mod sync;

use std::path::Path;

use anyhow::{Result, anyhow};

use crate::context::Bench;
use crate::results::{Better, Part, Table};
use crate::stats::summary;
use support::cost::{Cost, EMPTY, costs, first_costs};

/// Measurements of each path in a round, the median of which is the round's value: one takes some 25
/// microseconds, and an interrupt doubles it.
const EACH: usize = 200;

/// Those of the first packets of connections, each of which is run once.
const FIRST: u16 = 200;

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("datapath", "The datapath's cost of a packet");
    part.note(
        "BPF_PROG_TEST_RUN of the programs: the kernel runs one alone, on one packet, with warm caches. Connections are \
         established where it is not said otherwise. Of connections' first packets each is of another one, and runs once.",
    );
    part.case(EMPTY, "a program that returns at once: what the measuring itself costs");
    bench.progress.step("datapath: nanoseconds per packet");
    let rounds = bench.rounds * EACH;
    let costs = measured(|bpffs| costs(bpffs, rounds))?;
    part.tables.push(table("datapath/cost", "datapath", &costs, EACH));
    bench.progress.step("datapath: nanoseconds per connection");
    let rounds = u16::try_from(bench.rounds)?.saturating_mul(FIRST);
    let costs = measured(|bpffs| first_costs(bpffs, rounds))?;
    part.tables.push(table("datapath/first", "datapath, the first packet", &costs, FIRST.into()));
    bench.progress.step("datapath: 10,000 Services into the maps");
    let rounds = bench.rounds;
    let times = measured(|bpffs| sync::times(bpffs, rounds))??;
    let mut table = Table::new("datapath/sync", "Services from memory to the maps", "ms", Better::Lower, "");
    for [all, one] in times {
        table.record("10,000 x 10", all.as_secs_f64() * 1e3);
        table.record("one of them that changed", one.as_secs_f64() * 1e3);
    }
    part.tables.push(table);
    Ok(part)
}

/// What the datapath's tests' own means measure. They panic; the report is to have the reason.
fn measured<T: Send>(measure: impl FnOnce(&Path) -> T + Send + std::panic::UnwindSafe) -> Result<T> {
    std::panic::catch_unwind(|| support::sandbox(measure))
        .map_err(|_| anyhow!("the datapath could not be measured; the reason is above"))
}

/// A round's value is the median of so many.
fn table(id: &str, title: &str, costs: &[Cost], each: usize) -> Table {
    let mut table = Table::new(id, title, "ns/packet", Better::Lower, EMPTY);
    for cost in costs {
        for round in cost.nanoseconds.chunks(each).filter_map(summary) {
            table.record(&cost.path, round.median);
        }
    }
    table
}
