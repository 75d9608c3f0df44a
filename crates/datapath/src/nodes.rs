//! Which addresses on the underlay are nodes' own, and of which node.

use std::net::IpAddr;

use crate::error::{Error, Result};
use crate::layout::Address;
use crate::model::is_unicast;
use crate::table::{Key, Table, Value};

/// Where tunnels to a node end, by which it is known; `None`: this node.
pub(crate) type End = Option<IpAddr>;

/// Nodes' addresses.
pub(crate) type Nodes = Table<IpAddr, End>;

impl Key for IpAddr {
    type Raw = Address;

    fn to_raw(&self) -> Address {
        (*self).into()
    }

    fn from_raw(raw: Address) -> Result<Self, String> {
        Ok(raw.into())
    }

    fn describe(&self) -> String {
        format!("the address {self} of a node")
    }
}

impl Value<IpAddr> for End {
    type Raw = Address;

    fn to_raw(&self, address: &IpAddr) -> Result<Address> {
        if let Some(wrong) = [Some(*address), *self].into_iter().flatten().find(|one| !is_unicast(*one)) {
            let reason = format!("{wrong} is not a unicast address");
            return Err(Error::Node { address: *address, reason });
        }
        Ok(self.map_or_else(Address::default, Into::into))
    }

    fn from_raw(raw: Address) -> Result<Self, String> {
        Ok((raw != Address::default()).then(|| raw.into()))
    }
}
