//! What carries the Pods' packets.

pub mod embedded;
mod policy;
mod tracking;
mod whereabouts;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use cni::Attachment;
use datapath::records::{Events, Records};
use datapath::{Counter, Limits, ServiceCounters, Sweep, TableUsage};
use ipnet::IpNet;
use model::{Changes, Local, Problem, Protocol};
use naming::Mac;
use naming::alias::PortAlias;
use plumbing::probe::Question;

pub use self::policy::PolicyTables;
use crate::drift::Drift;
pub use tracking::{Connection, ServiceRecord};
pub use whereabouts::Whereabouts;

/// A network that carries Pods' packets on this node.
///
/// [`apply`](Self::apply) and [`detect`](Self::detect) may take long; nothing else waits for them.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Makes the kernel agree. `changes` are those since the last call: the backend keeps them, whatever fails, and
    /// applies again what it could not. With `prune`, to be said only of what comes from a complete sync, what never was
    /// desired is removed, too. `first`: Pods were never served yet.
    ///
    /// # Errors
    /// Names the step of this node's own part that failed; the others hold, and what was applied before serves on.
    fn apply(&self, local: &Local, changes: Changes, prune: bool, first: bool) -> Result<Outcome>;

    /// Has the next [`apply`](Self::apply) put everything right, also what it did before.
    fn invalidate(&self);

    /// What somebody else removed or changed of what was applied.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn detect(&self) -> Result<Detected>;

    /// Commits a Pod's port: from here on its packets pass, once its interface is up.
    ///
    /// # Errors
    /// [`BindError`]; nothing is committed then.
    fn bind(&self, request: &BindRequest) -> Result<(), BindError>;

    /// Takes a Pod's port out of the network, if it still is this container's. Returns what it was.
    ///
    /// # Errors
    /// The kernel refused.
    fn release(&self, host_ifname: &str, container_id: &str) -> Result<Option<PortRecord>>;

    /// Whether Services, and ports of this node that lead to Pods, are served here, and not left to others. Only then may
    /// anybody ask for such a port.
    fn serves_services(&self) -> bool;

    /// Whether the port is committed as described.
    ///
    /// # Errors
    /// [`BindError::Precondition`] says what differs.
    fn check(&self, request: &BindRequest) -> Result<(), BindError>;

    /// Releases the ports whose interface is gone or retired without anybody having said so. Returns them.
    fn sweep(&self) -> Vec<PortRecord>;

    /// The committed ports of Pods.
    fn ports(&self) -> Vec<PortRecord>;

    /// What is wrong with Pods' ports, and stays so until somebody does something about it.
    fn port_problems(&self) -> Vec<Problem>;

    /// What to ask the kernel about others' rules, routes and settings; `None` before anything was applied. `peers` are
    /// the other nodes' names and ends of tunnels.
    fn question(&self, peers: Vec<(String, IpAddr)>) -> Option<Question>;

    /// What became of packets, and how often.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn counters(&self) -> Result<Vec<Counter>>;

    /// The ports of Services that the datapath has, those of one Service (`namespace/name`) or all; host ports, too, whose
    /// Service is a container.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn services(&self, service: Option<&str>) -> Result<Vec<ServiceRecord>>;

    /// What became of connections to all Services since this agent was started.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn service_totals(&self) -> Result<ServiceCounters>;

    /// Hands over every tracked connection that is wanted. Packets go on meanwhile: one that changes may be missing, or come
    /// twice.
    ///
    /// # Errors
    /// The kernel does not tell, or it takes until then.
    fn connections(
        &self,
        until: Instant,
        wanted: &dyn Fn(&Connection) -> bool,
        found: &mut dyn FnMut(Connection),
    ) -> Result<()>;

    /// What was found when connections that are over were last removed, some seconds ago.
    fn swept(&self) -> Arc<Sweep>;

    /// How full the tables of connections and Services are.
    fn tables(&self) -> Vec<TableUsage>;

    /// What enforces policy.
    fn policy(&self) -> &dyn PolicyTables;

    /// The records of connections and the events about them, once; `None`: nothing is recorded, or they were taken.
    fn take_records(&self) -> Option<(Arc<Records>, Events)> {
        None
    }

    /// The network as it is now.
    fn status(&self) -> Status;
}

/// What [`Backend::apply`] came to.
#[derive(Debug)]
pub struct Outcome {
    /// The largest packet of a Pod, in bytes.
    pub mtu: u32,
    /// What could not be applied, or is wrong, while Pods are served.
    pub problems: Vec<Problem>,
    /// Whether all was made again, not only what changed.
    pub whole: bool,
    /// After how long to apply what is not applied yet; `None` if there is nothing like that.
    pub retry: Option<Duration>,
}

/// What [`Backend::detect`] found.
#[derive(Debug, Default)]
pub struct Detected {
    /// What differs.
    pub drift: Vec<Drift>,
    /// Whether nothing was seen that may only be under way: then there is no need to detect again soon.
    pub settled: bool,
}

