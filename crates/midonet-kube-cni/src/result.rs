//! Results of ADD, in every version's shape. Pure.

use std::net::IpAddr;

use ipam::json::{Invalid, Node};
use ipam::{Dns, Route};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::version::Version;

/// What an ADD made, alone or with the plugins before it in the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CniResult {
    /// Interfaces, of the host and of the container.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<Ip>,
    /// Routes in the container.
    pub routes: Vec<Route>,
    /// Name resolution.
    pub dns: Dns,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// In bytes; since 1.0.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The path of the container's namespace; empty for an interface of the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// Another plugin's; since 1.0.0.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// Another plugin's; since 1.0.0.
    #[serde(rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    /// The index of its interface.
    pub interface: Option<usize>,
    /// With the prefix length of its subnet.
    pub address: IpNet,
    /// The subnet's gateway.
    pub gateway: Option<IpAddr>,
}

impl CniResult {
    /// Reads a result of any version since 0.3.0.
    ///
    /// # Errors
    /// [`Invalid`] names the place.
    pub fn read(node: &Node<'_>) -> Result<Self, Invalid> {
        let allocation = ipam::Allocation::read(node)?;
        let mut ips = Vec::new();
        for (node, ip) in node.list("ips")?.iter().zip(allocation.ips) {
            let index = node.get("interface")?.map(|n| n.number::<i64>()).transpose()?;
            // The reference implementation writes -1 for "none".
            let interface = index.and_then(|n| usize::try_from(n).ok());
            ips.push(Ip { interface, address: ip.address, gateway: ip.gateway });
        }
        let interfaces = node.list("interfaces")?.iter().map(Interface::read).collect::<Result<_, _>>()?;
        Ok(Self { interfaces, ips, routes: allocation.routes, dns: allocation.dns })
    }

    /// As that version writes it.
    pub fn to_json(&self, version: Version) -> Value {
        let old = version < Version::V1_0_0;
        let mut object = Map::new();
        object.insert("cniVersion".into(), json!(version.as_str()));
        if !self.interfaces.is_empty() {
            let interfaces =
                self.interfaces.iter().map(|i| if old { i.without_new_keys() } else { i.clone() });
            object.insert("interfaces".into(), json!(interfaces.collect::<Vec<_>>()));
        }
        if !self.ips.is_empty() {
            object.insert("ips".into(), self.ips.iter().map(|ip| ip.to_json(old)).collect());
        }
        if !self.routes.is_empty() {
            object.insert("routes".into(), json!(self.routes));
        }
        if old || self.dns != Dns::default() {
            object.insert("dns".into(), json!(self.dns));
        }
        Value::Object(object)
    }
}

impl Interface {
    fn read(node: &Node<'_>) -> Result<Self, Invalid> {
        let text = |name| node.word(name).map(|text| text.unwrap_or_default().to_owned());
        Ok(Self {
            name: text("name")?,
            mac: text("mac")?,
            mtu: node.get("mtu")?.map(|n| n.number()).transpose()?.filter(|n| *n != 0),
            sandbox: text("sandbox")?,
            socket_path: text("socketPath")?,
            pci_id: text("pciID")?,
        })
    }

    fn without_new_keys(&self) -> Self {
        let Self { name, mac, sandbox, .. } = self.clone();
        Self { name, mac, sandbox, ..Self::default() }
    }
}

impl Ip {
    fn to_json(&self, old: bool) -> Value {
        let mut ip = Map::new();
        if old {
            ip.insert("version".into(), json!(if self.address.addr().is_ipv4() { "4" } else { "6" }));
        }
        ip.insert("address".into(), json!(self.address));
        if let Some(gateway) = self.gateway {
            ip.insert("gateway".into(), json!(gateway));
        }
        if let Some(interface) = self.interface {
            ip.insert("interface".into(), json!(interface));
        }
        Value::Object(ip)
    }
}

#[cfg(test)]
mod tests;
