//! The NodePorts that the node's own processes reach, of the rows of Services. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Diff, FrontendKind, ServicePort, ServicePortKey};
use plumbing::nft::Element;

use super::nftables::Nftables;
use crate::protocols::protocol_number;

/// The NodePorts of each row that has any.
#[derive(Debug, Default)]
pub(super) struct NodePorts(BTreeMap<ServicePortKey, BTreeSet<Element>>);

impl NodePorts {
    /// Takes in what changed. A port may pass from one Service to another.
    pub(super) fn change(
        &mut self,
        changes: &Diff<ServicePortKey, Arc<ServicePort>>,
        nftables: &mut Nftables,
    ) {
        let rows = changes.upserts.iter().map(|(key, port)| (key, of(key, port)));
        let rows = rows.chain(changes.removals.iter().map(|key| (key, BTreeSet::new())));
        let mut new = BTreeSet::new();
        for (key, now) in rows {
            let before =
                if now.is_empty() { self.0.remove(key) } else { self.0.insert(key.clone(), now.clone()) };
            let before = before.unwrap_or_default();
            before.difference(&now).for_each(|port| nftables.remove(*port));
            new.extend(now.difference(&before).copied());
        }
        // At last: another row of the same change may have lost it.
        new.into_iter().for_each(|port| nftables.set(port, None));
    }
}

/// The NodePorts of a row.
fn of(key: &ServicePortKey, port: &ServicePort) -> BTreeSet<Element> {
    let node_ports = port.frontends.iter().filter(|frontend| frontend.kind == FrontendKind::NodePort);
    let (family, protocol) = (family(key.family), protocol_number(key.protocol));
    node_ports.map(|frontend| Element::NodePort { family, protocol, port: frontend.port }).collect()
}

pub(super) fn family(family: model::Family) -> plumbing::Family {
    match family {
        model::Family::V4 => plumbing::Family::V4,
        model::Family::V6 => plumbing::Family::V6,
    }
}

#[cfg(test)]
mod tests {
    use model::{Family, Frontend, Policy, Protocol};

    use super::*;

    fn row(service: &str, family: Family, ports: &[u16]) -> (ServicePortKey, Arc<ServicePort>) {
        let frontend = |kind, port| {
            let (inside, outside) = (Policy::Cluster, Policy::Cluster);
            Frontend { kind, address: None, port, inside, outside }
        };
        let mut frontends: Vec<_> =
            ports.iter().map(|port| frontend(FrontendKind::NodePort, *port)).collect();
        frontends.push(frontend(FrontendKind::ClusterIp, 80));
        let port = ServicePort {
            frontends,
            cluster: Arc::default(),
            local: Arc::default(),
            serving: Arc::default(),
            refuse: false,
            affinity: None,
            source_ranges: None,
            triggered: None,
        };
        let key =
            ServicePortKey { service: service.into(), port: "".into(), protocol: Protocol::Udp, family };
        (key, Arc::new(port))
    }

    fn element(family: plumbing::Family, port: u16) -> Element {
        Element::NodePort { family, protocol: 17, port }
    }

    #[test]
    fn each_family_has_its_own_and_a_port_passes_from_one_service_to_another() {
        use plumbing::Family::{V4, V6};
        let (mut ports, mut nftables) = (NodePorts::default(), Nftables::default());
        let mut change = |upserts: Vec<_>, removals: Vec<_>| {
            ports.change(&Diff { upserts, removals }, &mut nftables);
            nftables.elements().keys().copied().collect::<Vec<_>>()
        };
        let now = change(vec![row("a", Family::V4, &[1, 2]), row("a", Family::V6, &[1])], vec![]);
        assert_eq!(now, [element(V4, 1), element(V4, 2), element(V6, 1)]);
        // One that has none is of no account.
        let now = change(vec![row("b", Family::V4, &[])], vec![]);
        assert_eq!(now.len(), 3);
        // b is before or after a in the changes: its new port was a's.
        let now = change(vec![row("b", Family::V4, &[1]), row("a", Family::V4, &[2])], vec![]);
        assert_eq!(now, [element(V4, 1), element(V4, 2), element(V6, 1)]);
        let now = change(vec![row("a", Family::V4, &[1]), row("b", Family::V4, &[2])], vec![]);
        assert_eq!(now, [element(V4, 1), element(V4, 2), element(V6, 1)]);
        let now = change(vec![], vec![row("a", Family::V4, &[]).0, row("a", Family::V6, &[]).0]);
        assert_eq!(now, [element(V4, 2)]);
        let now = change(vec![row("a", Family::V4, &[2])], vec![row("b", Family::V4, &[]).0]);
        assert_eq!(now, [element(V4, 2)]);
    }
}
