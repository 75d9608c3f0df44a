//! A Pod's port, compared with the interface and the entry in the datapath that it stands for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result};
use datapath::{Port, Role};
use ipam::Reserved;
use ipnet::IpNet;
use naming::alias::PortAlias;
use naming::{GATEWAY_MAC, Mac, PodKey, interface};
use plumbing::{Link, tc};

use super::names::Names;
use crate::backend::{Owner, PortRecord};

/// Stands for what is not known of an owner. No namespace of Kubernetes has this name.
const UNKNOWN: &str = "?";

impl PortRecord {
    /// The entry in the datapath, with a set of policy.
    pub(super) fn port(&self, pod_cidrs: &[IpNet], set: u32) -> Port {
        let role = if self.outside(pod_cidrs).is_empty() { Role::Pod } else { Role::Outside };
        Port {
            ifindex: self.host_ifindex,
            mac: self.mac.0,
            addresses: self.addresses.clone(),
            role,
            limits: self.limits,
            set,
        }
    }

    /// Its addresses outside the node's podCIDRs; none as long as those are not known.
    pub(super) fn outside(&self, pod_cidrs: &[IpNet]) -> Vec<IpAddr> {
        let is_outside = |address: &IpAddr| !pod_cidrs.iter().any(|cidr| cidr.contains(address));
        let known = !pod_cidrs.is_empty();
        self.addresses.iter().copied().filter(|address| known && is_outside(address)).collect()
    }

    /// A committed port that an earlier agent left. Of one whose interface does not tell whose it is, the reservations may
    /// know the container.
    pub(super) fn restored(link: &Link, port: Port, reserved: &[Reserved], names: &Names) -> Self {
        let owner = match PortAlias::parse(&link.alias) {
            Some(alias) => Owner::Known(names.complete(alias)),
            None => {
                let reserved = reserved.iter().find(|r| port.addresses.contains(&r.address));
                let attachment = reserved.and_then(|r| r.owner.clone());
                match attachment.as_ref().and_then(|attachment| names.owner_of(attachment)) {
                    Some(owner) => Owner::Known(owner),
                    None => Owner::Unknown(attachment),
                }
            }
        };
        let host_ports = owner.known().map(|owner| names.host_ports(&owner.container_id)).unwrap_or_default();
        Self { host_ports, ..Self::of(link, owner, port) }
    }

    /// A committed port of an interface.
    pub(super) fn of(link: &Link, owner: Owner, port: Port) -> Self {
        let whole = owner.known().filter(|owner| owner.is_whole());
        Self {
            // Somebody may have renamed it.
            host_ifname: whole.map_or_else(|| link.name.clone(), |owner| interface::for_pod(&owner.pod)),
            owner,
            host_ifindex: link.ifindex,
            mac: Mac(port.mac),
            addresses: port.addresses,
            limits: port.limits,
            host_ports: Vec::new(),
        }
    }

    /// The owner in words: for logs, for status, and for reservations, which need an owner. What is not known of it has
    /// a name that no Pod and no container has.
    pub fn alias(&self) -> PortAlias {
        let attachment = match &self.owner {
            Owner::Known(owner) => return owner.clone(),
            Owner::Unknown(attachment) => attachment.clone(),
        };
        let (container_id, ifname) = attachment.map_or((UNKNOWN.into(), UNKNOWN.into()), |attachment| {
            (attachment.container_id, attachment.ifname)
        });
        let pod = PodKey::new(UNKNOWN, format!("{}~", self.host_ifname));
        PortAlias { pod, container_id, ifname, pod_uid: None, network: None }
    }

    /// The Pod in words.
    pub fn pod(&self) -> PodKey {
        self.alias().pod
    }
}

/// What somebody changed of a Pod's interface: it is that Pod's as long as its ifindex is there.
pub(super) fn changed(port: &PortRecord, link: &Link) -> impl Iterator<Item = &'static str> {
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
pub(super) fn lost_alias(port: &PortRecord, link: &Link) -> bool {
    port.owner.known().is_some_and(|owner| {
        PortAlias::parse(&link.alias).is_none_or(|alias| alias.container_id != owner.container_id)
    })
}

/// Whether both are the same port; the order of addresses does not count.
pub(super) fn same(a: &Port, b: &Port) -> bool {
    let addresses = |port: &Port| port.addresses.iter().copied().collect::<BTreeSet<_>>();
    (a.ifindex, a.mac, a.role, a.limits) == (b.ifindex, b.mac, b.role, b.limits)
        && addresses(a) == addresses(b)
}

/// The host interfaces of Pods that are alive, also under another name as long as they are in the datapath's block.
pub(crate) fn live_ports() -> Result<Vec<(Link, PortAlias)>> {
    let links = plumbing::link::list().context("cannot list the node's interfaces")?;
    let members = tc::block_members()?;
    let is_port = |link: &Link| {
        !link.is_retired()
            && (link.name.starts_with(interface::POD_PREFIX) || members.contains(&link.ifindex))
    };
    Ok(links
        .into_iter()
        .filter(is_port)
        .filter_map(|link| PortAlias::parse(&link.alias).map(|alias| (link, alias)))
        .collect())
}
