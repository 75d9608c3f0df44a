//! Detecting what the kernel no longer has of what the agent put there: others may take away what is pinned
//! and attached, and nobody is told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use aya::maps::MapData;
use aya::programs::SchedClassifier;
use aya::programs::tc::TcAttachType;
use ipnet::IpNet;

use crate::addresses::OwnAddress;
use crate::api::{CONFIG, Datapath};
use crate::attachment::{self, UPLINK_PROGRAMS};
use crate::error::{Error, Result, chain};
use crate::layout;
use crate::model::{NodeConfig, Route};
use crate::pins::{self, replace_pin};
use crate::programs::{FROM_OVERLAY, PROGRAMS, info, program_mut};

impl Datapath {
    /// Whether the overlay's program is at the ingress of an interface, by a tcx link.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the kernel does not tell.
    pub fn has_overlay(&self, ifindex: u32) -> Result<bool> {
        self.is_at(FROM_OVERLAY, ifindex, TcAttachType::Ingress)
    }

    /// Whether the uplinks' programs are at ingress and egress of an interface, by tcx links.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the kernel does not tell.
    pub fn has_uplink(&self, ifindex: u32) -> Result<bool> {
        for (program, end, _) in UPLINK_PROGRAMS {
            if !self.is_at(program, ifindex, end)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_at(&self, program: &'static str, ifindex: u32, end: TcAttachType) -> Result<bool> {
        let name = attachment::interface_name(ifindex)?;
        let ours = info(&self.ebpf, program)?.id();
        let attached = SchedClassifier::query_tcx(&name, end).map_err(|error| {
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
        let wanted = self.policies.in_config(layout::Config::try_from(config)?);
        self.config.has(&CONFIG, &wanted)
    }

    /// Whether packets into a prefix meet this route. Thousands of times faster than to list all of them.
    ///
    /// # Errors
    ///
    /// If the map cannot be read, or holds what this program does not write.
    pub fn has_route(&self, prefix: IpNet, route: Route) -> Result<bool> {
        self.routes.has(&prefix, &route)
    }

    /// Whether an address is known as that of the node where tunnels end there; `None`: of this node.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn has_node(&self, address: IpAddr, end: Option<IpAddr>) -> Result<bool> {
        self.nodes.has(&address, &end)
    }

    /// Whether an address is known as this node's own, for that.
    ///
    /// # Errors
    ///
    /// If the map cannot be read, or holds what this program does not write.
    pub fn has_address(&self, address: IpAddr, own: OwnAddress) -> Result<bool> {
        self.addresses.has(&address, &own)
    }

    /// The pins that are not there, and should be.
    ///
    pub fn missing_pins(&self) -> Vec<PathBuf> {
        let maps = self.map_pins().map(|(_, pin)| pin);
        let programs = PROGRAMS.map(|name| self.pins.program(name));
        let uplinks =
            self.uplinks.iter().flat_map(|ifindex| UPLINK_PROGRAMS.map(|(_, _, pin)| pin(*ifindex)));
        let links = [pins::OVERLAY.to_owned()].into_iter().chain(uplinks);
        let links = links.map(|name| self.pins.link(&name));
        maps.chain(programs).chain(links).filter(|pin| !pin.exists()).collect()
    }

    /// Pins again what lost its pin, but for links, which went with it: to attach again, or to note it, makes
    /// new ones.
    ///
    /// # Errors
    ///
    /// If a pin cannot be made.
    pub fn restore_pins(&mut self) -> Result<()> {
        self.pins.make_directories()?;
        let lost = self.map_pins().filter(|(_, pin)| !pin.exists()).collect::<Vec<_>>();
        let maps = if lost.is_empty() { BTreeMap::new() } else { self.maps()? };
        for (name, pin) in lost {
            let Some(map) = maps.get(name) else { continue };
            map.pin(&pin).map_err(|error| Error::Attach {
                action: format!("pin map {name} at {}", pin.display()),
                reason: chain(&error),
            })?;
        }
        for name in PROGRAMS {
            let pin = self.pins.program(name);
            if !pin.exists() {
                replace_pin(program_mut(&mut self.ebpf, name)?, &pin)?;
            }
        }
        Ok(())
    }

    /// The maps that the programs use, by name.
    pub(crate) fn maps(&self) -> Result<BTreeMap<String, MapData>> {
        let error = |error| Error::map("read", "of the programs", &error);
        let mut maps = BTreeMap::new();
        for program in PROGRAMS {
            let ids = info(&self.ebpf, program)?.map_ids();
            let ids = ids.map_err(|error| Error::Load { what: program, reason: chain(&error) })?;
            for id in ids.unwrap_or_default() {
                let map = MapData::from_id(id).map_err(error)?;
                let name = map.info().map_err(error)?.name_as_str().unwrap_or_default().to_owned();
                maps.insert(name, map);
            }
        }
        Ok(maps)
    }
}
