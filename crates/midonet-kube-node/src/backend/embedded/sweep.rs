//! Releasing the ports whose interface is gone or retired without anybody having said so.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use plumbing::Link;
use tracing::{info, warn};

use super::parts::Parts;
use super::record::changed;
use crate::backend::PortRecord;
use crate::leak;

impl Parts {
    /// Releases them. Returns what they were.
    pub(super) fn sweep(&self) -> Vec<PortRecord> {
        let released = self.try_sweep().unwrap_or_else(|error| {
            warn!(error = format!("{error:#}"), "cannot look for ports without an interface");
            Vec::new()
        });
        for record in &released {
            self.repairs.count(leak::Kind::PortWithoutInterface.name());
            info!(pod = %record.pod(), interface = record.host_ifname, "interface is gone: port released");
        }
        released
    }

    fn try_sweep(&self) -> Result<Vec<PortRecord>> {
        // The ports first: the interface of each was there before it was committed.
        let records: Vec<PortRecord> = self.ports().records.values().cloned().collect();
        // An interface that has lost its name or its alias is not gone.
        let links = plumbing::link::list().context("cannot list the node's interfaces")?;
        let live: BTreeMap<u32, &Link> =
            links.iter().filter(|link| !link.is_retired()).map(|link| (link.ifindex, link)).collect();
        let mut ports = self.ports();
        let is_wrong = |port: &PortRecord| {
            let link = live.get(&port.host_ifindex);
            link.is_some_and(|link| !link.up || changed(port, link).next().is_some())
        };
        let wrong: Vec<u32> =
            records.iter().filter(|port| is_wrong(port)).map(|port| port.host_ifindex).collect();
        ports.unrepaired.retain(|ifindex, _| wrong.contains(ifindex));
        ports.lost.retain(|ifindex, _| live.contains_key(ifindex));
        let mut released = Vec::new();
        for port in records.iter().filter(|port| !live.contains_key(&port.host_ifindex)) {
            if ports.records.get(&port.host_ifname) == Some(port) {
                let removed = ports.remove(&port.host_ifname, &self.tables)?;
                self.sets.forget(port.host_ifindex);
                self.change_host_ports(removed.as_ref(), None)?;
                released.extend(removed);
            }
        }
        Ok(released)
    }
}
