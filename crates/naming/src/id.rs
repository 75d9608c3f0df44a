use uuid::Uuid;

use crate::pod::PodKey;

/// The UUID name space of the legacy midonet-kubernetes for everything that it makes in MidoNet.
const SPACE: Uuid = Uuid::from_u128(0x3978567e_91c4_465c_a0d1_67575f6b4c7f);

/// The version of the mapping from Kubernetes objects to ids: another number gives other ids.
const VERSION: &str = "4";

/// The default tenant of the legacy midonet-kubernetes.
pub const DEFAULT_TENANT: &str = "midonetkube";

/// The name space of one tenant's ids: `uuid5(SPACE, "4/" + tenant)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant(Uuid);

impl Tenant {
    /// The name space of the named tenant.
    pub fn new(tenant: &str) -> Self {
        Self(Uuid::new_v5(&SPACE, format!("{VERSION}/{tenant}").as_bytes()))
    }

    /// The id of the object of this kind and key; the key is "namespace/name", or "name" alone for
    /// an object without namespace.
    pub fn id(&self, kind: &str, key: &str) -> Uuid {
        Uuid::new_v5(&self.0, format!("{VERSION}/{kind}/{key}").as_bytes())
    }

    /// The id of a Pod's port (`pod.idForKey` in the legacy midonet-kubernetes).
    pub fn pod_port(&self, pod: &PodKey) -> Uuid {
        self.id("Pod", &pod.to_string())
    }

    /// The id of a node's own port (`node.portIDForKey` in the legacy midonet-kubernetes).
    pub fn node_port(&self, node: &str) -> Uuid {
        sub_id(&self.id("Node", node), "Node Port")
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::new(DEFAULT_TENANT)
    }
}

/// The id of a part of the object with that id.
pub fn sub_id(base: &Uuid, part: &str) -> Uuid {
    Uuid::new_v5(base, part.as_bytes())
}

/// The id of a Pod's port in the default tenant.
pub fn pod_port_id(pod: &PodKey) -> Uuid {
    Tenant::default().pod_port(pod)
}

/// The id of a node's own port in the default tenant.
pub fn node_port_id(node: &str) -> Uuid {
    Tenant::default().node_port(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_legacy_project() {
        let tenant = Tenant::default();
        assert_eq!(tenant.0.to_string(), "b6b0f75c-b219-5240-baf8-77c92a28663e");
        assert_eq!(tenant.id("midonet-global", "chain").to_string(), "23b6f94b-2fb5-55b0-9614-3cbb6d6dc17f");
        assert_eq!(tenant.id("Node", "k").to_string(), "94a77cda-35dd-5517-a7e1-e9f0ad17be6e");
        assert_eq!(
            tenant.id("ServicePort", "kube-system/kube-dns/dns").to_string(),
            "2f5e38d5-fe35-5644-9ff9-3f92887c3457"
        );
        let pod = PodKey::new("default", "web-0");
        assert_eq!(pod_port_id(&pod).to_string(), "0e646980-2007-550e-bb96-44dc505bd784");
    }

    #[test]
    fn parts_of_an_object_hang_on_its_id() {
        let main = Tenant::default().id("midonet-global", "chain");
        assert_eq!(sub_id(&main, "Cluster Router").to_string(), "21607839-c6b4-5b98-8aa1-89a1aab61bca");
        assert_eq!(sub_id(&main, "Default Tunnel Zone").to_string(), "51329ede-9b0f-5923-98ee-bf4ef08af54f");
        assert_eq!(node_port_id("k"), sub_id(&Tenant::default().id("Node", "k"), "Node Port"));
    }

    #[test]
    fn tenants_do_not_share_ids() {
        let pod = PodKey::new("default", "web-0");
        assert_ne!(Tenant::new("other").pod_port(&pod), pod_port_id(&pod));
    }
}
