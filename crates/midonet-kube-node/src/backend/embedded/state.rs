//! What does not change while the agent runs, and what the kernel was last made to agree with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use model::Local;

use super::own_addresses::Outside;
use crate::backend::underlay::Underlay;
use crate::config::{self, Encapsulation, NodePortAddress};

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node's name.
    pub node_name: String,
    /// Where all Pods' addresses are from.
    pub cluster_cidrs: Vec<IpNet>,
    /// Where Services' addresses are from.
    pub service_cidrs: Vec<IpNet>,
    /// The Pods' MTU, instead of the one that follows from the uplink.
    pub mtu: Option<u32>,
    /// The UDP port of the tunnels.
    pub tunnel_port: u16,
    /// The VXLAN network identifier of the tunnels.
    pub vni: u32,
    /// Who writes and removes the tunnels' headers.
    pub encapsulation: Encapsulation,
    /// What holds programs at the overlay device and the uplink.
    pub hook: config::Hook,
    /// Where eBPF objects are pinned.
    pub bpf_dir: PathBuf,
    /// The agent's own directory.
    pub state_dir: PathBuf,
    /// The most Pods of this node.
    pub max_pods: u32,
    /// The most nodes of the cluster.
    pub max_nodes: u32,
    /// Whether Services are served here.
    pub services: bool,
    /// Whether policy is enforced here.
    pub policy: bool,
    /// How many entries the tables of policy can have.
    pub policy_sizes: datapath::policy::Sizes,
    /// Where NodePorts are served.
    pub node_ports: Vec<NodePortAddress>,
    /// The most connections that are tracked; `None`: as many as the node's memory allows.
    pub max_connections: Option<u32>,
    /// The most ports of all Services.
    pub max_services: u32,
    /// The most backends of all Services.
    pub max_backends: u32,
    /// The most rows of the table of drops.
    pub max_drops: u32,
    /// What is recorded of connections; `None`: nothing.
    pub recording: Option<datapath::records::Recording>,
    /// The directory of Pods' addresses in the cluster's network, if the IPAM plugin keeps one.
    pub reservations: Option<PathBuf>,
}

/// What the kernel was last made to agree with.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    /// This node's own part of it.
    pub(super) local: Local,
    /// What carries the tunnels.
    pub(super) underlay: Underlay,
    /// Where the outside reaches this node's Services; nowhere if none are served here.
    pub(super) outside: Outside,
    /// Whether the datapath writes and removes the headers of tunnels over IPv4 there itself.
    pub(super) direct: bool,
    /// The largest packet of a Pod, in bytes.
    pub(super) mtu: u32,
}

impl Applied {
    /// Where the datapath's programs are, which take tunnels' packets off the wire and what is for a Service: names by
    /// ifindex.
    pub(super) fn uplinks_with_program(&self) -> BTreeMap<u32, &str> {
        let tunnels = self.underlay.uplinks.iter().filter(|uplink| self.direct && !uplink.loopback);
        let tunnels = tunnels.map(|uplink| (uplink.ifindex, uplink.ifname.as_str()));
        let outside = self.outside.interfaces.iter().map(|(ifindex, name)| (*ifindex, name.as_str()));
        tunnels.chain(outside).collect()
    }
}
