//! What is wrong on this node or in the cluster while Pods are served: the network is degraded. `midokube status`
//! shows it with what to do, `midonet_kube_node_problems` counts it, and the log tells it once.
//!
//! A problem never makes the node not ready: Kubernetes would then evict Pods that work.

use std::collections::BTreeMap;

pub use model::Problem;
use tokio::sync::watch;
use tracing::{info, warn};

/// Every kind of problem: the values of the metric's label.
pub const KINDS: [&str; 37] = [
    "accept_ra",
    "deny_log",
    "disable_ipv6",
    "flow_log",
    "flow_otlp",
    "foreign_cni_config",
    "foreign_route",
    "forward_dropped",
    "forwarding",
    "health_port",
    "input_dropped",
    "ipam_plugin",
    "kube_proxy",
    "lock",
    "midonet_host",
    "mtu",
    "network",
    "not_bound",
    "not_forwarded",
    "object",
    "overlap",
    "peer_route",
    "plugin",
    "pod_address",
    "pod_cidr",
    "pod_interface",
    "policy_defect",
    "policy_full",
    "policy_tie",
    "repeated_repair",
    "route",
    "rp_filter",
    "service",
    "tunnel_address",
    "tunnel_dropped",
    "tunnel_past_firewall",
    "vrf",
];

/// Who found a problem. Each replaces its own list alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The cluster's objects: what of them is left out.
    Objects,
    /// Objects that cannot be used at all.
    Invalid,
    /// Making the kernel agree with them.
    Network,
    /// The node's own settings, firewall and routes.
    Probe,
    /// Pods' interfaces and addresses.
    Ports,
    /// Files that the agent and the plugin need.
    Files,
    /// What something else changes again and again.
    Repairs,
    /// kube-proxy, which runs beside or left something.
    KubeProxy,
    /// Ports for the health and metrics of Services.
    HealthPorts,
    /// Policies: what is wrong in them, and what of them does not fit.
    Policies,
    /// Bringing policy into force.
    PolicyTables,
    /// Writing what policy denies into a file.
    DenyLog,
    /// The id that MidoNet knows this host by.
    MidonetHost,
    /// The file of flows.
    FlowLog,
}

/// All problems that are known now.
#[derive(Debug, Default)]
pub struct Problems(watch::Sender<BTreeMap<Origin, Vec<Problem>>>);

impl Problems {
    /// Replaces what one origin found. The log tells what is new and what is over.
    pub fn set(&self, origin: Origin, mut found: Vec<Problem>) {
        found.sort();
        found.dedup();
        self.0.send_if_modified(|all| {
            let known = all.get(&origin).map_or(&[][..], Vec::as_slice);
            if known == found.as_slice() {
                return false;
            }
            for Problem { what, object, problem, remedy } in found.iter().filter(|one| !known.contains(one)) {
                warn!(what, object, problem, remedy, "degraded");
            }
            for Problem { what, object, problem, .. } in known.iter().filter(|one| !found.contains(one)) {
                info!(what, object, problem, "no problem any more");
            }
            if found.is_empty() {
                all.remove(&origin)
            } else {
                all.insert(origin, found)
            };
            true
        });
    }

    /// All of them, by origin.
    pub fn all(&self) -> Vec<Problem> {
        self.0.borrow().values().flatten().cloned().collect()
    }

    /// Those that these found.
    pub fn of(&self, origins: &[Origin]) -> Vec<Problem> {
        let all = self.0.borrow();
        origins.iter().filter_map(|origin| all.get(origin)).flatten().cloned().collect()
    }

    /// Tells of every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<Origin, Vec<Problem>>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_origin_replaces_its_own_alone() {
        let problems = Problems::default();
        let mut changes = problems.subscribe();
        let one = |object: &str| Problem::new("node", object, "is wrong", "correct it");
        problems.set(Origin::Ports, vec![one("b")]);
        problems.set(Origin::Objects, vec![one("c"), one("a"), one("a")]);
        assert_eq!(problems.all(), [one("a"), one("c"), one("b")]);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        problems.set(Origin::Objects, vec![one("c"), one("a")]);
        assert!(!changes.has_changed().unwrap(), "the same again is no change");
        problems.set(Origin::Objects, Vec::new());
        assert_eq!(problems.all(), [one("b")]);
        assert!(changes.has_changed().unwrap());
    }

    /// The kinds that the sources name: `Problem::new("kind"`.
    fn named(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let kinds =
                code.split("Problem::new(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
            let is_kind = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            found.extend(kinds.filter_map(|rest| rest.split('"').next()).filter(is_kind).map(str::to_owned));
        }
    }

    #[test]
    fn every_kind_is_there_from_the_start() {
        let mut found = BTreeSet::new();
        named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        found.extend(plumbing::probe::KINDS.map(str::to_owned));
        found.extend(model::KINDS.map(str::to_owned));
        found.extend(policy::KINDS.map(str::to_owned));
        let all: BTreeSet<String> = KINDS.map(str::to_owned).into();
        assert_eq!(found, all, "KINDS must be what the sources name");
    }
}
