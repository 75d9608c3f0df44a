use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use naming::Mac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Kind;

/// What is sent of a resource. What a field means is said by MidoNet's REST API documentation (resource models).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the names are the kinds'")]
pub enum Body {
    TunnelZone(TunnelZone),
    TunnelZoneHost(TunnelZoneHost),
    Router(Router),
    Bridge(Bridge),
    Port(Port),
    PortLink(PortLink),
    Route(Route),
    Chain(Chain),
    Rule(Rule),
    HostInterfacePort(HostInterfacePort),
    MacPort(MacPort),
    Ipv4MacPair(Ipv4MacPair),
}

macro_rules! bodies {
    ($($kind:ident),*) => {
        impl Body {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),* }
            }

            /// The body of a resource of this kind. Fields that are not known are left out, as MidoNet does.
            ///
            /// # Errors
            /// The text is not JSON, or a field has a wrong type or value.
            pub fn parse(kind: Kind, json: &str) -> Result<Self, serde_json::Error> {
                match kind { $(Kind::$kind => serde_json::from_str(json).map(Self::$kind)),* }
            }
        }
        $(impl From<$kind> for Body {
            fn from(body: $kind) -> Self {
                Self::$kind(body)
            }
        })*
    };
}

bodies!(
    TunnelZone,
    TunnelZoneHost,
    Router,
    Bridge,
    Port,
    PortLink,
    Route,
    Chain,
    Rule,
    HostInterfacePort,
    MacPort,
    Ipv4MacPair
);

/// How the hosts of a zone reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub enum TunnelZoneType {
    Gre,
    Vxlan,
    Vtep,
}

/// The hosts that reach each other by tunnels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct TunnelZone {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub zone_type: Option<TunnelZoneType>,
}

/// A host in a tunnel zone, its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct TunnelZoneHost {
    pub host_id: Uuid,
    pub ip_address: Ipv4Addr,
}

/// A virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct Router {
    pub id: Uuid,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_filter_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_filter_id: Option<Uuid>,
}

/// A virtual bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct Bridge {
    pub id: Uuid,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_filter_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_filter_id: Option<Uuid>,
}

/// What a port is a port of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "MidoNet's words")]
pub enum PortType {
    Bridge,
    Router,
}

/// A port of a bridge or router, its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct Port {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub port_type: PortType,
    /// A router's port: its address and prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_subnet: Vec<Ipv4Net>,
    /// A router's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_mac: Option<Mac>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_filter_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_filter_id: Option<Uuid>,
}

/// Joins two ports, of which one is the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct PortLink {
    /// Always null in Translations. It must not be sent at all: MidoNet answers 500 and does not link the ports.
    pub port_id: Option<Uuid>,
    pub peer_id: Uuid,
}

/// What a route does with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "MidoNet's words")]
pub enum RouteType {
    Normal,
    BlackHole,
    Reject,
    Local,
}

/// A route of a router, its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct Route {
    pub id: Uuid,
    pub dst_network_addr: Ipv4Addr,
    pub dst_network_length: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_gateway: Option<Ipv4Addr>,
    #[serde(default)]
    pub next_hop_port: Option<Uuid>,
    pub src_network_addr: Ipv4Addr,
    pub src_network_length: u8,
    #[serde(rename = "type")]
    pub route_type: RouteType,
}

/// A list of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct Chain {
    pub id: Uuid,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// What a rule does with the packets that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub enum RuleType {
    Accept,
    Drop,
    Reject,
    Return,
    Jump,
    Dnat,
    Snat,
    RevDnat,
    RevSnat,
}

/// How a packet goes on after a rule that translated it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub enum FlowAction {
    Accept,
    Continue,
    Return,
}

/// Ports, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct PortRange {
    pub start: u16,
    pub end: u16,
}

/// What an address and port may become. For every new connection MidoNet takes one of a rule's targets at random.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct NatTarget {
    pub address_from: Ipv4Addr,
    pub address_to: Ipv4Addr,
    pub port_from: u16,
    pub port_to: u16,
}

/// A rule of a chain, its parent. MidoNet puts a new one in front of those that the chain has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct Rule {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub rule_type: RuleType,
    /// 0x800 for IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dl_type: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nw_dst_address: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nw_dst_length: u8,
    /// 6 for TCP, 17 for UDP.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nw_proto: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nw_src_address: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nw_src_length: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tp_dst: Option<PortRange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tp_src: Option<PortRange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump_chain_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_action: Option<FlowAction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_targets: Option<Vec<NatTarget>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl Rule {
    /// A rule of this type that matches every packet.
    pub fn new(id: Uuid, rule_type: RuleType) -> Self {
        Self {
            id,
            rule_type,
            dl_type: None,
            nw_dst_address: None,
            nw_dst_length: 0,
            nw_proto: 0,
            nw_src_address: None,
            nw_src_length: 0,
            tp_dst: None,
            tp_src: None,
            jump_chain_id: None,
            flow_action: None,
            nat_targets: None,
        }
    }

    /// A rule that sends every packet through another chain.
    pub fn jump(id: Uuid, to: Uuid) -> Self {
        Self { jump_chain_id: Some(to), ..Self::new(id, RuleType::Jump) }
    }
}

/// Binds a port to an interface of a host, its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct HostInterfacePort {
    pub host_id: Uuid,
    pub port_id: Uuid,
    /// It need not exist yet.
    pub interface_name: String,
}

/// A MAC address at a port of a bridge, its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct MacPort {
    pub mac_addr: Mac,
    pub port_id: Uuid,
}

/// The MAC address that a bridge, its parent, answers ARP requests for an address with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "MidoNet's words")]
pub struct Ipv4MacPair {
    pub ip: Ipv4Addr,
    pub mac: Mac,
}
