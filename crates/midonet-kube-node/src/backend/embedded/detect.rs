//! Looking whether the kernel still agrees with what it was last made to: others may remove or change
//! any of it. What differs is found here; making it right again is [`Network::apply`]'s work, as always.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use datapath::{NodeConfig, Port};
use ipnet::IpNet;
use naming::alias::PortAlias;
use naming::{GATEWAY_MAC, OVERLAY_MAC, interface};
use plumbing::{Attachment, Outer, Part, tc};
use tracing::warn;

use super::node::is_direct;
use super::probe::{needs_the_stack, own_wrong_settings};
use super::{Applied, Network};
use crate::backend::PortRecord;
use crate::config::Encapsulation;
use crate::drift::Drift;
use crate::problems::Problem;

/// What a look knows from those before.
#[derive(Debug, Default)]
pub struct Settled {
    /// Which Pods' interfaces were seen up, and since when the others are seen down: those may be in the middle of
    /// their ADD, whose last step sets them up.
    up: BTreeMap<u32, Option<Instant>>,
    /// How many tunnels were looked at.
    tunnels: usize,
}

/// So many tunnels are looked at in one look: a change of a route seldom concerns one alone, and whatever the kernel
/// routes elsewhere still arrives.
const TUNNELS: usize = 8;

/// How long the last step of an ADD may be under way.
const LAST_STEP: Duration = Duration::from_millis(700);

impl Settled {
    /// Whether no interface is down that may only be on its way up: then there is no need to look again soon.
    pub fn is_all(&self) -> bool {
        self.up.values().all(Option::is_none)
    }

    /// Notes whether an interface is up now; whether somebody else set it down.
    fn is_broken(&mut self, link: &plumbing::Link) -> bool {
        if link.up {
            self.up.insert(link.ifindex, None);
            return false;
        }
        let down = self.up.entry(link.ifindex).or_insert_with(|| Some(Instant::now()));
        down.is_none_or(|since| since.elapsed() >= LAST_STEP)
    }
}

/// What was last put into the kernel, besides [`Applied`].
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) config: NodeConfig,
    pub(super) node_port: Port,
    pub(super) masquerade: Option<plumbing::nft::Table>,
}

/// A copy of what should be, to be compared without holding the network.
#[derive(Debug)]
pub struct Expectation {
    applied: Applied,
    kept: Kept,
    pair: Attachment<'static>,
    ports: Vec<PortRecord>,
    encapsulation: Encapsulation,
    program: u32,
    state_dir: PathBuf,
}

impl Network {
    /// What should be; `None` while the network is not set up.
    ///
    /// # Errors
    /// The kernel does not give the program's number.
    pub fn expectation(&self) -> Result<Option<Expectation>> {
        let (Some(applied), Some(kept)) = (&self.applied, &self.kept) else { return Ok(None) };
        Ok(Some(Expectation {
            pair: self.node_pair(&applied.local, applied.mtu),
            applied: applied.clone(),
            kept: kept.clone(),
            ports: self.ports.values().cloned().collect(),
            encapsulation: self.settings.encapsulation,
            program: self.datapath.endpoint_program()?.id,
            state_dir: self.settings.state_dir.clone(),
        }))
    }

