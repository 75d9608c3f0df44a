//! Services in the agent's words.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// A transport protocol that Services have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All of them, in the order of the bits of served ports.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Its number in IP headers.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A family of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// What a row of the table of Services is found by: a port of a Service, of one protocol and family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePortKey {
    /// The Service, as namespace/name; for host ports, the container.
    pub service: Arc<str>,
    /// The port's name, maybe empty; for host ports, the number.
    pub port: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// The family.
    pub family: Family,
}

impl fmt::Display for ServicePortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, port, protocol, family } = self;
        let colon = if port.is_empty() { "" } else { ":" };
        write!(f, "{service}{colon}{port}/{protocol} ({family})")
    }
}

/// Who serves a port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// Which of the two lists a frontend uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// The backends of the whole cluster.
    Cluster,
    /// Those of this node.
    Local,
}

/// What kind a frontend is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrontendKind {
    /// A ClusterIP.
    ClusterIp,
    /// A NodePort: a port of every node.
    NodePort,
    /// The address of a load balancer.
    LoadBalancer,
    /// An external address.
    ExternalIp,
    /// A Pod's port of this node.
    HostPort,
}

/// Where a port of a Service is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// What kind it is of.
    pub kind: FrontendKind,
    /// The address; `None`: every address of nodes, or of this node. Those of ClusterIPs, load balancers and external
    /// addresses have one, NodePorts have none, and host ports may.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Which list Pods and this node's processes get.
    pub inside: Policy,
    /// Which list everybody else gets.
    pub outside: Policy,
}

/// One row of the table of Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Where it is reached.
    pub frontends: Vec<Frontend>,
    /// The list of policy Cluster. All nodes must have it in one order to choose alike.
    pub cluster: Arc<[Backend]>,
    /// The list of policy Local.
    pub local: Arc<[Backend]>,
    /// Whether there is no usable endpoint anywhere: senders are told.
    pub refuse: bool,
    /// For how many seconds a client keeps its backend.
    pub affinity: Option<u32>,
    /// Whom frontends of load balancers let in; `None`: everybody.
    pub source_ranges: Option<Arc<[IpNet]>>,
}

impl ServicePort {
    /// The list that a policy names.
    pub(crate) fn list(&self, policy: Policy) -> &[Backend] {
        match policy {
            Policy::Cluster => &self.cluster,
            Policy::Local => &self.local,
        }
    }

    /// Whether a frontend uses the list of a policy.
    pub(crate) fn uses(&self, policy: Policy) -> bool {
        self.frontends.iter().any(|frontend| frontend.inside == policy || frontend.outside == policy)
    }
}
