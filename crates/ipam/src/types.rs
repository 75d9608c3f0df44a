//! The parts of a CNI result that IPAM fills.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::json::{Invalid, Node};

/// What IPAM answers to ADD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// One address of every range set, in the configuration's order.
    pub ips: Vec<IpConfig>,
    /// Routes for the container.
    pub routes: Vec<Route>,
    /// Name resolution for the container.
    pub dns: Dns,
}

/// An address for the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpConfig {
    /// With the prefix length of its subnet.
    pub address: IpNet,
    /// The subnet's gateway.
    pub gateway: Option<IpAddr>,
}

/// A route for the container, as results carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The destination.
    pub dst: IpNet,
    /// The next hop; without it, the gateway of the address of the same family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Bytes of the largest packet along the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The TCP segment size to announce, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The metric: lower wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The routing table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope: global (0), link (253) or host (254).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

/// Name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// Name servers, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl IpConfig {
    /// Reads an element of a result's `ips`.
    ///
    /// # Errors
    /// [`Invalid`] names the place.
    pub fn read(node: &Node<'_>) -> Result<Self, Invalid> {
        Ok(Self { address: node.require("address")?.parse()?, gateway: address(node, "gateway")? })
    }
}

impl Route {
    /// A route that has no more than a destination.
    pub fn to(dst: IpNet) -> Self {
        Self { dst, gw: None, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }

    /// Reads an element of `routes`.
    ///
    /// # Errors
    /// [`Invalid`] names the place.
    pub fn read(node: &Node<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            dst: node.require("dst")?.parse::<IpNet>()?,
            gw: address(node, "gw")?,
            mtu: node.get("mtu")?.map(|n| n.number()).transpose()?.filter(|n| *n != 0),
            advmss: node.get("advmss")?.map(|n| n.number()).transpose()?.filter(|n| *n != 0),
            priority: node.get("priority")?.map(|n| n.number()).transpose()?.filter(|n| *n != 0),
            table: node.get("table")?.map(|n| n.number()).transpose()?,
            scope: node.get("scope")?.map(|n| n.number()).transpose()?,
        })
    }
}

impl Dns {
    /// Reads a `dns` object.
    ///
    /// # Errors
    /// [`Invalid`] names the place.
    pub fn read(node: &Node<'_>) -> Result<Self, Invalid> {
        let domain = node.word("domain")?.unwrap_or_default();
        Ok(Self {
            nameservers: node.texts("nameservers")?,
            domain: domain.to_owned(),
            search: node.texts("search")?,
            options: node.texts("options")?,
        })
    }
}

impl Allocation {
    /// Reads an IPAM plugin's result, of any version.
    ///
    /// # Errors
    /// [`Invalid`] names the place.
    pub fn read(node: &Node<'_>) -> Result<Self, Invalid> {
        let routes =
            |node: &Node<'_>| -> Result<Vec<_>, _> { node.list("routes")?.iter().map(Route::read).collect() };
        let mut allocation = Self {
            ips: node.list("ips")?.iter().map(IpConfig::read).collect::<Result<_, _>>()?,
            routes: routes(node)?,
            dns: node.get("dns")?.map_or_else(|| Ok(Dns::default()), |dns| Dns::read(&dns))?,
        };
        // Before 0.3.0 there is one address of each family, with the family's routes.
        for key in ["ip4", "ip6"] {
            if let Some(node) = node.get(key)? {
                let (ip, gateway) = (node.require("ip")?.parse()?, address(&node, "gateway")?);
                allocation.ips.push(IpConfig { address: ip, gateway });
                allocation.routes.extend(routes(&node)?);
            }
        }
        Ok(allocation)
    }
}

/// An address; an empty text is none, as the reference reads it.
pub(crate) fn address(node: &Node<'_>, name: &str) -> Result<Option<IpAddr>, Invalid> {
    match node.get(name)? {
        Some(text) if !text.text()?.is_empty() => text.parse().map(|ip: IpAddr| Some(ip.to_canonical())),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn results_of_all_versions() {
        let dns = json!({"nameservers": ["10.0.0.53"]});
        let old = json!({
            "cniVersion": "0.2.0",
            "ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
            "ip6": {"ip": "fd00::2/64", "routes": [{"dst": "fd01::/64", "gw": "fd00::9"}]},
            "dns": dns,
        });
        let new = json!({
            "cniVersion": "1.0.0",
            "ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}, {"address": "fd00::2/64"}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd01::/64", "gw": "fd00::9"}],
            "dns": dns,
        });
        let read = |value: &Value| Allocation::read(&Node::root(value));
        assert_eq!(read(&old), read(&new));
        assert_eq!(read(&old).unwrap().ips.len(), 2);
        assert_eq!(read(&json!({"ip6": null, "ip4": null})), Ok(Allocation::default()));
        for (value, want) in [
            (json!({"ip4": {"gateway": "10.0.0.1"}}), "ip4.ip: missing"),
            (json!({"ip6": {"ip": "fd00::2/129"}}), "ip6.ip: \"fd00::2/129\""),
            (json!({"ips": [{"address": 1}]}), "ips[0].address: must be a string"),
        ] {
            let error = read(&value).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
