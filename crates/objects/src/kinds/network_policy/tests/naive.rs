//! What a policy that was read allows is what the specification says of it as it was written, wrong parts among the good ones
//! matching nothing. The evaluator here knows nothing of how policies are read.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;
use crate::kinds::Labels;

/// Key, operator, values.
type Expressions = Vec<(&'static str, &'static str, Vec<&'static str>)>;

#[derive(Debug, Clone)]
enum Who {
    Pods { namespaces: Option<Expressions>, pods: Option<Expressions> },
    Block { cidr: &'static str, except: Vec<&'static str> },
    Wrong(Value),
}

#[derive(Debug, Clone)]
enum Where {
    Numbers(Option<&'static str>, Option<(u16, Option<u16>)>),
    Name(&'static str, &'static str),
    Wrong(Value),
}

/// A list may be missing.
type Written = (Option<Vec<Who>>, Option<Vec<Where>>);

#[derive(Debug, Clone)]
struct Model {
    pods: Expressions,
    types: Option<Vec<&'static str>>,
    ingress: Option<Vec<Written>>,
    egress: Option<Vec<Written>>,
}

/// The other end of a connection, and its destination's port.
#[derive(Debug, Clone)]
struct Other {
    labels: Vec<(&'static str, &'static str)>,
    /// Of its namespace, if that is another one.
    namespace: Option<Vec<(&'static str, &'static str)>>,
    address: &'static str,
    protocol: &'static str,
    port: u16,
    /// What the destination calls that port.
    name: Option<&'static str>,
}

const CIDRS: [&str; 8] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3/24",
    "::/0",
    "fd00::/8",
    "fd00::1:7/112",
    "::ffff:10.1.2.0/120",
];
const ADDRESSES: [&str; 6] = ["10.1.2.9", "10.1.3.1", "10.2.0.1", "192.0.2.1", "fd00::1:9", "2001:db8::1"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const PORTS: [u16; 5] = [1, 79, 80, 81, 65535];

fn expressions() -> impl Strategy<Value = Expressions> {
    let (keys, values) = (vec!["a", "b"], vec!["x", "y"]);
    let operator = select(vec!["In", "NotIn", "Exists", "DoesNotExist"]);
    vec((select(keys), operator, vec(select(values), 1..3)), 0..3)
}

fn who() -> impl Strategy<Value = Who> {
    let pods = (option::of(expressions()), option::of(expressions())).prop_map(|(namespaces, pods)| {
        let pods = if namespaces.is_none() { Some(pods.unwrap_or_default()) } else { pods };
        Who::Pods { namespaces, pods }
    });
    let block = (select(&CIDRS[..]), vec(select(&CIDRS[..]), 0..3))
        .prop_map(|(cidr, except)| Who::Block { cidr, except });
    let wrong = select(vec![
        json!({}),
        json!(null),
        json!({"podSelector": {}, "other": {}}),
        json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}),
        json!({"ipBlock": {"cidr": "10.0.0.0/40"}}),
        json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1"]}}),
        json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}),
    ]);
    prop_oneof![4 => pods, 4 => block, 1 => wrong.prop_map(Who::Wrong)]
}

fn place() -> impl Strategy<Value = Where> {
    let number = (
        option::of(select(&PROTOCOLS[..])),
        option::of((select(&PORTS[..]), option::of(select(&PORTS[..])))),
    );
    let number = number.prop_map(|(protocol, ports)| Where::Numbers(protocol, ports));
    let name = (select(&PROTOCOLS[..]), select(vec!["http", "dns"]))
        .prop_map(|(protocol, name)| Where::Name(protocol, name));
    let wrong = select(vec![
        json!({"port": 0}),
        json!({"port": "80"}),
        json!({"port": "http", "endPort": 80}),
        json!({"endPort": 80}),
        json!({"protocol": "tcp"}),
        json!({"ports": 80}),
    ]);
    prop_oneof![6 => number, 2 => name, 1 => wrong.prop_map(Where::Wrong)]
}

fn model() -> impl Strategy<Value = Model> {
    let rules = || option::of(vec((option::of(vec(who(), 0..3)), option::of(vec(place(), 0..3))), 0..3));
    let types = option::of(select(vec![vec![], vec!["Ingress"], vec!["Egress"], vec!["Ingress", "Egress"]]));
    (expressions(), types, rules(), rules()).prop_map(|(pods, types, ingress, egress)| Model {
        pods,
        types,
        ingress,
        egress,
    })
}

