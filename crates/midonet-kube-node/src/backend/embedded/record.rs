//! A Pod's port, compared with the entry in the datapath that it stands for.

use std::collections::BTreeSet;

use datapath::{Port, Role};
use ipam::Reserved;
use ipnet::IpNet;
use naming::Mac;
use naming::alias::PortAlias;
use plumbing::Link;

use crate::backend::names::Names;
use crate::backend::{Owner, PortRecord, record};

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
        Self { host_ports, ..Self::committed(link, owner, port) }
    }

    /// A committed port of an interface.
    pub(super) fn committed(link: &Link, owner: Owner, port: Port) -> Self {
        Self::of(link, owner, Mac(port.mac), port.addresses, port.limits)
    }
}

/// What somebody changed of a Pod's interface: it is that Pod's as long as its ifindex is there.
pub(super) fn changed(port: &PortRecord, link: &Link) -> impl Iterator<Item = &'static str> {
    let part = (link.master != 0).then_some("is part of a bridge, a bond or a VRF");
    record::changed(port, link).chain(part)
}

/// Whether both are the same port; the order of addresses does not count.
pub(super) fn same(a: &Port, b: &Port) -> bool {
    let addresses = |port: &Port| port.addresses.iter().copied().collect::<BTreeSet<_>>();
    (a.ifindex, a.mac, a.role, a.limits) == (b.ifindex, b.mac, b.role, b.limits)
        && addresses(a) == addresses(b)
}
