//! `/bridges/B/mac_table` and `/bridges/B/arp_table`. A key may have several entries. Each answers for itself; a list
//! shows one of them. Which one is not told by time on the real server; here it is the greatest.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use naming::Mac;
use uuid::Uuid;

use crate::json;
use crate::kinds::{IP4_MAC, MAC_PORT};
use crate::media::{Plain, Takes, best};
use crate::message::{Answer, Request, Response};
use crate::state::Owner;
use crate::store::{Store, in_path, read, valid};
use crate::types::{JSON, vendor};
use crate::view::View;

const UNTAGGED: i64 = 0;

impl Store {
    /// A bridge has a table for untagged packets, and one for each VLAN that an entry was made for.
    fn has_vlan(&self, bridge: Uuid, vlan: i64) -> Result<(), Response> {
        let is_there = match vlan {
            UNTAGGED => self.state.bridges.contains_key(&bridge),
            _ => self.state.mac_tables.contains_key(&(bridge, vlan)),
        };
        let message = format!("The specified bridge has no ports assigned to VLAN {vlan}.");
        if is_there { Ok(()) } else { Err(Response::error(404, &message)) }
    }

    pub(crate) fn list_macs(&self, request: &Request, bridge: Uuid, vlan: Option<i64>) -> Answer {
        let given = table_type(request, "collection.MacPort-v2")?;
        if let Some(vlan) = vlan {
            self.has_vlan(bridge, vlan)?;
        }
        let tables = self
            .state
            .mac_tables
            .iter()
            .filter(|((of, tag), _)| *of == bridge && vlan.is_none_or(|vlan| vlan == *tag));
        let views = tables.flat_map(|((_, tag), entries)| {
            shown(entries).into_iter().map(|(mac, port)| mac_view(bridge, *tag, mac, port, &request.base))
        });
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn get_mac(&self, request: &Request, bridge: Uuid, vlan: Option<i64>, entry: &str) -> Answer {
        let given = table_type(request, "MacPort-v2")?;
        let (mac, port) = mac_and_port(entry)?;
        let vlan = vlan.unwrap_or(UNTAGGED);
        self.has_vlan(bridge, vlan)?;
        let table = self.state.mac_tables.get(&(bridge, vlan));
        if !table.is_some_and(|table| table.contains(&(mac, port))) {
            let message = "The specified bridge does not have the specified MAC-port mapping.";
            return Err(Response::error(404, message));
        }
        Ok(Response::ok(given, mac_view(bridge, vlan, mac, port, &request.base)))
    }

    pub(crate) fn post_mac(&mut self, request: &Request, bridge: Uuid, vlan: Option<i64>) -> Answer {
        let record = read(request, Takes::Listed(&["MacPort-v2"], Plain::Taken), MAC_PORT)?;
        valid(&record, MAC_PORT)?;
        let vlan = vlan.or_else(|| record.number("vlanId")).unwrap_or(UNTAGGED);
        let mac = record.text("macAddr").and_then(|text| text.parse().ok());
        let (Some(mac), Some(id)) = (mac, record.id("portId")) else { return Err(Response::bodiless(400)) };
        let port = self.port(id)?;
        if port.owner != Owner::Bridge(bridge) {
            return Err(Response::error(400, "The port must belong to the bridge that owns the MAC table."));
        }
        let of_port = port.record.number("vlanId").unwrap_or(UNTAGGED);
        if of_port != UNTAGGED && of_port != vlan {
            let message = format!("The specified port handles traffic only for VLAN {of_port}.");
            return Err(Response::error(400, &message));
        }
        let table = self.state.mac_tables.entry((bridge, vlan)).or_default();
        insert(table, (mac, id))?;
        let path = format!("{}/{}_{id}", mac_table(bridge, vlan), in_path(mac));
        Ok(Response::created(Some(format!("{}{path}", request.base))))
    }

    pub(crate) fn delete_mac(&mut self, bridge: Uuid, vlan: Option<i64>, entry: &str) -> Answer {
        let entry = mac_and_port(entry)?;
        let vlan = vlan.unwrap_or(UNTAGGED);
        self.has_vlan(bridge, vlan)?;
        if let Some(table) = self.state.mac_tables.get_mut(&(bridge, vlan)) {
            table.retain(|known| *known != entry);
        }
        Ok(Response::no_content())
    }

    pub(crate) fn list_arps(&self, request: &Request, bridge: Uuid) -> Answer {
        let given = table_type(request, "collection.IP4Mac-v1")?;
        let entries = self.state.arp_tables.get(&bridge).map(Vec::as_slice).unwrap_or_default();
        let views = shown(entries).into_iter().map(|(ip, mac)| arp_view(bridge, ip, mac, &request.base));
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn get_arp(&self, request: &Request, bridge: Uuid, entry: &str) -> Answer {
        let given = table_type(request, "IP4Mac-v1")?;
        let (ip, mac) = ip_and_mac(entry)?;
        if !self.state.arp_tables.get(&bridge).is_some_and(|table| table.contains(&(ip, mac))) {
            let message = "The specified bridge does not have the specified ARP table entry.";
            return Err(Response::error(404, message));
        }
        Ok(Response::ok(given, arp_view(bridge, ip, mac, &request.base)))
    }

    pub(crate) fn post_arp(&mut self, request: &Request, bridge: Uuid) -> Answer {
        let record = read(request, Takes::Listed(&["IP4Mac-v1"], Plain::Refused), IP4_MAC)?;
        valid(&record, IP4_MAC)?;
        let ip = record.text("ip").and_then(|text| text.parse().ok());
        let mac = record.text("mac").and_then(|text| text.parse().ok());
        let (Some(ip), Some(mac)) = (ip, mac) else { return Err(Response::bodiless(400)) };
        if !self.state.bridges.contains_key(&bridge) {
            return Err(keeper("NoNode"));
        }
        insert(self.state.arp_tables.entry(bridge).or_default(), (ip, mac))?;
        let path = format!("/bridges/{bridge}/arp_table/{ip}_{}", in_path(mac));
        Ok(Response::created(Some(format!("{}{path}", request.base))))
    }

    pub(crate) fn delete_arp(&mut self, bridge: Uuid, entry: &str) -> Answer {
        let entry = ip_and_mac(entry)?;
        if let Some(table) = self.state.arp_tables.get_mut(&bridge) {
            table.retain(|known| *known != entry);
        }
        Ok(Response::no_content())
    }
}

fn table_type(request: &Request, name: &str) -> Result<String, Response> {
    best(request, &[vendor(name), JSON.into()]).ok_or_else(|| Response::bodiless(406))
}

/// What ZooKeeper says, and nothing catches.
fn keeper(what: &str) -> Response {
    Response::exception(&format!(
        "javax.servlet.ServletException: org.midonet.cluster.backend.zookeeper.StateAccessException: \
         org.apache.zookeeper.KeeperException${what}Exception: KeeperErrorCode = {what}"
    ))
}

fn insert<T: PartialEq>(table: &mut Vec<T>, entry: T) -> Result<(), Response> {
    if table.contains(&entry) {
        return Err(keeper("NodeExists"));
    }
    table.push(entry);
    Ok(())
}

/// The entries that a list shows: one of each key.
pub(crate) fn shown<K: Ord + Copy, V: Ord + Copy>(entries: &[(K, V)]) -> BTreeMap<K, V> {
    let mut shown = BTreeMap::new();
    for (key, value) in entries {
        let best = shown.entry(*key).or_insert(*value);
        *best = (*best).max(*value);
    }
    shown
}

fn mac_of(text: &str) -> Option<Mac> {
    text.replace('-', ":").parse().ok()
}

fn mac_and_port(entry: &str) -> Result<(Mac, Uuid), Response> {
    let (mac, port) = entry.split_once('_').unwrap_or((entry, ""));
    let message =
        "MAC address must consist of six pairs of hex digits separated by hyphens, e.g., 12-34-56-78-9a-bc.";
    let mac = mac_of(mac).ok_or_else(|| Response::error(400, message))?;
    let port = port.parse().map_err(|_| {
        Response::exception(&format!("java.lang.IllegalArgumentException: Invalid UUID string: {port}"))
    })?;
    Ok((mac, port))
}

fn ip_and_mac(entry: &str) -> Result<(Ipv4Addr, Mac), Response> {
    let (ip, mac) = entry.split_once('_').unwrap_or((entry, ""));
    let ip = ip.parse().map_err(|_| Response::error(400, "is not a valid IP address"))?;
    let message = "MAC address string must be 6 words of 1 or 2 hex digits joined with 5 ':'";
    Ok((ip, mac_of(mac).ok_or_else(|| Response::error(400, message))?))
}

fn mac_table(bridge: Uuid, vlan: i64) -> String {
    match vlan {
        UNTAGGED => format!("/bridges/{bridge}/mac_table"),
        vlan => format!("/bridges/{bridge}/vlans/{vlan}/mac_table"),
    }
}

fn mac_view(bridge: Uuid, vlan: i64, mac: Mac, port: Uuid, base: &str) -> String {
    View::default()
        .with("macAddr", mac.to_string())
        .with("portId", port.to_string())
        .with("vlanId", vlan)
        .at("uri", base, &format!("{}/{}_{port}", mac_table(bridge, vlan), in_path(mac)))
        .text()
}

fn arp_view(bridge: Uuid, ip: Ipv4Addr, mac: Mac, base: &str) -> String {
    View::default()
        .with("ip", ip.to_string())
        .with("mac", mac.to_string())
        .at("uri", base, &format!("/bridges/{bridge}/arp_table/{ip}_{}", in_path(mac)))
        .text()
}
