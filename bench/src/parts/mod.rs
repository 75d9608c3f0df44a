//! What is measured, a part each.

mod add;
mod datapath;
mod denials;
mod flow_load;
mod heal;
mod idle;
mod network;
mod policy;
mod scale;
mod services;

use anyhow::Result;

use crate::context::Bench;
use crate::results::Part;

/// A part: its name for `ONLY=`, and what does it.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Bench) -> Result<Part>,
}

/// All parts, in the order of the report.
pub(crate) const PARTS: &[Entry] = &[
    Entry { name: "add", run: add::run },
    Entry { name: "same-node", run: network::same_node },
    Entry { name: "cross-node", run: network::cross_node },
    Entry { name: "flows", run: network::flows },
    Entry { name: "flow-load", run: flow_load::run },
    Entry { name: "services", run: services::run },
    Entry { name: "kube-proxy", run: services::beside_kube_proxy::run },
    Entry { name: "service-changes", run: services::changes::run },
    Entry { name: "flood", run: services::flood::run },
    Entry { name: "policy-changes", run: policy::run },
    Entry { name: "denials", run: denials::run },
    Entry { name: "datapath", run: datapath::run },
    Entry { name: "scale", run: scale::run },
    Entry { name: "heal", run: heal::run },
    Entry { name: "idle", run: idle::run },
];
