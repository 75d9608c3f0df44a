//! The objects of the demo's Service, and from where it is reached: pure.

use std::net::{IpAddr, SocketAddr};

use lab::probe::WEB_PORT;
use lab::{Family, Pod, State, Target};
use serde_json::{Value, json};

use crate::size::SERVICES;

/// How many Pods serve.
pub(crate) const REPLICAS: usize = 3;

/// The Service's name; its Pods' names begin with it.
pub(crate) const NAME: &str = "web";

const PORT: u16 = 80;
const NODE_PORT: u16 = 30_080;

/// The names of its Pods.
pub(crate) fn replicas() -> [String; REPLICAS] {
    [1, 2, 3].map(|number| format!("{NAME}-{number}"))
}

/// The Service's own addresses.
fn cluster_ips(family: Family) -> Vec<IpAddr> {
    let all = SERVICES.iter().filter_map(|(_, address)| address.parse::<IpAddr>().ok());
    all.filter(|address| match family {
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
        Family::Dual => true,
    })
    .collect()
}

/// The Service and an EndpointSlice for each family, as a cluster's controllers write them, by the names of their files.
pub(crate) fn objects(family: Family, namespace: &str, pods: &[Pod]) -> Vec<(String, Value)> {
    let name_of = |address: &IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let own = cluster_ips(family);
    let families: Vec<_> = own.iter().map(name_of).collect();
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": NAME},
        "spec": {
            "type": "NodePort",
            "clusterIP": own.first(),
            "clusterIPs": own,
            "ipFamilies": families,
            "ipFamilyPolicy": if families.len() > 1 { "RequireDualStack" } else { "SingleStack" },
            "ports": [
                {"name": "http", "protocol": "TCP", "port": PORT, "targetPort": WEB_PORT, "nodePort": NODE_PORT},
            ],
        },
    });
    let slice = |family: &&str| {
        let endpoint = |pod: &Pod| {
            let address = pod.addresses().into_iter().find(|address| name_of(address) == *family)?;
            Some(json!({
                "addresses": [address],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": pod.node,
            }))
        };
        let name = format!("{NAME}-{}", family.to_lowercase());
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": namespace,
                "name": name,
                "labels": {"kubernetes.io/service-name": NAME},
            },
            "addressType": family,
            "ports": [{"name": "http", "protocol": "TCP", "port": WEB_PORT}],
            "endpoints": pods.iter().filter_map(endpoint).collect::<Vec<_>>(),
        });
        (format!("endpointslice-{name}"), object)
    };
    let slices: Vec<_> = families.iter().map(slice).collect();
    [(format!("service-{NAME}"), service)].into_iter().chain(slices).collect()
}

/// From where to where connections are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) from: Target,
    pub(crate) from_name: String,
    pub(crate) to: SocketAddr,
    pub(crate) to_name: String,
}

/// From a Pod, from one that serves itself and from a node to the ClusterIP, from outside to the NodePort of up to two nodes.
pub(crate) fn places(state: &State) -> Vec<Place> {
    let is_replica = |pod: &&Pod| replicas().contains(&pod.key.name);
    let pods = &state.pods;
    let clients = [pods.iter().find(|pod| !is_replica(pod)), pods.iter().find(is_replica)];
    let clients =
        clients.into_iter().flatten().map(|pod| (Target::Pod(pod.key.clone()), pod.key.name.clone()));
    let node = state.nodes.first().map(|node| (Target::Node(node.name.clone()), node.name.clone()));
    let mut places = Vec::new();
    for (from, from_name) in clients.chain(node) {
        places.extend(cluster_ips(state.family).into_iter().map(|address| Place {
            from: from.clone(),
            from_name: from_name.clone(),
            to: SocketAddr::new(address, PORT),
            to_name: "ClusterIP".to_owned(),
        }));
    }
    for node in state.nodes.iter().take(2) {
        places.extend(node.addresses.iter().map(|address| Place {
            from: Target::Outside,
            from_name: "outside".to_owned(),
            to: SocketAddr::new(*address, NODE_PORT),
            to_name: format!("NodePort of {}", node.name),
        }));
    }
    places
}
