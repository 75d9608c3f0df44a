//! What this node's network should be, computed from the cluster's objects: no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use datapath::Route;
use ipnet::IpNet;
use naming::{annotation, subnet};
use objects::Node;

use crate::problems::Problem;
use judge::Judge;

/// The whole of it. Two equal values need the same kernel state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// This node's own part.
    pub local: Local,
    /// The other nodes, by name.
    pub peers: BTreeMap<String, Peer>,
    /// Where the datapath sends what is for no local Pod.
    pub routes: BTreeMap<IpNet, Route>,
    /// The addresses of nodes, each with where tunnels to its node end; `None`: this node's.
    pub nodes: BTreeMap<IpAddr, Option<IpAddr>>,
}

impl Desired {
    /// Both ends of every tunnel, this node's first.
    pub fn tunnels(&self) -> BTreeSet<(IpAddr, IpAddr)> {
        self.peers.values().map(|peer| (peer.own_address, peer.tunnel_address)).collect()
    }
}

/// This node's own addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The node's podCIDRs, one a family.
    pub pod_cidrs: Vec<IpNet>,
    /// The virtual gateway in each of them.
    pub gateways: Vec<IpAddr>,
    /// The node's own address in each of them, with the podCIDR's prefix length.
    pub node_addresses: Vec<IpNet>,
    /// The underlay address that tunnels to this node end at, of the family that the node prefers.
    pub tunnel_address: IpAddr,
    /// The same in each family that the node has.
    pub tunnel_addresses: Vec<IpAddr>,
}

impl Local {
    /// Whether Pods have IPv6.
    pub fn has_ipv6(&self) -> bool {
        self.pod_cidrs.iter().any(|cidr| cidr.addr().is_ipv6())
    }
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its podCIDRs, less those that cannot be taken.
    pub pod_cidrs: Vec<IpNet>,
    /// The underlay address that tunnels to it end at.
    pub tunnel_address: IpAddr,
    /// Where they end here.
    pub own_address: IpAddr,
}

/// Why the network cannot be made yet. Another state of the objects may change that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// This node's own object is missing.
    #[error("there is no Node {0}")]
    NoNode(String),
    /// It has no podCIDR.
    #[error("Node {0} has no podCIDR yet")]
    NoPodCidr(String),
    /// It has no address for tunnels.
    #[error("Node {0} has no InternalIP")]
    NoAddress(String),
    /// Its podCIDR cannot be used.
    #[error("Node {node}: {source}")]
    PodCidr {
        /// The node.
        node: String,
        /// Why not.
        source: subnet::TooSmall,
    },
    /// Its podCIDR contradicts the agent's settings.
    #[error("Node {node}'s podCIDR {cidr} lies outside --cluster-cidr")]
    OutsideCluster {
        /// The node.
        node: String,
        /// Its podCIDR.
        cidr: IpNet,
    },
    /// Its podCIDR overlaps Services' addresses.
    #[error("Node {node}'s podCIDR {cidr} overlaps the Services' addresses {service}")]
    Services {
        /// The node.
        node: String,
        /// Its podCIDR.
        cidr: IpNet,
        /// Of `--service-cidr`.
        service: IpNet,
    },
    /// The nodes' own network lies in the Pods'.
    #[error(
        "Node {node}'s address {address} lies in the Pods' addresses {cluster}: Pods would reach no node"
    )]
    NodeInCluster {
        /// The node.
        node: String,
        /// Its end of tunnels.
        address: IpAddr,
        /// Of `--cluster-cidr`.
        cluster: IpNet,
    },
}

