//! What is said where the cluster's addresses are the nodes' own.

use ipnet::IpNet;

/// What helps where Pods' or Services' addresses are the nodes' own.
pub const REMEDY: &str = "give the cluster CIDRs for Pods and Services apart from its nodes' network, here and at the controller manager";

/// What that does.
pub fn problem(range: IpNet, what: &str) -> String {
    format!(
        "{what} lies in {range}, where Pods and Services have their addresses from: they would not reach it"
    )
}
