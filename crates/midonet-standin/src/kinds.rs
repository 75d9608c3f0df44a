//! The fields of each kind, as its answers have them (midonet-cluster, `rest_api/models`).

use crate::schema::Shape::{
    Address, Choice, Flag, Id, Ids, Mac, Number, Optional, Range, Targets, Text, Texts, Word,
};
use crate::schema::{Field, field, required};

const ANY: usize = usize::MAX;
const YES: crate::schema::Shape = Flag(Some(true));
const NO: crate::schema::Shape = Flag(Some(false));
const NAME: crate::schema::Shape = Text(0, 255);
const INVALID: &str = "is an invalid IP format";
const INT: i64 = i32::MAX as i64;

pub(crate) type Schema = &'static [&'static [Field]];

pub(crate) const HOST: Schema = &[&[
    field("id", Id),
    field("name", Text(0, ANY)),
    field("floodingProxyWeight", Optional(0, 65535)),
    field("containerWeight", Optional(0, INT)),
    field("containerLimit", Optional(-1, INT)),
    field("enforceContainerLimit", Flag(None)),
]];

pub(crate) const TUNNEL_ZONE: Schema = &[&[
    field("id", Id),
    required("name", Text(1, 255)),
    required("type", Choice("TunnelZone$TunnelZoneType", &["gre", "vxlan", "vtep"], None)),
]];

pub(crate) const TUNNEL_ZONE_HOST: Schema =
    &[&[field("tunnelZoneId", Id), required("hostId", Id), required("ipAddress", Address(INVALID))]];

pub(crate) const ROUTER: Schema = &[&[
    field("id", Id),
    field("tenantId", Text(0, ANY)),
    field("name", NAME),
    field("adminStateUp", YES),
    field("inboundFilterId", Id),
    field("outboundFilterId", Id),
    field("loadBalancerId", Id),
    field("asNumber", Number(i64::MIN, i64::MAX)),
    field("inboundMirrorIds", Ids),
    field("outboundMirrorIds", Ids),
    field("localRedirectChainId", Id),
    field("forwardChainId", Id),
]];

pub(crate) const BRIDGE: Schema = &[&[
    field("id", Id),
    field("tenantId", Text(0, ANY)),
    field("name", NAME),
    field("adminStateUp", YES),
    field("inboundFilterId", Id),
    field("outboundFilterId", Id),
    field("vxLanPortIds", Ids),
    field("inboundMirrorIds", Ids),
    field("outboundMirrorIds", Ids),
    field("qosPolicyId", Id),
]];

/// What a port of a bridge and one of a router have.
const PORT: &[Field] = &[
    field("id", Id),
    field("adminStateUp", YES),
    field("inboundFilterId", Id),
    field("outboundFilterId", Id),
    field("tunnelKey", Number(i64::MIN, i64::MAX)),
    field("vifId", Id),
    field("hostId", Id),
    field("interfaceName", Text(0, ANY)),
    field("peerId", Id),
    field("inboundMirrorIds", Ids),
    field("outboundMirrorIds", Ids),
    field("postInFilterMirrorIds", Ids),
    field("preOutFilterMirrorIds", Ids),
    field("insertionIds", Ids),
    field("qosPolicyId", Id),
    field("active", NO),
];

pub(crate) const BRIDGE_PORT: Schema = &[PORT, &[field("vlanId", Number(i16::MIN as i64, i16::MAX as i64))]];

pub(crate) const ROUTER_PORT: Schema = &[
    PORT,
    &[
        field("networkAddress", Address(INVALID)),
        field("networkLength", Number(0, 32)),
        field("portSubnet", Texts),
        field("portAddress", Address(INVALID)),
        field("portMac", Text(0, ANY)),
        field("rtrPortVni", Optional(0, 0xFF_FFFF)),
        field("offRampVxlan", NO),
        field("serviceContainerId", Id),
        field("bgpStatus", Text(0, ANY)),
    ],
];

pub(crate) const ROUTE: Schema = &[&[
    field("id", Id),
    field("routerId", Id),
    field("nextHopPort", Id),
    field("attributes", Text(0, ANY)),
    required("dstNetworkAddr", Address("")),
    field("dstNetworkLength", Number(0, 32)),
    required("srcNetworkAddr", Address("")),
    field("srcNetworkLength", Number(0, 32)),
    field("nextHopGateway", Address("")),
    field("learned", NO),
    required(
        "type",
        Choice(
            "Route$NextHop",
            &["Normal", "BlackHole", "Reject", "Local", "Fip64"],
            Some("This type of route is invalid."),
        ),
    ),
    field("weight", Number(0, i64::MAX)),
]];

