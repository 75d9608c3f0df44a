//! Which addresses a lab of a given size and family has: pure.
//!
//! The underlay is 172.30.0.0/24 and fd30::/64 with the router at `.1` and node *i* at `.10+i`; node
//! *i* has the podCIDRs 10.244.*i*.0/24 and fd44:0:0:*i*::/64. Behind the router is the outside host,
//! 192.0.2.1 and 2001:db8::1, which knows no route to a Pod.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// The most nodes a lab can have.
pub const MAX_NODES: u8 = 100;

/// Which families of addresses the cluster uses, for the underlay as well as for Pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Family {
    /// IPv4 only.
    #[serde(rename = "4")]
    V4,
    /// IPv6 only.
    #[serde(rename = "6")]
    V6,
    /// Both, IPv4 first.
    #[default]
    #[serde(rename = "46")]
    Dual,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "4",
            Self::V6 => "6",
            Self::Dual => "46",
        })
    }
}

/// The text names no family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseFamilyError(String);

impl fmt::Display for ParseFamilyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no family: write 4, 6 or 46 (both)", self.0)
    }
}

impl std::error::Error for ParseFamilyError {}

impl FromStr for Family {
    type Err = ParseFamilyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "4" => Ok(Self::V4),
            "6" => Ok(Self::V6),
            "46" => Ok(Self::Dual),
            other => Err(ParseFamilyError(other.to_owned())),
        }
    }
}

impl Family {
    /// One value of each family that is used.
    fn select<T>(self, v4: T, v6: T) -> Vec<T> {
        match self {
            Self::V4 => vec![v4],
            Self::V6 => vec![v6],
            Self::Dual => vec![v4, v6],
        }
    }

    /// The whole cluster's Pod addresses, as the agents' `--cluster-cidr`.
    pub fn cluster_cidrs(self) -> Vec<IpNet> {
        self.select(net4([10, 244, 0, 0], 16), net6([0xfd44, 0, 0, 0, 0, 0, 0, 0], 48))
    }

    /// The podCIDRs of node `index` (counted from 1).
    pub fn pod_cidrs(self, index: u8) -> Vec<IpNet> {
        self.select(net4([10, 244, index, 0], 24), net6([0xfd44, 0, 0, index.into(), 0, 0, 0, 0], 64))
    }

    /// The underlay addresses of node `index` (counted from 1), with the underlay's prefix length.
    pub fn underlay(self, index: u8) -> Vec<IpNet> {
        let host = index.saturating_add(10);
        self.select(net4([172, 30, 0, host], 24), net6([0xfd30, 0, 0, 0, 0, 0, 0, host.into()], 64))
    }

    /// The router's addresses on the underlay: the nodes' default gateways.
    pub fn router(self) -> Vec<IpNet> {
        self.select(net4([172, 30, 0, 1], 24), net6([0xfd30, 0, 0, 0, 0, 0, 0, 1], 64))
    }

    /// The outside host's addresses.
    pub fn outside(self) -> Vec<IpNet> {
        self.select(net4([192, 0, 2, 1], 24), net6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 64))
    }

    /// The router's addresses towards the outside host: that one's default gateways.
    pub fn outside_router(self) -> Vec<IpNet> {
        self.select(net4([192, 0, 2, 254], 24), net6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe], 64))
    }
}

/// The name of node `index` (counted from 1).
pub(crate) fn node_name(index: u8) -> String {
    format!("node{index}")
}

fn net4(octets: [u8; 4], prefix: u8) -> IpNet {
    Ipv4Net::new_assert(Ipv4Addr::from(octets), prefix).into()
}

fn net6(segments: [u16; 8], prefix: u8) -> IpNet {
    Ipv6Net::new_assert(Ipv6Addr::from(segments), prefix).into()
}

/// The addresses of prefixes.
pub fn addresses(nets: &[IpNet]) -> Vec<IpAddr> {
    nets.iter().map(IpNet::addr).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_family_or_both() {
        let show = |nets: Vec<IpNet>| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        assert_eq!(show(Family::Dual.cluster_cidrs()), "10.244.0.0/16,fd44::/48");
        assert_eq!(show(Family::Dual.pod_cidrs(3)), "10.244.3.0/24,fd44:0:0:3::/64");
        assert_eq!(show(Family::V4.underlay(1)), "172.30.0.11/24");
        assert_eq!(show(Family::V6.underlay(1)), "fd30::b/64");
        assert_eq!(show(Family::V6.outside()), "2001:db8::1/64");
    }

    #[test]
    fn every_node_has_addresses_of_its_own_inside_the_cluster() {
        let mut seen = std::collections::HashSet::new();
        for i in 1..=MAX_NODES {
            for net in Family::Dual.underlay(i).into_iter().chain(Family::Dual.pod_cidrs(i)) {
                assert!(seen.insert(net), "{net} twice");
            }
            for (pods, cluster) in Family::Dual.pod_cidrs(i).iter().zip(Family::Dual.cluster_cidrs()) {
                assert!(cluster.contains(pods));
            }
        }
    }

    #[test]
    fn a_family_survives_text() {
        for family in [Family::V4, Family::V6, Family::Dual] {
            assert_eq!(family.to_string().parse(), Ok(family));
        }
        assert!("5".parse::<Family>().unwrap_err().to_string().contains("4, 6 or 46"));
    }
}
