//! What carries the Pods' packets.

pub mod embedded;

use std::net::IpAddr;

use datapath::Limits;
use naming::Mac;
use naming::alias::PortAlias;

/// One committed port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRecord {
    /// Whose it is.
    pub alias: PortAlias,
    /// The interface on the node.
    pub host_ifname: String,
    /// Its index.
    pub host_ifindex: u32,
    /// Of the interface inside the Pod.
    pub mac: Mac,
    /// Of the Pod.
    pub addresses: Vec<IpAddr>,
    /// How fast it may be.
    pub limits: Limits,
}

/// What the plugin says of a port; checked against the kernel before anything is committed.
pub type BindRequest = PortRecord;

/// Why a port is not committed, or not as described.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It can never be.
    #[error("{0}")]
    Invalid(String),
    /// The node is not in a state for it.
    #[error("{0}")]
    Precondition(String),
    /// One of its addresses is another port's.
    #[error("{0}")]
    Taken(String),
    /// Not now.
    #[error("{0}")]
    NotYet(String),
    /// A table of the datapath is full.
    #[error("{0}")]
    Full(String),
    /// The kernel refused.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}
