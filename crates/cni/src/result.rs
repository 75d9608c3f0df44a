//! Results of ADD, in every version's form.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::dns::Dns;
use crate::json::{Element, Invalid};
use crate::route::Route;
use crate::version::Version;

/// What an ADD made, alone or with the plugins before it in the chain. An IPAM plugin's has no interfaces.
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
    /// Reads a result of any version.
    ///
    /// # Errors
    /// [`Invalid`] names the place.
    pub fn read(element: &Element<'_>) -> Result<Self, Invalid> {
        let mut result = Self {
            interfaces: each(element, "interfaces", Interface::read)?,
            ips: each(element, "ips", Ip::read)?,
            routes: each(element, "routes", Route::read)?,
            dns: element.get("dns")?.map_or_else(|| Ok(Dns::default()), |dns| Dns::read(&dns))?,
        };
        // Before 0.3.0 there is one address of each family, with the family's routes.
        for key in ["ip4", "ip6"] {
            if let Some(family) = element.get(key)? {
                let (address, gateway) = (family.require("ip")?.parse()?, family.address("gateway")?);
                result.ips.push(Ip { interface: None, address, gateway });
                result.routes.extend(each(&family, "routes", Route::read)?);
            }
        }
        Ok(result)
    }

    /// The JSON of that version: since 0.3.0 everything; before, the first address of each family.
    pub fn to_json(&self, version: Version) -> Value {
        if version < Version::V0_3_0 {
            return self.to_json_of_one_address(version);
        }
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

    /// The form of 0.1.0 and 0.2.0: `ip4` and `ip6`, each with the routes of its family.
    fn to_json_of_one_address(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".into(), json!(version.as_str()));
        for (key, v4) in [("ip4", true), ("ip6", false)] {
            let of_family = |net: &IpNet| net.addr().is_ipv4() == v4;
            let Some(ip) = self.ips.iter().find(|ip| of_family(&ip.address)) else { continue };
            let mut entry = Map::new();
            entry.insert("ip".into(), json!(ip.address));
            if let Some(gateway) = ip.gateway {
                entry.insert("gateway".into(), json!(gateway));
            }
            let routes = self.routes.iter().filter(|route| of_family(&route.dst));
            let routes: Vec<Route> = routes.map(|r| Route { gw: r.gw, ..Route::to(r.dst) }).collect();
            if !routes.is_empty() {
                entry.insert("routes".into(), json!(routes));
            }
            object.insert(key.into(), Value::Object(entry));
        }
        object.insert("dns".into(), json!(self.dns));
        Value::Object(object)
    }
}

fn each<T>(
    element: &Element<'_>,
    list: &str,
    read: impl Fn(&Element<'_>) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    element.list(list)?.iter().map(read).collect()
}

impl Interface {
    fn read(element: &Element<'_>) -> Result<Self, Invalid> {
        let text = |name| element.word(name).map(|text| text.unwrap_or_default().to_owned());
        Ok(Self {
            name: text("name")?,
            mac: text("mac")?,
            mtu: element.optional_number("mtu")?.filter(|n| *n != 0),
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
    fn read(element: &Element<'_>) -> Result<Self, Invalid> {
        let interface: Option<i64> = element.optional_number("interface")?;
        Ok(Self {
            // The reference implementation writes -1 for "none".
            interface: interface.and_then(|index| usize::try_from(index).ok()),
            address: element.require("address")?.parse()?,
            gateway: element.address("gateway")?,
        })
    }

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
