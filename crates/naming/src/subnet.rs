//! Who has which address of a node's podCIDR: the first is the virtual gateway's, the second the
//! node's, the rest the Pods'. Counted from the address as written, as the legacy midonet-kubernetes does, not from
//! the masked one.

use std::net::IpAddr;

use ipnet::IpNet;

/// A podCIDR that is too small for a gateway, a node and one Pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("podCIDR {0} is too small for a gateway, a node and a Pod: give nodes at least a /29 or a /125")]
pub struct TooSmall(IpNet);

/// The virtual gateway's address: podCIDR + 1.
///
/// # Errors
/// [`TooSmall`], here and in the other functions of this module.
pub fn gateway(pod_cidr: IpNet) -> Result<IpAddr, TooSmall> {
    nth(pod_cidr, 1)
}

/// The node's address: podCIDR + 2.
///
/// # Errors
/// See [`gateway`].
pub fn node(pod_cidr: IpNet) -> Result<IpAddr, TooSmall> {
    nth(pod_cidr, 2)
}

/// The first address for Pods: podCIDR + 3.
///
/// # Errors
/// See [`gateway`].
pub fn first_pod(pod_cidr: IpNet) -> Result<IpAddr, TooSmall> {
    nth(pod_cidr, 3)
}

fn nth(pod_cidr: IpNet, n: u8) -> Result<IpAddr, TooSmall> {
    if pod_cidr.max_prefix_len() - pod_cidr.prefix_len() < 3 {
        return Err(TooSmall(pod_cidr));
    }
    let address = match pod_cidr.addr() {
        IpAddr::V4(a) => a.to_bits().checked_add(n.into()).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(a) => a.to_bits().checked_add(n.into()).map(|bits| IpAddr::V6(bits.into())),
    };
    address.filter(|a| pod_cidr.contains(a)).ok_or(TooSmall(pod_cidr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_written_address() {
        for (cidr, want) in [
            ("10.1.2.0/24", ["10.1.2.1", "10.1.2.2", "10.1.2.3"]),
            ("10.1.2.8/24", ["10.1.2.9", "10.1.2.10", "10.1.2.11"]),
            ("fd44:0:0:1::/64", ["fd44:0:0:1::1", "fd44:0:0:1::2", "fd44:0:0:1::3"]),
            ("10.0.0.8/29", ["10.0.0.9", "10.0.0.10", "10.0.0.11"]),
        ] {
            let cidr: IpNet = cidr.parse().unwrap();
            let got = [gateway(cidr), node(cidr), first_pod(cidr)].map(|a| a.unwrap().to_string());
            assert_eq!(got, want);
        }
    }

    #[test]
    fn refuses_what_is_too_small() {
        for cidr in ["10.1.2.0/30", "10.1.2.4/32", "fd00::/126", "10.1.2.255/24", "255.255.255.255/8"] {
            let cidr: IpNet = cidr.parse().unwrap();
            assert_eq!(first_pod(cidr), Err(TooSmall(cidr)));
        }
    }
}
