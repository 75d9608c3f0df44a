//! Which addresses are behind which interface.
//!
//! Two maps hold it: `ports` by interface, the record that is read back, and `endpoints` by address,
//! which decides about packets: an address without an entry there neither sends nor receives. A third,
//! `limits`, has the few interfaces that may not be as fast as they like.

use aya::maps::{HashMap, Map, MapData, MapError};

use crate::error::{Error, Result};
use crate::layout::{self, Address};
use crate::model::Port;

/// The maps.
pub(crate) struct Ports {
    ports: HashMap<MapData, u32, layout::Port>,
    endpoints: HashMap<MapData, Address, layout::Endpoint>,
    /// Agents of former versions have no such map.
    limits: Option<HashMap<MapData, u32, layout::Limit>>,
    limit: u32,
}

impl Ports {
    const PORTS: &'static str = "ports";
    const ENDPOINTS: &'static str = "endpoints";
    const LIMITS: &'static str = "limits";

    pub(crate) fn new(ports: Map, endpoints: Map, limits: Option<Map>, limit: u32) -> Result<Self> {
        let limits = limits.map(TryInto::try_into).transpose();
        Ok(Self {
            ports: ports.try_into().map_err(|source| failed("open", Self::PORTS, source))?,
            endpoints: endpoints.try_into().map_err(|source| failed("open", Self::ENDPOINTS, source))?,
            limits: limits.map_err(|source| failed("open", Self::LIMITS, source))?,
            limit,
        })
    }

    /// Every port with the addresses that are really its own: after a crash half-way through
    /// [`bind`](Self::bind) a record may name more, and what is missing here is to be bound again.
    pub(crate) fn all(&self) -> Result<Vec<Port>> {
        let mut ports = Vec::new();
        for entry in self.ports.iter() {
            let (ifindex, record) = entry.map_err(|source| failed("read", Self::PORTS, source))?;
            let limit = self.limit(ifindex)?;
            let mut held = record;
            for address in record.addresses() {
                if self.endpoint(address)? != Some(record.endpoint(ifindex, limit)) {
                    held = held.without(*address);
                }
            }
            ports.push(held.to_port(ifindex, limit)?);
        }
        ports.sort_by_key(|port| port.ifindex);
        Ok(ports)
    }

    /// Binds a port, and takes its addresses from whoever had them.
    ///
    /// The record comes first: if this is cut short, what was written is found again by it, and
    /// releasing the interface removes all of it.
    pub(crate) fn bind(&mut self, port: &Port) -> Result<()> {
        let ifindex = port.ifindex;
        let new = layout::Port::try_from(port)?;
        let old = self.port(ifindex)?;
        let mut owners = Vec::new();
        for address in new.addresses() {
            if let Some(owner) = self.owner(address)?
                && owner != ifindex
            {
                owners.push((owner, *address));
            }
        }
        self.ports.insert(ifindex, new, 0).map_err(|source| {
            if is_errno(&source, libc::E2BIG) {
                let what = format!("interface {ifindex}");
                return Error::Full { what, limit: self.limit, setting: "--max-pods" };
            }
            failed("write", Self::PORTS, source)
        })?;
        let limit = layout::Limit::from(port.limits);
        self.set_limit(ifindex, limit)?;
        for address in new.addresses() {
            if let Err(source) = self.endpoints.insert(address, new.endpoint(ifindex, limit), 0) {
                // Fail closed: no half of a port.
                self.clear(ifindex, new.addresses())?;
                self.remove(ifindex)?;
                return Err(failed("write", Self::ENDPOINTS, source));
            }
        }
        for (owner, address) in owners {
            self.take(owner, address)?;
        }
        let stale: Vec<_> = old.iter().flat_map(layout::Port::addresses).copied().collect();
        let stale: Vec<_> = stale.into_iter().filter(|address| !new.addresses().contains(address)).collect();
        self.clear(ifindex, &stale)
    }

