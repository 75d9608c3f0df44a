//! Which addresses on the underlay are nodes' own, and of which node.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::maps::{HashMap, Map, MapData, MapError};

use crate::error::{Error, Result};
use crate::layout::Address;
use crate::model::is_unicast;
use crate::ports::{found, ignore_missing, is_errno};

/// The map of nodes' addresses. A node is known by where tunnels to it end; `None` is this node.
pub(crate) struct Nodes {
    map: HashMap<MapData, Address, Address>,
    limit: u32,
}

impl Nodes {
    const MAP: &'static str = "nodes";

    pub(crate) fn new(map: Map, limit: u32) -> Result<Self> {
        Ok(Self { map: map.try_into().map_err(|source| failed("open", source))?, limit })
    }

    pub(crate) fn all(&self) -> Result<BTreeMap<IpAddr, Option<IpAddr>>> {
        let read = |entry| {
            let (address, end): (Address, Address) = entry?;
            Ok((address.into(), known(end)))
        };
        self.map.iter().map(read).collect::<Result<_, MapError>>().map_err(|source| failed("read", source))
    }

    /// Makes this map hold what another one does.
    pub(crate) fn become_like(&mut self, other: &Self) -> Result<()> {
        let theirs = other.all()?;
        for address in self.all()?.into_keys().filter(|address| !theirs.contains_key(address)) {
            self.remove(address)?;
        }
        theirs.into_iter().try_for_each(|(address, end)| self.set(address, end))
    }

    pub(crate) fn set(&mut self, address: IpAddr, end: Option<IpAddr>) -> Result<()> {
        if let Some(wrong) = [Some(address), end].into_iter().flatten().find(|one| !is_unicast(*one)) {
            let reason = format!("{wrong} is not a unicast address");
            return Err(Error::Node { address, reason });
        }
        let written =
            self.map.insert(Address::from(address), end.map_or_else(Address::default, Into::into), 0);
        written.map_err(|source| {
            // The kernel says so of a hash table; ENOSPC is a trie's word.
            if is_errno(&source, libc::E2BIG) {
                let what = format!("a node's address {address}");
                return Error::Full { what, limit: self.limit, setting: "--max-nodes" };
            }
            failed("write", source)
        })
    }

    pub(crate) fn get(&self, address: IpAddr) -> Result<Option<Option<IpAddr>>> {
        let end = found(self.map.get(&Address::from(address), 0)).map_err(|source| failed("read", source))?;
        Ok(end.map(known))
    }

    pub(crate) fn remove(&mut self, address: IpAddr) -> Result<()> {
        ignore_missing(self.map.remove(&Address::from(address))).map_err(|source| failed("write", source))
    }
}

fn known(end: Address) -> Option<IpAddr> {
    (end != Address::default()).then(|| end.into())
}

fn failed(action: &'static str, source: MapError) -> Error {
    Error::Map { action, map: Nodes::MAP, source }
}
