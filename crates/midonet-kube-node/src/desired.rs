//! What this node's network should be, computed from the cluster's objects: no I/O.

use std::collections::BTreeMap;
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
    /// The underlay address that tunnels to this node end at.
    pub tunnel_address: IpAddr,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its podCIDRs, less those that cannot be taken.
    pub pod_cidrs: Vec<IpNet>,
    /// The underlay address that tunnels to it end at.
    pub tunnel_address: IpAddr,
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
    for node in others {
        if node.pod_cidrs.is_empty() {
            continue; // nothing to reach there yet: normal while a node joins
        }
        let Some(tunnel_address) = judge.tunnel_address(node) else { continue };
        let pod_cidrs: Vec<IpNet> =
            node.pod_cidrs.iter().copied().filter(|cidr| judge.takes(node, *cidr)).collect();
        routes.extend(pod_cidrs.iter().map(|cidr| (cidr.trunc(), Route::Tunnel(tunnel_address))));
        peers.insert(node.name.clone(), Peer { pod_cidrs, tunnel_address });
    }
    Ok((Desired { local, peers, routes }, judge.problems))
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
    let tunnel_address = tunnel_address(node, None).ok_or_else(|| NotYet::NoAddress(node.name.clone()))?;
    if let Some(cluster) = ranges.cluster.iter().find(|cluster| cluster.contains(&tunnel_address)) {
        let (node, address, cluster) = (node.name.clone(), tunnel_address, *cluster);
        return Err(NotYet::NodeInCluster { node, address, cluster });
    }
    Ok(Local { pod_cidrs: node.pod_cidrs.clone(), gateways, node_addresses, tunnel_address })
}

/// Where tunnels to a node end: what its annotation says, else its first InternalIP, of the same
/// family as `like` if that is given. What can be no end of a tunnel counts as absent, on every node.
fn tunnel_address(node: &Node, like: Option<IpAddr>) -> Option<IpAddr> {
    let fits = |address: &IpAddr| like.is_none_or(|l| l.is_ipv4() == address.is_ipv4()) && is_host(*address);
    let annotated = node.annotations.get(annotation::TUNNEL_ENDPOINT_IP).and_then(|text| text.parse().ok());
    annotated.into_iter().chain(node.internal_ips.iter().copied()).find(fits)
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