    /// Makes these maps hold what others do.
    pub(crate) fn become_like(&mut self, other: &Self) -> Result<()> {
        let theirs = other.all()?;
        for port in self.all()? {
            if !theirs.iter().any(|their| their.ifindex == port.ifindex) {
                self.release(port.ifindex)?;
            }
        }
        // One without addresses is what a crash left: there is nothing to take over.
        theirs.iter().filter(|port| !port.addresses.is_empty()).try_for_each(|port| self.bind(port))
    }

    /// Removes a port; one that is not there is gone already.
    pub(crate) fn release(&mut self, ifindex: u32) -> Result<()> {
        let Some(port) = self.port(ifindex)? else {
            return Ok(());
        };
        self.clear(ifindex, port.addresses())?;
        self.remove(ifindex)
    }

    /// Removes what is known of an interface whose addresses are gone: the record last.
    fn remove(&mut self, ifindex: u32) -> Result<()> {
        self.set_limit(ifindex, layout::Limit::default())?;
        ignore_missing(self.ports.remove(&ifindex)).map_err(|source| failed("write", Self::PORTS, source))
    }

    fn limit(&self, ifindex: u32) -> Result<layout::Limit> {
        let Some(limits) = &self.limits else { return Ok(layout::Limit::default()) };
        let limit = found(limits.get(&ifindex, 0)).map_err(|source| failed("read", Self::LIMITS, source))?;
        Ok(limit.unwrap_or_default())
    }

    fn set_limit(&mut self, ifindex: u32, limit: layout::Limit) -> Result<()> {
        let Some(limits) = &mut self.limits else { return Ok(()) };
        let written = if limit == layout::Limit::default() {
            ignore_missing(limits.remove(&ifindex))
        } else {
            limits.insert(ifindex, limit, 0)
        };
        written.map_err(|source| failed("write", Self::LIMITS, source))
    }

    fn port(&self, ifindex: u32) -> Result<Option<layout::Port>> {
        found(self.ports.get(&ifindex, 0)).map_err(|source| failed("read", Self::PORTS, source))
    }

    fn endpoint(&self, address: &Address) -> Result<Option<layout::Endpoint>> {
        found(self.endpoints.get(address, 0)).map_err(|source| failed("read", Self::ENDPOINTS, source))
    }

    fn owner(&self, address: &Address) -> Result<Option<u32>> {
        Ok(self.endpoint(address)?.map(|endpoint| endpoint.ifindex))
    }

    /// Removes the addresses that still belong to the interface.
    fn clear(&mut self, ifindex: u32, addresses: &[Address]) -> Result<()> {
        for address in addresses {
            if self.owner(address)? == Some(ifindex) {
                let removed = ignore_missing(self.endpoints.remove(address));
                removed.map_err(|source| failed("write", Self::ENDPOINTS, source))?;
            }
        }
        Ok(())
    }

    /// Strikes an address, now another's, from an interface's record; without any it is no port.
    fn take(&mut self, ifindex: u32, address: Address) -> Result<()> {
        let Some(port) = self.port(ifindex)? else {
            return Ok(());
        };
        let less = port.without(address);
        if less.count == 0 {
            return self.remove(ifindex);
        }
        self.ports.insert(ifindex, less, 0).map_err(|source| failed("write", Self::PORTS, source))
    }
}

fn failed(action: &'static str, map: &'static str, source: MapError) -> Error {
    Error::Map { action, map, source }
}

/// A look-up's answer, where nothing is no error.
pub(crate) fn found<V>(looked_up: Result<V, MapError>) -> Result<Option<V>, MapError> {
    match looked_up {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error number below a failed system call.
pub(crate) fn is_errno(error: &MapError, errno: i32) -> bool {
    matches!(error, MapError::SyscallError(call) if call.io_error.raw_os_error() == Some(errno))
}

/// Removing what is not there is success.
pub(crate) fn ignore_missing(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(error) if is_errno(&error, libc::ENOENT) => Ok(()),
        other => other,
    }
}
