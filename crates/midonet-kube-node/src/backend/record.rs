//! A Pod's port, compared with the interface that it stands for.

use std::net::IpAddr;

use anyhow::{Context, Result};
use datapath::Limits;
use ipnet::IpNet;
use model::Problem;
use naming::alias::PortAlias;
use naming::{GATEWAY_MAC, Mac, PodKey, interface};
use plumbing::{Link, tc};

use crate::backend::{Owner, PortRecord};

/// Stands for what is not known of an owner. No namespace of Kubernetes has this name.
const UNKNOWN: &str = "?";

impl PortRecord {
    /// The port of an interface.
    pub(super) fn of(link: &Link, owner: Owner, mac: Mac, addresses: Vec<IpAddr>, limits: Limits) -> Self {
        let whole = owner.known().filter(|owner| owner.is_whole());
        Self {
            // Somebody may have renamed it.
            host_ifname: whole.map_or_else(|| link.name.clone(), |owner| interface::for_pod(&owner.pod)),
            owner,
            host_ifindex: link.ifindex,
            mac,
            addresses,
            limits,
            host_ports: Vec::new(),
        }
    }

    /// Its addresses outside the node's podCIDRs; none as long as those are not known.
    pub(super) fn outside(&self, pod_cidrs: &[IpNet]) -> Vec<IpAddr> {
        let is_outside = |address: &IpAddr| !pod_cidrs.iter().any(|cidr| cidr.contains(address));
        let known = !pod_cidrs.is_empty();
        self.addresses.iter().copied().filter(|address| known && is_outside(address)).collect()
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

    /// A problem of its interface.
    pub(super) fn problem(&self, problem: String, remedy: &str) -> Problem {
        Problem::new("pod_interface", format!("{} of Pod {}", self.host_ifname, self.pod()), problem, remedy)
    }
}

/// What somebody changed of a Pod's interface: it is that Pod's as long as its ifindex is there.
pub(super) fn changed(port: &PortRecord, link: &Link) -> impl Iterator<Item = &'static str> {
    [
        (link.name != port.host_ifname, "has another name"),
        (lost_alias(port, link), "has lost its alias, which says whose it is"),
        (link.mac != GATEWAY_MAC.0, "has another MAC address"),
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
