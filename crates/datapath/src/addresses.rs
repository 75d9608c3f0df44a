//! This node's own addresses, on all of its interfaces: what comes to one of them is the host's, unless a Service is
//! served there.

use std::net::IpAddr;

use crate::error::{Error, Result};
use crate::layout::services::{ADDRESS_NODE_PORTS, ADDRESS_OWN};
use crate::model::is_unicast;
use crate::table::{Table, Value};

/// What is served at an address of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// Whether NodePorts are.
    pub node_ports: bool,
}

/// This node's own addresses.
pub(crate) type Addresses = Table<IpAddr, OwnAddress>;

impl Value<IpAddr> for OwnAddress {
    type Raw = u32;

    fn to_raw(&self, address: &IpAddr) -> Result<u32> {
        if !is_unicast(*address) {
            let reason = "it is not a unicast address".to_owned();
            return Err(Error::Node { address: *address, reason });
        }
        Ok(ADDRESS_OWN | if self.node_ports { ADDRESS_NODE_PORTS } else { 0 })
    }

    fn from_raw(raw: u32) -> Result<Self, String> {
        if raw & ADDRESS_OWN == 0 {
            return Err(format!("{raw:#x}"));
        }
        Ok(Self { node_ports: raw & ADDRESS_NODE_PORTS != 0 })
    }
}
