//! What the API server knows: nodes, the Services of a test, itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node as NodeObject, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::super::question::Outcome;
use super::super::scene::{ApiServer, End, Node, Resolver, Service};
use super::agents::Agents;
use super::choose::Candidate;
use crate::trace::Place;

/// The API server's own Service.
const KUBERNETES: &str = "kubernetes";

/// The port of HTTPS, where the Service does not say another one.
const HTTPS: u16 = 443;

/// The nodes of a cluster.
pub(in crate::connectivity) struct Objects(BTreeMap<String, NodeObject>);

/// Reads the nodes.
///
/// # Errors
/// They cannot be listed.
pub(in crate::connectivity) async fn nodes(client: &Client) -> Result<Objects> {
    let all = Api::<NodeObject>::all(client.clone()).list(&ListParams::default()).await;
    let all = all.context("cannot list the nodes")?.items;
    Ok(Objects(all.into_iter().map(|node| (node.name_any(), node)).collect()))
}

impl Objects {
    /// The nodes that have or should have an agent.
    pub(in crate::connectivity) fn candidates(&self, agents: &Agents) -> Vec<Candidate> {
        let candidate = |(name, error): (String, Option<String>)| {
            let takes_pods = self.0.get(&name).is_some_and(takes_pods);
            Candidate { serves: error.is_none(), takes_pods, name }
        };
        agents.states().into_iter().map(candidate).collect()
    }

    /// The nodes of a cluster that have no agent's Pod.
    pub(in crate::connectivity) fn without_agent(&self, agents: &Agents) -> Vec<String> {
        let known = agents.states();
        let is_known = |name: &String| known.iter().any(|(node, _)| node == name);
        let linux = self
            .0
            .iter()
            .filter(|(_, node)| node.labels().get("kubernetes.io/os").is_none_or(|system| system == "linux"));
        linux.map(|(name, _)| name.clone()).filter(|name| !is_known(name)).collect()
    }

    /// A node, with what its agent says of it.
    pub(in crate::connectivity) fn node(&self, name: &str, agents: &Agents) -> Option<Node> {
        let (gateways, own, mtu) = agents.network(name)?;
        let status = self.0.get(name)?.status.as_ref()?;
        let internal = status.addresses.iter().flatten().filter(|address| address.type_ == "InternalIP");
        let port = status.daemon_endpoints.as_ref().and_then(|ports| ports.kubelet_endpoint.as_ref());
        Some(Node {
            end: End {
                place: Place::Node(name.to_owned()),
                node: name.to_owned(),
                addresses: internal.filter_map(|address| address.address.parse().ok()).collect(),
            },
            own,
            gateways,
            kubelet_port: port.and_then(|port| u16::try_from(port.port).ok()),
            mtu,
        })
    }
}

/// Whether Kubernetes places Pods there.
fn takes_pods(node: &NodeObject) -> bool {
    let cordoned = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.filter(|condition| condition.type_ == "Ready").all(|condition| condition.status == "True");
    !cordoned && ready
}

/// The Services of a namespace.
///
/// # Errors
/// They cannot be listed.
pub(in crate::connectivity) async fn services(
    client: &Client,
    namespace: &str,
) -> Result<BTreeMap<String, Service>> {
    let all = Api::<ServiceObject>::namespaced(client.clone(), namespace).list(&ListParams::default()).await;
    let all = all.with_context(|| format!("cannot list the Services of namespace {namespace}"))?;
    Ok(all.items.into_iter().map(|service| (service.name_any(), read(&service))).collect())
}

fn read(object: &ServiceObject) -> Service {
    let spec = object.spec.as_ref();
    let node_port = |protocol: &str| {
        let ports = spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let mut ports = ports.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == protocol);
        u16::try_from(ports.next()?.node_port?).ok()
    };
    Service {
        addresses: cluster_ips(object),
        node_ports: node_port("TCP").zip(node_port("UDP")).map(|(t, u)| [t, u]),
    }
}

/// A Service's own addresses; a headless one has none.
fn cluster_ips(object: &ServiceObject) -> Vec<IpAddr> {
    let all = object.spec.iter().flat_map(|spec| spec.cluster_ips.iter().flatten());
    all.filter_map(|address| address.parse().ok()).collect()
}

