//! What MidoNet has, and whether it is what is wanted.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use midonet::{Body, Kind, Resource, Route, Rule, RuleType};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A resource as MidoNet gives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    kind: Kind,
    fields: Map<String, Value>,
}

impl Found {
    /// Reads an answer. Some of MidoNet's hold a key twice, and null for what is not set.
    ///
    /// # Errors
    /// It is no JSON object.
    pub(crate) fn read(kind: Kind, json: &[u8]) -> Result<Self, String> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(json).map_err(|error| format!("cannot be read: {error}"))?;
        fields.retain(|_, value| !value.is_null());
        Ok(Self { kind, fields })
    }

    /// Its content; none if it is one that Translations cannot have.
    pub(crate) fn body(&self) -> Option<Body> {
        let json = Value::Object(self.fields.clone()).to_string();
        Body::parse(self.kind, &json).ok()
    }

    /// Whether its content is the wanted one, as far as Translations can tell.
    pub(crate) fn is(&self, wanted: &Body) -> bool {
        self.body().is_some_and(|body| normal(body) == normal(wanted.clone()))
    }

    /// Whether it belongs to the wanted resource's parent. Where MidoNet does not say to what, it does: the parent is
    /// in the path.
    pub(crate) fn belongs_to(&self, wanted: &Resource) -> bool {
        let owner = match self.kind {
            Kind::Port => self.id("deviceId"),
            Kind::Route => self.id("routerId"),
            Kind::Rule => self.id("chainId"),
            _ => None,
        };
        owner.is_none() || owner == wanted.parent
    }

    /// A port's addresses; none if they cannot be read.
    pub(crate) fn addresses(&self) -> Option<Vec<Ipv4Net>> {
        match self.body()? {
            Body::Port(port) => Some(port.port_subnet),
            _ => None,
        }
    }

    /// An id in it, such as `peerId`.
    pub(crate) fn id(&self, field: &str) -> Option<Uuid> {
        self.fields.get(field)?.as_str()?.parse().ok()
    }

    /// Its name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.get("name")?.as_str()
    }

    /// A rule's position in its chain, from 1.
    pub(crate) fn position(&self) -> Option<u64> {
        self.fields.get("position")?.as_u64()
    }
}

/// The body with one form for what means the same.
fn normal(body: Body) -> Body {
    match body {
        Body::Rule(rule) => Body::Rule(normal_rule(rule)),
        Body::Route(route) => Body::Route(Route {
            dst_network_addr: network(route.dst_network_addr, route.dst_network_length),
            src_network_addr: network(route.src_network_addr, route.src_network_length),
            ..route
        }),
        other => other,
    }
}

fn normal_rule(mut rule: Rule) -> Rule {
    let prefix = |address: Option<Ipv4Addr>, length| match (address, length) {
        (Some(address), 1..) => (Some(network(address, length)), length),
        _ => (None, 0), // every address
    };
    (rule.nw_dst_address, rule.nw_dst_length) = prefix(rule.nw_dst_address, rule.nw_dst_length);
    (rule.nw_src_address, rule.nw_src_length) = prefix(rule.nw_src_address, rule.nw_src_length);
    // What the type has no use for is not kept by MidoNet.
    if rule.rule_type != RuleType::Jump {
        rule.jump_chain_id = None;
    }
    if !matches!(rule.rule_type, RuleType::Dnat | RuleType::Snat) {
        rule.nat_targets = None;
    }
    if !matches!(rule.rule_type, RuleType::Dnat | RuleType::Snat | RuleType::RevDnat | RuleType::RevSnat) {
        rule.flow_action = None;
    }
    if let Some(targets) = &mut rule.nat_targets {
        // MidoNet takes one at random.
        targets
            .sort_by_key(|target| (target.address_from, target.address_to, target.port_from, target.port_to));
    }
    rule
}

/// The address without what is behind the prefix.
fn network(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests;
