//! The committed ports of this node's Pods, as every network keeps them, and what is asked of a new one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context;
use ipnet::IpNet;
use model::{Local, Problem};
use naming::Mac;
use naming::alias::PortAlias;
use plumbing::Netlink;

use super::names::Names;
use crate::backend::{BindError, BindRequest, PortRecord};

/// The ports by host interface, and what is known of them.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) records: BTreeMap<String, PortRecord>,
    pub(super) names: Names,
    /// For the link of each new port: to open another socket each time takes longer than the request.
    netlink: Netlink,
    /// The MTU that Pods were last told; `None` before the first time.
    pub(super) mtu: Option<u32>,
    /// What was lost of Pods' interfaces, or holds no more, by their ifindex.
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

    /// Checks a request for a port before anything is committed. Returns what the interface says about whose it is.
    ///
    /// # Errors
    /// [`BindError`].
    pub(super) fn admit(&mut self, request: &BindRequest, local: &Local) -> Result<PortAlias, BindError> {
        Self::validate(request, local)?;
        let owner = self.check_link(request)?;
        let taken = self.records.values().find(|port| {
            port.host_ifname != request.host_ifname
                && port.addresses.iter().any(|address| request.addresses.contains(address))
        });
        match taken {
            Some(other) => Err(BindError::Taken(format!(
                "Pod {} was given {:?}, but Pod {} has {:?}: the IPAM plugin gives addresses twice",
                request.owner.pod,
                request.addresses,
                other.pod(),
                other.addresses
            ))),
            None => Ok(owner),
        }
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
    pub(super) fn check_link(&mut self, request: &BindRequest) -> Result<PortAlias, BindError> {
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
