//! This node's own part: the overlay device, the node's pair, kernel routes, masquerading.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use datapath::{Limits, NodeConfig, Port, Role};
use ipnet::IpNet;
use naming::{GATEWAY_MAC, OVERLAY_MAC, attachment_mac, interface};
use plumbing::{Attachment, tc};
use tracing::{info, warn};

use super::look::Kept;
use super::probe::needs_the_stack;
use super::{Applied, Network, OVERLAY_PORT, VNI};
use crate::args::Encapsulation;
use crate::desired::{Local, tunnel_overhead};
use crate::settings;

pub use plumbing::underlay::Underlay;

/// Everything that packets will meet once the doors are open.
pub(super) struct Prepared {
    applied: Applied,
    overlay_ifindex: u32,
}

impl Network {
    pub(super) fn prepare_local(&mut self, local: &Local) -> Result<Prepared> {
        self.restore_pins()?;
        let underlay = plumbing::underlay::find(local.tunnel_address).with_context(|| {
            format!(
                "no interface holds this node's tunnel address {}; correct the Node's InternalIP",
                local.tunnel_address
            )
        })?;
        let mtu = match self.settings.mtu {
            Some(mtu) => mtu,
            None => match mtu_problem(&underlay, local.tunnel_address, None) {
                None => path_mtu(&underlay, local.tunnel_address),
                Some((problem, remedy)) => anyhow::bail!("{problem}; {remedy}"),
            },
        };
        let changed = plumbing::sysctl::enable_forwarding(&families(&local.gateways))
            .context("cannot make the node a router")?;
        settings::remember(&self.settings.state_dir, &changed)?;
        let sources = local.pod_cidrs.iter().copied().chain(self.outside(&local.pod_cidrs).map(IpNet::from));
        plumbing::nft::Masquerade { pod_cidrs: sources.collect(), inside: interface::NODE.into() }
            .apply()
            .context("cannot set up masquerading of what leaves the cluster")?;
        // At once: what somebody does to the table from now on is noticed.
        let masquerade = plumbing::nft::look()?;

        let overlay_ifindex = plumbing::overlay::ensure(interface::OVERLAY, OVERLAY_MAC.0, mtu, OVERLAY_PORT)
            .context("cannot make the overlay device")?;
        let node = self.ensure_node_pair(local, mtu)?;
        self.put_settings_right(local)?;
        // Of a former podCIDR, which may be another node's by now.
        let former = plumbing::keep_addresses(interface::NODE, &local.node_addresses)
            .context("cannot remove former addresses of the node")?;
        if !former.is_empty() {
            info!(addresses = ?former, interface = interface::NODE, "removed addresses of a former podCIDR");
        }
        let tunnel_address =
            direct_tunnel_address(self.settings.encapsulation, local.tunnel_address, &underlay)?;
        if self.settings.encapsulation == Encapsulation::Auto
            && let Some(why) = needs_the_stack(local.tunnel_address, &underlay)?
        {
            info!(why, "tunnels go through the node's network stack, not past it");
        }
        let shaper = self.needed_shaper()?;
        let config = NodeConfig {
            gateways: local.gateways.clone(),
            gateway_mac: GATEWAY_MAC.0,
            overlay_mac: OVERLAY_MAC.0,
            node_ifindex: node.inner_ifindex,
            node_mac: self.node_mac().0,
            mido_ifindex: node.outer_ifindex,
            overlay_ifindex,
            vni: VNI,
            overlay_mtu: mtu,
            tunnel_port: OVERLAY_PORT,
            shaper,
            tunnel_address,
        };
        self.datapath.set_config(&config)?;
        let node_port = Port {
            ifindex: node.outer_ifindex,
            mac: self.node_mac().0,
            addresses: local.node_addresses.iter().map(IpNet::addr).collect(),
            role: Role::Node,
            limits: Limits::default(),
        };
        self.datapath.bind(&node_port)?;
        self.kept = Some(Kept { config, node_port, masquerade });
        let applied = Applied { local: local.clone(), underlay, direct: tunnel_address.is_some(), mtu };
        Ok(Prepared { applied, overlay_ifindex })
    }

    pub(super) fn open_doors(&mut self, prepared: Prepared) -> Result<Applied> {
        let Prepared { applied, overlay_ifindex } = prepared;
        let program = self.datapath.endpoint_program()?;
        tc::set_block_program(tc::INGRESS_BLOCK, program.fd, program.name)
            .context("cannot attach the datapath to Pods' interfaces")?;
        let uplink = &applied.underlay;
        self.hook
            .attach_uplink(&mut self.datapath, applied.direct.then_some(uplink.ifindex))
            .with_context(|| format!("cannot attach the datapath to the uplink {}", uplink.ifname))?;
        // The overlay last: the pin of what is there says whose maps are at work.
        self.hook
            .attach_overlay(&mut self.datapath, overlay_ifindex)
            .context("cannot attach the datapath to the overlay device")?;
        self.datapath.remove_other_layouts().context("cannot remove what an older datapath left")?;
        plumbing::set_up(interface::MIDO).context("cannot set the node's port up")?;
        info!(
            pod_cidrs = ?applied.local.pod_cidrs, uplink = applied.underlay.ifname,
            tunnel_address = %applied.local.tunnel_address, direct = applied.direct,
            hook = %self.hook, mtu = applied.mtu, "the node's network is set up"
        );
        Ok(applied)
    }

