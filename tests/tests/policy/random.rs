//! Random policies about the Pods of a lab, as manifests: few labels, blocks and ports, so that much of it meets.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};
use testkit::Random;

/// The values of the label `app`.
pub(crate) const APPS: [&str; 3] = ["a", "b", "c"];
/// The values of the label `tier`.
pub(crate) const TIERS: [&str; 2] = ["x", "y"];
/// The namespaces.
pub(crate) const NAMESPACES: [&str; 2] = ["shop", "other"];
/// The ports at which Pods answer, and the names of them.
pub(crate) const PORTS: [u16; 3] = [7007, 7008, 7100];
pub(crate) const NAMES: [&str; 2] = ["echo", "admin"];

/// What policies are about.
pub(crate) struct Policies<'a> {
    pub(crate) random: &'a mut Random,
    /// The addresses of Pods and others.
    pub(crate) addresses: &'a [IpAddr],
}

impl Policies<'_> {
    /// A few of both kinds.
    pub(crate) fn some(&mut self) -> Vec<Value> {
        let network = self.random.below(6);
        let mut all: Vec<Value> = (0..network).map(|number| self.network(number)).collect();
        let cluster = self.random.below(4);
        all.extend((0..cluster).map(|number| self.cluster(number)));
        all
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.index(all.len())]
    }

    fn list(&mut self, least: u64, most: u64, mut one: impl FnMut(&mut Self) -> Value) -> Vec<Value> {
        let length = least + self.random.below(most - least + 1);
        (0..length).map(|_| one(self)).collect()
    }

    fn annotations(&mut self) -> Value {
        json!({"midonet.org/policy-audit": if self.random.percent(10) { "true" } else { "false" }})
    }

    fn network(&mut self, number: u64) -> Value {
        let mut spec = json!({"podSelector": self.pods()});
        let mut types = Vec::new();
        for (kind, field, peers) in [("Ingress", "ingress", "from"), ("Egress", "egress", "to")] {
            if self.random.percent(60) {
                types.push(kind);
                spec[field] = self.list(0, 3, |policies| policies.network_rule(peers)).into();
            }
        }
        spec["policyTypes"] = if types.is_empty() { json!(["Ingress"]) } else { json!(types) };
        let metadata = json!({
            "namespace": self.pick(&NAMESPACES), "name": format!("p{number}"), "annotations": self.annotations(),
        });
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec})
    }

    fn network_rule(&mut self, peers: &str) -> Value {
        let mut rule = json!({});
        if self.random.percent(85) {
            rule[peers] = self.list(1, 3, Self::network_peer).into();
        }
        if self.random.percent(50) {
            rule["ports"] = self.list(1, 3, Self::network_port).into();
        }
        rule
    }

    fn network_peer(&mut self) -> Value {
        match self.random.below(10) {
            0..3 => json!({"podSelector": self.pods()}),
            3..5 => json!({"namespaceSelector": self.namespaces()}),
            5..7 => json!({"namespaceSelector": self.namespaces(), "podSelector": self.pods()}),
            _ => {
                let block = self.block();
                let inside: Vec<IpNet> = (0..self.random.below(3)).map(|_| self.block()).collect();
                let except: Vec<IpNet> =
                    inside.into_iter().filter(|one| *one != block && block.contains(one)).collect();
                json!({"ipBlock": {"cidr": block, "except": except}})
            }
        }
    }

    fn network_port(&mut self) -> Value {
        let protocol = self.pick(&["TCP", "UDP"]);
        match self.random.below(4) {
            0 => json!({"protocol": protocol}),
            1 => json!({"protocol": protocol, "port": self.pick(&NAMES)}),
            2 => {
                let port = self.pick(&PORTS);
                json!({"protocol": protocol, "port": port, "endPort": port + self.pick(&[0, 1, 200])})
            }
            _ => json!({"protocol": protocol, "port": self.pick(&PORTS)}),
        }
    }

    fn cluster(&mut self, number: u64) -> Value {
        let mut spec = json!({
            "tier": self.pick(&["Admin", "Baseline"]), "priority": number, "subject": self.cluster_pods(),
        });
        spec["ingress"] = self.list(0, 3, |policies| policies.cluster_rule("from")).into();
        spec["egress"] = self.list(0, 3, |policies| policies.cluster_rule("to")).into();
        json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": format!("c{number}"), "annotations": self.annotations()}, "spec": spec,
        })
    }

    fn cluster_rule(&mut self, peers: &str) -> Value {
        let mut rule = json!({"name": "r", "action": self.pick(&["Accept", "Deny", "Pass"])});
        rule[peers] = self
            .list(1, 2, |policies| match policies.random.below(10) {
                0..3 if peers == "to" => {
                    json!({"networks": [policies.block(), policies.block()]})
                }
                3 if peers == "to" => json!({"nodes": {}}),
                _ => policies.cluster_pods(),
            })
            .into();
        if self.random.percent(50) {
            rule["protocols"] = self.list(1, 2, Self::cluster_port).into();
        }
        rule
    }

    fn cluster_pods(&mut self) -> Value {
        if self.random.percent(50) {
            json!({"namespaces": self.namespaces()})
        } else {
            json!({"pods": {"namespaceSelector": self.namespaces(), "podSelector": self.pods()}})
        }
    }

    fn cluster_port(&mut self) -> Value {
        let port = self.pick(&PORTS);
        let destination = match self.random.below(3) {
            0 => json!({"range": {"start": port - 1, "end": port + 1}}),
            _ => json!({"number": port}),
        };
        json!({self.pick(&["tcp", "udp"]): {"destinationPort": destination}})
    }

    fn pods(&mut self) -> Value {
        match self.random.below(10) {
            0..3 => json!({}),
            3..7 => json!({"matchLabels": {"app": self.pick(&APPS)}}),
            7 => json!({"matchLabels": {"tier": self.pick(&TIERS)}}),
            8 => {
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": [self.pick(&APPS)]}]})
            }
            _ => {
                json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": [self.pick(&TIERS)]}]})
            }
        }
    }

    fn namespaces(&mut self) -> Value {
        let name = self.pick(&NAMESPACES);
        match self.random.below(10) {
            0..4 => json!({}),
            4..7 => json!({"matchLabels": {"kubernetes.io/metadata.name": name}}),
            7..9 => json!({"matchLabels": {"team": self.pick(&["shop", "guests"])}}),
            _ => {
                let expression =
                    json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [name]});
                json!({"matchExpressions": [expression]})
            }
        }
    }

    /// A block around somebody's address.
    fn block(&mut self) -> IpNet {
        let address = self.pick(self.addresses);
        let length = match address {
            IpAddr::V4(_) => self.pick(&[0, 8, 16, 24, 24, 31, 32, 32]),
            IpAddr::V6(_) => self.pick(&[0, 16, 48, 64, 64, 127, 128, 128]),
        };
        IpNet::new(address, length).unwrap().trunc()
    }
}
