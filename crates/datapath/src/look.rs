//! Looking whether the kernel still has what the agent put there: others may take away what is pinned
//! and attached, and nobody is told.

use std::net::IpAddr;
use std::path::PathBuf;

use aya::maps::MapData;
use aya::programs::tc::TcAttachType;
use aya::programs::{ProgramInfo, SchedClassifier};
use ipnet::IpNet;

use crate::datapath::{Datapath, FROM_OVERLAY, FROM_UPLINK, PROGRAMS};
use crate::error::{Error, Result, chain};
use crate::layout;
use crate::links;
use crate::model::{NodeConfig, Route};
use crate::pins::replace_pin;

/// For whom only the maps' names count.
pub(crate) const SOME_SIZES: layout::Sizes = layout::Sizes { ports: 1, endpoints: 1, routes: 1, nodes: 1 };

impl Datapath {
    /// Whether the overlay's program is at the ingress of an interface, by a tcx link.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the kernel does not tell.
    pub fn has_overlay(&self, ifindex: u32) -> Result<bool> {
        self.is_at_ingress(FROM_OVERLAY, ifindex)
    }

    /// Whether the uplink's program is at the ingress of an interface, by a tcx link.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the kernel does not tell.
    pub fn has_uplink(&self, ifindex: u32) -> Result<bool> {
        self.is_at_ingress(FROM_UPLINK, ifindex)
    }

    fn is_at_ingress(&self, program: &'static str, ifindex: u32) -> Result<bool> {
        let name = links::interface_name(ifindex)?;
        let ours = self.info(program)?.id();
        let attached = SchedClassifier::query_tcx(&name, TcAttachType::Ingress).map_err(|error| {
            let action = format!("list the programs of interface {name}");
            Error::Attach { action, reason: chain(&error) }
        })?;
        Ok(attached.1.iter().any(|program| program.id() == ours))
    }

    /// Whether the programs are told this.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be right, or the map cannot be read.
    pub fn has_config(&self, config: &NodeConfig) -> Result<bool> {
        let wanted = layout::Config::try_from(config)?;
        let now = self.config.get(&0, 0);
        Ok(now.map_err(|source| Error::Map { action: "read", map: "config", source })? == wanted)
    }

    /// Whether packets into a prefix meet this route. Thousands of times faster than to list all of them.
    ///
    /// # Errors
    ///
    /// If the map cannot be read, or holds what this program does not write.
    pub fn has_route(&self, prefix: IpNet, route: Route) -> Result<bool> {
        Ok(self.routes.get(prefix)? == Some(route))
    }

    /// Whether an address is known as that of the node where tunnels end there; `None`: of this node.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn has_node(&self, address: IpAddr, end: Option<IpAddr>) -> Result<bool> {
        Ok(self.nodes.get(address)? == Some(end))
    }

    /// The pins that are not there, and should be.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell which maps there are.
    pub fn missing_pins(&self) -> Result<Vec<PathBuf>> {
        let maps = self.maps()?;
        let maps = maps.iter().map(|(name, _)| self.pins.map(name));
        let programs = PROGRAMS.map(|name| self.pins.program(name));
        let uplinks = self.uplinks.iter().map(|ifindex| links::uplink(*ifindex));
        let links = [links::OVERLAY.to_owned()].into_iter().chain(uplinks);
        let links = links.map(|name| self.pins.link(&name));
        Ok(maps.chain(programs).chain(links).filter(|pin| !pin.exists()).collect())
    }

    /// Pins again what lost its pin, but for links, which went with it: to attach again, or to note it, makes
    /// new ones.
    ///
    /// # Errors
    ///
    /// If a pin cannot be made.
    pub fn restore_pins(&mut self) -> Result<()> {
        self.pins.make_folders()?;
        for (name, map) in self.maps()? {
            let pin = self.pins.map(&name);
            if !pin.exists() {
                map.pin(&pin).map_err(|error| Error::Attach {
                    action: format!("pin map {name} at {}", pin.display()),
                    reason: chain(&error),
                })?;
            }
        }
        for name in PROGRAMS {
            if !self.pins.program(name).exists() {
                replace_pin(crate::datapath::program(&mut self.ebpf, name)?, &self.pins.program(name))?;
            }
        }
        Ok(())
    }

    /// The maps that the programs use: each as its own handle, since those at work here are typed.
    fn maps(&self) -> Result<Vec<(String, MapData)>> {
        let error = |source| Error::Map { action: "look at", map: "of the programs", source };
        let mut maps = Vec::new();
        for program in PROGRAMS {
            let ids = self.info(program)?.map_ids().map_err(|error| describe(program, &error))?;
            for id in ids.unwrap_or_default() {
                let map = MapData::from_id(id).map_err(error)?;
                let info = map.info().map_err(error)?;
                let name = info.name_as_str().unwrap_or_default().to_owned();
                // Constants of the programs are maps, too, and not pinned.
                if layout::map_shapes(&SOME_SIZES).iter().any(|shape| shape.name == name)
                    && !maps.iter().any(|(known, _)| *known == name)
                {
                    maps.push((name, map));
                }
            }
        }
        Ok(maps)
    }

    pub(crate) fn info(&self, name: &'static str) -> Result<ProgramInfo> {
        let missing = || Error::Load { what: name, reason: "it is missing".into() };
        let program = self.ebpf.program(name).ok_or_else(missing)?;
        let program: &SchedClassifier = program.try_into().map_err(|error| describe(name, &error))?;
        program.info().map_err(|error| describe(name, &error))
    }
}

fn describe(what: &'static str, error: &dyn std::error::Error) -> Error {
    Error::Load { what, reason: chain(error) }
}
