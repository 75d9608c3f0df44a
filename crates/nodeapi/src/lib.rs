//! The gRPC service of the node agent, both ends: the CNI plugin and the people's tool call, the agent
//! answers. It lives on a Unix socket that only root can reach.

mod client;
mod server;

pub use client::{ConnectError, Connection, connect};
pub use server::{ListenError, PeerStream, incoming, listen};

/// Where the agent listens, unless it is told otherwise.
pub const SOCKET: &str = "/var/run/midonet-kube-node/api";

/// The original's package `nodeapi`: two calls, kept wire-compatible.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    reason = "generated; the .proto file has the documentation"
)]
pub mod original {
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
