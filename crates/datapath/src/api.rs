//! Everything the agent does with an open datapath.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aya::Ebpf;
use aya::programs::tc::TcAttachType;
use ipnet::IpNet;

use crate::addresses::{Addresses, OwnAddress};
use crate::attachment::{self, UPLINK_PROGRAMS};
use crate::connections::Connections;
use crate::counters::Counters;
use crate::drops::Drops;
use crate::error::{Error, Result};
use crate::layout;
use crate::legacy;
use crate::maps::MapSpec;
use crate::migration::{self, Migration};
use crate::model::{Counter, NodeConfig, Port, Route};
use crate::nodes::Nodes;
use crate::pins::{self, Pins};
use crate::policy::Policies;
use crate::ports::Ports;
use crate::programs::{
    FROM_ENDPOINT, FROM_OVERLAY, FROM_UPLINK, Program, TO_UPLINK, classifier, program_mut,
};
use crate::records::{Events, Records};
use crate::routes::Routes;
use crate::services::Services;
use crate::table::Table;

/// The network's programs and maps in the kernel.
///
/// Dropping it changes nothing: what it made is pinned, and packets go on. There must be only one
/// writer to a pin directory at a time: the agent.
pub struct Datapath {
    pub(crate) ebpf: Ebpf,
    pub(crate) pins: Pins,
    pub(crate) specs: Vec<MapSpec>,
    /// Of maps that take the place of others when the programs are attached.
    pub(crate) migrations: Vec<Migration>,
    /// The interfaces with the uplinks' programs.
    pub(crate) uplinks: BTreeSet<u32>,
    pub(crate) config: Table<u32, layout::Config>,
    pub(crate) ports: Ports,
    pub(crate) routes: Routes,
    pub(crate) nodes: Nodes,
    pub(crate) services: Services,
    pub(crate) policies: Policies,
    pub(crate) addresses: Addresses,
    pub(crate) connections: Arc<Connections>,
    pub(crate) counters: Counters,
    pub(crate) drops: Arc<Drops>,
    pub(crate) records: Arc<Records>,
    pub(crate) events: Option<Events>,
}

