//! The gRPC service of the node agent, client and server: the CNI plugin and `midokube` call, the agent answers. It
//! is on a Unix socket that only root can reach.

mod client;
mod server;

pub use prost::Message;

pub use client::{Client, ConnectError, Method, Pending};
pub use server::{ListenError, Listener, PeerStream, Socket, incoming, listen};

/// The default path of the agent's socket.
pub const SOCKET: &str = "/var/run/midonet-kube-node/api";

/// The package `nodeapi` of the legacy midonet-kubernetes: two calls, kept wire-compatible.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    reason = "generated; the .proto file has the documentation"
)]
pub mod legacy {
    tonic::include_proto!("nodeapi");
}

/// This project's package `midonetkube.node.v1`.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    reason = "generated; the .proto file has the documentation"
)]
pub mod v1 {
    tonic::include_proto!("midonetkube.node.v1");
}

/// The calls of [`v1`], for a [`Client`].
pub mod call {
    use crate::Method;
    use crate::v1::*;

    /// Commits a Pod's port in the network.
    pub const BIND_PORT: Method<BindPortRequest, BindPortReply> =
        Method::new("/midonetkube.node.v1.Node/BindPort");

    /// Takes a Pod's port out of the network.
    pub const RELEASE_PORT: Method<ReleasePortRequest, ReleasePortReply> =
        Method::new("/midonetkube.node.v1.Node/ReleasePort");

    /// Whether a port is committed as described.
    pub const CHECK_PORT: Method<BindPortRequest, CheckPortReply> =
        Method::new("/midonetkube.node.v1.Node/CheckPort");

    /// Whether Pods can be attached.
    pub const READY: Method<ReadyRequest, ReadyReply> = Method::new("/midonetkube.node.v1.Node/Ready");

    /// Everything there is to know about a node's network.
    pub const STATUS: Method<StatusRequest, StatusReply> = Method::new("/midonetkube.node.v1.Node/Status");

    /// The ports of Services that a node serves.
    pub const LIST_SERVICES: Method<ListServicesRequest, ListServicesReply> =
        Method::new("/midonetkube.node.v1.Services/ListServices");

    /// Everything about one Service.
    pub const GET_SERVICE: Method<GetServiceRequest, GetServiceReply> =
        Method::new("/midonetkube.node.v1.Services/GetService");

    /// The tracked connections that match a filter.
    pub const LIST_CONNECTIONS: Method<ListConnectionsRequest, ListConnectionsReply> =
        Method::new("/midonetkube.node.v1.Services/ListConnections");

    /// What applies to the Pods of a node.
    pub const LIST_POLICIES: Method<ListPoliciesRequest, ListPoliciesReply> =
        Method::new("/midonetkube.node.v1.Policies/ListPolicies");

    /// What a node decides about a connection.
    pub const EXPLAIN_POLICY: Method<ExplainPolicyRequest, ExplainPolicyReply> =
        Method::new("/midonetkube.node.v1.Policies/ExplainPolicy");

    /// What other policies would change on a node.
    pub const PREVIEW_POLICY: Method<PreviewPolicyRequest, PreviewPolicyReply> =
        Method::new("/midonetkube.node.v1.Policies/PreviewPolicy");

    /// Which version of a policy is in force on a node.
    pub const GET_POLICY_VERSION: Method<GetPolicyVersionRequest, GetPolicyVersionReply> =
        Method::new("/midonetkube.node.v1.Policies/GetPolicyVersion");

    /// What a node dropped, and why.
    pub const LIST_DROPS: Method<ListDropsRequest, ListDropsReply> =
        Method::new("/midonetkube.node.v1.Drops/ListDrops");

    /// Who talks to whom on a node.
    pub const LIST_FLOWS: Method<ListFlowsRequest, ListFlowsReply> =
        Method::new("/midonetkube.node.v1.Flows/ListFlows");
    /// What comes back from other nodes through the tunnels.
    pub const PROBE_PATHS: Method<ProbePathsRequest, ProbePathsReply> =
        Method::new("/midonetkube.node.v1.Paths/ProbePaths");

    /// Which address a name stands for.
    pub const FIND_TRACE_END: Method<FindTraceEndRequest, FindTraceEndReply> =
        Method::new("/midonetkube.node.v1.Traces/FindTraceEnd");

    /// What becomes of a packet on a node.
    pub const TRACE_PACKET: Method<TracePacketRequest, TracePacketReply> =
        Method::new("/midonetkube.node.v1.Traces/TracePacket");

    /// What the programs at work do with packets on a node.
    pub const FOLLOW_PACKETS: Method<FollowPacketsRequest, FollowPacketsReply> =
        Method::new("/midonetkube.node.v1.Traces/FollowPackets");
}
