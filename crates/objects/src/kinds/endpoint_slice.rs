use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::defects::Defects;
use crate::kind::{Invalid, Key, Kind, Metadata, Resource};
use crate::network::{Family, Protocol};
use crate::shared::{Shared, shared};

/// The label that names the slice's Service.
const SERVICE: &str = "kubernetes.io/service-name";

/// The label of a headless Service's slices, which no proxy needs.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The annotation that says when the endpoints changed.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// A part of a Service's endpoints, of one address family (`discovery.k8s.io/v1`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// What names it.
    pub key: Key,
    /// Its UID. A manifest may leave it out.
    pub uid: Option<Box<str>>,
    /// `namespace/name` of the Service that it is of. `None`: it is of no Service that is proxied, or of no address
    /// family; nothing else of it is kept then.
    pub service: Option<Arc<str>>,
    /// The family of its addresses.
    pub family: Family,
    /// The ports that all of its endpoints have.
    pub ports: Box<[EndpointPort]>,
    /// Its endpoints.
    pub endpoints: Box<[Endpoint]>,
    /// When what changed it happened, in milliseconds since 1970.
    pub triggered: Option<i64>,
    /// What of it is left out.
    pub defects: Box<[Invalid]>,
}

/// A port of endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPort {
    /// The name of the Service's port that leads there.
    pub name: Arc<str>,
    /// What it is of.
    pub protocol: Protocol,
    /// The endpoints' own port.
    pub port: u16,
}

/// What serves a Service: mostly a Pod. There are a hundred thousand of them: its zone is not kept, which its node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Whether it is to get new connections. Of a Service with `publishNotReadyAddresses` every endpoint is ready.
    pub ready: bool,
    /// Whether it can serve, terminating or not.
    pub serving: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// The node that it runs on.
    pub node: Option<Arc<str>>,
    /// From where it is to be used (KEP-2433, KEP-3015).
    pub hints: Option<Box<Hints>>,
}

/// From where an endpoint is to be used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hints {
    /// From nodes of these zones; empty: nothing is said.
    pub zones: Box<[Arc<str>]>,
    /// From these nodes; empty: nothing is said.
    pub nodes: Box<[Arc<str>]>,
}

/// The fields of an EndpointSlice that are read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiEndpointSlice {
    address_type: Option<String>,
    endpoints: Option<Vec<ApiEndpoint>>,
    ports: Option<Vec<ApiPort>>,
}

