use std::net::Ipv4Addr;

use midonet::RuleType;
use naming::Mac;
use serde::Serialize;
use uuid::Uuid;

use crate::packet::{IcmpErrorKind, Packet};

/// The path of a packet, and of the answers to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// What happened, in order. After a flood, the path of one copy follows on the path of another.
    pub steps: Vec<Step>,
    /// What became of the packet: one of each copy.
    pub ends: Vec<End>,
}

/// One thing that happened to a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The device that it is at.
    pub device: DeviceName,
    /// The port that it is at. None where the device as a whole has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Uuid>,
    /// Which filter it goes through. None outside of filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// The chain that has the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainName>,
    /// The rule that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Uuid>,
    /// What happened.
    pub did: Did,
    /// The packet after it.
    pub packet: Packet,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceName {
    /// Bridge or router.
    pub kind: DeviceKind,
    /// Its id.
    pub id: Uuid,
    /// Its name; may be empty.
    pub name: String,
}

/// What forwards packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "MidoNet's words")]
pub enum DeviceKind {
    Bridge,
    Router,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainName {
    /// Its id.
    pub id: Uuid,
    /// Its name; may be empty.
    pub name: String,
}

/// Where a packet meets chains, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    /// The inbound filter of the port that it comes from.
    PortIn,
    /// The inbound filter of the device.
    DeviceIn,
    /// The outbound filter of the device.
    DeviceOut,
    /// The outbound filter of the port that it goes to.
    PortOut,
}

/// What happened to a packet in a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Did {
    /// It came into the device through the port.
    Enter,
    /// It leaves the device through the port; the port's outbound filter comes after it.
    Leave,
    /// A rule matched. Rules that do not match are no steps.
    Rule {
        /// The rule's type.
        action: RuleType,
        /// How it goes on.
        result: RuleResult,
        /// A rule that translates: the connection that it is of.
        #[serde(skip_serializing_if = "Option::is_none")]
        connection: Option<Connection>,
    },
    /// A bridge sends it to one port.
    Forward {
        /// The port.
        to: Uuid,
        /// Why to that one.
        known: Known,
    },
    /// A bridge does not know the destination, or it is for all: it sends a copy to every port that is bound.
    Flood {
        /// The ports.
        to: Vec<Uuid>,
    },
    /// A router found a route and counted the time to live down.
    Route {
        /// The route's id. None for one that MidoNet made with a port.
        #[serde(skip_serializing_if = "Option::is_none")]
        route: Option<Uuid>,
        /// The prefix of the route.
        prefix: String,
        /// The address that the packet goes to next: the gateway's, or its own destination.
        next_hop: Ipv4Addr,
        /// The port to it.
        to: Uuid,
    },
}

/// How a packet goes on after a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RuleResult {
    /// The filter lets it through.
    Accept,
    /// The filter drops it.
    Drop,
    /// The filter drops it, and a router tells its sender.
    Reject,
    /// It goes on after the rule that jumped to this chain. The filter lets it through if no rule did.
    Return,
    /// It goes on with the next rule.
    Continue,
    /// It goes on in another chain.
    Jump {
        /// Which.
        to: ChainName,
    },
    /// It went through that chain in this filter before: MidoNet goes on with the next rule.
    AlreadyVisited {
        /// The chain that is not gone through again.
        to: ChainName,
    },
}

/// The connection that a rule translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Connection {
    /// Its first packet: the translation was chosen now.
    New,
    /// It was chosen before.
    Known,
    /// A rule that translates back, and no connection that it does it for: the next rule follows.
    None,
    /// A protocol that MidoNet does not translate: the next rule follows.
    Unsupported,
    /// A rule that translates an address alone: every packet by itself.
    Stateless,
}

/// Why a bridge knows where a MAC address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Known {
    /// It is a router's, and the port leads there.
    RouterPort,
    /// The bridge's MAC table has it.
    MacTable,
    /// A packet came from there before.
    Learned,
}

/// What became of a packet, or of one copy of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// How many of the steps were before it.
    pub after: usize,
    /// What became of it.
    pub ending: Ending,
    /// The packet as it was then.
    pub packet: Packet,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Ending {
    /// It comes out of an interface.
    Delivered {
        /// The host.
        host: Uuid,
        /// The interface.
        interface: String,
        /// The port that is bound to it.
        port: Uuid,
        /// The addresses of the tunnel between the hosts, from and to. None if it stays on its host.
        #[serde(skip_serializing_if = "Option::is_none")]
        tunnel: Option<(Ipv4Addr, Ipv4Addr)>,
    },
    /// It goes no further, and a device answers.
    Answered {
        /// With what.
        answer: Answer,
        /// The path of the answer.
        path: Trace,
    },
    /// It goes no further, and nobody is told.
    Dropped {
        /// Why.
        reason: Reason,
    },
    /// A router took note of what an ARP packet says, and it goes no further.
    Consumed,
}

/// What a device answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Answer {
    /// An ARP reply.
    Arp {
        /// The MAC address that was asked for.
        mac: Mac,
    },
    /// A router's reply to an ICMP echo request.
    EchoReply,
    /// An ICMP error.
    IcmpError {
        /// Which.
        kind: IcmpErrorKind,
        /// Why the packet was not forwarded.
        reason: Reason,
    },
}

/// Why a packet goes no further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Reason {
    /// No port is bound to the interface.
    NotBound,
    /// There is no such port.
    NoPort {
        /// The port's id.
        port: Uuid,
    },
    /// A rule drops or rejects it.
    Rule {
        /// Where.
        filter: Filter,
        /// The chain that has the rule.
        chain: ChainName,
        /// The rule.
        rule: Uuid,
    },
    /// All ports that a rule may translate to are used for connections to this destination, or there are more
    /// connections than this simulation keeps.
    NatExhausted,
    /// The source MAC address is one of several receivers.
    MulticastSource,
    /// Its destination is at the port that it came from.
    CameFromThere,
    /// It is for all, and there is no other port that is bound.
    NobodyElse,
    /// The destination MAC address is not the router's.
    NotTheRoutersMac,
    /// ARP for an address that the router's port does not have, or from outside of its network.
    ArpNotForRouter,
    /// No route matches the destination.
    NoRoute,
    /// A route of type BlackHole.
    BlackHole,
    /// A route of type Reject.
    RejectRoute,
    /// The destination is an address of the router, which answers to echo requests alone.
    RoutersOwnAddress,
    /// The router has no route for its echo reply.
    NoRouteBack,
    /// The time to live is used up.
    TimeExceeded,
    /// Neither the bridge's ARP table nor an ARP packet says what the MAC address of the next hop is. MidoNet asks by ARP,
    /// and forwards the packet if somebody answers.
    NoNextHopMac {
        /// The next hop.
        address: Ipv4Addr,
    },
    /// The port is neither linked to another nor bound to an interface.
    Unplugged,
    /// It went through more devices than MidoNet allows: a loop.
    TooManyDevices,
    /// It has to go to another host, and no tunnel zone has both.
    NoTunnel {
        /// From.
        from: Uuid,
        /// To.
        to: Uuid,
    },
}

impl Trace {
    /// Where it comes out: host and interface, once for every copy.
    pub fn delivered(&self) -> Vec<(Uuid, &str)> {
        self.ends
            .iter()
            .filter_map(|end| match &end.ending {
                Ending::Delivered { host, interface, .. } => Some((*host, interface.as_str())),
                _ => None,
            })
            .collect()
    }

    /// What became of it, if there is one copy of it.
    pub fn end(&self) -> Option<&End> {
        match self.ends.as_slice() {
            [end] => Some(end),
            _ => None,
        }
    }
}