    /// The node's row of the table whose other row is the Pod.
    pub(super) fn node_pair(&self, local: &Local, mtu: u32) -> Attachment<'static> {
        let inside = self.settings.cluster_cidrs.iter().chain(&self.settings.service_cidrs);
        let routes = inside.filter_map(|cidr| {
            let gateway = local.gateways.iter().find(|gateway| gateway.is_ipv4() == cidr.addr().is_ipv4())?;
            Some(plumbing::Route::through(*cidr, *gateway))
        });
        Attachment {
            netns: None,
            inner: interface::NODE.into(),
            inner_mac: self.node_mac().0,
            outer: interface::MIDO.into(),
            outer_mac: GATEWAY_MAC.0,
            alias: format!("node {}", self.settings.node_name),
            mtu,
            addresses: local.node_addresses.clone(),
            gateways: local.gateways.clone(),
            routes: routes.collect(),
            forwarding: Some(true),
            replace_stale: true,
        }
    }

    /// Makes the node's pair, or repairs what is wrong with it: connections over it live on.
    fn ensure_node_pair(&self, local: &Local, mtu: u32) -> Result<plumbing::Attached> {
        let pair = self.node_pair(local, mtu);
        let differences = plumbing::check(&pair).context("cannot look at the node's pair")?;
        if differences.is_empty() {
            return plumbing::find(&pair).context("cannot look at the node's pair");
        }
        if let Ok(found) = plumbing::find(&pair) {
            let repaired = plumbing::repair(&pair);
            if repaired.is_ok() && plumbing::check(&pair).is_ok_and(|left| left.is_empty()) {
                info!(?differences, "repaired the node's pair");
                return Ok(found);
            }
            warn!(?differences, ?repaired, "the node's pair cannot be repaired: making it anew");
        }
        plumbing::remove(interface::MIDO).context("cannot remove the node's old pair")?;
        plumbing::attach(&pair).context("cannot make the node's pair")
    }

    /// The MAC of `midokube-node`.
    pub fn node_mac(&self) -> naming::Mac {
        attachment_mac(&self.settings.node_name, interface::NODE)
    }
}

/// The node's end of tunnels whose headers the datapath handles itself: where the uplink is a plain one.
///
/// # Errors
/// The kernel does not tell whether the host has IPsec policies, or a firewall.
pub fn direct_tunnel_address(
    encapsulation: Encapsulation,
    tunnel_address: IpAddr,
    underlay: &Underlay,
) -> Result<Option<Ipv4Addr>> {
    let IpAddr::V4(address) = tunnel_address else { return Ok(None) };
    let direct = underlay.ethernet
        && match encapsulation {
            Encapsulation::Device => false,
            Encapsulation::Direct => true,
            Encapsulation::Auto => needs_the_stack(tunnel_address, underlay)?.is_none(),
        };
    Ok(direct.then_some(address))
}

/// The largest packet of a Pod, in bytes, that an uplink carries in a tunnel.
fn path_mtu(underlay: &Underlay, tunnel_address: IpAddr) -> u32 {
    underlay.mtu.saturating_sub(tunnel_overhead(tunnel_address))
}

/// What is wrong with the Pods' MTU on this uplink, and the remedy: packets above the path's would be lost, and IPv6
/// needs 1280 (RFC 8200, section 5). `setting` is --mtu.
pub fn mtu_problem(
    underlay: &Underlay,
    tunnel_address: IpAddr,
    setting: Option<u32>,
) -> Option<(String, String)> {
    let Underlay { ifname, mtu, .. } = underlay;
    let (path, overhead) = (path_mtu(underlay, tunnel_address), tunnel_overhead(tunnel_address));
    let uplink = format!(
        "the uplink {ifname} has an MTU of {mtu} and carries {path} less the tunnel's {overhead} bytes"
    );
    match setting {
        Some(setting) if setting > path => Some((
            format!("--mtu {setting} is too large: {uplink}"),
            format!("leave --mtu out or set it to at most {path}, or raise the uplink's MTU"),
        )),
        None if path < 1280 => Some((
            format!("Pods would have an MTU below IPv6's least of 1280: {uplink}"),
            "raise the uplink's MTU, or set --mtu if Pods use IPv4 alone".into(),
        )),
        _ => None,
    }
}

pub(super) fn families(addresses: &[IpAddr]) -> Vec<plumbing::Family> {
    let mut families: Vec<_> = addresses.iter().map(|address| plumbing::Family::of(*address)).collect();
    families.dedup();
    families
}
