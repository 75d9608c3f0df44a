//! Restoring ports when the agent starts: those that the datapath has, and those that it has lost, whose Pods run and are
//! not added a second time.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use datapath::{Limits, Port, Role};
use ipam::Reserved;
use model::Problem;
use naming::alias::PortAlias;
use naming::interface;
use plumbing::{Link, shape, tc};
use tracing::{info, warn};

use super::ports::Ports;
use super::sets::Sets;
use super::tables::Tables;
use crate::backend::reserved::{addresses_of, mac_of, of_alias, reserved};
use crate::backend::{Owner, PortRecord};
use crate::leak;
use crate::repairs::Repairs;

impl Ports {
    /// Finds the ports that an earlier agent committed, and makes those again that were lost. `reservations` is the
    /// directory of Pods' addresses, if the IPAM plugin keeps one.
    pub(super) fn restore(
        &mut self,
        tables: &Tables,
        sets: &Sets,
        reservations: Option<&Path>,
        repairs: &Repairs,
    ) -> Result<()> {
        let committed = tables.lock().datapath.ports().context("cannot read the datapath's ports")?;
        let links = plumbing::link::list().context("cannot list the node's interfaces")?;
        let alive: BTreeMap<u32, &Link> =
            links.iter().filter(|link| !link.is_retired()).map(|link| (link.ifindex, link)).collect();
        let reserved = reservations.and_then(reserved);
        for port in committed.into_iter().filter(|port| port.role != Role::Node) {
            let Some(link) = alive.get(&port.ifindex) else {
                let released = tables.lock().datapath.release(port.ifindex);
                released.context("cannot release a port without an interface")?;
                repairs.count(leak::Kind::PortWithoutInterface.name());
                info!(ifindex = port.ifindex, addresses = ?port.addresses, "released a port whose interface is gone");
                continue;
            };
            let reserved = reserved.as_deref().unwrap_or_default();
            let record = PortRecord::restored(link, port, reserved, &self.names);
            self.records.insert(record.host_ifname.clone(), record);
        }
        self.rebuild(&links, reserved.as_deref(), tables, sets, repairs)?;
        self.names.forget_others(self.records.keys());
        info!(ports = self.records.len(), "restored the ports of Pods");
        Ok(())
    }

    /// Commits a port for each Pod's interface that is up and has none: setting it up is the last step of an ADD. The
    /// alias says whose it is, the reservations which addresses that has. What is missing is told.
    fn rebuild(
        &mut self,
        links: &[Link],
        reserved: Option<&[Reserved]>,
        tables: &Tables,
        sets: &Sets,
        repairs: &Repairs,
    ) -> Result<()> {
        let members = tc::block_members()?;
        let is_committed = |link: &Link| self.records.values().any(|port| port.host_ifindex == link.ifindex);
        let is_pods = |link: &Link| interface::is_pods(&link.name) || members.contains(&link.ifindex);
        let lost: Vec<(&Link, PortAlias)> = links
            .iter()
            .filter(|link| link.up && !link.is_retired() && is_pods(link) && !is_committed(link))
            .filter_map(|link| Some((link, self.names.complete(PortAlias::parse(&link.alias)?))))
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        let container_sides = plumbing::link::peers(lost.iter().map(|(link, _)| *link))?;
        let limited = shape::limited()?;
        for ((link, alias), container_side) in lost.into_iter().zip(container_sides) {
            let object = format!("{} of Pod {}", link.name, alias.pod);
            match self.rebind(link, alias, container_side.as_ref(), reserved, tables, sets.of(link.ifindex)) {
                Ok(record) => {
                    repairs.count(leak::Kind::InterfaceWithoutPort.name());
                    warn!(pod = %record.pod(), interface = record.host_ifname, addresses = ?record.addresses,
                        "the datapath had lost this port: bound again");
                    if limited.contains_key(&link.ifindex) {
                        let problem =
                            "its limits are lost with the datapath's maps: it is as fast as it can be";
                        let remedy = "delete the Pod: it gets its limits with its new interface";
                        self.lost
                            .insert(link.ifindex, Problem::new("pod_interface", object, problem, remedy));
                    }
                    self.records.insert(record.host_ifname.clone(), record);
                }
                Err(reason) => {
                    let problem =
                        format!("the datapath has lost its port, its packets are dropped: {reason}");
                    let problem = Problem::new("pod_interface", object, problem, "delete the Pod");
                    self.lost.insert(link.ifindex, problem);
                }
            }
        }
        Ok(())
    }

    fn rebind(
        &self,
        link: &Link,
        alias: PortAlias,
        container_side: Option<&Link>,
        reserved: Option<&[Reserved]>,
        tables: &Tables,
        set: u32,
    ) -> Result<PortRecord, String> {
        let elsewhere;
        let reserved = match of_alias(&alias)? {
            Some(others) => {
                elsewhere = others;
                &elsewhere
            }
            None => reserved.ok_or("the IPAM plugin keeps its addresses to itself")?,
        };
        let addresses = addresses_of(&alias, reserved);
        if addresses.is_empty() {
            return Err(format!("no address is reserved for its container {}", alias.container_id));
        }
        if let Some(other) = self
            .records
            .values()
            .find(|port| port.addresses.iter().any(|address| addresses.contains(address)))
        {
            return Err(format!("its addresses {addresses:?} are those of Pod {}", other.pod()));
        }
        let mac = mac_of(&alias, container_side);
        let port = Port {
            ifindex: link.ifindex,
            mac: mac.0,
            addresses,
            role: Role::Pod,
            limits: Limits::default(),
            set,
        };
        tables.lock().datapath.bind(&port).map_err(|error| error.to_string())?;
        let host_ports = self.names.host_ports(&alias.container_id);
        Ok(PortRecord { host_ports, ..PortRecord::committed(link, Owner::Known(alias), port) })
    }
}
