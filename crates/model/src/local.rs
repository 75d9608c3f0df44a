//! This node's own part of what is desired.

use std::net::IpAddr;

use ipnet::IpNet;
use naming::subnet;

use crate::facts::{Facts, overlap};

/// Where the cluster's addresses are from, as it is set up on all nodes alike.
#[derive(Debug, Clone)]
pub struct Ranges {
    /// Pods' addresses: `--cluster-cidr`.
    pub cluster: Vec<IpNet>,
    /// Services' addresses: `--service-cidr`.
    pub service: Vec<IpNet>,
}

impl Ranges {
    /// Whether an address is one of Pods or Services.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.cluster.iter().chain(&self.service).any(|range| range.contains(&address))
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

/// This node's own part, of its own object.
///
/// # Errors
/// [`NotYet`] while the object lacks something.
pub(crate) fn local(name: &str, node: &Facts, ranges: &Ranges) -> Result<Local, NotYet> {
    if node.pod_cidrs.is_empty() {
        return Err(NotYet::NoPodCidr(name.to_owned()));
    }
    let too_small = |source| NotYet::PodCidr { node: name.to_owned(), source };
    let mut gateways = Vec::new();
    let mut node_addresses = Vec::new();
    for cidr in &node.pod_cidrs {
        if !ranges.cluster.iter().any(|cluster| cluster.contains(cidr)) {
            return Err(NotYet::OutsideCluster { node: name.to_owned(), cidr: *cidr });
        }
        if let Some(service) = ranges.service.iter().find(|service| overlap(service, cidr)) {
            return Err(NotYet::Services { node: name.to_owned(), cidr: *cidr, service: *service });
        }
        subnet::first_pod(*cidr).map_err(too_small)?;
        gateways.push(subnet::gateway(*cidr).map_err(too_small)?);
        let address = subnet::node(*cidr).map_err(too_small)?;
        node_addresses.extend(IpNet::new(address, cidr.prefix_len()));
    }
    let tunnel_address = node.ends().next().ok_or_else(|| NotYet::NoAddress(name.to_owned()))?;
    if let Some(cluster) = ranges.cluster.iter().find(|cluster| cluster.contains(&tunnel_address)) {
        let (node, address, cluster) = (name.to_owned(), tunnel_address, *cluster);
        return Err(NotYet::NodeInCluster { node, address, cluster });
    }
    let tunnel_addresses = [true, false].into_iter().filter_map(|ipv4| node.end(ipv4)).collect();
    Ok(Local {
        pod_cidrs: node.pod_cidrs.to_vec(),
        gateways,
        node_addresses,
        tunnel_address,
        tunnel_addresses,
    })
}
