//! Which addresses are behind which interface.
//!
//! Two maps hold it: `ports` by interface, the record that is read back, and `endpoints` by address,
//! which decides about packets: an address without an entry there neither sends nor receives. A third,
//! `limits`, has the few interfaces that may not be as fast as they like.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::layout::policy::SET_OPEN;
use crate::layout::{self, Address};
use crate::model::Port;
use crate::table::{Key, Table};

impl Key for Address {
    type Raw = Self;

    fn to_raw(&self) -> Self {
        *self
    }

    fn from_raw(raw: Self) -> Result<Self, String> {
        Ok(raw)
    }

    fn describe(&self) -> String {
        format!("address {}", std::net::IpAddr::from(*self))
    }
}

/// The maps.
pub(crate) struct Ports {
    pub(crate) ports: Table<u32, layout::Port>,
    pub(crate) endpoints: Table<Address, layout::Endpoint>,
    pub(crate) limits: Table<u32, layout::Limit>,
}

impl Ports {
    /// Every port with the addresses that are really its own: after a crash half-way through
    /// [`bind`](Self::bind) a record may name more, and what is missing here is to be bound again.
    pub(crate) fn all(&self, column: usize) -> Result<Vec<Port>> {
        let (records, mut limits) = (self.ports.all()?, self.limits.all()?);
        let endpoints: BTreeMap<_, _> = self.endpoints.all()?;
        let whole = |(ifindex, record): (u32, layout::Port)| {
            let limit = limits.remove(&ifindex).unwrap_or_default();
            let (mut held, mut set) = (record, SET_OPEN);
            for address in record.addresses() {
                match endpoints.get(address) {
                    Some(one) if *one == record.endpoint(ifindex, limit, one.sets) => set = one.set(column),
                    _ => held = held.without(*address),
                }
            }
            held.to_port(ifindex, limit, set)
        };
        records.into_iter().map(whole).collect()
    }

    /// Binds a port, and takes its addresses from whoever had them.
    ///
    /// The record comes first: if this is cut short, what was written is found again by it, and
    /// releasing the interface removes all of it.
    pub(crate) fn bind(&mut self, port: &Port, set: u32) -> Result<()> {
        let ifindex = port.ifindex;
        let new = layout::Port::try_from(port)?;
        let old = self.ports.get(&ifindex)?;
        let mut owners = Vec::new();
        for address in new.addresses() {
            if let Some(owner) = self.owner(address)?
                && owner != ifindex
            {
                owners.push((owner, *address));
            }
        }
        self.ports.set(&ifindex, &new)?;
        let limit = layout::Limit::from(port.limits);
        self.set_limit(ifindex, limit)?;
        for address in new.addresses() {
            if let Err(error) = self.endpoints.set(address, &new.endpoint(ifindex, limit, [set; 2])) {
                // Fail closed: no half of a port.
                self.clear(ifindex, new.addresses())?;
                self.remove(ifindex)?;
                return Err(error);
            }
        }
        for (owner, address) in owners {
            self.take(owner, address)?;
        }
        let stale: Vec<_> = old.iter().flat_map(layout::Port::addresses).copied().collect();
        let stale: Vec<_> = stale.into_iter().filter(|address| !new.addresses().contains(address)).collect();
        self.clear(ifindex, &stale)
    }

    /// The set of policy that a port has in a column; `None`: it is not there.
    pub(crate) fn set_of(&self, ifindex: u32, column: usize) -> Result<Option<u32>> {
        Ok(self.held(ifindex)?.first().map(|(_, endpoint)| endpoint.set(column)))
    }

    /// Gives a port the sets of policy of both columns; one that is not there needs none.
    pub(crate) fn set_sets(&mut self, ifindex: u32, sets: [u32; 2]) -> Result<()> {
        for (address, endpoint) in self.held(ifindex)? {
            if endpoint.sets != sets {
                self.endpoints.set(&address, &layout::Endpoint { sets, ..endpoint })?;
            }
        }
        Ok(())
    }

    /// The interfaces of Pods.
    pub(crate) fn pods(&self) -> Result<Vec<u32>> {
        let records = self.ports.all()?;
        Ok(records
            .iter()
            .filter(|(_, port)| port.role != layout::ROLE_NODE)
            .map(|(ifindex, _)| *ifindex)
            .collect())
    }

    /// What stands at a port's own addresses.
    fn held(&self, ifindex: u32) -> Result<Vec<(Address, layout::Endpoint)>> {
        let mut held = Vec::new();
        let record = self.ports.get(&ifindex)?;
        for address in record.iter().flat_map(layout::Port::addresses) {
            if let Some(endpoint) = self.endpoints.get(address)?.filter(|one| one.ifindex == ifindex) {
                held.push((*address, endpoint));
            }
        }
        Ok(held)
    }

    /// Removes a port; one that is not there is gone already.
    pub(crate) fn release(&mut self, ifindex: u32) -> Result<()> {
        let Some(port) = self.ports.get(&ifindex)? else {
            return Ok(());
        };
        self.clear(ifindex, port.addresses())?;
        self.remove(ifindex)
    }

    /// Removes what is known of an interface whose addresses are gone: the record last.
    fn remove(&mut self, ifindex: u32) -> Result<()> {
        self.limits.remove(&ifindex)?;
        self.ports.remove(&ifindex)
    }

    fn set_limit(&mut self, ifindex: u32, limit: layout::Limit) -> Result<()> {
        if limit == layout::Limit::default() {
            return self.limits.remove(&ifindex);
        }
        self.limits.set(&ifindex, &limit)
    }

    fn owner(&self, address: &Address) -> Result<Option<u32>> {
        Ok(self.endpoints.get(address)?.map(|endpoint| endpoint.ifindex))
    }

    /// Removes the addresses that still belong to the interface.
    fn clear(&mut self, ifindex: u32, addresses: &[Address]) -> Result<()> {
        for address in addresses {
            if self.owner(address)? == Some(ifindex) {
                self.endpoints.remove(address)?;
            }
        }
        Ok(())
    }

    /// Strikes an address, now another's, from an interface's record; without any it is no port.
    fn take(&mut self, ifindex: u32, address: Address) -> Result<()> {
        let Some(port) = self.ports.get(&ifindex)? else {
            return Ok(());
        };
        let less = port.without(address);
        if less.count == 0 {
            return self.remove(ifindex);
        }
        self.ports.set(&ifindex, &less)
    }
}
