//! What the model keeps of a Node, and what follows from one Node or two of them alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use naming::annotation;
use objects::Node;

/// What the model keeps of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// When it was created, in seconds since 1970.
    pub(crate) created: Option<i64>,
    pub(crate) pod_cidrs: Box<[IpNet]>,
    pub(crate) internal_ips: Box<[IpAddr]>,
    /// The value of the annotation [`annotation::TUNNEL_ENDPOINT_IP`].
    pub(crate) annotation: Option<Box<str>>,
    /// Its zone.
    pub(crate) zone: Option<Box<str>>,
}

impl From<&Node> for Facts {
    fn from(node: &Node) -> Self {
        Self {
            created: node.created,
            pod_cidrs: node.pod_cidrs.iter().copied().collect(),
            internal_ips: node.internal_ips.iter().copied().collect(),
            annotation: node.annotations.get(annotation::TUNNEL_ENDPOINT_IP).map(|text| Box::from(&**text)),
            zone: node.zone.as_deref().map(Box::from),
        }
    }
}

impl Facts {
    /// Where tunnels to the node can end: what its annotation says, else its InternalIPs, the first of each family. What
    /// can be no end of a tunnel counts as absent, on every node.
    pub(crate) fn ends(&self) -> impl Iterator<Item = IpAddr> {
        self.annotated()
            .into_iter()
            .chain(self.internal_ips.iter().copied().filter(|address| is_host(*address)))
    }

    /// Where tunnels to the node end in a family.
    pub(crate) fn end(&self, ipv4: bool) -> Option<IpAddr> {
        self.ends().find(|address| address.is_ipv4() == ipv4)
    }

    fn annotated(&self) -> Option<IpAddr> {
        self.annotation.as_ref()?.parse().ok().filter(|address| is_host(*address))
    }

    /// The addresses that are the node's own: from which it may send tunnels' packets, and talk to Pods. Those where its
    /// tunnels can end come first, and each comes once.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let mut seen = BTreeSet::new();
        let first = [self.end(true), self.end(false)].into_iter().flatten();
        first.chain(self.ends()).filter(move |address| seen.insert(*address))
    }
}

/// Where a tunnel between two nodes ends at each. Both ends come to the same family, whatever the order of their
/// InternalIPs: that of an annotation, else the one that both have first, else IPv4, as far as both have it.
pub(crate) fn tunnel(own: &Facts, other: &Facts) -> Option<(IpAddr, IpAddr)> {
    let between = |ipv4: bool| Some((own.end(ipv4)?, other.end(ipv4)?));
    let agreed = |a: Option<IpAddr>, b: Option<IpAddr>| match (a, b) {
        (Some(a), Some(b)) if a.is_ipv4() != b.is_ipv4() => None,
        (a, b) => a.or(b).map(|address| address.is_ipv4()),
    };
    let annotations = agreed(own.annotated(), other.annotated());
    let first = agreed(own.ends().next(), other.ends().next());
    [annotations, first, Some(true), Some(false)].into_iter().flatten().find_map(between)
}

/// Whether an address can be one host's that packets are routed to.
pub(crate) fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            first != 0 && !v4.is_loopback() && first < 224
        }
        IpAddr::V6(v6) => {
            !v6.is_unspecified()
                && !v6.is_loopback()
                && !v6.is_multicast()
                && !v6.is_unicast_link_local()
                && v6.to_ipv4_mapped().is_none()
        }
    }
}

pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}
