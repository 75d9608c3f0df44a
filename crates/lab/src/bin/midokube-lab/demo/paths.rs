//! Which paths a lab has, and what each must do: pure.

use std::fmt;
use std::net::IpAddr;

use anyhow::Result;
use lab::{Node, Pod, State, Target, addresses};
use naming::subnet;

/// The kind of a path; the order is that of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    PodSameNode,
    PodAcrossNodes,
    NodeToLocalPod,
    NodeToRemotePod,
    PodToOwnNode,
    PodToOwnUnderlay,
    PodToRemoteNode,
    PodToGateway,
    PodToOutside,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PodSameNode => "Pod -> Pod, same node",
            Self::PodAcrossNodes => "Pod -> Pod, across nodes",
            Self::NodeToLocalPod => "node -> its own Pod",
            Self::NodeToRemotePod => "node -> Pod of another node",
            Self::PodToOwnNode => "Pod -> its node (podCIDR + 2)",
            Self::PodToOwnUnderlay => "Pod -> its node (underlay address)",
            Self::PodToRemoteNode => "Pod -> another node",
            Self::PodToGateway => "Pod -> gateway (ICMP echo)",
            Self::PodToOutside => "Pod -> outside, masqueraded",
        })
    }
}

/// One path, from a place to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) kind: Kind,
    pub(crate) from: Target,
    pub(crate) from_name: String,
    pub(crate) to_name: String,
    pub(crate) address: IpAddr,
    /// The source addresses that the other end may see.
    pub(crate) sources: Vec<IpAddr>,
    /// The nodes whose counters tell what became of packets.
    pub(crate) nodes: Vec<String>,
}

impl Path {
    /// The gateway is virtual: it answers ICMP echo and has no ports.
    pub(crate) fn has_ports(&self) -> bool {
        self.kind != Kind::PodToGateway
    }

    pub(crate) fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "IPv4" } else { "IPv6" }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} ({}, {})", self.from_name, self.to_name, self.address, self.kind)
    }
}

/// Where an echo server must listen for the paths, and on which addresses.
pub(crate) fn servers(state: &State) -> Result<Vec<(Target, Vec<IpAddr>)>> {
    let mut servers = vec![(Target::Outside, addresses(&state.family.outside()))];
    for node in &state.nodes {
        let own = [node.addresses.clone(), in_pod_cidrs(node)?].concat();
        servers.push((Target::Node(node.name.clone()), own));
    }
    servers.extend(state.pods.iter().map(|pod| (Target::Pod(pod.key.clone()), pod.addresses())));
    Ok(servers)
}

/// Every path of a lab.
pub(crate) fn paths(state: &State) -> Result<Vec<Path>> {
    let mut paths = Vec::new();
    for pod in &state.pods {
        from_pod(state, pod, &mut paths)?;
    }
    for node in &state.nodes {
        let own = [node.addresses.clone(), in_pod_cidrs(node)?].concat();
        for pod in &state.pods {
            let kind = if pod.node == node.name { Kind::NodeToLocalPod } else { Kind::NodeToRemotePod };
            paths.extend(pod.addresses().into_iter().map(|address| Path {
                kind,
                from: Target::Node(node.name.clone()),
                from_name: node.name.clone(),
                to_name: pod.key.name.clone(),
                address,
                sources: same_family(&own, address),
                nodes: both(&node.name, &pod.node),
            }));
        }
    }
    paths.sort_by_key(|path| path.kind);
    Ok(paths)
}

fn from_pod(state: &State, pod: &Pod, paths: &mut Vec<Path>) -> Result<()> {
    let node = state.node(&pod.node)?;
    let own = pod.addresses();
    let mut add = |kind, to_name: &str, to_node: &str, addresses: Vec<IpAddr>, sources: &[IpAddr]| {
        paths.extend(addresses.into_iter().map(|address| Path {
            kind,
            from: Target::Pod(pod.key.clone()),
            from_name: pod.key.name.clone(),
            to_name: to_name.to_owned(),
            address,
            sources: same_family(sources, address),
            nodes: both(&pod.node, to_node),
        }));
    };
    for other in state.pods.iter().filter(|other| other.key != pod.key) {
        let kind = if other.node == pod.node { Kind::PodSameNode } else { Kind::PodAcrossNodes };
        add(kind, &other.key.name, &other.node, other.addresses(), &own);
    }
    let gateways: Vec<IpAddr> =
        node.pod_cidrs.iter().map(|c| subnet::gateway(*c)).collect::<Result<_, _>>()?;
    add(Kind::PodToGateway, "gateway", &node.name, gateways, &own);
    add(Kind::PodToOwnNode, &node.name, &node.name, in_pod_cidrs(node)?, &own);
    add(Kind::PodToOwnUnderlay, &node.name, &node.name, node.addresses.clone(), &own);
    for other in state.nodes.iter().filter(|other| other.name != node.name) {
        // Out through the node, so masqueraded like any other address outside the cluster's.
        add(Kind::PodToRemoteNode, &other.name, &other.name, other.addresses.clone(), &node.addresses);
    }
    let outside = addresses(&state.family.outside());
    add(Kind::PodToOutside, "outside", &node.name, outside, &node.addresses);
    Ok(())
}

fn in_pod_cidrs(node: &Node) -> Result<Vec<IpAddr>> {
    Ok(node.pod_cidrs.iter().map(|cidr| subnet::node(*cidr)).collect::<Result<_, _>>()?)
}

fn same_family(candidates: &[IpAddr], as_in: IpAddr) -> Vec<IpAddr> {
    candidates.iter().copied().filter(|a| a.is_ipv4() == as_in.is_ipv4()).collect()
}

fn both(a: &str, b: &str) -> Vec<String> {
    if a == b { vec![a.to_owned()] } else { vec![a.to_owned(), b.to_owned()] }
}
