//! The node's own veth pair, by which the node itself is part of the Pod network.

use anyhow::{Context, Result};
use ipnet::IpNet;
use model::Local;
use naming::{GATEWAY_MAC, Mac, attachment_mac, interface};
use plumbing::KernelRoute;
use plumbing::veth::{DifferenceKind, VethIndexes, VethPair};
use tracing::{info, warn};

use crate::drift::Drift;

/// The MAC address of its node side.
pub(super) fn mac(node_name: &str) -> Mac {
    attachment_mac(node_name, interface::NODE)
}

/// What it should be, with routes to these destinations through the gateway of their family.
pub(super) fn of(node_name: &str, local: &Local, mtu: u32, destinations: &[IpNet]) -> VethPair {
    let routes = destinations.iter().filter_map(|cidr| {
        let gateway = local.gateways.iter().find(|gateway| gateway.is_ipv4() == cidr.addr().is_ipv4())?;
        Some(KernelRoute::through(*cidr, *gateway))
    });
    VethPair {
        ifname: interface::NODE.into(),
        mac: mac(node_name).0,
        host_ifname: interface::MIDO.into(),
        host_mac: GATEWAY_MAC.0,
        alias: format!("node {node_name}"),
        mtu,
        addresses: local.node_addresses.clone(),
        gateways: local.gateways.clone(),
        routes: routes.collect(),
        forwarding: Some(true),
        replace_stale: true,
        in_block: false,
    }
}

/// Makes it, or repairs what is wrong with it: connections over it live on. Addresses of a former podCIDR are removed.
///
/// # Errors
/// The kernel refuses.
pub(super) fn ensure(pair: &VethPair) -> Result<VethIndexes> {
    let made = make(pair)?;
    // Another node may have them by now.
    let former = plumbing::delete_other_addresses(&pair.ifname, &pair.addresses)
        .context("cannot remove former addresses of the node")?;
    if !former.is_empty() {
        info!(addresses = ?former, interface = pair.ifname, "removed addresses of a former podCIDR");
    }
    Ok(made)
}

fn make(pair: &VethPair) -> Result<VethIndexes> {
    let differences = plumbing::veth::check(None, pair).context("cannot read the node's veth pair")?;
    if differences.is_empty() {
        return plumbing::veth::find(None, pair).context("cannot read the node's veth pair");
    }
    if let Ok(found) = plumbing::veth::find(None, pair) {
        let repaired = plumbing::veth::repair(None, pair);
        if repaired.is_ok() && plumbing::veth::check(None, pair).is_ok_and(|left| left.is_empty()) {
            info!(?differences, "repaired the node's veth pair");
            return Ok(found);
        }
        warn!(?differences, ?repaired, "the node's veth pair cannot be repaired: it is created again");
    }
    plumbing::link::delete_by_name(&pair.host_ifname).context("cannot delete the node's old veth pair")?;
    plumbing::veth::create(None, pair).context("cannot create the node's veth pair")
}

/// What somebody else changed of it.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn drift(pair: &VethPair) -> Result<Vec<Drift>> {
    let differences = plumbing::veth::check(None, pair)?.into_iter();
    let drift = differences.map(|difference| {
        let what = match difference.kind {
            DifferenceKind::Link => "link",
            DifferenceKind::Setting | DifferenceKind::SmallerMtu => "setting",
            DifferenceKind::Block => "block",
            DifferenceKind::Address => "address",
            DifferenceKind::Route => "route",
        };
        Drift::new(what, difference.to_string())
    });
    Ok(drift.collect())
}
