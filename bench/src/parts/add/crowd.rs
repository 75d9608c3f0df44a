//! Many at a time, as when a node starts or a Deployment grows: Pods a second.

use anyhow::Result;
use lab::Family;

use super::{Case, cases};
use crate::context::Bench;
use crate::results::{Better, Part, Table};

/// Plugins that run at a time.
const AT_ONCE: usize = 20;

/// Pods of one round.
const PODS: usize = 60;

/// The verbs, each with its table.
const TABLES: [(&str, &str); 2] = [("ADD", "add/crowd-add"), ("DEL", "add/crowd-del")];

pub(super) fn measure(bench: &Bench, part: &mut Part) -> Result<()> {
    for (verb, id) in TABLES {
        let title = format!("{verb}, IPv4, {AT_ONCE} at a time");
        part.tables.push(Table::new(id, &title, "Pods/s", Better::Higher, "ptp"));
    }
    bench.progress.step("add, a crowd: nodes");
    let ours = bench.lab("ours", Family::V4, 1, true)?;
    let peers = bench.lab("peers", Family::V4, 2, false)?;
    let mut cases = cases(bench, &ours, &peers)?;
    for case in &mut cases {
        bench.progress.step(&format!("add, a crowd: namespaces for {}", case.name));
        names(case).iter().try_for_each(|name| case.make_namespace(name))?;
    }
    for round in 0..=bench.rounds {
        for case in &mut cases {
            bench.check()?;
            bench.progress.detail(&format!("add, a crowd: round {round} of {}, {}", bench.rounds, case.name));
            for (verb, id) in TABLES {
                let environments = names(case).iter().map(|name| case.environment(verb, name)).collect();
                let took = case.runtime.call_at_once(&case.plugin, environments, &case.config, AT_ONCE)?;
                std::thread::sleep(super::SETTLE);
                // The first round fills caches.
                if round > 0 {
                    let pods = u32::try_from(PODS).map(f64::from)?;
                    part.record(id, case.name, pods / took * 1e3)?;
                }
            }
        }
    }
    Ok(())
}

fn names(case: &Case) -> Vec<String> {
    (0..PODS).map(|number| case.container(&format!("crowd-{number}"))).collect()
}