#[derive(Debug, Deserialize)]
struct ApiPort {
    name: Option<Shared>,
    protocol: Option<String>,
    port: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiEndpoint {
    addresses: Option<Vec<String>>,
    conditions: Option<Conditions>,
    node_name: Option<Shared>,
    hints: Option<ApiHints>,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiHints {
    for_zones: Option<Vec<Hint>>,
    for_nodes: Option<Vec<Hint>>,
}

#[derive(Debug, Deserialize)]
struct Hint {
    name: Shared,
}

impl Kind for EndpointSlice {
    const RESOURCE: Resource = Resource {
        group: "discovery.k8s.io",
        version: "v1",
        kind: "EndpointSlice",
        plural: "endpointslices",
        namespaced: true,
    };

    const CACHED: bool = false;

    type Api = ApiEndpointSlice;

    fn trim(metadata: Metadata, api: ApiEndpointSlice) -> Result<Self, Invalid> {
        let key = Key::of_metadata(&Self::RESOURCE, &metadata);
        let family = api.address_type.as_deref();
        let family = Family::ALL.into_iter().find(|one| Some(one.name()) == family);
        let service = metadata.labels.get(SERVICE).filter(|name| !name.is_empty());
        let service = service.filter(|_| !metadata.labels.contains_key(HEADLESS) && family.is_some());
        let service = service.map(|name| shared(&format!("{}/{name}", key.namespace().unwrap_or_default())));
        let mut slice = Self {
            key,
            uid: metadata.uid.map(String::into_boxed_str),
            service,
            family: family.unwrap_or(Family::V4),
            ports: Box::default(),
            endpoints: Box::default(),
            triggered: None,
            defects: Box::default(),
        };
        if slice.service.is_some() {
            let mut defects = Defects::default();
            slice.ports = ports(api.ports.unwrap_or_default(), &mut defects);
            slice.endpoints = endpoints(slice.family, api.endpoints.unwrap_or_default(), &mut defects);
            slice.triggered =
                metadata.annotations.get(TRIGGERED).and_then(|text| triggered(text, &mut defects));
            slice.defects = defects.into_boxed();
        }
        Ok(slice)
    }

    fn key(&self) -> Key {
        self.key.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

/// The API server gives a port without a name the empty one, and one without a protocol TCP.
fn ports(all: Vec<ApiPort>, defects: &mut Defects) -> Box<[EndpointPort]> {
    let mut ports = Vec::with_capacity(all.len());
    for ApiPort { name, protocol, port } in all {
        let name = name.map_or_else(|| shared(""), |Shared(name)| name);
        let protocol = protocol.as_deref().unwrap_or("TCP");
        let Some(protocol) = Protocol::named(protocol) else {
            let problem = format!("{protocol:?} of port {name:?} is no protocol of Services: it is left out");
            defects.add("ports", problem);
            continue;
        };
        // None is allowed (all ports), and of no use to a proxy.
        let Some(port) = port else { continue };
        match u16::try_from(port) {
            Ok(port) if port != 0 => ports.push(EndpointPort { name, protocol, port }),
            _ => defects.add("ports", format!("port {name:?} is {port}, not 1 to 65535: it is left out")),
        }
    }
    ports.into()
}

fn endpoints(family: Family, all: Vec<ApiEndpoint>, defects: &mut Defects) -> Box<[Endpoint]> {
    let mut endpoints = Vec::with_capacity(all.len());
    for ApiEndpoint { addresses, conditions, node_name, hints } in all {
        let Some(address) = address(family, addresses.and_then(|all| all.into_iter().next()), defects) else {
            continue;
        };
        let Conditions { ready, serving, terminating } = conditions.unwrap_or_default();
        endpoints.push(Endpoint {
            address,
            ready: ready.unwrap_or(true),
            serving: serving.unwrap_or(true),
            terminating: terminating.unwrap_or(false),
            node: node_name.map(|Shared(name)| name).filter(|name| !name.is_empty()),
            hints: hints.and_then(ApiHints::trim),
        });
    }
    endpoints.into()
}

/// All of an endpoint's addresses lead to the same: the first is used, as kube-proxy does.
fn address(family: Family, text: Option<String>, defects: &mut Defects) -> Option<IpAddr> {
    let wrong = match text {
        None => "an endpoint has no address".to_owned(),
        Some(text) => match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Err(_) => format!("{text:?} is no IP address"),
            Ok(address) if Family::of(address) != family => format!("{address} is not {family}"),
            Ok(address) if is_unusable(address) => format!("{address} is no address of one host"),
            Ok(address) => return Some(address),
        },
    };
    defects.add("endpoints.addresses", format!("{wrong}: it is left out"));
    None
}

/// What the API server accepts as an endpoint's address of neither family.
fn is_unusable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_link_local
}

impl ApiHints {
    fn trim(self) -> Option<Box<Hints>> {
        let names = |hints: Option<Vec<Hint>>| {
            let names = hints.into_iter().flatten().map(|Hint { name: Shared(name) }| name);
            names.collect::<Box<[_]>>()
        };
        let hints = Hints { zones: names(self.for_zones), nodes: names(self.for_nodes) };
        (hints != Hints::default()).then(|| Box::new(hints))
    }
}

fn triggered(text: &str, defects: &mut Defects) -> Option<i64> {
    let time: Result<Time, _> = serde_json::from_value(serde_json::Value::from(text));
    match time {
        Ok(time) => Some(time.0.as_millisecond()),
        Err(_) => {
            defects.add(TRIGGERED, format!("{text:?} is no time: it is ignored"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
