//! Which node serves which prefix.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::layout::{self, RouteKey};
use crate::model::{Route, is_unicast};
use crate::table::{Key, Table, Value};

/// The routes. An address finds the one of the longest prefix.
pub(crate) type Routes = Table<IpNet, Route>;

impl Key for IpNet {
    type Raw = RouteKey;

    fn to_raw(&self) -> RouteKey {
        layout::route_key(*self)
    }

    fn from_raw(raw: RouteKey) -> Result<Self, String> {
        layout::route_prefix(&raw)
            .ok_or_else(|| format!("prefix length {} of {}", raw.prefix_length, IpAddr::from(raw.address)))
    }

    fn describe(&self) -> String {
        format!("route {self}")
    }
}

impl Value<IpNet> for Route {
    type Raw = layout::Route;

    fn to_raw(&self, prefix: &IpNet) -> Result<layout::Route> {
        let invalid = |reason: String| Err(Error::Route { prefix: *prefix, reason });
        if let IpNet::V6(v6) = prefix
            && v6.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped())
        {
            return invalid("it contains the IPv4-mapped addresses, which stand for IPv4 here".to_owned());
        }
        if let Self::Tunnel(end) = *self
            && !is_unicast(end)
        {
            return invalid(format!("the tunnel's end {end} is not a unicast address"));
        }
        Ok(layout::Route::from(*self))
    }

    fn from_raw(raw: layout::Route) -> Result<Self, String> {
        raw.try_into()
    }
}