fn other() -> impl Strategy<Value = Other> {
    let labels = || {
        let one = |key| {
            option::of(select(vec!["x", "y", "z"])).prop_map(move |value| value.map(|value| (key, value)))
        };
        (one("a"), one("b")).prop_map(|(a, b)| a.into_iter().chain(b).collect::<Vec<_>>())
    };
    let port = (select(&PROTOCOLS[..]), select(&PORTS[..]), option::of(select(vec!["http", "dns"])));
    (labels(), option::of(labels()), select(&ADDRESSES[..]), port).prop_map(
        |(labels, namespace, address, (protocol, port, name))| Other {
            labels,
            namespace,
            address,
            protocol,
            port,
            name,
        },
    )
}

fn written(expressions: &Expressions) -> Value {
    let one = |(key, operator, values): &(&str, &str, Vec<&str>)| match *operator {
        "In" if values.len() == 1 && *key == "b" => None,
        "In" | "NotIn" => Some(json!({"key": key, "operator": operator, "values": values})),
        _ => Some(json!({"key": key, "operator": operator})),
    };
    // A single one as matchLabels, unless it contradicts another one.
    let labels: Vec<_> = expressions.iter().filter(|&all| one(all).is_none()).collect();
    let all = expressions.iter().filter_map(one);
    let rest = labels
        .iter()
        .skip(1)
        .map(|(key, operator, values)| json!({"key": key, "operator": operator, "values": values}));
    let mut selector = json!({"matchExpressions": all.chain(rest).collect::<Vec<_>>()});
    if let Some((key, _, values)) = labels.first() {
        selector["matchLabels"] = json!({*key: values[0]});
    }
    selector
}

impl Model {
    fn written(&self) -> Value {
        let peer = |who: &Who| match who {
            Who::Pods { namespaces, pods } => json!({
                "namespaceSelector": namespaces.as_ref().map(written), "podSelector": pods.as_ref().map(written),
            }),
            Who::Block { cidr, except } => json!({"ipBlock": {"cidr": cidr, "except": except}}),
            Who::Wrong(value) => value.clone(),
        };
        let port = |place: &Where| match place {
            Where::Numbers(protocol, ports) => json!({
                "protocol": protocol, "port": ports.map(|ports| ports.0), "endPort": ports.and_then(|ports| ports.1),
            }),
            Where::Name(protocol, name) => json!({"protocol": protocol, "port": name}),
            Where::Wrong(value) => value.clone(),
        };
        let rules = |rules: &Option<Vec<Written>>, peers: &str| {
            let rule = |(who, places): &Written| {
                json!({
                    peers: who.as_ref().map(|who| who.iter().map(peer).collect::<Vec<_>>()),
                    "ports": places.as_ref().map(|places| places.iter().map(port).collect::<Vec<_>>()),
                })
            };
            rules.as_ref().map(|rules| rules.iter().map(rule).collect::<Vec<_>>())
        };
        json!({
            "podSelector": written(&self.pods), "policyTypes": self.types,
            "ingress": rules(&self.ingress, "from"), "egress": rules(&self.egress, "to"),
        })
    }

    /// `None`: the policy is not about that direction.
    fn allows(&self, other: &Other, is_ingress: bool) -> Option<bool> {
        let given = self.types.as_ref().filter(|types| !types.is_empty());
        let has_egress = self.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        let is_about = match (given, is_ingress) {
            (Some(types), true) => types.contains(&"Ingress"),
            (Some(types), false) => types.contains(&"Egress"),
            (None, is_ingress) => is_ingress || has_egress,
        };
        let rules = if is_ingress { &self.ingress } else { &self.egress };
        is_about.then(|| {
            rules.iter().flatten().any(|(who, places)| {
                let who = who.as_ref().filter(|all| !all.is_empty());
                let places = places.as_ref().filter(|all| !all.is_empty());
                who.is_none_or(|all| all.iter().any(|who| who.has(other)))
                    && places.is_none_or(|all| all.iter().any(|place| place.has(other)))
            })
        })
    }
}

