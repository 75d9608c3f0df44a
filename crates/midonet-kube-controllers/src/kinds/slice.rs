use objects::{Invalid, Key, Kind, Metadata, Resource};
use serde::Deserialize;
use translation::{AddressType, Endpoint, EndpointPort, EndpointSlice};

use super::{Watched, names};

/// The label that names the slice's Service.
const SERVICE: &str = "kubernetes.io/service-name";

/// The fields of an EndpointSlice that are read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiEndpointSlice {
    #[serde(default)]
    address_type: Option<String>,
    #[serde(default)]
    endpoints: Option<Vec<ApiEndpoint>>,
    #[serde(default)]
    ports: Option<Vec<ApiPort>>,
}

#[derive(Debug, Deserialize)]
struct ApiPort {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct ApiEndpoint {
    addresses: Option<Vec<String>>,
    conditions: Option<Conditions>,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

impl Kind for Watched<EndpointSlice> {
    const RESOURCE: Resource = Resource {
        group: "discovery.k8s.io",
        version: "v1",
        kind: "EndpointSlice",
        plural: "endpointslices",
        namespaced: true,
    };

    const CACHED: bool = false;

    type Api = ApiEndpointSlice;

    fn trim(mut metadata: Metadata, api: ApiEndpointSlice) -> Result<Self, Invalid> {
        let service = metadata.labels.remove(SERVICE).unwrap_or_default();
        let (namespace, name, uid) = names(&mut metadata, "slice");
        let endpoints = api.endpoints.into_iter().flatten().map(|ApiEndpoint { addresses, conditions }| {
            let Conditions { ready, serving, terminating } = conditions.unwrap_or_default();
            Endpoint {
                address: addresses.and_then(|all| all.into_iter().next()).unwrap_or_default(),
                ready: ready.unwrap_or(true),
                serving: serving.unwrap_or(true),
                terminating: terminating.unwrap_or(false),
            }
        });
        let ports = api.ports.into_iter().flatten().map(|ApiPort { name, protocol, port }| EndpointPort {
            name: name.unwrap_or_default(),
            protocol: protocol.unwrap_or_default(),
            port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
        });
        Ok(Self(EndpointSlice {
            namespace,
            name,
            uid,
            service,
            address_type: match api.address_type.as_deref() {
                Some("IPv4") => AddressType::Ipv4,
                Some("IPv6") => AddressType::Ipv6,
                _ => AddressType::Other,
            },
            endpoints: endpoints.collect(),
            ports: ports.collect(),
        }))
    }

    fn key(&self) -> Key {
        Key::namespaced(&self.0.namespace, &self.0.name)
    }

    fn uid(&self) -> Option<&str> {
        Some(&self.0.uid)
    }
}
