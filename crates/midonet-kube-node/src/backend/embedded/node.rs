//! This node's own part: the overlay device, the node's veth pair, kernel routes, masquerading.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use datapath::{Limits, NodeConfig, OwnAddress, Port, Role};
use ipnet::IpNet;
use model::{Local, Problem};
use naming::{GATEWAY_MAC, OVERLAY_MAC, interface};
use plumbing::nft::{Element, LocalServices, Rules};
use plumbing::veth::VethPair;
use plumbing::{Link, tc};
use tracing::{info, warn};

use super::own_addresses::{Outside, loopback_families};
use super::parts::Parts;
use super::probe::needs_the_stack;
use super::source_ports;
use super::state::Applied;
use crate::backend::node_pair;
use crate::backend::settings::{self, families};
use crate::backend::underlay::{Underlay, mtu_problem};
use crate::config::Encapsulation;

/// What was last put into the kernel, besides [`Applied`].
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) overlay_ifindex: u32,
    pub(super) node_port: Port,
}

/// Everything that packets will meet once the programs are attached.
pub(super) struct Prepared {
    pub(super) applied: Applied,
    pub(super) kept: Kept,
    /// What of Pods' hostPorts is not served.
    pub(super) problems: Vec<Problem>,
}

impl Parts {
    /// Pins again what was removed. Before everything else: attaching needs the pins.
    pub(super) fn restore_pins(&self) -> Result<()> {
        let held = &mut self.tables.lock().datapath;
        if !held.missing_pins().is_empty() {
            held.restore_pins().context("cannot pin the datapath again")?;
        }
        Ok(())
    }

    /// Makes this node's own part, all but the programs.
    pub(super) fn prepare_node(&self, local: &Local, underlay: Underlay) -> Result<Prepared> {
        let mtu = match self.settings.mtu {
            Some(mtu) => mtu,
            None => match mtu_problem(&underlay, local.has_ipv6(), None) {
                None => underlay.mtu,
                Some((problem, remedy)) => anyhow::bail!("{problem}; {remedy}"),
            },
        };
        settings::forward(&self.settings.state_dir, local)?;
        let port = self.settings.tunnel_port;
        let overlay_ifindex = plumbing::overlay::ensure(interface::OVERLAY, OVERLAY_MAC.0, mtu, port)
            .context("cannot make the overlay device")?;
        let node = node_pair::ensure(&self.node_pair(local, mtu))?;
        // A former interface of the node under another name is gone by now, and counts as no uplink. So are its former
        // addresses: detection would miss them among the node's own.
        let outside = self.outside(local)?;
        let mut problems = self.map_host_ports();
        problems.extend(outside.problem(&self.settings.node_name));
        self.apply_rules(local, &outside)?;
        settings::repair(&self.settings.state_dir, local)?;
        if self.settings.services {
            plumbing::loopback::accept(interface::NODE, &families(&local.gateways))
                .context("cannot let answers to loopback addresses in")?;
        }
        let direct = is_direct(self.settings.encapsulation, local, &underlay, port)?;
        if !direct
            && self.settings.encapsulation == Encapsulation::Auto
            && let Some(why) = needs_the_stack(local, &underlay, port)?
        {
            info!(why, "tunnels go through the node's network stack, not past it");
        }
        self.ports().need_shaper(&self.tables)?;
        let config = NodeConfig {
            gateways: local.gateways.clone(),
            gateway_mac: GATEWAY_MAC.0,
            overlay_mac: OVERLAY_MAC.0,
            node_ifindex: node.ifindex,
            node_mac: node_pair::mac(&self.settings.node_name).0,
            mido_ifindex: node.host_ifindex,
            overlay_ifindex,
            vni: self.settings.vni,
            overlay_mtu: mtu,
            tunnel_port: port,
            // The tables know it.
            shaper: None,
            tunnel_address4: of_family4(&local.tunnel_addresses),
            tunnel_address6: of_family6(&local.tunnel_addresses),
            direct,
            node_address4: of_family4(&local.tunnel_addresses),
            node_address6: of_family6(&local.tunnel_addresses),
            source_ports: source_ports::choose(source_ports::ephemeral()),
            services: self.settings.services,
        };
        self.tables.lock().set_config(config)?;
        let node_port = Port {
            ifindex: node.host_ifindex,
            mac: node_pair::mac(&self.settings.node_name).0,
            addresses: local.node_addresses.iter().map(IpNet::addr).collect(),
            role: Role::Node,
            limits: Limits::default(),
            set: datapath::policy::OPEN,
        };
        self.tables.lock().datapath.bind(&node_port)?;
        self.apply_addresses(&outside.addresses)?;
        let applied = Applied { local: local.clone(), underlay, outside, direct, mtu };
        Ok(Prepared { applied, kept: Kept { overlay_ifindex, node_port }, problems })
    }

    /// Where the outside reaches this node's Services as the kernel has it now.
    pub(super) fn outside(&self, local: &Local) -> Result<Outside> {
        if !self.settings.services {
            return Ok(Outside::default());
        }
        let links = plumbing::link::list().context("cannot list the node's interfaces")?;
        self.outside_of(&links, local)
    }