impl Datapath {
    /// The program for the shared ingress block of the host sides of all Pods and `midokube-mido`, to be
    /// attached as a direct-action classifier.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell its id.
    pub fn endpoint_program(&self) -> Result<Program<'_>> {
        classifier(&self.ebpf, FROM_ENDPOINT)
    }

    /// The program for the ingress of the VXLAN device, where there is no tcx: to be attached as a
    /// direct-action classifier, and then [noted](Self::note_overlay).
    ///
    /// # Errors
    ///
    /// If the kernel does not tell its id.
    pub fn overlay_program(&self) -> Result<Program<'_>> {
        classifier(&self.ebpf, FROM_OVERLAY)
    }

    /// The program for the ingress of the uplinks, likewise.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell its id.
    pub fn uplink_program(&self) -> Result<Program<'_>> {
        classifier(&self.ebpf, FROM_UPLINK)
    }

    /// The program for the egress of the uplinks, likewise.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell its id.
    pub fn uplink_egress_program(&self) -> Result<Program<'_>> {
        classifier(&self.ebpf, TO_UPLINK)
    }

    /// Attaches the overlay's program to the ingress of the VXLAN device by a pinned tcx link, or
    /// replaces the program of the link that is there in one step.
    ///
    /// Creating a link holds the kernel's RTNL for some 7-30 ms; replacing takes microseconds.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the kernel refuses the link: ask [`has_tcx`](crate::has_tcx) first.
    pub fn attach_overlay(&mut self, ifindex: u32) -> Result<()> {
        let program = program_mut(&mut self.ebpf, FROM_OVERLAY)?;
        attachment::attach(program, ifindex, TcAttachType::Ingress, &self.pins, pins::OVERLAY)
    }

    /// Notes that [`overlay_program`](Self::overlay_program) is attached. A tcx link that was there goes.
    ///
    /// # Errors
    ///
    /// If the pin cannot be made.
    pub fn note_overlay(&mut self) -> Result<()> {
        attachment::note(program_mut(&mut self.ebpf, FROM_OVERLAY)?, &self.pins, pins::OVERLAY)
    }

    /// Attaches their programs to ingress and egress of the uplinks by pinned tcx links, as the overlay's, and takes them
    /// away from all other interfaces.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the kernel refuses a link.
    pub fn attach_uplinks(&mut self, ifindexes: &[u32]) -> Result<()> {
        self.uplinks.clear();
        for ifindex in ifindexes {
            for (name, end, pin) in UPLINK_PROGRAMS {
                let program = program_mut(&mut self.ebpf, name)?;
                attachment::attach(program, *ifindex, end, &self.pins, &pin(*ifindex))?;
            }
            self.uplinks.insert(*ifindex);
        }
        attachment::leave_other_uplinks(&self.pins, &self.uplinks)
    }

    /// Notes where [`uplink_program`](Self::uplink_program) and
    /// [`uplink_egress_program`](Self::uplink_egress_program) are attached. Tcx links that were there go.
    ///
    /// # Errors
    ///
    /// If a pin cannot be made or removed.
    pub fn note_uplinks(&mut self, ifindexes: &[u32]) -> Result<()> {
        self.uplinks.clear();
        for ifindex in ifindexes {
            for (name, _, pin) in UPLINK_PROGRAMS {
                attachment::note(program_mut(&mut self.ebpf, name)?, &self.pins, &pin(*ifindex))?;
            }
            self.uplinks.insert(*ifindex);
        }
        attachment::leave_other_uplinks(&self.pins, &self.uplinks)
    }

    /// Copies the connections that began since [`open`](Self::open) into the maps that take the place of others. To be
    /// called at the last moment before the first program is attached.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn follow_old_maps(&mut self) -> Result<()> {
        migration::follow(&self.migrations)
    }

    /// Retires the maps that others replaced, and what builds before this one left in the pin directory.
    ///
    /// To be called when all programs are attached: until then the old ones do the work. What they wrote to their maps
    /// in the meantime is moved first.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written, or a pin cannot be removed.
    pub fn retire_old_maps(&mut self) -> Result<()> {
        migration::finish(&mut self.migrations, &self.specs, &self.pins)?;
        legacy::remove(self.pins.base())
    }

    /// Where each map is pinned now.
    pub(crate) fn map_pins(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        self.specs.iter().map(|spec| {
            let new = self.migrations.iter().find(|migration| migration.spec().name == spec.name);
            let pin = new.map(|migration| migration.pin().to_owned());
            (spec.name, pin.unwrap_or_else(|| self.pins.map(spec.name, spec.version)))
        })
    }

    /// Tells the programs what this node is. Before the first time every packet is dropped.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be right, or the map cannot be written.
    pub fn set_config(&mut self, config: &NodeConfig) -> Result<()> {
        let config = self.policies.in_config(layout::Config::try_from(config)?);
        self.config.set(&CONFIG, &config)
    }

    /// Lets packets pass between an interface's addresses and the network.
    ///
    /// What the interface had before is replaced, and its addresses are taken from whoever had them.
    /// Binding the same port again changes nothing.
    ///
    /// # Errors
    ///
    /// If the port cannot be right, or there is no space: then everything is as before. If the kernel
    /// fails in between, the interface is left without any address.
    pub fn bind(&mut self, port: &Port) -> Result<()> {
        let config = self.config.get(&CONFIG)?.unwrap_or_default();
        if let Some(gateway) = port.addresses.iter().find(|address| config.is_gateway(**address)) {
            let reason = format!("{gateway} is the gateway's address, which no Pod can have");
            return Err(Error::Port { ifindex: port.ifindex, reason });
        }
        let before = self.ports.set_of(port.ifindex, self.policies.column())?;
        let set = self.policies.set_to_bind(port, before);
        self.ports.bind(port, set)?;
        self.policies.bound(port, set);
        Ok(())
    }

    /// Lets no more packets pass through an interface. One that is not bound is released already.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn release(&mut self, ifindex: u32) -> Result<()> {
        self.policies.forget_port(ifindex);
        self.ports.release(ifindex)
    }

    /// Every port as the kernel has it, by interface index.
    ///
    /// # Errors
    ///
    /// If a map cannot be read, or holds what this program does not write.
    pub fn ports(&self) -> Result<Vec<Port>> {
        self.ports.all(self.policies.column())
    }

    /// Every route as the kernel has it.
    ///
    /// # Errors
    ///
    /// If the map cannot be read, or holds what this program does not write.
    pub fn routes(&self) -> Result<BTreeMap<IpNet, Route>> {
        self.routes.all()
    }

    /// Adds or replaces the route of a prefix; bits of its address beyond its length do not count.
    ///
    /// # Errors
    ///
    /// If the route cannot be right, there is no space, or the map cannot be written.
    pub fn set_route(&mut self, prefix: IpNet, route: Route) -> Result<()> {
        self.routes.set(&prefix, &route)
    }

    /// Removes the route of a prefix, if there is one.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn remove_route(&mut self, prefix: IpNet) -> Result<()> {
        self.routes.remove(&prefix)
    }

    /// The addresses that are known as nodes' own, each with where tunnels to its node end; `None`: this node's.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn nodes(&self) -> Result<BTreeMap<IpAddr, Option<IpAddr>>> {
        self.nodes.all()
    }

    /// Makes an address known as that of the node where tunnels end there; `None`: as this node's.
    ///
    /// Such a node may send tunnels' packets from there, and its processes may talk to Pods from there.
    ///
    /// # Errors
    ///
    /// If an address cannot be right, there is no space, or the map cannot be written.
    pub fn set_node(&mut self, address: IpAddr, end: Option<IpAddr>) -> Result<()> {
        self.nodes.set(&address, &end)
    }

    /// Makes an address nobody's, if it was a node's.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn remove_node(&mut self, address: IpAddr) -> Result<()> {
        self.nodes.remove(&address)
    }

    /// This node's own addresses, and what is served at each.
    ///
    /// # Errors
    ///
    /// If the map cannot be read, or holds what this program does not write.
    pub fn addresses(&self) -> Result<BTreeMap<IpAddr, OwnAddress>> {
        self.addresses.all()
    }

    /// Makes an address known as one of this node's own.
    ///
    /// # Errors
    ///
    /// If it is no unicast address, there is no space, or the map cannot be written.
    pub fn set_address(&mut self, address: IpAddr, own: OwnAddress) -> Result<()> {
        self.addresses.set(&address, &own)
    }

    /// Makes an address none of this node's own, if it was.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn remove_address(&mut self, address: IpAddr) -> Result<()> {
        self.addresses.remove(&address)
    }

    /// The connections that the programs track. They can be read and swept without the datapath.
    pub fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.connections)
    }

    /// The table of drops. It can be read without the datapath.
    pub fn drops(&self) -> Arc<Drops> {
        Arc::clone(&self.drops)
    }

    /// The records of connections. They can be read and swept without the datapath.
    pub fn records(&self) -> Arc<Records> {
        Arc::clone(&self.records)
    }

    /// The events about records; `None` if nothing is recorded, or they were taken already.
    pub fn take_events(&mut self) -> Option<Events> {
        self.events.take()
    }

    /// The table of Services.
    pub fn services(&mut self) -> &mut Services {
        &mut self.services
    }

    /// What became of the packets so far, in the order of `bpf/reasons.def`, of all CPUs together.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn counters(&self) -> Result<Vec<Counter>> {
        self.counters.read()
    }
}

/// The index of the configuration in its map, an array of one.
pub(crate) const CONFIG: u32 = 0;
