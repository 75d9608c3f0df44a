//! Pods' ports: what the kernel's links say of them, joined with what the datapath has committed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use datapath::{Port, Role};
use ipam::Reserved;
use ipnet::IpNet;
use naming::alias::PortAlias;
use naming::{Mac, PodKey, interface};
use plumbing::{Link, tc};
use tracing::info;

use super::Network;
use super::detect::changed;
use super::names::Names;
use crate::backend::{BindError, BindRequest, PortRecord};
use crate::leak;
use crate::problems::Problem;

/// Stands for what nobody knows of a port. No namespace of Kubernetes has this name.
const UNKNOWN: &str = "?";

impl Network {
    /// Commits a Pod's port: from here on its packets pass, once its interface is up.
    ///
    /// # Errors
    /// [`BindError`]; nothing is committed then.
    pub fn bind(&mut self, request: &BindRequest) -> Result<(), BindError> {
        self.validate(request)?;
        let owner = self.check_link(request)?;
        let taken = self.ports.values().find(|port| {
            port.host_ifname != request.host_ifname
                && port.addresses.iter().any(|address| request.addresses.contains(address))
        });
        if let Some(other) = taken {
            return Err(BindError::Taken(format!(
                "Pod {} was given {:?}, but Pod {} has {:?}: the IPAM plugin gives addresses twice",
                request.alias.pod, request.addresses, other.alias.pod, other.addresses
            )));
        }
        // An older sandbox of the same Pod had another interface of the same name.
        if let Some(old) = self.ports.get(&request.host_ifname)
            && old.host_ifindex != request.host_ifindex
        {
            self.datapath.release(old.host_ifindex).context("cannot release the old sandbox's port")?;
        }
        // The plugin does not say which network it is; its interface does.
        let alias = PortAlias { network: owner.network.clone(), ..request.alias.clone() };
        let record = PortRecord { alias, limits: self.with_class(request)?, ..request.clone() };
        self.datapath.bind(&record.port(&self.own_cidrs())).map_err(|error| match error {
            full @ datapath::Error::Full { .. } => BindError::Full(full.to_string()),
            other => BindError::Failed(other.into()),
        })?;
        self.lost.remove(&record.host_ifindex);
        let before = self.ports.insert(record.host_ifname.clone(), record.clone());
        if let Err(error) = self.limit(&record, before.as_ref()) {
            self.release(&record.host_ifname, &record.alias.container_id)?;
            return Err(error.into());
        }
        self.names.keep(&record.host_ifname, &record.alias, &owner);
        Ok(())
    }

