//! `/tunnel_zones` and their hosts.

use uuid::Uuid;

use crate::json;
use crate::kinds::{TUNNEL_ZONE, TUNNEL_ZONE_HOST};
use crate::media::{Plain, Takes, best, only};
use crate::message::{Answer, Request, Response};
use crate::schema::Record;
use crate::state::TunnelZone;
use crate::store::{Store, id_of, read, valid};
use crate::types::vendor;
use crate::view::View;

const KIND: &str = "TunnelZone";

impl Store {
    fn zone(&self, id: Uuid) -> Result<&TunnelZone, Response> {
        self.state.zones.get(&id).ok_or_else(|| Response::missing(KIND, id))
    }

    /// Names are unique. A PUT has to change the name, since the zone's own is in use too.
    fn unused(&self, record: &Record) -> Result<(), Response> {
        let name = record.text("name");
        if self.state.zones.values().any(|zone| zone.record.text("name") == name) {
            return Err(Response::error(409, "Tunnel zone name already exists."));
        }
        Ok(())
    }

    pub(crate) fn list_zones(&self, request: &Request) -> Answer {
        let given = only(request, &["collection.TunnelZone-v1"])?;
        let zones = self.state.zones.iter().map(|(id, zone)| view(zone, *id, &request.base));
        Ok(Response::ok(given, json::list(zones)))
    }

    pub(crate) fn get_zone(&self, request: &Request, id: &str) -> Answer {
        let given = only(request, &["TunnelZone-v1"])?;
        let id = id_of(id, KIND)?;
        Ok(Response::ok(given, view(self.zone(id)?, id, &request.base)))
    }

    pub(crate) fn post_zone(&mut self, request: &Request) -> Answer {
        let mut record = read(request, Takes::Checked(&["TunnelZone-v1"]), TUNNEL_ZONE)?;
        valid(&record, TUNNEL_ZONE)?;
        self.unused(&record)?;
        let id = record.id("id").unwrap_or_else(|| self.random.id());
        if self.state.zones.contains_key(&id) {
            return Err(Response::taken(KIND, id));
        }
        record.set_id("id", Some(id));
        self.state.zones.insert(id, TunnelZone { record, hosts: Vec::new() });
        Ok(Response::created(Some(format!("{}/tunnel_zones/{id}", request.base))))
    }

    pub(crate) fn put_zone(&mut self, request: &Request, id: &str) -> Answer {
        let mut record = read(request, Takes::Checked(&["TunnelZone-v1"]), TUNNEL_ZONE)?;
        let id = id_of(id, KIND)?;
        self.zone(id)?;
        valid(&record, TUNNEL_ZONE)?;
        self.unused(&record)?;
        record.set_id("id", Some(id));
        if let Some(zone) = self.state.zones.get_mut(&id) {
            zone.record = record;
        }
        Ok(Response::no_content())
    }

    pub(crate) fn delete_zone(&mut self, id: &str) -> Answer {
        if let Ok(id) = id.parse() {
            self.state.zones.remove(&id);
        }
        Ok(Response::no_content())
    }

    pub(crate) fn list_zone_hosts(&self, request: &Request, zone: Uuid) -> Answer {
        let given = host_type(request, "collection.TunnelZoneHost-v1")?;
        let hosts = self.zone(zone)?.hosts.iter();
        let views = hosts.map(|(host, address)| host_view(zone, *host, &address.to_string(), &request.base));
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn get_zone_host(&self, request: &Request, zone: Uuid, host: &str) -> Answer {
        let given = host_type(request, "TunnelZoneHost-v1")?;
        let found = self.zone(zone)?.hosts.iter().find(|(known, _)| known.to_string() == host);
        let (host, address) = found.ok_or_else(|| Response::error(404, "Resource not found"))?;
        Ok(Response::ok(given, host_view(zone, *host, &address.to_string(), &request.base)))
    }

    pub(crate) fn post_zone_host(&mut self, request: &Request, zone: Uuid) -> Answer {
        let takes = Takes::Listed(&["TunnelZoneHost-v1", "GreTunnelZoneHost-v1"], Plain::Refused);
        let record = read(request, takes, TUNNEL_ZONE_HOST)?;
        valid(&record, TUNNEL_ZONE_HOST)?;
        let address = record.text("ipAddress").and_then(|text| text.parse().ok());
        let (Some(host), Some(address)) = (record.id("hostId"), address) else {
            return Err(Response::bodiless(400));
        };
        if self.zone(zone)?.hosts.iter().any(|(known, _)| *known == host) {
            return Err(Response::bodiless(409));
        }
        if !self.state.hosts.contains_key(&host) {
            return Err(Response::missing("Host", host));
        }
        if let Some(zone) = self.state.zones.get_mut(&zone) {
            zone.hosts.push((host, address));
        }
        Ok(Response::created(Some(format!("{}/tunnel_zones/{zone}/hosts/{host}", request.base))))
    }

    pub(crate) fn delete_zone_host(&mut self, zone: Uuid, host: &str) -> Answer {
        self.zone(zone)?;
        let hosts = self.state.zones.get_mut(&zone).map(|zone| &mut zone.hosts);
        let found = hosts.and_then(|hosts| {
            let at = hosts.iter().position(|(known, _)| known.to_string() == host)?;
            Some(hosts.remove(at))
        });
        found.map(|_| Response::no_content()).ok_or_else(|| Response::bodiless(404))
    }
}

fn host_type(request: &Request, name: &str) -> Result<String, Response> {
    best(request, &[vendor(name)]).ok_or_else(|| Response::bodiless(406))
}

fn view(zone: &TunnelZone, id: Uuid, base: &str) -> String {
    View::default()
        .fields(&zone.record, TUNNEL_ZONE)
        .at("uri", base, &format!("/tunnel_zones/{id}"))
        .at("hosts", base, &format!("/tunnel_zones/{id}/hosts"))
        .text()
}

fn host_view(zone: Uuid, host: Uuid, address: &str, base: &str) -> String {
    View::default()
        .with("tunnelZoneId", zone.to_string())
        .with("hostId", host.to_string())
        .with("ipAddress", address)
        .at("tunnelZone", base, &format!("/tunnel_zones/{zone}"))
        .at("host", base, &format!("/hosts/{host}"))
        .at("uri", base, &format!("/tunnel_zones/{zone}/hosts/{host}"))
        .text()
}
