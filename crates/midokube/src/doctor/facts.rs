//! What one node knows, as its `midokube` tells another one. What an older one does not tell is as if there were nothing.

use nodeapi::v1;
use serde::{Deserialize, Serialize};

use crate::answer::{Problem, number, some};

/// What an agent and its kernel know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Facts {
    pub(super) node: String,
    pub(super) version: String,
    pub(super) ready: bool,
    pub(super) not_ready_reason: Option<String>,
    /// Where objects come from, and what is wrong with that.
    pub(super) source: String,
    pub(super) source_error: Option<String>,
    /// `embedded` or `midonet`.
    pub(super) kind: String,
    pub(super) pod_cidrs: Vec<String>,
    pub(super) cluster_cidrs: Vec<String>,
    pub(super) mtu: Option<u32>,
    pub(super) tunnel_address: Option<String>,
    pub(super) overlay_port: Option<u32>,
    pub(super) vni: Option<u32>,
    pub(super) pods: Vec<PodAddresses>,
    pub(super) peers: Vec<Peer>,
    pub(super) tables: Vec<Table>,
    pub(super) problems: Vec<Problem>,
    pub(super) leaks: Vec<Problem>,
    pub(super) paths: Vec<Path>,
    /// The nodes whose probes arrived here.
    pub(super) heard: Vec<String>,
    /// Why no path was probed.
    pub(super) paths_error: Option<String>,
    /// The node's clock before and after all this was asked, in milliseconds since 1970.
    pub(super) began_ms: u64,
    pub(super) ended_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PodAddresses {
    /// `namespace/name`.
    pub(super) pod: String,
    pub(super) addresses: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Peer {
    pub(super) node: String,
    pub(super) pod_cidrs: Vec<String>,
}

/// A table of the datapath.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) used: u64,
    pub(super) limit: u64,
}

/// What came of probing another node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Path {
    pub(super) node: String,
    pub(super) family: String,
    pub(super) large_bytes: u32,
    pub(super) plain: PathAnswer,
    pub(super) checksummed: PathAnswer,
    pub(super) unchecked: PathAnswer,
    /// Whether the other agent listened: over IPv6 nobody else answers what has no checksum.
    pub(super) listens: bool,
}

/// What became of a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub(super) enum PathAnswer {
    Answered,
    TooBig { mtu: Option<u32> },
    Refused { problem: String },
    Lost,
}

impl Facts {
    /// What an agent says of itself; `None` if it leaves out what every agent says.
    pub(super) fn read(status: v1::StatusReply) -> Option<Self> {
        let (agent, network) = (status.agent?, status.network?);
        let services = status.services.into_iter().flat_map(|services| services.tables);
        let policy = status.policy.into_iter().flat_map(|policy| policy.tables);
        let pod = |port: v1::Port| PodAddresses {
            pod: format!("{}/{}", port.namespace, port.name),
            addresses: port.addresses,
        };
        let leak = |leak: v1::Leak| Problem {
            what: leak.what,
            object: leak.object,
            problem: leak.reason,
            remedy: leak.remedy,
        };
        Some(Self {
            node: agent.node,
            version: agent.version,
            ready: agent.ready,
            not_ready_reason: some(agent.not_ready_reason),
            source: agent.source,
            source_error: some(agent.source_error),
            kind: network.kind,
            pod_cidrs: network.pod_cidrs,
            cluster_cidrs: network.cluster_cidrs,
            mtu: number(network.mtu),
            tunnel_address: some(network.tunnel_address),
            overlay_port: number(network.overlay_port),
            vni: number(network.vni),
            pods: status.ports.into_iter().map(pod).collect(),
            peers: status
                .peers
                .into_iter()
                .map(|peer| Peer { node: peer.node, pod_cidrs: peer.pod_cidrs })
                .collect(),
            tables: services
                .chain(policy)
                .map(|table| Table { name: table.name, used: table.used, limit: table.limit })
                .collect(),
            problems: status.problems.into_iter().map(Problem::from).collect(),
            leaks: status.leaks.into_iter().map(leak).collect(),
            ..Self::default()
        })
    }
}

impl From<v1::PathProbe> for Path {
    fn from(path: v1::PathProbe) -> Self {
        let answer = |answer: Option<v1::PathAnswer>| answer.map_or(PathAnswer::Lost, PathAnswer::from);
        Self {
            node: path.node,
            family: path.family,
            large_bytes: path.large_bytes,
            plain: answer(path.plain),
            checksummed: answer(path.checksummed),
            unchecked: answer(path.unchecked),
            listens: path.listens,
        }
    }
}

impl From<v1::PathAnswer> for PathAnswer {
    fn from(v1::PathAnswer { outcome, mtu, problem }: v1::PathAnswer) -> Self {
        match outcome.as_str() {
            "answered" => Self::Answered,
            "too_big" => Self::TooBig { mtu: number(mtu) },
            "refused" => Self::Refused { problem },
            _ => Self::Lost,
        }
    }
}
