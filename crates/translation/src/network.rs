//! The network of a Node: its host in MidoNet and its podCIDR.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use naming::subnet;
use uuid::Uuid;

use crate::{Node, Reason};

/// The host that Pods of the Node are bound to, if MidoNet has what they need of their Node.
pub(crate) fn host(node: &Node) -> Option<Uuid> {
    Network::of(node).ok()?;
    host_id(node).ok()
}

/// The host in MidoNet that a Node is, by its annotation.
pub(crate) fn host_id(node: &Node) -> Result<Uuid, (Reason, String)> {
    match node.host_id.as_deref() {
        None | Some("") => Err((
            Reason::MissingHostId,
            "it has no annotation midonet.org/host-id: MidoNet gets nothing of it and its Pods until it has one. Is the \
             MidoNet agent running on it under the Node's name?"
                .into(),
        )),
        Some(text) => Uuid::try_parse(text).map_err(|_| {
            let help = "write the id of its host in MidoNet";
            (Reason::InvalidHostId, format!("the annotation midonet.org/host-id is \"{text}\", no UUID: {help}"))
        }),
    }
}

/// A node's podCIDR, and who has which of its addresses.
pub(crate) struct Network {
    /// As written, not masked.
    pub(crate) cidr: Ipv4Net,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) node: Ipv4Addr,
}

impl Network {
    /// By the first IPv4 podCIDR.
    pub(crate) fn of(node: &Node) -> Result<Self, String> {
        let Some(text) = node.pod_cidrs.iter().find(|text| text.parse::<ipnet::Ipv6Net>().is_err()) else {
            return Err(match node.pod_cidrs.first() {
                None => "it has no podCIDR: MidoNet gets nothing of it until it has one".into(),
                Some(_) => {
                    "it has no IPv4 podCIDR, and MidoNet is given IPv4 alone: give the cluster IPv4 podCIDRs"
                        .into()
                }
            });
        };
        let cidr: Ipv4Net = text
            .parse()
            .map_err(|_| format!("its podCIDR \"{text}\" is none: write one like 10.1.2.0/24"))?;
        let v4 = |address| match address {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(_) => Err(format!("its podCIDR \"{text}\" is not IPv4")),
        };
        let whole = IpNet::V4(cidr);
        subnet::first_pod(whole).map_err(|error| error.to_string())?;
        let gateway = subnet::gateway(whole).map_err(|error| error.to_string())?;
        let node = subnet::node(whole).map_err(|error| error.to_string())?;
        Ok(Self { cidr, gateway: v4(gateway)?, node: v4(node)? })
    }

    /// The gateway's address with the length of the podCIDR's prefix.
    pub(crate) fn router_port(&self) -> Vec<Ipv4Net> {
        Ipv4Net::new(self.gateway, self.cidr.prefix_len()).into_iter().collect()
    }
}
