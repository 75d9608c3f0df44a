//! Peers and subjects as the API server and manifests have them.

use ipnet::IpNet;
use serde_json::Value;

use super::ClusterPeer;
use crate::kinds::fields::{fields, known_fields, list, quoted, text};
use crate::kinds::labels::{LabelSelector, selector};
use crate::network::cidr;

/// What rules are for.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The field of a rule's peers.
    pub(super) fn peers(self) -> &'static str {
        match self {
            Self::Ingress => "from",
            Self::Egress => "to",
        }
    }
}

/// The namespaces and Pods of a subject, or of a peer that is one of these two.
pub(super) fn selected(value: &Value) -> Result<(LabelSelector, LabelSelector), String> {
    let of = |field: &'static str| move |wrong| format!("{field}: {wrong}");
    match fields(value, ["namespaces", "pods"])? {
        [Some(namespaces), None] => {
            Ok((selector(namespaces).map_err(of("namespaces"))?, LabelSelector::default()))
        }
        [None, Some(pods)] => both(pods).map_err(of("pods")),
        [None, None] => Err("it is empty".to_owned()),
        [Some(_), Some(_)] => Err("it has namespaces and pods: one of the two is meant".to_owned()),
    }
}

/// Without a `namespaceSelector` they are those of all namespaces.
fn both(value: &Value) -> Result<(LabelSelector, LabelSelector), String> {
    let [namespaces, pods] = fields(value, ["namespaceSelector", "podSelector"])?;
    let namespaces = namespaces.map_or(Ok(LabelSelector::default()), selector);
    let pods = selector(pods.ok_or("it has no podSelector")?);
    Ok((
        namespaces.map_err(|wrong| format!("namespaceSelector: {wrong}"))?,
        pods.map_err(|wrong| format!("podSelector: {wrong}"))?,
    ))
}

/// A peer of a rule.
pub(super) fn peer(value: &Value, direction: Direction) -> Result<ClusterPeer, String> {
    let of = |field: &'static str| move |wrong| format!("{field}: {wrong}");
    let egress = ["nodes", "networks", "domainNames"];
    let ([nodes, networks, domain_names], other) = known_fields(value, egress)?;
    if matches!(direction, Direction::Ingress) && nodes.or(networks).or(domain_names).is_some() {
        return Err("nodes, networks and domainNames are no peers that packets come from".to_owned());
    }
    match (nodes, networks, domain_names, other.is_empty()) {
        (None, None, None, _) => {
            selected(value).map(|(namespaces, pods)| ClusterPeer::Pods { namespaces, pods })
        }
        (Some(nodes), None, None, true) => selector(nodes).map(ClusterPeer::Nodes).map_err(of("nodes")),
        (None, Some(all), None, true) => ranges(all).map(ClusterPeer::Networks).map_err(of("networks")),
        (None, None, Some(_), true) => Err("domainNames are not supported".to_owned()),
        _ => Err("it says more than one kind of peer".to_owned()),
    }
}

fn ranges(value: &Value) -> Result<Box<[IpNet]>, String> {
    let range = |value: &Value| {
        let text = text(value)?;
        cidr(text).ok_or_else(|| format!("{} is no CIDR like 192.0.2.0/24 or 2001:db8::/64", quoted(text)))
    };
    match list(value)? {
        [] => Err("it is empty".to_owned()),
        all => all.iter().map(range).collect(),
    }
}

/// Whether none of its addresses has ports with names.
pub(super) fn has_no_named_ports(peer: &ClusterPeer) -> bool {
    matches!(peer, ClusterPeer::Networks(_) | ClusterPeer::Nodes(_))
}