impl NotYet {
    /// What helps.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoNode(_) => "correct --node-name, or see why the kubelet has not registered",
            Self::NoPodCidr(_) => {
                "run the controller manager with --allocate-node-cidrs and --cluster-cidr, or set spec.podCIDRs"
            }
            Self::NoAddress(_) => {
                "run the kubelet with a --node-ip, or see why the cloud controller gives no address"
            }
            Self::PodCidr { .. } => {
                "give the Node a larger podCIDR: the controller manager's --node-cidr-mask-size"
            }
            Self::OutsideCluster { .. } => "give the same --cluster-cidr as the controller manager has",
            Self::Services { .. } => {
                "give the same --service-cidr as the API server has, and the controller manager another --cluster-cidr"
            }
            Self::NodeInCluster { .. } => {
                "give the cluster a --cluster-cidr that holds none of the nodes' own addresses, here and at the \
                 controller manager"
            }
        }
    }

    /// Whether a setting is wrong, here or of the cluster; otherwise something is not there yet.
    pub fn is_setting(&self) -> bool {
        !matches!(self, Self::NoNode(_) | Self::NoPodCidr(_) | Self::NoAddress(_))
    }
}

/// Where the cluster's addresses are from, as it is set up on all nodes alike.
#[derive(Debug, Clone, Copy)]
pub struct Ranges<'a> {
    /// Pods' addresses: `--cluster-cidr`.
    pub cluster: &'a [IpNet],
    /// Services' addresses: `--service-cidr`.
    pub service: &'a [IpNet],
}

/// Computes what should be, and what of the other nodes had to be left out and why.
///
/// Another node's object is not trusted: what would take addresses from others is left out, and the rest of it holds.
///
/// # Errors
/// [`NotYet`] while this node's own object lacks something.
pub fn desired<'a>(
    nodes: impl IntoIterator<Item = &'a Node>,
    me: &str,
    ranges: Ranges<'_>,
) -> Result<(Desired, Vec<Problem>), NotYet> {
    let (mine, mut others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.name == me);
    let mine = mine.first().ok_or_else(|| NotYet::NoNode(me.to_owned()))?;
    let local = local(mine, ranges)?;

    let mut routes: BTreeMap<IpNet, Route> =
        ranges.cluster.iter().map(|cidr| (cidr.trunc(), Route::Unreachable)).collect();
    routes.extend(local.pod_cidrs.iter().map(|cidr| (cidr.trunc(), Route::Local)));

    // On every node the same Node gets a podCIDR that several have: the one that had it first.
    others.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let mut judge = Judge::new(mine, &local, ranges, &others);
    let mut peers = BTreeMap::new();
    let mut nodes: BTreeMap<IpAddr, Option<IpAddr>> = addresses(mine)
        .filter(|address| judge.accepts(mine, *address))
        .take(NODE_ADDRESSES)
        .map(|address| (address, None))
        .collect();
    for node in others {
        if node.pod_cidrs.is_empty() {
            continue; // nothing to reach there yet: normal while a node joins
        }
        let Some((own_address, tunnel_address)) = judge.tunnel(node) else { continue };
        let pod_cidrs: Vec<IpNet> =
            node.pod_cidrs.iter().copied().filter(|cidr| judge.takes(node, *cidr)).collect();
        routes.extend(pod_cidrs.iter().map(|cidr| (cidr.trunc(), Route::Tunnel(tunnel_address))));
        let accepted = addresses(node).filter(|address| judge.accepts(node, *address)).take(NODE_ADDRESSES);
        nodes.extend(accepted.map(|address| (address, Some(tunnel_address))));
        peers.insert(node.name.clone(), Peer { pod_cidrs, tunnel_address, own_address });
    }
    Ok((Desired { local, peers, routes, nodes }, judge.problems))
}

