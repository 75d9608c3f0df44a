//! Pods' ports: what the kernel's links say of them, joined with what the datapath has committed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use datapath::{Limits, Port, Role};
use naming::alias::PortAlias;
use naming::{Mac, PodKey, interface};
use tracing::info;

use super::Network;
use crate::leaks;

/// One committed port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRecord {
    /// Whose it is.
    pub alias: PortAlias,
    /// The interface on the node.
    pub host_ifname: String,
    /// Its index.
    pub host_ifindex: u32,
    /// Of the interface inside the Pod.
    pub mac: Mac,
    /// Of the Pod.
    pub addresses: Vec<IpAddr>,
    /// How fast it may be.
    pub limits: Limits,
}

/// What the plugin says of a port; checked against the kernel before anything is committed.
pub type BindRequest = PortRecord;

/// Why a port is not committed, or not as described.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It can never be.
    #[error("{0}")]
    Invalid(String),
    /// The node is not in a state for it.
    #[error("{0}")]
    Precondition(String),
    /// One of its addresses is another port's.
    #[error("{0}")]
    Taken(String),
    /// Not now.
    #[error("{0}")]
    NotYet(String),
    /// A table of the datapath is full.
    #[error("{0}")]
    Full(String),
    /// The kernel refused.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl Network {
    /// Commits a Pod's port: from here on its packets pass, once its interface is up.
    ///
    /// # Errors
    /// [`BindError`]; nothing is committed then.
    pub fn bind(&mut self, request: &BindRequest) -> Result<(), BindError> {
        self.validate(request)?;
        self.check_link(request)?;
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
        let record = PortRecord { limits: self.with_class(request)?, ..request.clone() };
        self.datapath.bind(&record.port()).map_err(|error| match error {
            full @ datapath::Error::Full { .. } => BindError::Full(full.to_string()),
            other => BindError::Failed(other.into()),
        })?;
        let before = self.ports.insert(record.host_ifname.clone(), record.clone());
        if let Err(error) = self.limit(&record, before.as_ref()) {
            self.release(&record.host_ifname, &record.alias.container_id)?;
            return Err(error.into());
        }
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
        self.unlimit(released.as_ref())?;
        Ok(released)
    }

    /// Whether the port is committed as described.
    ///
    /// # Errors
    /// [`BindError::Precondition`] says what differs.
    pub fn check(&mut self, request: &BindRequest) -> Result<(), BindError> {
        self.check_link(request)?;
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

    /// The plugin's word against the kernel's.
    fn check_link(&mut self, request: &BindRequest) -> Result<(), BindError> {
        let name = &request.host_ifname;
        let link = self.netlink.find(name).context("cannot look the interface up")?;
        // A call that was overtaken by its DEL is about one that is dead.
        let Some(link) = link.filter(|link| !link.is_dead()) else {
            return Err(BindError::Precondition(format!("there is no interface {name} on this node")));
        };
        let owner = PortAlias::parse(&link.alias);
        let same = owner.as_ref().is_some_and(|owner| owner.container_id == request.alias.container_id);
        if link.ifindex != request.host_ifindex || !same {
            return Err(BindError::Precondition(format!(
                "interface {name} is number {} with the alias \"{}\": it is not the one of Pod {}, container {}",
                link.ifindex, link.alias, request.alias.pod, request.alias.container_id
            )));
        }
        Ok(())
    }

    /// Finds the ports that an earlier agent committed.
    pub(super) fn adopt_ports(&mut self) -> Result<()> {
        let committed: BTreeMap<u32, Port> = self
            .datapath
            .ports()
            .context("cannot read the datapath's ports")?
            .into_iter()
            .filter(|port| port.role == Role::Pod)
            .map(|port| (port.ifindex, port))
            .collect();
        let links = live_ports()?;
        for port in
            committed.values().filter(|port| !links.iter().any(|(link, _)| link.ifindex == port.ifindex))
        {
            self.datapath.release(port.ifindex).context("cannot release a port without an interface")?;
            self.repairs.count(leaks::Kind::PortWithoutInterface.name());
            info!(ifindex = port.ifindex, addresses = ?port.addresses, "released a port whose interface is gone");
        }
        for (link, alias) in links {
            if let Some(port) = committed.get(&link.ifindex) {
                let record = PortRecord {
                    alias,
                    host_ifname: link.name.clone(),
                    host_ifindex: link.ifindex,
                    mac: Mac(port.mac),
                    addresses: port.addresses.clone(),
                    limits: port.limits,
                };
                self.ports.insert(link.name, record);
            }
        }
        info!(ports = self.ports.len(), "took over the ports of Pods");
        Ok(())
    }

    pub(super) fn drop_dead_ports(&mut self) -> Result<Vec<PortRecord>> {
        let live: BTreeSet<u32> = live_ports()?.iter().map(|(link, _)| link.ifindex).collect();
        let dead: Vec<String> = self
            .ports
            .values()
            .filter(|port| !live.contains(&port.host_ifindex))
            .map(|port| port.host_ifname.clone())
            .collect();
        let mut dropped = Vec::new();
        for name in dead {
            if let Some(port) = self.ports.get(&name) {
                self.datapath.release(port.host_ifindex)?;
                let port = self.ports.remove(&name);
                self.unlimit(port.as_ref())?;
                dropped.extend(port);
            }
        }
        Ok(dropped)
    }
}

impl PortRecord {
    pub(super) fn port(&self) -> Port {
        Port {
            ifindex: self.host_ifindex,
            mac: self.mac.0,
            addresses: self.addresses.clone(),
            role: Role::Pod,
            limits: self.limits,
        }
    }

    /// The Pod.
    pub fn pod(&self) -> &PodKey {
        &self.alias.pod
    }
}

/// The host interfaces of Pods that are alive.
pub(crate) fn live_ports() -> Result<Vec<(plumbing::Link, PortAlias)>> {
    let links = plumbing::list_ports().context("cannot list the node's interfaces")?;
    Ok(links
        .into_iter()
        .filter(|link| !link.is_dead() && link.name.starts_with(interface::POD_PREFIX))
        .filter_map(|link| PortAlias::parse(&link.alias).map(|alias| (link, alias)))
        .collect())
}
