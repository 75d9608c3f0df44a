//! Detecting drift: whether the kernel still agrees with what it was last made to. Others may remove or change any of it.
//! What differs is found here; repairing it is the work of [`Backend::apply`](crate::backend::Backend::apply), as always.

use std::collections::BTreeMap;

use anyhow::Result;
use naming::{OVERLAY_MAC, interface};
use plumbing::tc;

use super::node::{Kept, is_direct};
use super::parts::Parts;
use super::probe::needs_the_stack;
use super::record::{changed, same};
use super::routes::Routes;
use super::service_routes::ServiceRoutes;
use super::services::{COMPARED, Services};
use super::state::{Applied, Settings};
use crate::backend::settings::{self, families};
use crate::backend::underlay::{TUNNELS, Tunnels};
use crate::backend::up::Up;
use crate::backend::{PortRecord, node_pair};
use crate::drift::Drift;

/// What is known from earlier detections.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Which Pods' interfaces were seen up.
    up: Up,
    /// How many tunnels were asked about.
    tunnels: usize,
    /// How many rows of Services were compared.
    services: usize,
}

/// So many entries of policy are compared at once, twice a minute.
const POLICY: usize = 1024;

impl Settled {
    /// Whether no interface is down that may only be on its way up: then there is no need to detect again soon.
    pub(super) fn is_all(&self) -> bool {
        self.up.is_all()
    }
}

/// What drift is detected against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) parts: &'a Parts,
    pub(super) applied: &'a Applied,
    pub(super) kept: &'a Kept,
    pub(super) routes: &'a Routes,
    pub(super) service_routes: &'a ServiceRoutes,
    pub(super) services: &'a Services,
    pub(super) tunnels: &'a Tunnels,
}