pub(crate) const CHAIN: Schema = &[&[field("id", Id), field("tenantId", Text(0, ANY)), field("name", NAME)]];

/// What rules match.
const CONDITION: &[Field] = &[
    field("nwDstAddress", Address(INVALID)),
    field("nwDstLength", Number(0, 32)),
    field("nwSrcAddress", Address(INVALID)),
    field("nwSrcLength", Number(0, 32)),
    field("condInvert", NO),
    field("matchForwardFlow", NO),
    field("matchReturnFlow", NO),
    field("inPorts", Ids),
    field("invInPorts", NO),
    field("outPorts", Ids),
    field("invOutPorts", NO),
    field("portGroup", Id),
    field("invPortGroup", NO),
    field("inPortGroup", Id),
    field("invInPortGroup", NO),
    field("outPortGroup", Id),
    field("invOutPortGroup", NO),
    field("ipAddrGroupSrc", Id),
    field("invIpAddrGroupSrc", NO),
    field("ipAddrGroupDst", Id),
    field("invIpAddrGroupDst", NO),
    field("traversedDevice", Id),
    field("invTraversedDevice", NO),
    field("noVlan", NO),
    field("vlan", Optional(i64::MIN, i64::MAX)),
    field("dlType", Optional(0x0600, 0xFFFF)),
    field("invDlType", NO),
    field("dlSrc", Mac),
    field("dlSrcMask", Text(0, ANY)),
    field("invDlSrc", NO),
    field("dlDst", Mac),
    field("dlDstMask", Text(0, ANY)),
    field("invDlDst", NO),
    field("nwTos", Optional(i64::MIN, i64::MAX)),
    field("invNwTos", NO),
    field("nwProto", Optional(i64::MIN, i64::MAX)),
    field("invNwProto", NO),
    field("invNwSrc", NO),
    field("invNwDst", NO),
    field("matchNwDstRewritten", NO),
    field(
        "fragmentPolicy",
        Choice(
            "Condition$FragmentPolicy",
            &["any", "nonheader", "header", "unfragmented"],
            Some(
                "The valid options for fragmentPolicy are: 'any', 'header', 'nonheader', and 'unfragmented'.",
            ),
        ),
    ),
    field("tpSrc", Range),
    field("tpDst", Range),
    field("invTpSrc", NO),
    field("invTpDst", NO),
    field("icmpDataSrcIpAddress", Address(INVALID)),
    field("icmpDataSrcIpLength", Number(0, 32)),
    field("invIcmpDataSrcIp", NO),
    field("icmpDataDstIpAddress", Address(INVALID)),
    field("icmpDataDstIpLength", Number(0, 32)),
    field("invIcmpDataDstIp", NO),
    field("id", Id),
    field("chainId", Id),
    field("meterName", Text(0, ANY)),
    field("position", Number(1, INT)),
];

const FLOW_ACTION: Field = required("flowAction", Word(&["accept", "continue", "return"]));

const PLAIN_RULE: Schema = &[CONDITION];
const JUMP: Schema = &[CONDITION, &[field("jumpChainName", Text(0, ANY)), required("jumpChainId", Id)]];
const REVERSE_NAT: Schema = &[CONDITION, &[FLOW_ACTION]];
const FORWARD_NAT: Schema = &[CONDITION, &[FLOW_ACTION, required("natTargets", Targets)]];

/// The fields of a rule of this type; none if the server has no such type.
pub(crate) fn rule(rule_type: &str) -> Option<Schema> {
    match rule_type {
        "accept" | "drop" | "reject" | "return" => Some(PLAIN_RULE),
        "jump" => Some(JUMP),
        "rev_dnat" | "rev_snat" => Some(REVERSE_NAT),
        "dnat" | "snat" => Some(FORWARD_NAT),
        _ => None,
    }
}

pub(crate) const BINDING: Schema =
    &[&[field("portId", Id), field("hostId", Id), field("interfaceName", Text(0, ANY))]];

pub(crate) const LINK: Schema = &[&[field("portId", Id), field("peerId", Id)]];

pub(crate) const MAC_PORT: Schema = &[&[
    required("macAddr", Mac),
    required("portId", Id),
    field("vlanId", Number(i16::MIN as i64, i16::MAX as i64)),
]];

pub(crate) const IP4_MAC: Schema = &[&[required("ip", Address("")), required("mac", Mac)]];
