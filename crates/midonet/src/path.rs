use naming::Mac;
use uuid::Uuid;

use crate::{Body, PortType, Resource};

impl Resource {
    /// The path that it is posted to, below the API's base URL. None if its kind needs a parent and it has none.
    pub fn collection_path(&self) -> Option<String> {
        let below = |kind: &str, of: &str| Some(format!("/{kind}/{}/{of}", self.parent?));
        match &self.body {
            Body::TunnelZone(_) => Some("/tunnel_zones".into()),
            Body::TunnelZoneHost(_) => below("tunnel_zones", "hosts"),
            Body::Router(_) => Some("/routers".into()),
            Body::Bridge(_) => Some("/bridges".into()),
            Body::Port(port) => match port.port_type {
                PortType::Bridge => below("bridges", "ports"),
                PortType::Router => below("routers", "ports"),
            },
            Body::PortLink(_) => below("ports", "link"),
            Body::Route(_) => below("routers", "routes"),
            Body::Chain(_) => Some("/chains".into()),
            Body::Rule(_) => below("chains", "rules"),
            Body::HostInterfacePort(_) => below("hosts", "ports"),
            Body::MacPort(_) => below("bridges", "mac_table"),
            Body::Ipv4MacPair(_) => below("bridges", "arp_table"),
        }
    }

    /// The path of itself, to read, replace or delete it. None if its kind needs a parent or an id and it has none.
    pub fn item_path(&self) -> Option<String> {
        let at = |kind: &str, id: Uuid| Some(format!("/{kind}/{id}"));
        match &self.body {
            Body::TunnelZone(zone) => at("tunnel_zones", zone.id?),
            Body::TunnelZoneHost(host) => Some(format!("{}/{}", self.collection_path()?, host.host_id)),
            Body::Router(router) => at("routers", router.id),
            Body::Bridge(bridge) => at("bridges", bridge.id),
            Body::Port(port) => at("ports", port.id),
            Body::PortLink(_) => self.collection_path(),
            Body::Route(route) => at("routes", route.id),
            Body::Chain(chain) => at("chains", chain.id),
            Body::Rule(rule) => at("rules", rule.id),
            Body::HostInterfacePort(port) => Some(format!("{}/{}", self.collection_path()?, port.port_id)),
            Body::MacPort(entry) => {
                Some(format!("{}/{}_{}", self.collection_path()?, in_path(entry.mac_addr), entry.port_id))
            }
            Body::Ipv4MacPair(pair) => {
                Some(format!("{}/{}_{}", self.collection_path()?, pair.ip, in_path(pair.mac)))
            }
        }
    }
}

/// A MAC address as paths have it.
fn in_path(mac: Mac) -> String {
    mac.to_string().replace(':', "-")
}