impl Expected<'_> {
    /// Everything that differs.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn detect(&self, settled: &mut Settled) -> Result<Vec<Drift>> {
        let mut found = self.datapath(settled)?;
        found.extend(self.kernel(settled)?);
        Ok(found)
    }

    /// What differs in the datapath's own tables and pins, and in the queues of Pods with a limit.
    fn datapath(&self, settled: &mut Settled) -> Result<Vec<Drift>> {
        let Self { parts, applied, kept, routes, services, .. } = self;
        let mut found = Vec::new();
        let mut held = parts.tables.lock();
        let missing = held.datapath.missing_pins();
        found.extend(missing.iter().map(|pin| Drift::new("pin", format!("{} is gone", pin.display()))));
        if !held.has_config()? {
            found.push(Drift::new("config", "the datapath's configuration is another"));
        }
        if !parts.hook.has_overlay(&held.datapath, kept.overlay_ifindex).unwrap_or(false) {
            let detail = format!("the datapath's program is not at {}", interface::OVERLAY);
            found.push(Drift::new("overlay_program", detail));
        }
        for (ifindex, name) in applied.uplinks_with_program() {
            if !parts.hook.has_uplink(&held.datapath, ifindex).unwrap_or(false) {
                found
                    .push(Drift::new("uplink_program", format!("the datapath's programs are not at {name}")));
            }
        }
        if held.datapath.addresses()? != applied.outside.addresses {
            let detail = "the datapath has other addresses for this node's own";
            found.push(Drift::new("datapath_address", detail));
        }
        if held.datapath.check_policy(POLICY)? {
            let detail = "entries of policy were missing or wrong";
            found.push(Drift::new("datapath_policy", detail));
        }
        drop(held);
        routes.drift(&parts.tables, &mut found)?;
        services.drift(settled.services, &parts.tables, &mut found)?;
        settled.services = settled.services.wrapping_add(COMPARED);
        parts.drifted_host_ports(&mut found)?;
        let (ports, cidrs) = (parts.ports(), &applied.local.pod_cidrs);
        let committed = parts.tables.lock().datapath.ports()?;
        let committed: BTreeMap<u32, _> = committed.into_iter().map(|port| (port.ifindex, port)).collect();
        let wanted = ports
            .records
            .values()
            .map(|port| port.port(cidrs, parts.sets.of(port.host_ifindex)))
            .chain([kept.node_port.clone()]);
        let wrong = wanted.filter(|port| !committed.get(&port.ifindex).is_some_and(|now| same(now, port)));
        found.extend(wrong.map(|port| {
            Drift::new(
                "endpoint",
                format!("{:?} of interface {} is missing or wrong", port.addresses, port.ifindex),
            )
        }));
        found.extend(ports.drifted_limits(&parts.tables)?.into_iter().map(|(_, drift)| drift));
        Ok(found)
    }

    /// What differs of links, addresses, routes, queueing disciplines, sysctls and nftables.
    fn kernel(&self, settled: &mut Settled) -> Result<Vec<Drift>> {
        let mut found = Vec::new();
        self.underlay(settled, &mut found)?;
        let pair = self.parts.node_pair(&self.applied.local, self.applied.mtu);
        found.extend(node_pair::drift(&pair)?);
        let links = plumbing::link::list()?;
        let by_index: BTreeMap<u32, &plumbing::Link> =
            links.iter().map(|link| (link.ifindex, link)).collect();
        let overlay = links.iter().find(|link| link.name == interface::OVERLAY);
        found.extend(self.overlay(overlay));
        let members = tc::block_members()?;
        settled.up.retain(&by_index);
        let ports: Vec<PortRecord> = self.parts.ports().records.values().cloned().collect();
        for port in &ports {
            let Some(link) = by_index.get(&port.host_ifindex).filter(|link| !link.is_retired()) else {
                continue;
            };
            let down = settled.up.is_broken(link);
            let in_block = members.contains(&link.ifindex) || tc::in_block(link.ifindex)?;
            found.extend(drift_of_port(port, link, down, in_block));
        }
        let program = self.parts.tables.lock().datapath.endpoint_program()?.id;
        if tc::block_program(tc::INGRESS_BLOCK)? != Some(program) {
            found.push(Drift::new("program", "the datapath's program is not in its block"));
        }
        found.extend(self.parts.nftables().drift()?);
        self.services(&links, &mut found)?;
        found.extend(settings::drift(&self.parts.settings.state_dir, &self.applied.local)?);
        Ok(found)
    }

    /// What differs of how the node's own processes and the outside reach Services.
    fn services(&self, links: &[plumbing::Link], found: &mut Vec<Drift>) -> Result<()> {
        let Self { parts, applied, service_routes, .. } = self;
        let (local, before) = (&applied.local, &applied.outside);
        // What is missing with it is made with it, and was noticed by it.
        if !links.iter().any(|link| link.name == interface::NODE) {
            return Ok(());
        }
        found.extend(service_routes.drift(local, &before.addresses)?);
        if !parts.settings.services {
            return Ok(());
        }
        let now = parts.outside_of(links, local)?;
        if now.interfaces != before.interfaces {
            let names: Vec<_> = now.interfaces.values().collect();
            found.push(Drift::new(
                "uplink",
                format!("the interfaces with addresses of this node are now {names:?}"),
            ));
        }
        if now.addresses != before.addresses {
            let detail = format!("this node's addresses are now {:?}", now.addresses.keys());
            found.push(Drift::new("uplink", detail));
        }
        if !plumbing::loopback::is_accepted(interface::NODE, &families(&local.gateways))? {
            let detail = format!("{} accepts no answers to loopback addresses", interface::NODE);
            found.push(Drift::new("setting", detail));
        }
        Ok(())
    }

    fn underlay(&self, settled: &mut Settled, found: &mut Vec<Drift>) -> Result<()> {
        let Applied { local, underlay, direct, .. } = self.applied;
        if let Err(error) = plumbing::underlay::holder(local.tunnel_address) {
            found.push(Drift::new("uplink", error.to_string()));
            return Ok(());
        }
        let difference = self.tunnels.difference(underlay, settled.tunnels, TUNNELS)?;
        settled.tunnels = settled.tunnels.wrapping_add(TUNNELS);
        found.extend(difference.map(|difference| Drift::new("uplink", difference)));
        let Settings { tunnel_port, encapsulation, .. } = self.parts.settings;
        if is_direct(encapsulation, local, underlay, tunnel_port)? != *direct {
            let why = needs_the_stack(local, underlay, tunnel_port)?;
            let why = why.unwrap_or_else(|| "nothing protects or filters tunnels any more".into());
            found.push(Drift::new("uplink", why));
        }
        Ok(())
    }

    fn overlay(&self, link: Option<&plumbing::Link>) -> Option<Drift> {
        let name = interface::OVERLAY;
        let wrong = match link {
            None => format!("{name} is gone"),
            Some(link) if link.ifindex != self.kept.overlay_ifindex => format!("{name} is another"),
            Some(link) if !link.up => format!("{name} is down"),
            Some(link) if link.mac != OVERLAY_MAC.0 => format!("{name} has another MAC address"),
            Some(link) if link.mtu != self.applied.mtu => format!("{name} has an MTU of {}", link.mtu),
            Some(_) if !plumbing::overlay::is(name, self.parts.settings.tunnel_port).unwrap_or(true) => {
                format!("{name} is no flow-based VXLAN device")
            }
            Some(_) => return None,
        };
        Some(Drift::new("overlay", wrong))
    }
}

fn drift_of_port(port: &PortRecord, link: &plumbing::Link, down: bool, in_block: bool) -> Vec<Drift> {
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
