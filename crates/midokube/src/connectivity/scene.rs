//! What scenarios are made of: nodes, Pods, Services and their addresses. No I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::name::Name;
use crate::trace::Place;

/// The Pods, by what they are there for. `CLIENT` asks most questions; `NEAR` is on its node, `FAR` on another one. `GUARDED`
/// gets a policy for what comes in, `CONFINED` one for what it sends. `OTHER_NAMESPACE` is in another namespace.
pub(super) const CLIENT: &str = "client";
pub(super) const NEAR: &str = "near";
pub(super) const FAR: &str = "far";
pub(super) const GUARDED: &str = "guarded";
pub(super) const CONFINED: &str = "confined";
pub(super) const OTHER_NAMESPACE: &str = "other-namespace";

/// The ports that each Pod serves, over TCP and UDP. Policies tell them apart.
pub(super) const PORT: u16 = 8080;
pub(super) const PORT_NAMESPACE: u16 = 8081;
pub(super) const PORT_BLOCK: u16 = 8082;
pub(super) const PORT_EXCEPT: u16 = 8083;
pub(super) const PORTS: [u16; 4] = [PORT, PORT_NAMESPACE, PORT_BLOCK, PORT_EXCEPT];

/// The port of each Service, over TCP and UDP.
pub(super) const SERVICE_PORT: u16 = 80;

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

pub(super) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The first address of it.
    pub(super) fn first(self, addresses: &[IpAddr]) -> Option<IpAddr> {
        addresses.iter().copied().find(|address| Self::of(*address) == self)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A Pod, or the processes of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) place: Place,
    pub(super) node: String,
    pub(super) addresses: Vec<IpAddr>,
}

impl End {
    /// By what it is known: what a Pod is there for, or the node's name.
    pub(super) fn name(&self) -> &str {
        match &self.place {
            Place::Pod(Name { name, .. }) | Place::Node(name) => name,
        }
    }

    pub(super) fn address(&self, family: Family) -> Option<IpAddr> {
        family.first(&self.addresses)
    }

    /// With the address of a family, for people.
    pub(super) fn at(&self, address: IpAddr) -> String {
        format!("{self} ({address})")
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Pod(Name { name, .. }) => write!(f, "Pod {name} on {}", self.node),
            Place::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Its processes, with the Node's InternalIPs.
    pub(super) end: End,
    /// The node's addresses in the Pod network.
    pub(super) own: Vec<IpAddr>,
    /// Its Pods' gateways.
    pub(super) gateways: Vec<IpAddr>,
    /// Where kubelet listens.
    pub(super) kubelet_port: Option<u16>,
    /// The largest packet of its Pods.
    pub(super) mtu: Option<u16>,
}

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) addresses: Vec<IpAddr>,
    /// The NodePorts of TCP and UDP, if it has any.
    pub(super) node_ports: Option<[u16; 2]>,
}

/// How Pods resolve names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolver {
    pub(super) servers: Vec<IpAddr>,
    pub(super) domain: String,
}

/// The API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiServer {
    /// The addresses of the Service `default/kubernetes`, and its port.
    pub(super) service: Vec<IpAddr>,
    pub(super) port: u16,
    /// Its own addresses and ports.
    pub(super) endpoints: Vec<(IpAddr, u16)>,
}

/// What a network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// The embedded one; else a MidoNet.
    pub(super) embedded: bool,
    pub(super) policies: bool,
}

/// What there is to test.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// The namespace of all Pods but one, and that one's.
    pub(super) namespace: String,
    /// Each node with an agent, and why that does not answer or serve; `None`: it does.
    pub(super) agents: Vec<(String, Option<String>)>,
    /// The nodes whose processes ask: those of the Pods, and one without Pods if there is one.
    pub(super) nodes: Vec<Node>,
    /// Pods that run, or why one does not.
    pub(super) pods: BTreeMap<String, Result<End, String>>,
    /// Of those that should run and do not: the Pod, its node, and why.
    pub(super) missing: Vec<(String, String, String)>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) api: Result<ApiServer, String>,
    /// How Pods resolve names, or why they cannot.
    pub(super) resolver: Result<Resolver, String>,
    pub(super) abilities: Abilities,
}

impl Scene {
    /// A Pod that runs.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn pod(&self, name: &str) -> Result<&End, String> {
        match self.pods.get(name) {
            Some(pod) => pod.as_ref().map_err(Clone::clone),
            None => Err(format!("there is no Pod {name}")),
        }
    }

    /// A client without any label that policies name: of another node if there is one.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn visitor(&self) -> Result<&End, String> {
        self.pod(FAR).or_else(|_| self.pod(NEAR))
    }

    /// A Service.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn service(&self, name: &str) -> Result<&Service, String> {
        self.services.get(name).ok_or_else(|| format!("there is no Service {name}"))
    }

    /// The node of that name.
    ///
    /// # Errors
    /// It is not asked.
    pub(super) fn node(&self, name: &str) -> Result<&Node, String> {
        let node = self.nodes.iter().find(|node| node.end.node == name);
        node.ok_or_else(|| format!("the agent of node {name} does not answer"))
    }

    /// The nodes that are not the one of that name.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn other_nodes(&self, name: &str) -> Result<Vec<&Node>, String> {
        let others: Vec<&Node> = self.nodes.iter().filter(|node| node.end.node != name).collect();
        if others.is_empty() { Err(ONE_NODE.to_owned()) } else { Ok(others) }
    }
}

/// The Services, by what they are there for. `ECHO` has `NEAR` and `FAR` as endpoints, as have `HEADLESS`, `STICKY` and `INNER`;
/// `EMPTY` has none; `MOVING` has `NEAR`, and later `FAR` instead; `OUTER` has `FAR` and an external traffic policy Local.
pub(super) const ECHO: &str = "echo";
pub(super) const HEADLESS: &str = "headless";
pub(super) const STICKY: &str = "sticky";
pub(super) const INNER: &str = "inner";
pub(super) const EMPTY: &str = "empty";
pub(super) const MOVING: &str = "moving";
pub(super) const OUTER: &str = "outer";

/// Why there is nothing across nodes.
pub(super) const ONE_NODE: &str = "the cluster has one node with an agent that answers";
