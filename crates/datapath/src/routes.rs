//! Which node serves which prefix.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::maps::{LpmTrie, Map, MapData, MapError};
use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::layout;
use crate::model::{Route, is_unicast};
use crate::ports::{found, ignore_missing, is_errno};

/// The trie of routes.
pub(crate) struct Routes {
    map: LpmTrie<MapData, layout::Address, layout::Route>,
    limit: u32,
}

impl Routes {
    const MAP: &'static str = "routes";

    pub(crate) fn new(map: Map, limit: u32) -> Result<Self> {
        Ok(Self { map: map.try_into().map_err(|source| failed("open", source))?, limit })
    }

    pub(crate) fn all(&self) -> Result<BTreeMap<IpNet, Route>> {
        self.map
            .iter()
            .map(|entry| {
                let (key, route) = entry.map_err(|source| failed("read", source))?;
                let prefix = layout::route_prefix(&key).ok_or_else(|| Error::Foreign {
                    map: Self::MAP,
                    value: format!("prefix length {} of {}", key.prefix_len(), IpAddr::from(key.data())),
                })?;
                Ok((prefix, route.try_into()?))
            })
            .collect()
    }

    /// Makes this map hold what another one does.
    pub(crate) fn become_like(&mut self, other: &Self) -> Result<()> {
        let theirs = other.all()?;
        for prefix in self.all()?.into_keys().filter(|prefix| !theirs.contains_key(prefix)) {
            self.remove(prefix)?;
        }
        theirs.into_iter().try_for_each(|(prefix, route)| self.set(prefix, route))
    }

    pub(crate) fn set(&mut self, prefix: IpNet, route: Route) -> Result<()> {
        let invalid = |reason: String| Err(Error::Route { prefix, reason });
        if let IpNet::V6(v6) = prefix
            && v6.contains(&std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped())
        {
            return invalid("it contains the IPv4-mapped addresses, which stand for IPv4 here".to_owned());
        }
        if let Route::Tunnel(end) = route
            && !is_unicast(end)
        {
            return invalid(format!("the tunnel's end {end} is not a unicast address"));
        }
        let written = self.map.insert(&layout::route_key(prefix), layout::Route::from(route), 0);
        written.map_err(|source| {
            if is_errno(&source, libc::ENOSPC) {
                let what = format!("route {prefix}");
                return Error::Full { what, limit: self.limit, setting: "--max-nodes" };
            }
            failed("write", source)
        })
    }

    /// What a packet into the prefix meets: its own route, or else that of a wider one.
    pub(crate) fn get(&self, prefix: IpNet) -> Result<Option<Route>> {
        match found(self.map.get(&layout::route_key(prefix), 0)).map_err(|source| failed("read", source))? {
            Some(route) => Ok(Some(route.try_into()?)),
            None => Ok(None),
        }
    }

    pub(crate) fn remove(&mut self, prefix: IpNet) -> Result<()> {
        ignore_missing(self.map.remove(&layout::route_key(prefix))).map_err(|source| failed("write", source))
    }
}

fn failed(action: &'static str, source: MapError) -> Error {
    Error::Map { action, map: Routes::MAP, source }
}
