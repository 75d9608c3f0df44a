//! The ports of this node's Pods that the datapath has.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result};
use naming::Mac;
use naming::alias::PortAlias;

use super::state::Applied;
use super::tables::Tables;
pub(super) use crate::backend::ports::Ports;
use crate::backend::{BindError, BindRequest, Owner, PortRecord};

impl Ports {
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
        let owner = self.admit(request, local)?;
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
}
