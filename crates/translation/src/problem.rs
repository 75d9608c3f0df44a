use crate::Object;

/// What is wrong with an object, and what is done without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which object.
    pub object: Object,
    /// What kind of problem it is.
    pub reason: Reason,
    /// What is wrong, and what to do.
    pub message: String,
}

/// The kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A Node without the annotation `midonet.org/host-id`: MidoNet gets nothing of it.
    MissingHostId,
    /// That annotation is no UUID.
    InvalidHostId,
    /// A Node without an IPv4 podCIDR that has a gateway, a node and a Pod.
    InvalidPodCidr,
    /// The annotation `midonet.org/tunnel-zone-id` is no UUID.
    InvalidTunnelZone,
    /// A Node without an IPv4 address in the annotation `midonet.org/tunnel-endpoint-ip`.
    MissingTunnelEndpoint,
    /// The annotation `midonet.org/mac-address` is no MAC address.
    InvalidMac,
    /// Text that is no IP address.
    InvalidAddress,
    /// IPv6 addresses, which MidoNet's bridges and these chains do not carry.
    Ipv6PassedOver,
    /// A Pod's Node is not known.
    UnknownNode,
    /// A Pod's Node has a problem, so that MidoNet has no bridge or host for the Pod.
    NodeNotConverted,
    /// A Service that is reached in ways that MidoNet is not given: a NodePort, a load balancer.
    ServiceTypeNotOffered,
    /// A Service's port that is neither TCP nor UDP.
    ProtocolNotOffered,
    /// A Service's port without a number, or with a name that another one has.
    InvalidPort,
    /// A Service with session affinity: MidoNet takes an endpoint at random for each connection.
    SessionAffinityNotOffered,
    /// A Service with `internalTrafficPolicy: Local`: all endpoints are used.
    LocalTrafficNotOffered,
    /// An EndpointSlice of host names.
    AddressTypeNotOffered,
    /// A name that no Translation can have.
    InvalidName,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::MissingHostId,
        Self::InvalidHostId,
        Self::InvalidPodCidr,
        Self::InvalidTunnelZone,
        Self::MissingTunnelEndpoint,
        Self::InvalidMac,
        Self::InvalidAddress,
        Self::Ipv6PassedOver,
        Self::UnknownNode,
        Self::NodeNotConverted,
        Self::ServiceTypeNotOffered,
        Self::ProtocolNotOffered,
        Self::InvalidPort,
        Self::SessionAffinityNotOffered,
        Self::LocalTrafficNotOffered,
        Self::AddressTypeNotOffered,
        Self::InvalidName,
    ];

    /// The name, as Events and metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingHostId => "MissingHostId",
            Self::InvalidHostId => "InvalidHostId",
            Self::InvalidPodCidr => "InvalidPodCidr",
            Self::InvalidTunnelZone => "InvalidTunnelZone",
            Self::MissingTunnelEndpoint => "MissingTunnelEndpoint",
            Self::InvalidMac => "InvalidMac",
            Self::InvalidAddress => "InvalidAddress",
            Self::Ipv6PassedOver => "Ipv6PassedOver",
            Self::UnknownNode => "UnknownNode",
            Self::NodeNotConverted => "NodeNotConverted",
            Self::ServiceTypeNotOffered => "ServiceTypeNotOffered",
            Self::ProtocolNotOffered => "ProtocolNotOffered",
            Self::InvalidPort => "InvalidPort",
            Self::SessionAffinityNotOffered => "SessionAffinityNotOffered",
            Self::LocalTrafficNotOffered => "LocalTrafficNotOffered",
            Self::AddressTypeNotOffered => "AddressTypeNotOffered",
            Self::InvalidName => "InvalidName",
        }
    }
}