    /// What differs in the datapath's own tables and pins, and in the queues of Pods with a limit.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn look_at_datapath(&self) -> Result<Vec<Drift>> {
        let (Some(applied), Some(kept)) = (&self.applied, &self.kept) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let missing = self.datapath.missing_pins()?;
        found.extend(missing.iter().map(|pin| Drift::new("pin", format!("{} is gone", pin.display()))));
        if !self.datapath.has_config(&kept.config)? {
            found.push(Drift::new("config", "the datapath's configuration is another"));
        }
        if !self.hook.has_overlay(&self.datapath, kept.config.overlay_ifindex).unwrap_or(false) {
            let detail = format!("the datapath's program is not at {}", interface::OVERLAY);
            found.push(Drift::new("overlay_program", detail));
        }
        for uplink in applied.uplinks_with_program() {
            if !self.hook.has_uplink(&self.datapath, uplink.ifindex).unwrap_or(false) {
                let detail = format!("the datapath's program is not at {}", uplink.ifname);
                found.push(Drift::new("uplink_program", detail));
            }
        }
        for (cidr, route) in &self.wanted_routes {
            if !self.datapath.has_route(*cidr, *route)? {
                found.push(Drift::new("datapath_route", format!("{cidr} is missing or wrong")));
            }
        }
        for (address, end) in &self.wanted_nodes {
            if !self.datapath.has_node(*address, *end)? {
                let detail = format!("the address {address} of a node is missing or wrong");
                found.push(Drift::new("datapath_node", detail));
            }
        }
        let ports = self.datapath.ports()?;
        let cidrs = &applied.local.pod_cidrs;
        let wanted = self.ports.values().map(|port| port.port(cidrs)).chain([kept.node_port.clone()]);
        let wrong = wanted.filter(|port| !ports.iter().any(|now| same(now, port)));
        found.extend(wrong.map(|port| {
            Drift::new(
                "endpoint",
                format!("{:?} of interface {} is missing or wrong", port.addresses, port.ifindex),
            )
        }));
        found.extend(self.look_at_limits()?.into_iter().map(|(_, finding)| finding));
        Ok(found)
    }

    /// Has the next [`apply`](Self::apply) put everything right, also what it did before.
    pub fn invalidate(&mut self) {
        self.invalidated = true;
    }

    /// Before everything else: pins, which attaching needs.
    pub(super) fn restore_pins(&mut self) -> Result<()> {
        if self.invalidated && !self.datapath.missing_pins()?.is_empty() {
            self.datapath.restore_pins().context("cannot pin the datapath again")?;
        }
        Ok(())
    }

    /// Pods' own part: entries in the datapath, outer ends, limits, and the MTU when it is another than before. What
    /// cannot be done for one Pod is a problem of that Pod's.
    pub(super) fn restore_ports(&mut self, pod_cidrs: &[IpNet], mtu: u32) -> Result<()> {
        let committed = self.datapath.ports().context("cannot read the datapath's ports")?;
        self.unrepaired.clear();
        for record in self.ports.values() {
            let port = record.port(pod_cidrs);
            if !committed.iter().any(|now| same(now, &port))
                && let Err(error) = self.datapath.bind(&port)
            {
                self.unrepaired.insert(port.ifindex, unrepaired(record, &error));
            }
        }
        let members = tc::block_members()?;
        let links: BTreeMap<u32, _> =
            plumbing::list_ports()?.into_iter().map(|link| (link.ifindex, link)).collect();
        self.free_names(&links);
        for port in self.ports.values() {
            let Some(link) = links.get(&port.host_ifindex).filter(|link| !link.is_dead()) else {
                continue;
            };
            // One that is down may be in the middle of its ADD.
            let left = self.invalidated && (!link.up || !members.contains(&link.ifindex));
            if left || changed(port, link).next().is_some() {
                let wanted = Outer {
                    ifindex: link.ifindex,
                    name: port.host_ifname.clone(),
                    mac: GATEWAY_MAC.0,
                    alias: lost_alias(port, link).then(|| port.alias.encode()),
                };
                if let Err(error) = plumbing::repair_outer(&wanted) {
                    self.unrepaired.insert(link.ifindex, unrepaired(port, &error));
                    continue;
                }
            }
            if self.pods_mtu == Some(mtu) || link.mtu == mtu {
                continue;
            }
            match plumbing::set_inner_mtu(&port.host_ifname, port.mac.0, mtu) {
                Ok(true) => {}
                Err(error) => {
                    self.unrepaired.insert(link.ifindex, unrepaired(port, &error));
                }
                Ok(false) => warn!(
                    pod = %port.pod(), mtu = link.mtu,
                    "the Pods' MTU is now {mtu}, but this Pod's namespace is not to be found: it keeps its own until \
                     it is made anew, and is told when a packet is too big"
                ),
            }
        }
        self.pods_mtu = Some(mtu);
        self.restore_limits()?;
        self.invalidated = false;
        Ok(())
    }
}

impl Network {
    /// Pods' interfaces that have each other's names, or that another interface took.
    fn free_names(&self, links: &BTreeMap<u32, plumbing::Link>) {
        let wanted: BTreeMap<&str, u32> =
            self.ports.values().map(|port| (port.host_ifname.as_str(), port.host_ifindex)).collect();
        let takes = |link: &&plumbing::Link| {
            wanted
                .get(link.name.as_str())
                .is_some_and(|owner| *owner != link.ifindex && links.contains_key(owner))
        };
        for link in links.values().filter(takes) {
            if let Err(error) = plumbing::free_name(link.ifindex) {
                warn!(%error, interface = link.name, "it has the name of a Pod's interface, and keeps it");
            }
        }
    }
}

