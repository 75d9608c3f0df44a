//! The kinds of objects that there are. Another one is a file here and a line in [`ALL`]; the ClusterRole in
//! deploy/midonet-kube.yaml has to allow listing and watching it.

mod annotations;
mod cluster_network_policy;
mod defects;
mod endpoint_slice;
mod fields;
mod labels;
mod namespace;
mod network_policy;
mod node;
mod pod;
mod service;
mod service_cidr;
#[cfg(test)]
mod tests;

pub use cluster_network_policy::{Action, ClusterNetworkPolicy, ClusterPeer, ClusterPort, ClusterRule, Tier};
pub use endpoint_slice::{Endpoint, EndpointPort, EndpointSlice, Hints};
pub use labels::{LabelSelector, Labels, Operator, Requirement};
pub use namespace::Namespace;
pub use network_policy::{NetworkPolicy, Peer, PolicyPort, Ports, Rule};
pub use node::Node;
pub use pod::{NamedPort, Pod};
pub use service::{Ignored, PortSpec, Service, ServiceType};
pub use service_cidr::ServiceCidr;

use crate::kind::{Kind, Resource};

/// Every kind that the agent lists and watches.
pub(crate) const ALL: [Resource; 8] = [
    Node::RESOURCE,
    Service::RESOURCE,
    EndpointSlice::RESOURCE,
    ServiceCidr::RESOURCE,
    NetworkPolicy::RESOURCE,
    ClusterNetworkPolicy::RESOURCE,
    Namespace::RESOURCE,
    Pod::RESOURCE,
];