    /// The same of these interfaces.
    pub(super) fn outside_of(&self, links: &[Link], local: &Local) -> Result<Outside> {
        let addresses = plumbing::addresses().context("cannot list the node's addresses")?;
        Ok(Outside::of(links, &addresses, local, &self.settings.node_ports))
    }

    /// Makes the nftables table.
    fn apply_rules(&self, local: &Local, outside: &Outside) -> Result<()> {
        let pods_outside = self.ports().outside(&local.pod_cidrs);
        let sources = local.pod_cidrs.iter().copied().chain(pods_outside.into_iter().map(IpNet::from));
        let services = self.settings.services.then(|| LocalServices {
            gateways: local.gateways.clone(),
            loopback: loopback_families(&self.settings.node_ports),
        });
        let served = outside.addresses.iter().filter(|(_, own)| own.node_ports);
        let served = served.map(|(address, _)| (Element::NodePortAddress(*address), None)).collect();
        let mut nftables = self.nftables();
        nftables.replace(|element| matches!(element, Element::NodePortAddress(_)), served);
        nftables.apply(Rules {
            pod_cidrs: sources.collect(),
            inside: interface::NODE.into(),
            source_ports: source_ports::masquerade(source_ports::ephemeral()),
            services,
        })
    }

    /// Tells the datapath the node's own addresses. One that it does not take is not served, and harms no other.
    fn apply_addresses(&self, wanted: &BTreeMap<IpAddr, OwnAddress>) -> Result<()> {
        let held = &mut self.tables.lock().datapath;
        let there = held.addresses().context("cannot read the datapath's own addresses")?;
        for address in there.keys().filter(|address| !wanted.contains_key(address)) {
            held.remove_address(*address).context("cannot remove a former address of the node")?;
        }
        for (address, own) in wanted.iter().filter(|(address, own)| there.get(address) != Some(own)) {
            match held.set_address(*address, *own) {
                Ok(()) => info!(%address, node_ports = own.node_ports, "an address of this node"),
                Err(error) => warn!(%address, %error, "Services are not served at this address of the node"),
            }
        }
        Ok(())
    }

    /// The node's veth pair: by it the node's own traffic to Pods enters the network.
    pub(super) fn node_pair(&self, local: &Local, mtu: u32) -> VethPair {
        let pair = node_pair::of(&self.settings.node_name, local, mtu, &self.settings.cluster_cidrs);
        VethPair { in_block: true, ..pair }
    }

    /// Attaches the programs, last of all: the tables that they read are complete.
    pub(super) fn attach_programs(&self, applied: &Applied, kept: &Kept) -> Result<()> {
        let mut held = self.tables.lock();
        held.datapath.follow_old_maps().context("cannot take over the connections of an older datapath")?;
        let program = held.datapath.endpoint_program()?;
        tc::set_block_program(tc::INGRESS_BLOCK, program.fd, program.name)
            .context("cannot attach the datapath to Pods' interfaces")?;
        let uplinks = applied.uplinks_with_program();
        let ifindexes: Vec<u32> = uplinks.keys().copied().collect();
        self.hook
            .attach_uplinks(&mut held.datapath, &ifindexes)
            .with_context(|| format!("cannot attach the datapath to the uplinks {:?}", uplinks.values()))?;
        // The overlay last: the pin of what is there says whose maps are at work.
        self.hook
            .attach_overlay(&mut held.datapath, kept.overlay_ifindex)
            .context("cannot attach the datapath to the overlay device")?;
        held.datapath.retire_old_maps().context("cannot retire what an older datapath left")?;
        plumbing::link::set_up(interface::MIDO).context("cannot set the node's port up")?;
        info!(
            pod_cidrs = ?applied.local.pod_cidrs, uplink = applied.underlay.names(), services_at = ?uplinks.values(),
            no_services_at = ?applied.outside.without_ethernet,
            tunnel_address = %applied.local.tunnel_address, direct = applied.direct,
            hook = %self.hook, mtu = applied.mtu, "the node's network is set up"
        );
        Ok(())
    }
}

fn of_family4(addresses: &[IpAddr]) -> Option<Ipv4Addr> {
    addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

fn of_family6(addresses: &[IpAddr]) -> Option<Ipv6Addr> {
    addresses.iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    })
}

/// Whether the datapath handles the headers of tunnels over IPv4 itself: where all uplinks are plain ones.
///
/// # Errors
/// The kernel does not tell whether the host has IPsec policies, or a firewall.
pub fn is_direct(
    encapsulation: Encapsulation,
    local: &Local,
    underlay: &Underlay,
    tunnel_port: u16,
) -> Result<bool> {
    let has_ipv4 = local.tunnel_addresses.iter().any(IpAddr::is_ipv4);
    Ok(has_ipv4
        && underlay.is_ethernet()
        && match encapsulation {
            Encapsulation::Device => false,
            Encapsulation::Direct => true,
            Encapsulation::Auto => needs_the_stack(local, underlay, tunnel_port)?.is_none(),
        })
}