/// The network as it is now.
#[derive(Debug, Clone)]
pub struct Status {
    /// Which backend it is.
    pub kind: &'static str,
    /// The UDP port of the tunnels.
    pub tunnel_port: u16,
    /// The VXLAN network identifier of the tunnels.
    pub vni: u32,
    /// Where all Pods' addresses are from.
    pub cluster_cidrs: Vec<IpNet>,
    /// What was applied; `None` before the first time.
    pub network: Option<Network>,
}

/// What was applied.
#[derive(Debug, Clone)]
pub struct Network {
    /// This node's own part of it.
    pub local: Local,
    /// The MAC address of the node's own interface.
    pub node_mac: Mac,
    /// The largest packet of a Pod, in bytes.
    pub mtu: u32,
    /// Who writes and removes the tunnels' headers: `direct` or `device`.
    pub encapsulation: &'static str,
    /// The interfaces that carry the tunnels.
    pub uplink: String,
}

/// A port of a Pod; `O` is what is known of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPort<O> {
    /// Whose it is.
    pub owner: O,
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
    /// Ports of this node that lead to it.
    pub host_ports: Vec<HostPort>,
}

/// A port of this node that leads to a Pod (`hostPort`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The one address of this node where it is; an unspecified one: all of its family; `None`: all.
    pub address: Option<IpAddr>,
    /// What it is of.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
    /// The Pod's port.
    pub container_port: u16,
}

impl HostPort {
    /// The one address where it is; `None` if there are several.
    pub fn at(&self) -> Option<IpAddr> {
        self.address.filter(|address| !address.is_unspecified())
    }

    /// Whether it is served in the family of an address.
    pub fn is_for(&self, address: IpAddr) -> bool {
        self.address.is_none_or(|at| at.is_ipv4() == address.is_ipv4())
    }

    /// Whether no packet can be for both.
    pub fn is_apart_from(&self, other: &Self) -> bool {
        let apart = match (self.address, other.address) {
            (Some(one), Some(other)) => {
                let both = !one.is_unspecified() && !other.is_unspecified();
                one.is_ipv4() != other.is_ipv4() || (both && one != other)
            }
            _ => false,
        };
        apart || (self.protocol, self.port) != (other.protocol, other.port)
    }
}

/// `8080/TCP` or `8080/TCP of 192.0.2.1`.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)?;
        self.address.map_or(Ok(()), |address| write!(f, " of {address}"))
    }
}

/// A port that the plugin asks for; checked against the kernel before anything is committed.
pub type BindRequest = PodPort<PortAlias>;

/// A committed port.
pub type PortRecord = PodPort<Owner>;

/// The owner of a committed port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// As the plugin or the interface's alias names it.
    Known(PortAlias),
    /// The interface has lost its alias. The reservations of its addresses may name the attachment.
    Unknown(Option<Attachment>),
}

impl Owner {
    /// The owner, if it is known.
    pub fn known(&self) -> Option<&PortAlias> {
        match self {
            Self::Known(owner) => Some(owner),
            Self::Unknown(_) => None,
        }
    }

    /// The container, if it is known.
    pub fn container_id(&self) -> Option<&str> {
        match self {
            Self::Known(owner) => Some(&owner.container_id),
            Self::Unknown(attachment) => {
                attachment.as_ref().map(|attachment| attachment.container_id.as_str())
            }
        }
    }
}

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
    Failed(anyhow::Error),
}

/// A full table is told from what the kernel refuses, whoever passes it on.
impl From<anyhow::Error> for BindError {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast_ref() {
            Some(full @ datapath::Error::Full { .. }) => Self::Full(full.to_string()),
            _ => Self::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ports_are_apart_by_protocol_number_family_or_address() {
        let port = |address: &str, protocol, port| HostPort {
            address: (!address.is_empty()).then(|| address.parse().unwrap()),
            protocol,
            port,
            container_port: 80,
        };
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        for (one, other, apart) in [
            (port("", tcp, 80), port("", tcp, 80), false),
            (port("", tcp, 80), port("", udp, 80), true),
            (port("", tcp, 80), port("", tcp, 81), true),
            (port("", tcp, 80), port("192.0.2.1", tcp, 80), false),
            (port("192.0.2.1", tcp, 80), port("192.0.2.1", tcp, 80), false),
            (port("192.0.2.1", tcp, 80), port("192.0.2.2", tcp, 80), true),
            (port("192.0.2.1", tcp, 80), port("2001:db8::1", tcp, 80), true),
            (port("0.0.0.0", tcp, 80), port("192.0.2.1", tcp, 80), false),
            (port("0.0.0.0", tcp, 80), port("2001:db8::1", tcp, 80), true),
            (port("0.0.0.0", tcp, 80), port("::", tcp, 80), true),
            (port("::", tcp, 80), port("::", tcp, 80), false),
            (port("127.0.0.1", tcp, 80), port("192.0.2.1", tcp, 80), true),
        ] {
            assert_eq!(one.is_apart_from(&other), apart, "{one} {other}");
            assert_eq!(other.is_apart_from(&one), apart, "{other} {one}");
        }
    }
}