impl Expectation {
    /// What differs of links, addresses, routes, queueing disciplines, sysctls and nftables.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn look(&self, settled: &mut Settled) -> Result<Vec<Drift>> {
        let mut found = Vec::new();
        self.look_at_underlay(settled, &mut found)?;
        for difference in plumbing::check(&self.pair)? {
            let what = match difference.part {
                Part::Link => "link",
                Part::Setting | Part::SmallerMtu => "setting",
                Part::Block => "block",
                Part::Address => "address",
                Part::Route => "route",
            };
            found.push(Drift::new(what, difference.to_string()));
        }
        let links = plumbing::list_ports()?;
        let by_index: BTreeMap<u32, &plumbing::Link> =
            links.iter().map(|link| (link.ifindex, link)).collect();
        let overlay = links.iter().find(|link| link.name == interface::OVERLAY);
        found.extend(self.look_at_overlay(overlay));
        let members = tc::block_members()?;
        settled.up.retain(|ifindex, _| by_index.contains_key(ifindex));
        for port in &self.ports {
            let Some(link) = by_index.get(&port.host_ifindex).filter(|link| !link.is_dead()) else {
                continue;
            };
            let down = settled.is_broken(link);
            let in_block = members.contains(&link.ifindex) || tc::in_block(link.ifindex)?;
            found.extend(look_at_port(port, link, down, in_block));
        }
        if tc::block_program(tc::INGRESS_BLOCK)? != Some(self.program) {
            found.push(Drift::new("program", "the datapath's program is not in its block"));
        }
        // One that was gone before it was looked at is not how it should be.
        let table = plumbing::nft::look()?;
        if table.is_none() || table != self.kept.masquerade {
            found.push(Drift::new("masquerade", "the nftables table inet midonet-kube is gone or changed"));
        }
        let families = self.applied.local.gateways.iter().map(|gateway| plumbing::Family::of(*gateway));
        for family in families.filter(|family| !plumbing::sysctl::forwards(*family)) {
            found.push(Drift::new("forwarding", format!("the node no longer forwards {family:?}")));
        }
        for wrong in own_wrong_settings(&self.state_dir, &self.applied.local)? {
            let detail = format!("the setting net/{} is not {}", wrong.setting, wrong.value);
            found.push(Drift::new("setting", detail));
        }
        Ok(found)
    }

    fn look_at_underlay(&self, settled: &mut Settled, found: &mut Vec<Drift>) -> Result<()> {
        let Applied { local, underlay, direct, .. } = &self.applied;
        if let Err(error) = plumbing::underlay::holder(local.tunnel_address) {
            found.push(Drift::new("uplink", error.to_string()));
            return Ok(());
        }
        let difference = underlay.difference(settled.tunnels, TUNNELS)?;
        settled.tunnels = settled.tunnels.wrapping_add(TUNNELS);
        found.extend(difference.map(|difference| Drift::new("uplink", difference)));
        let tunnel_port = self.kept.config.tunnel_port;
        if is_direct(self.encapsulation, local, underlay, tunnel_port)? != *direct {
            let why = needs_the_stack(local, underlay, tunnel_port)?;
            let why = why.unwrap_or_else(|| "nothing protects or filters tunnels any more".into());
            found.push(Drift::new("uplink", why));
        }
        Ok(())
    }

    fn look_at_overlay(&self, link: Option<&plumbing::Link>) -> Option<Drift> {
        let name = interface::OVERLAY;
        let wrong = match link {
            None => format!("{name} is gone"),
            Some(link) if link.ifindex != self.kept.config.overlay_ifindex => format!("{name} is another"),
            Some(link) if !link.up => format!("{name} is down"),
            Some(link) if link.mac != OVERLAY_MAC.0 => format!("{name} has another MAC address"),
            Some(link) if link.mtu != self.applied.mtu => format!("{name} has an MTU of {}", link.mtu),
            Some(_) if !plumbing::overlay::is(name, self.kept.config.tunnel_port).unwrap_or(true) => {
                format!("{name} is no flow-based VXLAN device")
            }
            Some(_) => return None,
        };
        Some(Drift::new("overlay", wrong))
    }
}

fn look_at_port(port: &PortRecord, link: &plumbing::Link, down: bool, in_block: bool) -> Vec<Drift> {
    let of_pod = |what: &str| Drift::new("pod", format!("{} of Pod {} {what}", port.host_ifname, port.pod()));
    let mut found = Vec::new();
    if down {
        found.push(of_pod("is down"));
    }
    if !in_block {
        found.push(of_pod("is not in the datapath's block"));
    }
    found.extend(changed(port, link).map(of_pod));
    found
}

/// What could not be put right for one Pod. The others are repaired all the same.
fn unrepaired(port: &PortRecord, error: &dyn fmt::Display) -> Problem {
    let object = format!("{} of Pod {}", port.host_ifname, port.pod());
    let problem = format!("the Pod's interface cannot be repaired: {error}");
    Problem::new("pod_interface", object, problem, "correct what is named, or delete the Pod")
}

/// What somebody changed of a Pod's interface: it is that Pod's as long as its number is there.
pub(super) fn changed(port: &PortRecord, link: &plumbing::Link) -> impl Iterator<Item = &'static str> {
    [
        (link.name != port.host_ifname, "has another name"),
        (lost_alias(port, link), "has lost its alias, which says whose it is"),
        (link.mac != GATEWAY_MAC.0, "has another MAC address"),
        (link.master != 0, "is part of a bridge, a bond or a VRF"),
    ]
    .into_iter()
    .filter_map(|(is_so, what)| is_so.then_some(what))
}

/// It may say more than the record does: a network's name, or less of a long Pod's name.
fn lost_alias(port: &PortRecord, link: &plumbing::Link) -> bool {
    port.knows_owner()
        && PortAlias::parse(&link.alias).is_none_or(|alias| alias.container_id != port.alias.container_id)
}

fn same(a: &Port, b: &Port) -> bool {
    let addresses = |port: &Port| port.addresses.iter().copied().collect::<BTreeSet<_>>();
    (a.ifindex, a.mac, a.role, a.limits) == (b.ifindex, b.mac, b.role, b.limits)
        && addresses(a) == addresses(b)
}