fn hold(expressions: &Expressions, labels: &[(&str, &str)]) -> bool {
    expressions.iter().all(|(key, operator, values)| {
        let value = labels.iter().find(|label| label.0 == *key).map(|label| label.1);
        match *operator {
            "In" => value.is_some_and(|value| values.contains(&value)),
            "NotIn" => value.is_none_or(|value| !values.contains(&value)),
            "Exists" => value.is_some(),
            _ => value.is_none(),
        }
    })
}

/// Bit by bit, IPv4 as mapped IPv6.
fn lies_in(address: &str, cidr: &str) -> bool {
    let (range, prefix) = cidr.split_once('/').unwrap();
    let bits = |text: &str| match text.parse::<IpAddr>().unwrap() {
        IpAddr::V4(v4) => (u128::from(v4.to_ipv6_mapped()), true),
        IpAddr::V6(v6) => (u128::from(v6), v6.to_ipv4_mapped().is_some()),
    };
    let ((address, is_v4), (range_bits, range_is_v4)) = (bits(address), bits(range));
    let prefix = prefix.parse::<u32>().unwrap() + if range.contains(':') { 0 } else { 96 };
    is_v4 == range_is_v4 && (prefix == 0 || (address ^ range_bits) >> (128 - prefix) == 0)
}

impl Who {
    fn has(&self, other: &Other) -> bool {
        match self {
            Self::Pods { namespaces, pods } => {
                let own = [("own", "own")];
                let is_there = match namespaces {
                    None => other.namespace.is_none(),
                    Some(selector) => hold(selector, other.namespace.as_deref().unwrap_or(&own)),
                };
                is_there && pods.as_ref().is_none_or(|pods| hold(pods, &other.labels))
            }
            Self::Block { cidr, except } => {
                lies_in(other.address, cidr) && !except.iter().any(|one| lies_in(other.address, one))
            }
            Self::Wrong(_) => false,
        }
    }
}

impl Where {
    fn has(&self, other: &Other) -> bool {
        match self {
            Self::Numbers(protocol, ports) => {
                protocol.unwrap_or("TCP") == other.protocol
                    && ports.is_none_or(|(first, last)| (first..=last.unwrap_or(first)).contains(&other.port))
            }
            Self::Name(protocol, name) => *protocol == other.protocol && other.name == Some(name),
            Self::Wrong(_) => false,
        }
    }
}

/// The same of what was read.
fn allowed(rules: &[Rule], other: &Other) -> bool {
    let address: IpAddr = other.address.parse().unwrap();
    let labels: Labels = other.labels.iter().copied().collect();
    let namespace: Labels =
        other.namespace.clone().unwrap_or_else(|| vec![("own", "own")]).into_iter().collect();
    let is_peer = |peer: &Peer| match peer {
        Peer::Pods { namespaces: None, pods } => other.namespace.is_none() && pods.selects(&labels),
        Peer::Pods { namespaces: Some(namespaces), pods } => {
            namespaces.selects(&namespace) && pods.selects(&labels)
        }
        Peer::Block { cidr, except } => {
            cidr.contains(&address) && !except.iter().any(|one| one.contains(&address))
        }
    };
    let is_port = |port: &PolicyPort| {
        port.protocol.name() == other.protocol
            && match &port.ports {
                Ports::All => true,
                Ports::Range(first, last) => (*first..=*last).contains(&other.port),
                Ports::Named(name) => other.name == Some(name),
            }
    };
    rules.iter().any(|rule| {
        rule.peers.as_ref().is_none_or(|peers| peers.iter().any(is_peer))
            && rule.ports.as_ref().is_none_or(|ports| ports.iter().any(is_port))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_was_read_allows_what_was_written(model in model(), others in vec(other(), 1..12)) {
        let policy = of(&model.written());
        for other in others {
            let labels: Labels = other.labels.iter().copied().collect();
            prop_assert_eq!(policy.pods.selects(&labels), hold(&model.pods, &other.labels));
            for (rules, is_ingress) in [(&policy.ingress, true), (&policy.egress, false)] {
                let read = rules.as_ref().map(|rules| allowed(rules, &other));
                prop_assert_eq!(read, model.allows(&other, is_ingress), "{:?} {:?}", other, policy);
            }
        }
    }
}
