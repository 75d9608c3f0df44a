//! Names and ids that are the same everywhere: on every node, in every log, and in the legacy midonet-kubernetes,
//! whose test vectors are the tests here. Pure functions.

pub mod alias;
mod id;
pub mod interface;
mod mac;
mod pod;
pub mod subnet;

pub use id::{DEFAULT_TENANT, Tenant, node_port_id, pod_port_id, sub_id};
pub use interface::for_pod as pod_host_interface;
pub use mac::{GATEWAY_MAC, Mac, OVERLAY_MAC, ParseMacError, attachment_mac, key_mac};
pub use pod::{ParsePodKeyError, PodKey};

/// Annotation keys on Pods and Nodes.
pub mod annotation {
    /// The Pod's (or Node's) MAC address, lower-case, colon-separated.
    pub const MAC_ADDRESS: &str = "midonet.org/mac-address";
    /// The Pod's addresses, comma-separated, without prefix lengths.
    pub const IP_ADDRESSES: &str = "midonet.org/ip-addresses";
    /// The id of the Pod's port, see [`crate::pod_port_id`].
    pub const PORT_ID: &str = "midonet.org/port-id";
    /// The id that MidoNet knows a Node's host by.
    pub const HOST_ID: &str = "midonet.org/host-id";
    /// The id of the tunnel zone of a Node's host; empty: the default one.
    pub const TUNNEL_ZONE_ID: &str = "midonet.org/tunnel-zone-id";
    /// The underlay address that a Node's tunnels end at.
    pub const TUNNEL_ENDPOINT_IP: &str = "midonet.org/tunnel-endpoint-ip";
}
