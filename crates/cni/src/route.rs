use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::json::{Element, Invalid};

/// A route for the container, as configurations and results carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The destination.
    pub dst: IpNet,
    /// The next hop; without it, the gateway of the address of the same family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// The path MTU, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The TCP segment size to announce, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The metric: lower wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The routing table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope: global (0), link (253) or host (254).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

impl Route {
    /// A route that has no more than a destination.
    pub fn to(dst: IpNet) -> Self {
        Self { dst, gw: None, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }

    /// Reads an element of `routes`.
    ///
    /// # Errors
    /// [`Invalid`] names the place.
    pub fn read(element: &Element<'_>) -> Result<Self, Invalid> {
        let nonzero = |name| element.optional_number(name).map(|n| n.filter(|n| *n != 0));
        Ok(Self {
            dst: element.require("dst")?.parse::<IpNet>()?,
            gw: element.address("gw")?,
            mtu: nonzero("mtu")?,
            advmss: nonzero("advmss")?,
            priority: nonzero("priority")?,
            table: element.optional_number("table")?,
            scope: element.optional_number("scope")?,
        })
    }
}
