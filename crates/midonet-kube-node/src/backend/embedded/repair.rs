//! Keeping Pods' ports as they should be: entries in the datapath, interfaces, MTU and limits.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use ipnet::IpNet;
use plumbing::{Link, tc};

use super::parts::Parts;
use super::record::{changed, same};
use crate::backend::{PortRecord, repair};

impl Parts {
    /// Repairs what differs; with `all`, also what may be on its way up. Pods are told the MTU when it is another.
    pub(super) fn repair_ports(&self, pod_cidrs: &[IpNet], mtu: u32, all: bool) -> Result<()> {
        let records: Vec<PortRecord> = self.ports().records.values().cloned().collect();
        self.ports().unrepaired.clear();
        self.rebind(&records, pod_cidrs)?;
        let members = tc::block_members()?;
        let links: BTreeMap<u32, Link> =
            plumbing::link::list()?.into_iter().map(|link| (link.ifindex, link)).collect();
        repair::host_sides(&self.ports, &records, &links, true, |port, link| {
            // One that is down may be in the middle of its ADD.
            let left = all && (!link.up || !members.contains(&link.ifindex));
            left || changed(port, link).next().is_some()
        });
        repair::tell_mtu(&self.ports, &records, &links, mtu)?;
        self.ports().restore_limits(&self.tables)
    }

    /// Commits again what the datapath lacks or has otherwise.
    fn rebind(&self, records: &[PortRecord], pod_cidrs: &[IpNet]) -> Result<()> {
        let committed = self.tables.lock().datapath.ports().context("cannot read the datapath's ports")?;
        let committed: BTreeMap<u32, _> = committed.into_iter().map(|port| (port.ifindex, port)).collect();
        for record in records {
            let port = record.port(pod_cidrs, self.sets.of(record.host_ifindex));
            if !committed.get(&port.ifindex).is_some_and(|now| same(now, &port)) {
                repair::one(&self.ports, record, || Ok(self.tables.lock().datapath.bind(&port)?));
            }
        }
        Ok(())
    }
}