/// The API server, as Pods reach it; or why that is not known.
pub(in crate::connectivity) async fn api_server(client: &Client) -> Result<ApiServer, String> {
    let services: Api<ServiceObject> = Api::namespaced(client.clone(), "default");
    let service = services.get(KUBERNETES).await;
    let service = service.map_err(|error| format!("Service default/{KUBERNETES} cannot be read: {error}"))?;
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let port = ports.filter_map(|port| u16::try_from(port.port).ok()).next().unwrap_or(HTTPS);
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let selector = format!("kubernetes.io/service-name={KUBERNETES}");
    let slices = slices.list(&ListParams::default().labels(&selector)).await;
    let slices = slices.map_err(|error| format!("the API server's endpoints cannot be listed: {error}"))?;
    let endpoints = slices.items.iter().flat_map(|slice| {
        let port = slice.ports.iter().flatten().find_map(|port| u16::try_from(port.port?).ok());
        let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        addresses.filter_map(move |address| Some((address.parse().ok()?, port?)))
    });
    Ok(ApiServer { service: cluster_ips(&service), port, endpoints: endpoints.collect() })
}

/// How Pods resolve names, from what one of them says; or why they cannot. `known` are the Services of the namespace where
/// clusters have their DNS.
pub(in crate::connectivity) fn resolver(
    said: &Outcome,
    known: &BTreeMap<String, Service>,
) -> Result<Resolver, String> {
    let Outcome::Resolver { servers, domain } = said else {
        return Err(format!("a Pod does not tell its DNS servers: {said:?}"));
    };
    let Some(domain) = domain else {
        return Err(
            "Pods have no domain of Services in their /etc/resolv.conf: kubelet has no clusterDNS".to_owned()
        );
    };
    let is_served = |server: &&IpAddr| known.values().any(|service| service.addresses.contains(server));
    // A cache on each node has an address that no Service has.
    let is_local = |server: &&IpAddr| matches!(server, IpAddr::V4(address) if address.is_link_local());
    let used: Vec<IpAddr> =
        servers.iter().filter(|server| is_served(server) || is_local(server)).copied().collect();
    if used.is_empty() {
        let servers = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "no Service of kube-system has the address that Pods have as their DNS server ({servers})"
        ));
    }
    Ok(Resolver { servers: used, domain: domain.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_are_read() {
        let object = |spec| serde_json::from_value::<ServiceObject>(json!({"spec": spec})).unwrap();
        let port = |protocol: &str, node: u16| json!({"port": 80, "protocol": protocol, "nodePort": node});
        let served = object(
            json!({"clusterIPs": ["10.96.0.1", "fd96::1"], "ports": [port("UDP", 30_002), port("TCP", 30_001)]}),
        );
        let served = read(&served);
        assert_eq!((served.addresses.len(), served.node_ports), (2, Some([30_001, 30_002])));
        let headless = read(&object(json!({"clusterIPs": ["None"], "ports": [{"port": 80}]})));
        assert_eq!(headless, Service::default());
    }

    #[test]
    fn names_are_resolved_where_there_is_a_dns_service() {
        let said = |servers: &[&str], domain: Option<&str>| Outcome::Resolver {
            servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
            domain: domain.map(str::to_owned),
        };
        let dns = Service { addresses: vec!["10.96.0.10".parse().unwrap()], node_ports: None };
        let known = BTreeMap::from([("kube-dns".to_owned(), dns)]);
        let some = Some("cluster.local");
        let found = resolver(&said(&["10.96.0.10", "192.0.2.1"], some), &known).unwrap();
        assert_eq!(found.servers, ["10.96.0.10".parse::<IpAddr>().unwrap()]);
        assert!(resolver(&said(&["169.254.20.10"], some), &known).is_ok());
        for (said, why) in [
            (said(&["10.96.0.10"], None), "clusterDNS"),
            (said(&["10.96.0.9"], some), "no Service"),
            (said(&[], some), "no Service"),
            (Outcome::Reset, "does not tell"),
        ] {
            let told = resolver(&said, &known).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