    /// Takes a Pod's port out of the network, if it still is this container's. Returns what it was.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn release(&mut self, host_ifname: &str, container_id: &str) -> Result<Option<PortRecord>> {
        let Some(record) = self.ports.get(host_ifname).filter(|port| port.alias.container_id == container_id)
        else {
            return Ok(None);
        };
        self.datapath.release(record.host_ifindex).context("cannot release the port in the datapath")?;
        let released = self.ports.remove(host_ifname);
        self.names.forget(host_ifname);
        self.unlimit(released.as_ref())?;
        Ok(released)
    }

    /// Whether the port is committed as described.
    ///
    /// # Errors
    /// [`BindError::Precondition`] says what differs.
    pub fn check(&mut self, request: &BindRequest) -> Result<(), BindError> {
        let _owner = self.check_link(request)?;
        let committed = self.datapath.ports().context("cannot read the datapath's ports")?;
        let Some(port) = committed.iter().find(|port| port.ifindex == request.host_ifindex) else {
            return Err(BindError::Precondition(format!(
                "the port of Pod {} ({}) is not in the datapath",
                request.alias.pod, request.host_ifname
            )));
        };
        let sorted = |addresses: &[IpAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
        if port.mac != request.mac.0 || sorted(&port.addresses) != sorted(&request.addresses) {
            return Err(BindError::Precondition(format!(
                "the datapath has {} {:?} for the port of Pod {}, not {} {:?}",
                Mac(port.mac),
                port.addresses,
                request.alias.pod,
                request.mac,
                request.addresses
            )));
        }
        self.check_limits(request, port.limits)
    }

    /// What of a request can be judged without the kernel.
    fn validate(&self, request: &BindRequest) -> Result<(), BindError> {
        let pod = &request.alias.pod;
        let Some(applied) = &self.applied else {
            return Err(BindError::NotYet("the node's network is not set up yet".into()));
        };
        let local = &applied.local;
        if request.addresses.is_empty() {
            return Err(BindError::Invalid(format!("Pod {pod} has no address")));
        }
        for address in &request.addresses {
            let of_the_network = local.gateways.contains(address)
                || local.node_addresses.iter().any(|node| node.addr() == *address);
            if of_the_network {
                return Err(BindError::Invalid(format!(
                    "{address} is not for Pods: it is the gateway's or the node's own; the IPAM configuration \
                     must leave it out (rangeStart)"
                )));
            }
            if !local.pod_cidrs.iter().any(|cidr| cidr.contains(address)) {
                return Err(BindError::Invalid(format!(
                    "{address} of Pod {pod} lies outside this node's podCIDRs {:?}: no other node would find it",
                    local.pod_cidrs
                )));
            }
        }
        if request.mac.0.first().is_none_or(|first| first & 1 == 1) || request.mac == Mac([0; 6]) {
            return Err(BindError::Invalid(format!("{} is no MAC address for a Pod", request.mac)));
        }
        Ok(())
    }

    /// The plugin's word against the kernel's. Returns what the interface says about whose it is.
    fn check_link(&mut self, request: &BindRequest) -> Result<PortAlias, BindError> {
        let name = &request.host_ifname;
        let link = self.netlink.find(name).context("cannot look the interface up")?;
        // A call that was overtaken by its DEL is about one that is dead.
        let Some(link) = link.filter(|link| !link.is_dead()) else {
            return Err(BindError::Precondition(format!("there is no interface {name} on this node")));
        };
        let owner = PortAlias::parse(&link.alias);
        let owner = owner.filter(|owner| owner.container_id == request.alias.container_id);
        owner.filter(|_| link.ifindex == request.host_ifindex).ok_or_else(|| {
            BindError::Precondition(format!(
                "interface {name} is number {} with the alias \"{}\": it is not the one of Pod {}, container {}",
                link.ifindex, link.alias, request.alias.pod, request.alias.container_id
            ))
        })
    }

    /// Finds the ports that an earlier agent committed, and makes those again that were lost.
    pub(super) fn adopt_ports(&mut self) -> Result<()> {
        let committed = self.datapath.ports().context("cannot read the datapath's ports")?;
        let links = plumbing::list_ports().context("cannot list the node's interfaces")?;
        let alive: BTreeMap<u32, &Link> =
            links.iter().filter(|link| !link.is_dead()).map(|link| (link.ifindex, link)).collect();
        let reserved = self.reserved();
        for port in committed.into_iter().filter(|port| port.role != Role::Node) {
            let Some(link) = alive.get(&port.ifindex) else {
                self.datapath.release(port.ifindex).context("cannot release a port without an interface")?;
                self.repairs.count(leak::Kind::PortWithoutInterface.name());
                info!(ifindex = port.ifindex, addresses = ?port.addresses, "released a port whose interface is gone");
                continue;
            };
            let reserved = reserved.as_deref().unwrap_or_default();
            let record = PortRecord::adopted(link, port, reserved, &self.names);
            self.ports.insert(record.host_ifname.clone(), record);
        }
        self.rebuild(&links, reserved.as_deref())?;
        self.names.forget_others(self.ports.keys());
        info!(ports = self.ports.len(), "took over the ports of Pods");
        Ok(())
    }

    /// What is wrong with Pods' ports, and stays so until somebody does something about it.
    pub fn port_problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.lost.values().chain(self.unrepaired.values()).cloned().collect();
        let pod_cidrs = self.own_cidrs();
        for port in self.ports.values() {
            let object = || format!("Pod {}", port.pod());
            let outside = port.outside(&pod_cidrs);
            if !outside.is_empty() {
                let problem = format!(
                    "its addresses {outside:?} lie outside this node's podCIDRs {pod_cidrs:?}, which changed since it \
                     was made: other nodes do not reach it"
                );
                let remedy = format!("delete the Pod: it gets other addresses ({})", port.host_ifname);
                problems.push(Problem::new("pod_address", object(), problem, remedy));
            }
            if !port.knows_owner() {
                let problem = format!(
                    "somebody changed the alias of interface {} ({:?}) while no agent ran: it has its network, but \
                     nobody knows whose it is",
                    port.host_ifname, port.addresses
                );
                let remedy = "delete the Pod with these addresses: it gets another interface";
                problems.push(Problem::new("pod_interface", object(), problem, remedy));
            }
        }
        problems
    }

    /// The addresses of Pods that lie outside the podCIDRs, since these changed.
    pub(super) fn outside(&self, pod_cidrs: &[IpNet]) -> impl Iterator<Item = IpAddr> {
        self.ports.values().flat_map(|port| port.outside(pod_cidrs))
    }

    /// This node's podCIDRs; none before they are known.
    fn own_cidrs(&self) -> Vec<IpNet> {
        self.applied.as_ref().map(|applied| applied.local.pod_cidrs.clone()).unwrap_or_default()
    }

    pub(super) fn drop_dead_ports(&mut self) -> Result<Vec<PortRecord>> {
        // An interface that has lost its name or its alias is not gone.
        let links = plumbing::list_ports().context("cannot list the node's interfaces")?;
        let live: BTreeMap<u32, &Link> =
            links.iter().filter(|link| !link.is_dead()).map(|link| (link.ifindex, link)).collect();
        self.lost.retain(|ifindex, _| live.contains_key(ifindex));
        let is_wrong = |port: &PortRecord, link: &Link| !link.up || changed(port, link).next().is_some();
        self.unrepaired.retain(|ifindex, _| {
            let port = self.ports.values().find(|port| port.host_ifindex == *ifindex);
            port.zip(live.get(ifindex)).is_some_and(|(port, link)| is_wrong(port, link))
        });
        let dead: Vec<String> = self
            .ports
            .values()
            .filter(|port| !live.contains_key(&port.host_ifindex))
            .map(|port| port.host_ifname.clone())
            .collect();
        let mut dropped = Vec::new();
        for name in dead {
            if let Some(port) = self.ports.get(&name) {
                self.datapath.release(port.host_ifindex)?;
                let port = self.ports.remove(&name);
                self.names.forget(&name);
                self.unlimit(port.as_ref())?;
                dropped.extend(port);
            }
        }
        Ok(dropped)
    }
}

