use std::fmt;
use std::str::FromStr;

/// The kinds of resources that are made in MidoNet. Their names are those in Translations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The hosts that reach each other by tunnels.
    TunnelZone,
    /// A host in a tunnel zone, and the address that its tunnels end at.
    TunnelZoneHost,
    /// A virtual router.
    Router,
    /// A virtual bridge.
    Bridge,
    /// A port of a bridge or router.
    Port,
    /// Joins a router's and a bridge's port.
    PortLink,
    /// A route of a router.
    Route,
    /// A list of rules.
    Chain,
    /// A rule of a chain.
    Rule,
    /// Binds a port to an interface of a host.
    HostInterfacePort,
    /// A MAC address at a bridge's port.
    MacPort,
    /// The MAC address of an IPv4 address: the bridge answers ARP requests for it.
    Ipv4MacPair,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::TunnelZone,
        Self::TunnelZoneHost,
        Self::Router,
        Self::Bridge,
        Self::Port,
        Self::PortLink,
        Self::Route,
        Self::Chain,
        Self::Rule,
        Self::HostInterfacePort,
        Self::MacPort,
        Self::Ipv4MacPair,
    ];

    /// The name in a Translation, and the label `resource` of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::TunnelZone => "TunnelZone",
            Self::TunnelZoneHost => "TunnelZoneHost",
            Self::Router => "Router",
            Self::Bridge => "Bridge",
            Self::Port => "Port",
            Self::PortLink => "PortLink",
            Self::Route => "Route",
            Self::Chain => "Chain",
            Self::Rule => "Rule",
            Self::HostInterfacePort => "HostInterfacePort",
            Self::MacPort => "MACPort",
            Self::Ipv4MacPair => "IPv4MACPair",
        }
    }

    /// The media type of one of them: the `Content-Type` to write it and the `Accept` to read it. MidoNet compares
    /// media types without regard to case.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::TunnelZone => "application/vnd.org.midonet.TunnelZone-v1+json",
            Self::TunnelZoneHost => "application/vnd.org.midonet.TunnelZoneHost-v1+json",
            Self::Router => "application/vnd.org.midonet.Router-v3+json",
            Self::Bridge => "application/vnd.org.midonet.Bridge-v4+json",
            Self::Port => "application/vnd.org.midonet.Port-v3+json",
            Self::PortLink => "application/vnd.org.midonet.PortLink-v1+json",
            Self::Route => "application/vnd.org.midonet.Route-v1+json",
            Self::Chain => "application/vnd.org.midonet.Chain-v1+json",
            Self::Rule => "application/vnd.org.midonet.Rule-v2+json",
            Self::HostInterfacePort => "application/vnd.org.midonet.HostInterfacePort-v1+json",
            Self::MacPort => "application/vnd.org.midonet.MACPort-v2+json",
            Self::Ipv4MacPair => "application/vnd.org.midonet.IP4Mac-v1+json",
        }
    }

    /// Whether one that exists can be replaced by PUT. Others have to be deleted and made anew.
    pub fn can_be_replaced(self) -> bool {
        matches!(self, Self::TunnelZone | Self::Router | Self::Bridge | Self::Port)
    }

    /// Whether one can be read by GET.
    pub fn can_be_read(self) -> bool {
        self != Self::PortLink
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(())
    }
}
