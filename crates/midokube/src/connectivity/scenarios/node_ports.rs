//! Services by ports of nodes.

use super::super::check::Expect;
use super::super::scene::{CLIENT, ECHO, End, FAMILIES, FAR, Family, Node, OUTER, Scene};
use super::plan::{By, Checks, Plan, Scenario, answer_of, embedded};
use super::services::endpoints;

const NONE: &str = "NodePorts";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "node-port-from-pod",
        what: "Pods reach a NodePort, of their own node and of others",
        plan: |scene| {
            let mut checks = Checks::default();
            for pod in [scene.pod(CLIENT)].into_iter().chain([scene.pod(FAR)]).flatten() {
                for node in &scene.nodes {
                    ask(scene, &mut checks, pod, node)?;
                }
            }
            checks.plan()
        },
    },
    Scenario {
        name: "node-port-from-own-node",
        what: "a node's processes reach a NodePort at its own address",
        plan: |scene| {
            let mut checks = Checks::default();
            for node in &scene.nodes {
                ask(scene, &mut checks, &node.end, node)?;
            }
            checks.plan()
        },
    },
    Scenario {
        name: "node-port-from-other-node",
        what: "hosts outside of the Pod network reach a NodePort: other nodes",
        plan: |scene| {
            let mut checks = Checks::default();
            for node in &scene.nodes {
                for other in scene.other_nodes(&node.end.node)? {
                    ask(scene, &mut checks, &other.end, node)?;
                }
            }
            checks.plan()
        },
    },
    Scenario {
        name: "node-port-local-keeps-source",
        what: "with the external traffic policy Local, an endpoint sees hosts outside by their own addresses",
        plan: |scene| {
            outer(
                scene,
                |far, node| node.end.node == far.node,
                |other, family| Expect::By { names: vec![FAR.to_owned()], client: other.end.address(family) },
            )
        },
    },
    Scenario {
        name: "node-port-local-without-endpoint",
        what: "with the external traffic policy Local, a node without an endpoint does not answer hosts outside",
        plan: |scene| outer(scene, |far, node| node.end.node != far.node, |_, _| Expect::Silence),
    },
    Scenario {
        name: "node-port-local-from-own-node",
        what: "with the external traffic policy Local, a node's own processes and Pods get to all endpoints",
        plan: |scene| {
            embedded(scene, NONE)?;
            let (client, mut checks) = (scene.pod(CLIENT)?, Checks::default());
            scene.pod(FAR)?;
            let node = scene.node(&client.node)?;
            for from in [client, &node.end] {
                at(scene, &mut checks, OUTER, from, node, &answer_of(FAR))?;
            }
            checks.plan()
        },
    },
];

fn ask(scene: &Scene, checks: &mut Checks, from: &End, node: &Node) -> Result<(), String> {
    embedded(scene, NONE)?;
    at(scene, checks, ECHO, from, node, &Expect::By { names: endpoints(scene), client: None })
}

/// A Service at the addresses of a node, by TCP and UDP.
fn at(
    scene: &Scene,
    checks: &mut Checks,
    name: &str,
    from: &End,
    node: &Node,
    expect: &Expect,
) -> Result<(), String> {
    let [tcp, udp] =
        scene.service(name)?.node_ports.ok_or_else(|| format!("Service {name} has no NodePort"))?;
    let families = FAMILIES.into_iter().filter(|family| from.address(*family).is_some());
    for address in families.filter_map(|family| node.end.address(family)) {
        for (by, port) in [(By::Tcp, tcp), (By::Udp, udp)] {
            let to = (
                format!("the NodePort {port} of Service {name} at {}", node.end.at(address)),
                vec![node.end.node.clone()],
            );
            checks.add(from, by.ask(address, port, 1), to, expect.clone());
        }
    }
    Ok(())
}

/// Each node that is wanted is asked by others.
fn outer(
    scene: &Scene,
    wanted: impl Fn(&End, &Node) -> bool,
    expect: impl Fn(&Node, Family) -> Expect,
) -> Result<Plan, String> {
    embedded(scene, NONE)?;
    let (far, mut checks) = (scene.pod(FAR)?, Checks::default());
    let [tcp, _] =
        scene.service(OUTER)?.node_ports.ok_or_else(|| format!("Service {OUTER} has no NodePort"))?;
    for node in scene.nodes.iter().filter(|node| wanted(far, node)) {
        for other in scene.other_nodes(&node.end.node)? {
            let families = FAMILIES.into_iter().filter(|family| other.end.address(*family).is_some());
            for (family, address) in families.filter_map(|family| Some((family, node.end.address(family)?))) {
                let to = format!("the NodePort {tcp} of Service {OUTER} at {}", node.end.at(address));
                let nodes = vec![node.end.node.clone()];
                checks.add(&other.end, By::Tcp.ask(address, tcp, 1), (to, nodes), expect(other, family));
            }
        }
    }
    checks.plan()
}
