//! Pods and the processes of nodes; and what is outside of the Pod network.

use std::net::{IpAddr, SocketAddr};

use super::super::check::{Expect, Stage};
use super::super::question::What;
use super::super::scene::{CLIENT, End, FAMILIES, FAR, Family, Node, PORT, Scene};
use super::plan::{BOTH, Checks, Plan, Scenario, answer_of, common};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "node-to-own-pod",
        what: "a node's processes reach its Pods",
        plan: |scene| {
            let pods = [scene.pod(CLIENT)].into_iter().chain([scene.pod(FAR)]).flatten();
            from_nodes(pods.map(|pod| Ok((scene.node(&pod.node)?, pod))))
        },
    },
    Scenario {
        name: "node-to-pod-across-nodes",
        what: "nodes' processes reach Pods of other nodes",
        plan: |scene| {
            let pods: Vec<&End> = [scene.pod(CLIENT)?].into_iter().chain(scene.pod(FAR)).collect();
            scene.other_nodes(&scene.pod(CLIENT)?.node)?;
            let pairs = pods.iter().flat_map(|pod| {
                let others = scene.other_nodes(&pod.node).unwrap_or_default();
                others.into_iter().map(|node| Ok((node, *pod)))
            });
            from_nodes(pairs)
        },
    },
    Scenario {
        name: "pod-to-own-node",
        what: "a Pod reaches its node by the node's own address",
        plan: |scene| to_nodes(scene, |pod, node| pod.node == node.end.node, |node| &node.end.addresses),
    },
    Scenario {
        name: "pod-to-own-node-in-pod-network",
        what: "a Pod reaches its node by the node's address in the Pod network",
        plan: |scene| to_nodes(scene, |pod, node| pod.node == node.end.node, |node| &node.own),
    },
    Scenario {
        name: "pod-to-other-node",
        what: "a Pod reaches other nodes by their own addresses",
        plan: |scene| {
            scene.other_nodes(&scene.pod(CLIENT)?.node)?;
            to_nodes(scene, |pod, node| pod.node != node.end.node, |node| &node.end.addresses)
        },
    },
    Scenario {
        name: "pod-to-gateway",
        what: "a Pod's gateway answers its pings",
        plan: |scene| {
            let mut checks = Checks::default();
            for pod in [scene.pod(CLIENT)].into_iter().chain([scene.pod(FAR)]).flatten() {
                for gateway in &scene.node(&pod.node)?.gateways {
                    let to = (format!("the gateway {gateway}"), vec![pod.node.clone()]);
                    checks.add(pod, What::Ping { to: *gateway }, to, Expect::Accepted);
                }
            }
            checks.plan()
        },
    },
    Scenario {
        name: "pod-to-api-server-service",
        what: "Pods reach the Kubernetes API by its Service",
        plan: |scene| {
            let mut checks = Checks::default();
            for pod in [scene.pod(CLIENT)].into_iter().chain([scene.pod(FAR)]).flatten() {
                api_service(scene, &mut checks, pod)?;
            }
            checks.plan()
        },
    },
    Scenario {
        name: "node-to-api-server-service",
        what: "nodes' processes reach the Kubernetes API by its Service",
        plan: |scene| {
            let mut checks = Checks::default();
            for node in &scene.nodes {
                api_service(scene, &mut checks, &node.end)?;
            }
            checks.plan()
        },
    },
    Scenario {
        name: "pod-to-api-server-address",
        what: "Pods reach the Kubernetes API by its own address, outside of the Pod network",
        plan: |scene| {
            let (api, mut checks) = (scene.api.as_ref().map_err(Clone::clone)?, Checks::default());
            for pod in [scene.pod(CLIENT)].into_iter().chain([scene.pod(FAR)]).flatten() {
                for (address, port) in &api.endpoints {
                    if pod.address(Family::of(*address)).is_some() {
                        let to = (format!("the API server ({address})"), Vec::new());
                        let what = What::Connect { to: SocketAddr::new(*address, *port) };
                        checks.add(pod, what, to, Expect::Accepted);
                    }
                }
            }
            checks.plan()
        },
    },
];

fn from_nodes<'a>(pairs: impl Iterator<Item = Result<(&'a Node, &'a End), String>>) -> Result<Plan, String> {
    let mut checks = Checks::default();
    for pair in pairs {
        let (node, pod) = pair?;
        for by in BOTH {
            for (address, end) in common(&node.end, pod) {
                checks.at(Stage::Before, &node.end, by.ask(address, PORT, 1), end, answer_of(pod.name()));
            }
        }
    }
    checks.plan()
}

/// Pods connect to kubelet of these nodes at these addresses. One that refuses is there, too.
fn to_nodes(
    scene: &Scene,
    wanted: impl Fn(&End, &Node) -> bool,
    addresses: impl Fn(&Node) -> &Vec<IpAddr>,
) -> Result<Plan, String> {
    let mut checks = Checks::default();
    for pod in [scene.pod(CLIENT)].into_iter().chain([scene.pod(FAR)]).flatten() {
        for node in scene.nodes.iter().filter(|node| wanted(pod, node)) {
            let port = node.kubelet_port.ok_or("the Node does not tell kubelet's port")?;
            for family in FAMILIES.into_iter().filter(|family| pod.address(*family).is_some()) {
                if let Some(address) = family.first(addresses(node)) {
                    let what = What::Connect { to: SocketAddr::new(address, port) };
                    let to = (format!("node {} ({address})", node.end.node), vec![node.end.node.clone()]);
                    checks.add(pod, what, to, Expect::Reached);
                }
            }
        }
    }
    checks.plan()
}

fn api_service(scene: &Scene, checks: &mut Checks, from: &End) -> Result<(), String> {
    let api = scene.api.as_ref().map_err(Clone::clone)?;
    for address in &api.service {
        if from.address(Family::of(*address)).is_some() {
            let to = (format!("Service kubernetes ({address})"), Vec::new());
            let what = What::Connect { to: SocketAddr::new(*address, api.port) };
            checks.add(from, what, to, Expect::Accepted);
        }
    }
    Ok(())
}
