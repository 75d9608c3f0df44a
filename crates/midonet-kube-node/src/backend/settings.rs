//! The node's settings and surroundings that a network needs: what the kernel is asked about them, and which of its answers are
//! repaired here.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use model::Local;
use naming::interface;
use plumbing::probe::{Question, WrongSetting, wrong_settings};
use plumbing::{Family, sysctl};

use super::overlap;
use crate::drift::Drift;
use crate::kernel_settings;

/// What to ask the kernel about on a node with these settings and objects.
pub(crate) fn question(
    cluster_cidrs: &[IpNet],
    service_cidrs: &[IpNet],
    local: &Local,
    tunnel_port: u16,
    direct: bool,
    peers: Vec<(String, IpAddr)>,
) -> Question {
    Question {
        inside: interface::NODE.into(),
        cluster_cidrs: cluster_cidrs.to_vec(),
        service_cidrs: service_cidrs.to_vec(),
        node_addresses: local.node_addresses.clone(),
        tunnel_address: local.tunnel_address,
        tunnel_port,
        direct,
        peers,
    }
}

/// Refuses addresses of the cluster that are the node's own surroundings'. To be called where no Pod was added yet, so
/// that none is that reaches no node; later the probe tells of it, and what there is goes on.
///
/// # Errors
/// They are, or the kernel does not tell.
pub(super) fn check_overlap(cluster_cidrs: &[IpNet], service_cidrs: &[IpNet], local: &Local) -> Result<()> {
    match plumbing::probe::overlaps(&[cluster_cidrs, service_cidrs].concat(), local.tunnel_address)? {
        Some((range, what)) => bail!("{}; {}", overlap::problem(range, &what), overlap::REMEDY),
        None => Ok(()),
    }
}

/// Makes the node a router of Pods' families, and notes what it was before.
///
/// # Errors
/// The kernel refuses, or the record cannot be written.
pub(super) fn forward(state_dir: &Path, local: &Local) -> Result<()> {
    let changed =
        sysctl::enable_forwarding(&families(&local.gateways)).context("cannot make the node a router")?;
    kernel_settings::record(state_dir, &changed)
}

/// Writes the settings that the agent may write.
///
/// # Errors
/// The kernel refuses, or the record cannot be written.
pub(super) fn repair(state_dir: &Path, local: &Local) -> Result<()> {
    for WrongSetting { setting, value, .. } in own_wrong_settings(state_dir, local)? {
        let before = sysctl::change(&setting, value)
            .with_context(|| format!("cannot repair the setting {setting}"))?;
        // The node's own interface goes with the network, and its settings with it.
        let before = before.filter(|_| !setting.contains(interface::NODE));
        kernel_settings::record(state_dir, before.as_slice())?;
    }
    Ok(())
}

/// What of these settings is wrong by now.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn drift(state_dir: &Path, local: &Local) -> Result<Vec<Drift>> {
    let families = local.gateways.iter().map(|gateway| Family::of(*gateway));
    let closed = families.filter(|family| !sysctl::forwards(*family));
    let closed =
        closed.map(|family| Drift::new("forwarding", format!("the node no longer forwards {family:?}")));
    let mut found: Vec<Drift> = closed.collect();
    for wrong in own_wrong_settings(state_dir, local)? {
        let detail = format!("the setting net/{} is not {}", wrong.setting, wrong.value);
        found.push(Drift::new("setting", detail));
    }
    Ok(found)
}

/// The wrong settings that the agent repairs: those of its own interface; and those that make a router of others where
/// it was the agent that made the node a router of that family. Where somebody else did, that one decides for which
/// interfaces. Who switched IPv6 off at an uplink meant it: the addresses that were there are gone.
fn own_wrong_settings(state_dir: &Path, local: &Local) -> Result<Vec<WrongSetting>> {
    let wrong = wrong_settings(interface::NODE, local.tunnel_address, &families(&local.gateways))
        .context("cannot read the settings of interfaces")?;
    if wrong.is_empty() {
        return Ok(wrong);
    }
    let made = kernel_settings::recorded(state_dir)?;
    let router = |one: &WrongSetting| match one.family {
        Family::V4 => made.contains_key("ipv4/ip_forward"),
        Family::V6 => made.contains_key("ipv6/conf/all/forwarding") && one.what != "disable_ipv6",
    };
    Ok(wrong.into_iter().filter(|one| one.interface == interface::NODE || router(one)).collect())
}

/// The families of these addresses.
pub(super) fn families(addresses: &[IpAddr]) -> Vec<Family> {
    let mut families: Vec<_> = addresses.iter().map(|address| Family::of(*address)).collect();
    families.dedup();
    families
}
