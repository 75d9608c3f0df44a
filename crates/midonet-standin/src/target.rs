//! What a path leads to.

use midonet::Kind;
use uuid::Uuid;

use crate::state::Owner;

/// What a path leads to. Ids of items are text: some are looked up as they are, and are no UUIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Root,
    Login,
    SystemState,
    Hosts,
    Host(&'a str),
    Interfaces(Uuid),
    Interface(Uuid, &'a str),
    Bindings(Uuid),
    Binding(Uuid, &'a str),
    TunnelZones,
    TunnelZone(&'a str),
    TunnelZoneHosts(Uuid),
    TunnelZoneHost(Uuid, &'a str),
    Routers,
    Router(&'a str),
    Bridges,
    Bridge(&'a str),
    PortsOf(Owner),
    PeerPortsOf(Owner),
    RoutesOf(Uuid),
    MacTable(Uuid, Option<i64>),
    MacEntry(Uuid, Option<i64>, &'a str),
    ArpTable(Uuid),
    ArpEntry(Uuid, &'a str),
    Ports,
    Port(&'a str),
    Link(Uuid),
    Route(&'a str),
    Chains,
    Chain(&'a str),
    RulesOf(Uuid),
    Rule(&'a str),
    /// Something of the real server that the stand-in lacks.
    Lacking(&'a str),
    /// A first segment that the real server does not have either.
    UnknownRoot(&'a str),
    /// Nothing is there.
    Nothing,
    /// Something is there, but it has no methods.
    Methodless,
}

/// Resources of the real server that are not here: nothing of midonet-kube uses them.
const LACKING: [&str; 22] = [
    "bgp_networks",
    "bgp_peers",
    "conf",
    "health_monitors",
    "ip_addr_groups",
    "l2insertions",
    "load_balancers",
    "mirrors",
    "neutron",
    "pool_members",
    "pools",
    "port_groups",
    "qos_bw_limit_rules",
    "qos_dscp_rules",
    "qos_policies",
    "service_container_groups",
    "service_containers",
    "tenants",
    "traces",
    "vips",
    "versions",
    "vteps",
];

impl<'a> Target<'a> {
    pub(crate) fn of(path: &'a str) -> Self {
        let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        Self::find(&segments).unwrap_or(Self::Nothing)
    }

    /// `None`: a parent's id is no UUID.
    fn find(segments: &[&'a str]) -> Option<Self> {
        let id = |text: &str| text.parse::<Uuid>().ok();
        let vlan = |text: &str| text.parse::<i16>().ok().map(|vlan| Some(i64::from(vlan)));
        Some(match *segments {
            [] => Self::Root,
            ["login"] => Self::Login,
            ["system_state"] => Self::SystemState,
            ["hosts"] => Self::Hosts,
            ["hosts", host] => Self::Host(host),
            ["hosts", host, "interfaces"] => Self::Interfaces(id(host)?),
            ["hosts", host, "interfaces", name] => Self::Interface(id(host)?, name),
            ["hosts", host, "ports"] => Self::Bindings(id(host)?),
            ["hosts", host, "ports", port] => Self::Binding(id(host)?, port),
            ["tunnel_zones"] => Self::TunnelZones,
            ["tunnel_zones", zone] => Self::TunnelZone(zone),
            ["tunnel_zones", zone, "hosts"] => Self::TunnelZoneHosts(id(zone)?),
            ["tunnel_zones", zone, "hosts", host] => Self::TunnelZoneHost(id(zone)?, host),
            ["routers"] => Self::Routers,
            ["routers", router] => Self::Router(router),
            ["routers", router, "ports"] => Self::PortsOf(Owner::Router(id(router)?)),
            ["routers", router, "peer_ports"] => Self::PeerPortsOf(Owner::Router(id(router)?)),
            ["routers", router, "routes"] => Self::RoutesOf(id(router)?),
            ["bridges"] => Self::Bridges,
            ["bridges", bridge] => Self::Bridge(bridge),
            ["bridges", bridge, "ports"] => Self::PortsOf(Owner::Bridge(id(bridge)?)),
            ["bridges", bridge, "peer_ports"] => Self::PeerPortsOf(Owner::Bridge(id(bridge)?)),
            ["bridges", bridge, "mac_table"] => Self::MacTable(id(bridge)?, None),
            ["bridges", bridge, "mac_table", entry] => Self::MacEntry(id(bridge)?, None, entry),
            ["bridges", bridge, "vlans", tag, "mac_table"] => Self::MacTable(id(bridge)?, vlan(tag)?),
            ["bridges", bridge, "vlans", tag, "mac_table", entry] => {
                Self::MacEntry(id(bridge)?, vlan(tag)?, entry)
            }
            ["bridges", bridge, "arp_table"] => Self::ArpTable(id(bridge)?),
            ["bridges", bridge, "arp_table", entry] => Self::ArpEntry(id(bridge)?, entry),
            ["ports"] => Self::Ports,
            ["ports", port] => Self::Port(port),
            ["ports", port, "link"] => Self::Link(id(port)?),
            ["routes", route] => Self::Route(route),
            ["chains"] => Self::Chains,
            ["chains", chain] => Self::Chain(chain),
            ["chains", chain, "rules"] => Self::RulesOf(id(chain)?),
            ["rules", rule] => Self::Rule(rule),
            ["routes" | "rules"]
            | ["routers" | "bridges", _, "ports" | "routes" | "peer_ports", _]
            | ["chains", _, "rules", _] => Self::Methodless,
            [root, ..] if LACKING.contains(&root) => Self::Lacking(root),
            ["routers", _, below @ ("bgp_networks" | "bgp_peers"), ..]
            | ["bridges", _, below @ ("dhcp" | "dhcpV6" | "vxlan_ports"), ..]
            | ["ports", _, below @ "port_groups", ..] => Self::Lacking(below),
            [root] => Self::UnknownRoot(root),
            [root, ..] if !ROOTS.contains(&root) => Self::UnknownRoot(root),
            _ => Self::Nothing,
        })
    }

    /// The kind of what is there, if midonet-kube makes such.
    pub(crate) fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::TunnelZones | Self::TunnelZone(_) => Kind::TunnelZone,
            Self::TunnelZoneHosts(_) | Self::TunnelZoneHost(..) => Kind::TunnelZoneHost,
            Self::Routers | Self::Router(_) => Kind::Router,
            Self::Bridges | Self::Bridge(_) => Kind::Bridge,
            Self::PortsOf(_) | Self::PeerPortsOf(_) | Self::Ports | Self::Port(_) => Kind::Port,
            Self::Link(_) => Kind::PortLink,
            Self::RoutesOf(_) | Self::Route(_) => Kind::Route,
            Self::Chains | Self::Chain(_) => Kind::Chain,
            Self::RulesOf(_) | Self::Rule(_) => Kind::Rule,
            Self::Bindings(_) | Self::Binding(..) => Kind::HostInterfacePort,
            Self::MacTable(..) | Self::MacEntry(..) => Kind::MacPort,
            Self::ArpTable(_) | Self::ArpEntry(..) => Kind::Ipv4MacPair,
            _ => return None,
        })
    }
}

/// First segments that lead somewhere.
const ROOTS: [&str; 10] = [
    "bridges",
    "chains",
    "hosts",
    "login",
    "ports",
    "routers",
    "routes",
    "rules",
    "system_state",
    "tunnel_zones",
];

/// The name of what a path leads to, for logs and counts: that of its [`Kind`], `Host`, `Interface`, `Login`, or
/// `Other`.
pub fn resource_of(path: &str) -> &'static str {
    let target = Target::of(path);
    match target {
        Target::Hosts | Target::Host(_) => "Host",
        Target::Interfaces(_) | Target::Interface(..) => "Interface",
        Target::Login => "Login",
        _ => target.kind().map_or("Other", Kind::name),
    }
}
