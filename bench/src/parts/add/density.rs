//! One more Pod on a node that has few, and on one that is full of them.

use anyhow::Result;
use lab::Family;

use super::{Case, PLUGINS, once, own_config, own_plugin};
use crate::context::Bench;
use crate::manifests;
use crate::results::{Better, Part, Table};

/// The nodes: name, a large enough podCIDR, and how many Pods are there already.
const NODES: [(&str, &str, &str, usize); 2] =
    [("node1", "10.244.8.0/21", "10 Pods", 10), ("node2", "10.244.16.0/21", "1,000 Pods", 1000)];

/// Plugins that run at a time while the nodes fill.
const AT_ONCE: usize = 8;

/// Pods that are added in one go.
const BATCH: usize = 100;

pub(super) fn measure(bench: &Bench, part: &mut Part) -> Result<()> {
    for verb in ["add", "del"] {
        let title = format!("{}, IPv4, by the Pods that are there", verb.to_uppercase());
        part.tables.push(Table::new(&format!("add/density-{verb}"), &title, "ms", Better::Lower, "10 Pods"));
    }
    bench.progress.step("add, density: nodes");
    let lab = bench.lab("density", Family::V4, 2, false)?;
    let mut cases = Vec::new();
    for (node, cidr, name, pods) in NODES {
        let addresses = lab.state()?.node(node)?.addresses.clone();
        manifests::write(&lab.manifests(), node, &manifests::node(node, &[cidr.to_owned()], &addresses))?;
        lab.start_agent(node)?;
        let plugin = own_plugin(bench);
        let mut case = Case::new(name, &lab, node, plugin, PLUGINS.to_owned(), own_config(&lab, node)?)?;
        fill(bench, &mut case, pods)?;
        cases.push(case);
    }
    let rounds = bench.rounds * 3;
    for round in 0..=rounds {
        for case in &mut cases {
            bench.check()?;
            bench.progress.detail(&format!("add, density: round {round} of {rounds}, {}", case.name));
            let (add, del) = once(case, &format!("d{round}"))?;
            // The first round fills caches.
            if round > 0 {
                part.record("add/density-add", case.name, add)?;
                part.record("add/density-del", case.name, del)?;
            }
        }
    }
    Ok(())
}

fn fill(bench: &Bench, case: &mut Case, pods: usize) -> Result<()> {
    for start in (0..pods).step_by(BATCH) {
        bench.check()?;
        bench.progress.step(&format!("add, density: Pod {start} of {pods}"));
        let names: Vec<String> =
            (start..pods.min(start + BATCH)).map(|number| format!("d-{number}")).collect();
        names.iter().try_for_each(|name| case.make_namespace(name))?;
        let environments = names.iter().map(|name| case.environment("ADD", name)).collect();
        case.runtime.call_at_once(&case.plugin, environments, &case.config, AT_ONCE)?;
    }
    Ok(())
}
