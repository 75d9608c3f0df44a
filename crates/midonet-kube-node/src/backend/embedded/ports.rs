//! The committed ports of this node's Pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;
use model::{Local, Problem};
use naming::Mac;
use naming::alias::PortAlias;
use plumbing::Netlink;

use super::names::Names;
use super::state::Applied;
use super::tables::Tables;
use crate::backend::{BindError, BindRequest, Owner, PortRecord};

/// The ports by host interface, and what is known of them.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) records: BTreeMap<String, PortRecord>,
    pub(super) names: Names,
    /// For the link of each new port: to open another socket each time takes longer than the request.
    netlink: Netlink,
    /// The MTU that Pods were last told; `None` before the first time.
    pub(super) mtu: Option<u32>,
    /// What the datapath lost of Pods' interfaces and could not be found out, by their ifindex.
    pub(super) lost: BTreeMap<u32, Problem>,
    /// Pods' interfaces that could not be repaired, by their ifindex.
    pub(super) unrepaired: BTreeMap<u32, Problem>,
}

impl Ports {
    pub(super) fn new(names: Names, netlink: Netlink) -> Self {
        Self {
            records: BTreeMap::new(),
            names,
            netlink,
            mtu: None,
            lost: BTreeMap::new(),
            unrepaired: BTreeMap::new(),
        }
    }

    /// Commits a Pod's port with a set of policy: from here on its packets pass, once its interface is up.
    ///
    /// # Errors
    /// [`BindError`]; nothing is committed then.
    pub(super) fn bind(
        &mut self,
        request: &BindRequest,
        applied: Option<&Applied>,
        set: u32,
        tables: &Tables,
    ) -> Result<(), BindError> {
        let local =
            &applied.ok_or_else(|| BindError::NotYet("the node's network is not set up yet".into()))?.local;
        Self::validate(request, local)?;
        let owner = self.check_link(request)?;
        let taken = self.records.values().find(|port| {
            port.host_ifname != request.host_ifname
                && port.addresses.iter().any(|address| request.addresses.contains(address))
        });
        if let Some(other) = taken {
            return Err(BindError::Taken(format!(
                "Pod {} was given {:?}, but Pod {} has {:?}: the IPAM plugin gives addresses twice",
                request.owner.pod,
                request.addresses,
                other.pod(),
                other.addresses
            )));
        }
        self.check_host_ports(request)?;
        // An older sandbox of the same Pod had another interface of the same name.
        if let Some(old) = self.records.get(&request.host_ifname)
            && old.host_ifindex != request.host_ifindex
        {
            let released = tables.lock().datapath.release(old.host_ifindex);
            released.context("cannot release the old sandbox's port")?;
        }
        // The plugin does not say which network it is; its interface does.
        let alias = PortAlias { network: owner.network.clone(), ..request.owner.clone() };
        let record = PortRecord {
            owner: Owner::Known(alias.clone()),
            host_ifname: request.host_ifname.clone(),
            host_ifindex: request.host_ifindex,
            mac: request.mac,
            addresses: request.addresses.clone(),
            limits: self.with_class(request)?,
            host_ports: request.host_ports.clone(),
        };
        tables.lock().datapath.bind(&record.port(&local.pod_cidrs, set)).map_err(anyhow::Error::from)?;
        self.lost.remove(&record.host_ifindex);
        let before = self.records.insert(record.host_ifname.clone(), record.clone());
        if let Err(error) = self.limit(&record, before.as_ref(), tables) {
            self.release(&record.host_ifname, &alias.container_id, tables)?;
            return Err(error.into());
        }
        self.names.keep(&record.host_ifname, &alias, &owner, &record.host_ports);
        Ok(())
    }

    /// Takes a Pod's port out of the network, if it still is this container's. Returns what it was.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn release(
        &mut self,
        host_ifname: &str,
        container_id: &str,
        tables: &Tables,
    ) -> Result<Option<PortRecord>> {
        match self.records.get(host_ifname) {
            Some(port) if port.owner.container_id() == Some(container_id) => self.remove(host_ifname, tables),
            _ => Ok(None),
        }
    }

    /// Releases a port, whosever it is. Returns what it was.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn remove(&mut self, host_ifname: &str, tables: &Tables) -> Result<Option<PortRecord>> {
        let Some(record) = self.records.get(host_ifname) else { return Ok(None) };
        let released = tables.lock().datapath.release(record.host_ifindex);
        released.context("cannot release the port in the datapath")?;
        let removed = self.records.remove(host_ifname);
        self.names.forget(host_ifname);
        self.unlimit(removed.as_ref(), tables)?;
        Ok(removed)
    }

    /// Whether the port is committed as described.
    ///
    /// # Errors
    /// [`BindError::Precondition`] says what differs.
    pub(super) fn check(&mut self, request: &BindRequest, tables: &Tables) -> Result<(), BindError> {
        let _owner = self.check_link(request)?;
        let committed = tables.lock().datapath.ports().context("cannot read the datapath's ports")?;
        let Some(port) = committed.iter().find(|port| port.ifindex == request.host_ifindex) else {
            return Err(BindError::Precondition(format!(
                "the port of Pod {} ({}) is not in the datapath",
                request.owner.pod, request.host_ifname
            )));
        };
        let sorted = |addresses: &[IpAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
        if port.mac != request.mac.0 || sorted(&port.addresses) != sorted(&request.addresses) {
            return Err(BindError::Precondition(format!(
                "the datapath has {} {:?} for the port of Pod {}, not {} {:?}",
                Mac(port.mac),
                port.addresses,
                request.owner.pod,
                request.mac,
                request.addresses
            )));
        }
        self.check_bound_host_ports(request)?;
        self.check_limits(request, port.limits, tables)
    }

    /// Validates what can be validated without the kernel.
    fn validate(request: &BindRequest, local: &Local) -> Result<(), BindError> {
        let pod = &request.owner.pod;
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
        let link = self.netlink.find(name).context("cannot find the interface")?;
        // A call that was overtaken by its DEL is about one that is retired.
        let Some(link) = link.filter(|link| !link.is_retired()) else {
            return Err(BindError::Precondition(format!("there is no interface {name} on this node")));
        };
        let owner = PortAlias::parse(&link.alias);
        let owner = owner.filter(|owner| owner.container_id == request.owner.container_id);
        owner.filter(|_| link.ifindex == request.host_ifindex).ok_or_else(|| {
            BindError::Precondition(format!(
                "interface {name} has the ifindex {} and the alias \"{}\": it is not the one of Pod {}, container {}",
                link.ifindex, link.alias, request.owner.pod, request.owner.container_id
            ))
        })
    }

    /// What is wrong with Pods' ports, and stays so until somebody does something about it.
    pub(super) fn problems(&self, pod_cidrs: &[IpNet]) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.lost.values().chain(self.unrepaired.values()).cloned().collect();
        for port in self.records.values() {
            let object = || format!("Pod {}", port.pod());
            let outside = port.outside(pod_cidrs);
            if !outside.is_empty() {
                let problem = format!(
                    "its addresses {outside:?} lie outside this node's podCIDRs {pod_cidrs:?}, which changed since it \
                     was made: other nodes do not reach it"
                );
                let remedy = format!("delete the Pod: it gets other addresses ({})", port.host_ifname);
                problems.push(Problem::new("pod_address", object(), problem, remedy));
            }
            if port.owner.known().is_none() {
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
    pub(super) fn outside(&self, pod_cidrs: &[IpNet]) -> Vec<IpAddr> {
        self.records.values().flat_map(|port| port.outside(pod_cidrs)).collect()
    }
}
