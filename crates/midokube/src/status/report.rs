//! The agent's answer as this program has it: pure. What is not known is `None`.

use nodeapi::v1;
use serde::Serialize;

use super::policy::Policy;
use super::services::Services;
use crate::answer::{Problem, number, some};

/// What carries the packets where it is not the agent's own network.
const MIDONET: &str = "midonet";

/// Everything about a node's network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) agent: Agent,
    pub(super) network: Network,
    pub(super) ports: Vec<Port>,
    pub(super) peers: Vec<Peer>,
    pub(super) problems: Vec<Problem>,
    pub(super) leaks: Leaks,
    pub(super) counters: Vec<Counter>,
    /// `None`: the agent leaves Services to another proxy.
    pub(super) services: Option<Services>,
    /// `None`: the agent enforces no policy.
    pub(super) policy: Option<Policy>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agent {
    pub(crate) version: String,
    pub(crate) node: String,
    pub(super) uptime_seconds: u64,
    pub(crate) ready: bool,
    pub(super) not_ready_reason: Option<String>,
    pub(super) source: String,
    pub(super) source_error: Option<String>,
    pub(super) objects_from_disk_seconds: Option<u64>,
    pub(super) pending_annotations: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Network {
    pub(super) kind: String,
    #[serde(rename = "podCIDRs")]
    pub(super) pod_cidrs: Vec<String>,
    pub(super) gateways: Vec<String>,
    pub(super) node_addresses: Vec<String>,
    pub(super) node_mac: Option<String>,
    pub(super) node_port_id: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) uplink: Option<String>,
    pub(super) tunnel_address: Option<String>,
    pub(super) overlay_port: Option<u32>,
    pub(super) vni: Option<u32>,
    pub(super) encapsulation: Option<String>,
    /// Whether the MidoNet agent has the node's own port; `None`: no MidoNet carries the packets.
    pub(super) node_port_bound: Option<bool>,
    #[serde(rename = "clusterCIDRs")]
    pub(super) cluster_cidrs: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Port {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) container_id: String,
    pub(super) ifname: String,
    pub(super) host_ifname: String,
    pub(super) host_ifindex: u32,
    pub(super) addresses: Vec<String>,
    pub(super) mac: String,
    pub(super) port_id: String,
    pub(super) sent: Option<Traffic>,
    pub(super) received: Option<Traffic>,
    pub(super) bandwidth: Option<Bandwidth>,
    /// Whether the MidoNet agent has it; `None`: no MidoNet carries the packets.
    pub(super) bound: Option<bool>,
}

/// Limits of a Pod: bits a second and bits, a rate of 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bandwidth {
    pub(super) ingress_rate: u64,
    pub(super) ingress_burst: u64,
    pub(super) egress_rate: u64,
    pub(super) egress_burst: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Traffic {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Peer {
    pub(super) node: String,
    #[serde(rename = "podCIDRs")]
    pub(super) pod_cidrs: Vec<String>,
    pub(super) tunnel_address: Option<String>,
}

/// Leaks that are not repaired, and why there may be others.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leaks {
    pub(super) leaks: Vec<Leak>,
    pub(super) leaks_incomplete: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Leak {
    pub(super) what: String,
    pub(super) object: String,
    pub(super) reason: String,
    pub(super) remedy: String,
}

/// What happened to packets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Counter {
    pub(super) name: String,
    pub(super) help: String,
    /// Whether these packets were dropped, ignored ones included.
    pub(super) drop: bool,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) verdict: Verdict,
}

/// What is done with packets: the label of the agent's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// They are forwarded, or answered.
    Forward,
    /// They are dropped.
    Drop,
    /// They are dropped as well, which is no fault.
    Ignore,
}

impl Network {
    /// Whether a MidoNet carries the packets.
    pub(super) fn is_midonet(&self) -> bool {
        self.kind == MIDONET
    }
}

