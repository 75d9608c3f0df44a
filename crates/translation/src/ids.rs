use midonet::Chain;
use naming::{Tenant, sub_id};
use uuid::Uuid;

use crate::Key;

/// The ids of one tenant's resources.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The tenant's name, as MidoNet's objects have it.
    pub(crate) tenant: String,
    space: Tenant,
    /// The chain that every bridge's packets enter.
    pub(crate) main_chain: Uuid,
}

impl Ids {
    pub(crate) fn new(tenant: &str) -> Self {
        let space = Tenant::new(tenant);
        let main_chain = space.id("midonet-global", "chain");
        Self { tenant: tenant.to_owned(), space, main_chain }
    }

    pub(crate) fn global(&self, part: &str) -> Uuid {
        sub_id(&self.main_chain, part)
    }

    /// The chain with a jump for every Service.
    pub(crate) fn services_chain(&self) -> Uuid {
        self.global("Services Chain")
    }

    /// The router that joins all nodes' bridges.
    pub(crate) fn router(&self) -> Uuid {
        self.global("Cluster Router")
    }

    pub(crate) fn default_tunnel_zone(&self) -> Uuid {
        self.global("Default Tunnel Zone")
    }

    /// A node's bridge, and what the ids of its parts hang on.
    pub(crate) fn bridge(&self, node: &str) -> Uuid {
        self.space.id("Node", node)
    }

    /// The node's own port of its bridge.
    pub(crate) fn node_port(&self, node: &str) -> Uuid {
        self.space.node_port(node)
    }

    pub(crate) fn node_address(&self, key: &str) -> Uuid {
        self.space.id("Node Address", key)
    }

    pub(crate) fn pod_port(&self, pod: &Key) -> Uuid {
        self.space.id("Pod", &pod.to_string())
    }

    /// The chain of a port of a Service, and what the ids of its parts hang on. The key: "namespace/service/port name".
    pub(crate) fn service_chain(&self, port_key: &str) -> Uuid {
        self.space.id("ServicePort", port_key)
    }

    pub(crate) fn service_jump(&self, key: &str) -> Uuid {
        self.space.id("ServicePortSub", key)
    }

    /// The chain of an endpoint, and what the ids of its parts hang on.
    pub(crate) fn endpoint_chain(&self, key: &str) -> Uuid {
        self.space.id("Endpoint", key)
    }

    /// The rule that takes one of a list of endpoints.
    pub(crate) fn endpoints_dnat(&self, key: &str) -> Uuid {
        self.space.id("EndpointsDNAT", key)
    }

    /// A chain of the tenant.
    pub(crate) fn chain(&self, id: Uuid, name: String) -> Chain {
        Chain { id, tenant_id: self.tenant.clone(), name }
    }
}
