//! What the kernel is asked about this node, and which of its answers are repaired here.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use model::Local;
use naming::interface;
use plumbing::probe::{Question, WrongSetting, filters_tunnels, wrong_settings};
use plumbing::{Family, sysctl};

use super::overlap;
use super::parts::Parts;
use super::state::Settings;
use super::underlay::Underlay;
use crate::kernel_settings;

impl Parts {
    /// What to ask the kernel about; `None` while the network is not set up.
    pub(super) fn question(&self, peers: Vec<(String, IpAddr)>) -> Option<Question> {
        let applied = self.applied()?;
        let Settings { cluster_cidrs, service_cidrs, tunnel_port, .. } = &self.settings;
        Some(question(cluster_cidrs, service_cidrs, &applied.local, *tunnel_port, applied.direct, peers))
    }

    /// Refuses addresses of the cluster that are the node's own surroundings'. To be called where no Pod was added yet, so
    /// that none is that reaches no node; later the probe tells of it, and what there is goes on.
    pub(super) fn check_overlap(&self, local: &Local) -> Result<()> {
        let ranges = [self.settings.cluster_cidrs.as_slice(), &self.settings.service_cidrs].concat();
        match plumbing::probe::overlaps(&ranges, local.tunnel_address)? {
            Some((range, what)) => bail!("{}; {}", overlap::problem(range, &what), overlap::REMEDY),
            None => Ok(()),
        }
    }

    /// Writes the settings that the agent may write.
    pub(super) fn repair_settings(&self, local: &Local) -> Result<()> {
        let state_dir = &self.settings.state_dir;
        for WrongSetting { setting, value, .. } in own_wrong_settings(state_dir, local)? {
            let before = sysctl::change(&setting, value)
                .with_context(|| format!("cannot repair the setting {setting}"))?;
            // The node's own interface goes with the network, and its settings with it.
            let before = before.filter(|_| !setting.contains(interface::NODE));
            kernel_settings::record(state_dir, before.as_slice())?;
        }
        Ok(())
    }
}

/// What to ask the kernel about on a node with these settings and objects.
pub fn question(
    cluster_cidrs: &[ipnet::IpNet],
    service_cidrs: &[ipnet::IpNet],
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

/// The wrong settings that the agent repairs: those of its own interface; and those that make a router of others where
/// it was the agent that made the node a router of that family. Where somebody else did, that one decides for which
/// interfaces. Who switched IPv6 off at an uplink meant it: the addresses that were there are gone.
pub(super) fn own_wrong_settings(state_dir: &Path, local: &Local) -> Result<Vec<WrongSetting>> {
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

/// Why tunnels' packets must not pass the node's network stack by, if there is a reason.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn needs_the_stack(
    local: &Local,
    underlay: &Underlay,
    tunnel_port: u16,
) -> Result<Option<String>> {
    if plumbing::ipsec::protects_what_leaves()? {
        return Ok(Some("IPsec policies protect what leaves".into()));
    }
    // Others the stack has anyway.
    let Some(address) = local.tunnel_addresses.iter().find(|address| address.is_ipv4()) else {
        return Ok(None);
    };
    for uplink in &underlay.uplinks {
        if let Some(why) = filters_tunnels(*address, tunnel_port, &uplink.ifname)? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// The families of these addresses.
pub(super) fn families(addresses: &[IpAddr]) -> Vec<Family> {
    let mut families: Vec<_> = addresses.iter().map(|address| Family::of(*address)).collect();
    families.dedup();
    families
}