impl Report {
    /// Reads an answer; `None` when a part is missing that every agent sends.
    pub(crate) fn read(reply: v1::StatusReply) -> Option<Self> {
        let (agent, network) = (reply.agent?, reply.network?);
        let mut ports: Vec<_> = reply.ports.into_iter().map(Port::from).collect();
        ports.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut peers: Vec<_> = reply.peers.into_iter().map(Peer::from).collect();
        peers.sort_by(|a, b| a.node.cmp(&b.node));
        Some(Self {
            agent: agent.into(),
            network: network.into(),
            ports,
            peers,
            problems: reply.problems.into_iter().map(Problem::from).collect(),
            leaks: Leaks {
                leaks: reply.leaks.into_iter().map(Leak::from).collect(),
                leaks_incomplete: some(reply.leaks_incomplete),
            },
            counters: reply.counters.into_iter().map(Counter::from).collect(),
            services: reply.services.map(Services::from),
            policy: reply.policy.map(Policy::from),
        })
    }
}

impl From<v1::Agent> for Agent {
    fn from(agent: v1::Agent) -> Self {
        Self {
            version: agent.version,
            node: agent.node,
            uptime_seconds: agent.uptime_seconds,
            ready: agent.ready,
            not_ready_reason: some(agent.not_ready_reason),
            source: agent.source,
            source_error: some(agent.source_error),
            objects_from_disk_seconds: agent.objects_from_disk_seconds,
            pending_annotations: agent.pending_annotations,
        }
    }
}

impl From<v1::Network> for Network {
    fn from(network: v1::Network) -> Self {
        Self {
            kind: network.kind,
            pod_cidrs: network.pod_cidrs,
            gateways: network.gateways,
            node_addresses: network.node_addresses,
            node_mac: some(network.node_mac),
            node_port_id: some(network.node_port_id),
            mtu: number(network.mtu),
            uplink: some(network.uplink),
            tunnel_address: some(network.tunnel_address),
            overlay_port: number(network.overlay_port),
            vni: number(network.vni),
            encapsulation: some(network.encapsulation),
            node_port_bound: network.node_port_bound,
            cluster_cidrs: network.cluster_cidrs,
        }
    }
}

impl From<v1::Port> for Port {
    fn from(port: v1::Port) -> Self {
        let traffic = |t: v1::Traffic| Traffic { packets: t.packets, bytes: t.bytes };
        Self {
            namespace: port.namespace,
            name: port.name,
            container_id: port.container_id,
            ifname: port.ifname,
            host_ifname: port.host_ifname,
            host_ifindex: port.host_ifindex,
            addresses: port.addresses,
            mac: port.mac,
            port_id: port.port_id,
            sent: port.sent.map(traffic),
            bound: port.bound,
            received: port.received.map(traffic),
            bandwidth: port.bandwidth.map(|limits| Bandwidth {
                ingress_rate: limits.ingress_rate,
                ingress_burst: limits.ingress_burst,
                egress_rate: limits.egress_rate,
                egress_burst: limits.egress_burst,
            }),
        }
    }
}

impl From<v1::Peer> for Peer {
    fn from(peer: v1::Peer) -> Self {
        Self { node: peer.node, pod_cidrs: peer.pod_cidrs, tunnel_address: some(peer.tunnel_address) }
    }
}

impl From<v1::Leak> for Leak {
    fn from(leak: v1::Leak) -> Self {
        let v1::Leak { what, object, reason, remedy } = leak;
        Self { what, object, reason, remedy }
    }
}

impl From<v1::Counter> for Counter {
    fn from(counter: v1::Counter) -> Self {
        let v1::Counter { name, help, drop, packets, bytes, verdict } = counter;
        let verdict = match (verdict.as_str(), drop) {
            ("ignore", _) => Verdict::Ignore,
            // An older agent tells only whether they were dropped.
            (_, true) => Verdict::Drop,
            (_, false) => Verdict::Forward,
        };
        Self { name, help, drop, packets, bytes, verdict }
    }
}
