//! What is used of Kubernetes' objects. Text is as written: what is wrong with it is found in the conversion.

use serde::{Deserialize, Serialize};

use crate::{Key, Object, ObjectKind};

/// A Node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `spec.podCIDRs`, or `spec.podCIDR` alone. The first IPv4 one is used.
    pub pod_cidrs: Vec<String>,
    /// `status.addresses`.
    pub addresses: Vec<NodeAddress>,
    /// The annotation `midonet.org/host-id`: the id of the node's host in MidoNet.
    pub host_id: Option<String>,
    /// The annotation `midonet.org/tunnel-zone-id`. Empty or missing: the default tunnel zone.
    pub tunnel_zone_id: Option<String>,
    /// The annotation `midonet.org/tunnel-endpoint-ip`: the address that the host's tunnels end at.
    pub tunnel_endpoint_ip: Option<String>,
    /// The annotation `midonet.org/mac-address`: of the node's own interface in the Pod network.
    pub mac_address: Option<String>,
}

/// An entry of a Node's `status.addresses`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// `type`: of "ExternalIP" and "InternalIP" MidoNet gets a route.
    pub kind: String,
    /// The address.
    pub address: String,
}

/// A Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `spec.nodeName`; empty if it is not scheduled.
    pub node: String,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// Whether `status.phase` is "Succeeded" or "Failed".
    pub finished: bool,
    /// `status.podIPs`, or `status.podIP` alone. The first IPv4 one is used.
    pub ips: Vec<String>,
    /// The annotation `midonet.org/mac-address`.
    pub mac_address: Option<String>,
}

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `spec.type`; empty means "ClusterIP".
    pub kind: String,
    /// `spec.clusterIPs`, or `spec.clusterIP` alone. The first IPv4 one is used; "None" is no address.
    pub cluster_ips: Vec<String>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// Whether `spec.sessionAffinity` is "ClientIP".
    pub session_affinity: bool,
    /// Whether `spec.internalTrafficPolicy` is "Local".
    pub local_traffic: bool,
}

/// A port of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// The name; empty if the Service has one port alone.
    pub name: String,
    /// The protocol; empty means "TCP".
    pub protocol: String,
    /// The port of the cluster IP.
    pub port: u16,
}

/// A part of a Service's endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// The label `kubernetes.io/service-name`: the Service, in the same namespace. Empty: of none.
    pub service: String,
    /// `addressType`.
    pub address_type: AddressType,
    /// `endpoints`.
    pub endpoints: Vec<Endpoint>,
    /// `ports`, of each endpoint.
    pub ports: Vec<EndpointPort>,
}

/// What the addresses of an EndpointSlice are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressType {
    /// IPv4 addresses.
    #[default]
    Ipv4,
    /// IPv6 addresses, which are passed over.
    Ipv6,
    /// Host names, or what is not known: passed over.
    Other,
}

/// An endpoint, by its first address: Kubernetes defines no meaning of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `addresses[0]`.
    pub address: String,
    /// `conditions.ready`; true if missing.
    pub ready: bool,
    /// `conditions.serving`; true if missing.
    pub serving: bool,
    /// `conditions.terminating`; false if missing.
    pub terminating: bool,
}

/// A port of an EndpointSlice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPort {
    /// The name of the Service's port that it serves.
    pub name: String,
    /// The protocol; empty means "TCP".
    pub protocol: String,
    /// The number; 0 if missing, then it is no port.
    pub port: u16,
}

impl Node {
    /// The object.
    pub fn object(&self) -> Object {
        Object { kind: ObjectKind::Node, key: Key::new("", &self.name), uid: self.uid.clone() }
    }
}

macro_rules! namespaced {
    ($($kind:ident),*) => { $(
        impl $kind {
            /// Its namespace and name.
            pub fn key(&self) -> Key {
                Key::new(&self.namespace, &self.name)
            }

            /// The object.
            pub fn object(&self) -> Object {
                Object { kind: ObjectKind::$kind, key: self.key(), uid: self.uid.clone() }
            }
        }
    )* };
}

namespaced!(Pod, Service, EndpointSlice);