fn local(node: &Node, ranges: Ranges<'_>) -> Result<Local, NotYet> {
    if node.pod_cidrs.is_empty() {
        return Err(NotYet::NoPodCidr(node.name.clone()));
    }
    let too_small = |source| NotYet::PodCidr { node: node.name.clone(), source };
    let mut gateways = Vec::new();
    let mut node_addresses = Vec::new();
    for cidr in &node.pod_cidrs {
        if !ranges.cluster.iter().any(|cluster| cluster.contains(cidr)) {
            return Err(NotYet::OutsideCluster { node: node.name.clone(), cidr: *cidr });
        }
        if let Some(service) = ranges.service.iter().find(|service| overlap(service, cidr)) {
            return Err(NotYet::Services { node: node.name.clone(), cidr: *cidr, service: *service });
        }
        subnet::first_pod(*cidr).map_err(too_small)?;
        gateways.push(subnet::gateway(*cidr).map_err(too_small)?);
        let address = subnet::node(*cidr).map_err(too_small)?;
        node_addresses.extend(IpNet::new(address, cidr.prefix_len()));
    }
    let tunnel_address = ends(node).next().ok_or_else(|| NotYet::NoAddress(node.name.clone()))?;
    if let Some(cluster) = ranges.cluster.iter().find(|cluster| cluster.contains(&tunnel_address)) {
        let (node, address, cluster) = (node.name.clone(), tunnel_address, *cluster);
        return Err(NotYet::NodeInCluster { node, address, cluster });
    }
    let tunnel_addresses = [true, false].into_iter().filter_map(|ipv4| end(node, ipv4)).collect();
    Ok(Local {
        pod_cidrs: node.pod_cidrs.clone(),
        gateways,
        node_addresses,
        tunnel_address,
        tunnel_addresses,
    })
}

/// Where a tunnel between two nodes ends at each. Both ends come to the same family, whatever the order of their
/// InternalIPs: that of an annotation, else the one that both have first, else IPv4, as far as both have it.
fn tunnel(mine: &Node, other: &Node) -> Option<(IpAddr, IpAddr)> {
    let between = |ipv4: bool| Some((end(mine, ipv4)?, end(other, ipv4)?));
    let agreed = |a: Option<IpAddr>, b: Option<IpAddr>| match (a, b) {
        (Some(a), Some(b)) if a.is_ipv4() != b.is_ipv4() => None,
        (a, b) => a.or(b).map(|address| address.is_ipv4()),
    };
    let annotations = agreed(annotated(mine), annotated(other));
    let first = agreed(ends(mine).next(), ends(other).next());
    [annotations, first, Some(true), Some(false)].into_iter().flatten().find_map(between)
}

/// Where tunnels to a node end in a family.
fn end(node: &Node, ipv4: bool) -> Option<IpAddr> {
    ends(node).find(|address| address.is_ipv4() == ipv4)
}

/// Where tunnels to a node can end: what its annotation says, else its InternalIPs, the first of each family. What can
/// be no end of a tunnel counts as absent, on every node.
fn ends(node: &Node) -> impl Iterator<Item = IpAddr> {
    annotated(node).into_iter().chain(node.internal_ips.iter().copied()).filter(|address| is_host(*address))
}

fn annotated(node: &Node) -> Option<IpAddr> {
    let address = node.annotations.get(annotation::TUNNEL_ENDPOINT_IP)?.parse().ok();
    address.filter(|address| is_host(*address))
}

/// How many addresses of a node are accepted, those before others where its tunnels can end: bounds the datapath's
/// table.
const NODE_ADDRESSES: usize = 4;

/// The addresses that are a node's own: from which it may send tunnels' packets, and talk to Pods.
fn addresses(node: &Node) -> impl Iterator<Item = IpAddr> {
    let mut seen = BTreeSet::new();
    let first = [end(node, true), end(node, false)].into_iter().flatten();
    first.chain(ends(node)).filter(move |address| seen.insert(*address))
}

/// Whether an address can be one host's that packets are routed to.
fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            first != 0 && !v4.is_loopback() && first < 224
        }
        IpAddr::V6(v6) => {
            !v6.is_unspecified()
                && !v6.is_loopback()
                && !v6.is_multicast()
                && !v6.is_unicast_link_local()
                && v6.to_ipv4_mapped().is_none()
        }
    }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// What a tunnel between these nodes adds to a packet, in bytes: outer IP header, UDP, VXLAN and the
/// inner Ethernet header (RFC 7348, section 5).
pub fn tunnel_overhead(tunnel_address: IpAddr) -> u32 {
    match tunnel_address {
        IpAddr::V4(_) => 20 + 8 + 8 + 14,
        IpAddr::V6(_) => 40 + 8 + 8 + 14,
    }
}

mod judge;
#[cfg(test)]
mod tests;
