//! The kinds of objects that there are. Another one is a file here and a line in [`ALL`]; the ClusterRole in
//! deploy/midonet-kube.yaml has to allow listing and watching it.

mod defects;
mod endpoint_slice;
mod node;
mod service;
mod service_cidr;
#[cfg(test)]
mod tests;

pub use endpoint_slice::{Endpoint, EndpointPort, EndpointSlice, Hints};
pub use node::Node;
pub use service::{Ignored, PortSpec, Service, ServiceType};
pub use service_cidr::ServiceCidr;

use crate::kind::{Kind, Resource};

/// Every kind that the agent lists and watches.
pub(crate) const ALL: [Resource; 4] =
    [Node::RESOURCE, Service::RESOURCE, EndpointSlice::RESOURCE, ServiceCidr::RESOURCE];