impl PortRecord {
    pub(super) fn port(&self, pod_cidrs: &[IpNet]) -> Port {
        let role = if self.outside(pod_cidrs).is_empty() { Role::Pod } else { Role::Outside };
        Port {
            ifindex: self.host_ifindex,
            mac: self.mac.0,
            addresses: self.addresses.clone(),
            role,
            limits: self.limits,
        }
    }

    /// Its addresses outside the node's podCIDRs; none as long as those are not known.
    fn outside(&self, pod_cidrs: &[IpNet]) -> Vec<IpAddr> {
        let is_outside = |address: &IpAddr| !pod_cidrs.iter().any(|cidr| cidr.contains(address));
        let known = !pod_cidrs.is_empty();
        self.addresses.iter().copied().filter(|address| known && is_outside(address)).collect()
    }

    /// What is said of a port whose interface does not tell whose it is: its container, if the reservations know that.
    fn adopted(link: &Link, port: Port, reserved: &[Reserved], names: &Names) -> Self {
        let alias = PortAlias::parse(&link.alias).unwrap_or_else(|| {
            let owner =
                reserved.iter().find(|r| port.addresses.contains(&r.address)).and_then(|r| r.owner.clone());
            let (container_id, ifname) =
                owner.map_or((UNKNOWN.into(), UNKNOWN.into()), |owner| (owner.container_id, owner.ifname));
            let pod = PodKey::new(UNKNOWN, format!("{}~", link.name));
            PortAlias { pod, container_id, ifname, pod_uid: None, network: None }
        });
        Self::of(link, names.complete(alias), port)
    }

    /// A committed port of an interface whose owner is known.
    pub(super) fn of(link: &Link, alias: PortAlias, port: Port) -> Self {
        let known = alias.is_whole() && alias.pod.namespace != UNKNOWN;
        Self {
            // Somebody may have renamed it.
            host_ifname: if known { interface::for_pod(&alias.pod) } else { link.name.clone() },
            alias,
            host_ifindex: link.ifindex,
            mac: Mac(port.mac),
            addresses: port.addresses,
            limits: port.limits,
        }
    }

    /// Whether anything says whose it is.
    pub(super) fn knows_owner(&self) -> bool {
        self.alias.pod.namespace != UNKNOWN
    }

    /// The Pod.
    pub fn pod(&self) -> &PodKey {
        &self.alias.pod
    }
}

/// The host interfaces of Pods that are alive, also under another name as long as they are in the datapath's block.
pub(crate) fn live_ports() -> Result<Vec<(Link, PortAlias)>> {
    let links = plumbing::list_ports().context("cannot list the node's interfaces")?;
    let members = tc::block_members()?;
    let is_port = |link: &Link| {
        !link.is_dead() && (link.name.starts_with(interface::POD_PREFIX) || members.contains(&link.ifindex))
    };
    Ok(links
        .into_iter()
        .filter(is_port)
        .filter_map(|link| PortAlias::parse(&link.alias).map(|alias| (link, alias)))
        .collect())
}
