use objects::{Invalid, Key, Kind, Metadata, Resource};
use serde::Deserialize;
use translation::{Service, ServicePort};

use super::{Watched, all_or_first, names};

/// The fields of a Service that are read.
#[derive(Debug, Deserialize)]
pub struct ApiService {
    #[serde(default)]
    spec: Option<Spec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    ports: Option<Vec<Port>>,
    session_affinity: Option<String>,
    internal_traffic_policy: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Port {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i64>,
}

impl Kind for Watched<Service> {
    const RESOURCE: Resource =
        Resource { group: "", version: "v1", kind: "Service", plural: "services", namespaced: true };

    const CACHED: bool = false;

    type Api = ApiService;

    fn trim(mut metadata: Metadata, api: ApiService) -> Result<Self, Invalid> {
        let spec = api.spec.unwrap_or_default();
        let ports = spec.ports.into_iter().flatten().map(|Port { name, protocol, port }| ServicePort {
            name: name.unwrap_or_default(),
            protocol: protocol.unwrap_or_default(),
            // 0 is no port, and told as such.
            port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
        });
        let ports = ports.collect();
        let (namespace, name, uid) = names(&mut metadata, "service");
        Ok(Self(Service {
            namespace,
            name,
            uid,
            kind: spec.kind.unwrap_or_default(),
            cluster_ips: all_or_first(spec.cluster_ips, spec.cluster_ip),
            ports,
            session_affinity: spec.session_affinity.as_deref() == Some("ClientIP"),
            local_traffic: spec.internal_traffic_policy.as_deref() == Some("Local"),
        }))
    }

    fn key(&self) -> Key {
        Key::namespaced(&self.0.namespace, &self.0.name)
    }

    fn uid(&self) -> Option<&str> {
        Some(&self.0.uid)
    }
}
