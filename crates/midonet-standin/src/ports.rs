//! `/ports`, `/routers/R/ports`, `/bridges/B/ports`, and links.

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::kinds::{BRIDGE_PORT, LINK, ROUTER_PORT, Schema};
use crate::media::{Plain, Takes, best, only};
use crate::message::{Answer, Request, Response};
use crate::schema::Record;
use crate::state::{Owner, Port};
use crate::store::{Store, id_of, read, valid};
use crate::types::{JSON, vendor};
use crate::view::View;
use crate::{body, json};

const TYPES: [&str; 2] = ["Port-v3", "Port-v4"];
const LISTS: [&str; 2] = ["collection.Port-v3", "collection.Port-v4"];
const MODELS: &str = "org.midonet.cluster.rest_api.models";

impl Owner {
    /// The type of its ports, and its fields.
    pub(crate) fn port_type(self) -> (&'static str, Schema) {
        match self {
            Self::Router(_) => ("Router", ROUTER_PORT),
            Self::Bridge(_) => ("Bridge", BRIDGE_PORT),
        }
    }
}

impl Store {
    /// Whether an agent says that a port is active. Without such a port nothing happens.
    pub fn set_active(&mut self, port: Uuid, active: bool) {
        if let Some(port) = self.state.ports.get_mut(&port) {
            port.record.set("active", active);
        }
    }

    pub(crate) fn port(&self, id: Uuid) -> Result<&Port, Response> {
        self.state.ports.get(&id).ok_or_else(|| Response::missing("Port", id))
    }

    pub(crate) fn list_ports(&self, request: &Request) -> Answer {
        let given = only(request, &LISTS)?;
        let views = self.state.ports.iter().map(|(id, port)| view(port, *id, &request.base));
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn list_ports_of(&self, request: &Request, owner: Owner) -> Answer {
        let given = only(request, &LISTS)?;
        let ports = self.device(owner)?.ports.iter().copied();
        Ok(Response::ok(given, self.views(ports, &request.base)))
    }

    pub(crate) fn list_peers_of(&self, request: &Request, owner: Owner) -> Answer {
        let types = [LISTS.map(vendor).as_slice(), &[JSON.into()]].concat();
        let given = best(request, &types).ok_or_else(|| Response::bodiless(406))?;
        let ports =
            self.device(owner)?.ports.iter().filter_map(|id| self.state.ports.get(id)?.record.id("peerId"));
        Ok(Response::ok(given, self.views(ports, &request.base)))
    }

    fn views(&self, ports: impl Iterator<Item = Uuid>, base: &str) -> String {
        json::list(ports.filter_map(|id| Some(view(self.state.ports.get(&id)?, id, base))))
    }

    pub(crate) fn get_port(&self, request: &Request, id: &str) -> Answer {
        let given = only(request, &TYPES)?;
        let id = id_of(id, "Port")?;
        Ok(Response::ok(given, view(self.port(id)?, id, &request.base)))
    }

    pub(crate) fn post_port(&mut self, request: &Request, owner: Owner) -> Answer {
        let takes = Takes::Checked(&TYPES);
        takes.before(request)?;
        let body = body::fields(&request.body)?;
        let class = if matches!(owner, Owner::Router(_)) { "RouterPort" } else { "Port" };
        let (port_type, schema) = owner.port_type();
        let given = type_in(&body, class)?;
        if given != port_type && matches!(owner, Owner::Router(_)) {
            let why = format!("Class {MODELS}.{given}Port is not assignable to {MODELS}.{class}");
            return Err(Response::exception(&format!("java.lang.IllegalArgumentException: {why}")));
        }
        let mut record = Record::read(schema, &body)?;
        takes.after(request)?;
        let id = record.id("id").unwrap_or_else(|| self.random.id());
        record.set_id("id", Some(id));
        valid(&record, schema)?;
        if given != port_type {
            return Err(Response::error(400, "Not a bridge port."));
        }
        if self.state.ports.contains_key(&id) {
            return Err(Response::taken("Port", id));
        }
        self.device(owner)?;
        self.has_filters(&record)?;
        if matches!(owner, Owner::Router(_)) {
            with_address(&mut record)?;
            if record.get("portSubnet").is_none() {
                return Err(Response::error(500, NO_ADDRESS));
            }
            if record.get("portMac").is_none() {
                record.set("portMac", self.random.mac());
            }
        }
        self.state.tunnel_keys = self.state.tunnel_keys.wrapping_add(1);
        let tunnel_key = self.state.tunnel_keys;
        keep(&mut record, &Record::default());
        record.set("tunnelKey", tunnel_key);
        let addresses = subnets(&record);
        self.state.ports.insert(id, Port { record, owner, routes: Vec::new() });
        if let Some(device) = self.state.device_mut(owner) {
            device.ports.push(id);
        }
        if matches!(owner, Owner::Router(_)) {
            for subnet in addresses {
                self.add_local_route(id, subnet.addr());
            }
        }
        Ok(Response::created(Some(format!("{}/ports/{id}", request.base))))
    }

    /// The body replaces all but the id, the link and the binding. The automatic routes stay as they are.
    pub(crate) fn put_port(&mut self, request: &Request, id: &str) -> Answer {
        let takes = Takes::Checked(&TYPES);
        takes.before(request)?;
        let body = body::fields(&request.body)?;
        let given = type_in(&body, "Port")?;
        let schema = if given == "Router" { ROUTER_PORT } else { BRIDGE_PORT };
        let mut record = Record::read(schema, &body)?;
        takes.after(request)?;
        let id = id_of(id, "Port")?;
        let port = self.port(id)?;
        valid(&record, schema)?;
        let (port_type, _) = port.owner.port_type();
        if given != port_type {
            let (is, wanted) = (format!("{MODELS}.{port_type}Port"), format!("{MODELS}.{given}Port"));
            let loader = "are in unnamed module of loader 'app'";
            let why = format!("class {is} cannot be cast to class {wanted} ({is} and {wanted} {loader})");
            return Err(Response::error(500, &why));
        }
        keep(&mut record, &port.record);
        self.has_filters(&record)?;
        if given == "Router" {
            with_address(&mut record)?;
        }
        if let Some(port) = self.state.ports.get_mut(&id) {
            port.record = record;
        }
        Ok(Response::no_content())
    }

    pub(crate) fn delete_port(&mut self, id: &str) -> Answer {
        let id = id_of(id, "Port")?;
        self.port(id)?;
        self.state.remove_port(id);
        Ok(Response::no_content())
    }

    pub(crate) fn post_link(&mut self, request: &Request, id: Uuid) -> Answer {
        let link = read(request, Takes::Listed(&["PortLink-v1"], Plain::Taken), LINK)?;
        let port = self.port(id)?;
        let peer_id = link.id("peerId").ok_or_else(|| Response::error(500, "null"))?;
        let peer = self.port(peer_id)?;
        if port.record.id("peerId").is_some() || peer.record.id("peerId").is_some() {
            return Err(Response::error(409, "Ports are not linkable."));
        }
        if link.get("portId").is_some() {
            return Err(Response::error(500, "URI parameter is null"));
        }
        for (from, to) in [(id, peer_id), (peer_id, id)] {
            if let Some(port) = self.state.ports.get_mut(&from) {
                port.record.set_id("peerId", Some(to));
            }
        }
        Ok(Response::created(None))
    }

    pub(crate) fn delete_link(&mut self, id: Uuid) -> Answer {
        self.port(id)?;
        self.state.unlink(id);
        Ok(Response::no_content())
    }
}

const NO_ADDRESS: &str = "Cannot invoke \"java.util.List.iterator()\" because the return value of \
                          \"scala.collection.convert.Wrappers$JListWrapper.underlying()\" is null";

/// What the server keeps of a port, whatever a body says.
fn keep(record: &mut Record, from: &Record) {
    for name in ["id", "tunnelKey", "hostId", "interfaceName", "peerId", "active"] {
        if name != "id" || from.get("id").is_some() {
            record.set(name, from.get(name).cloned().unwrap_or_default());
        }
    }
}

/// The type that a body gives: `Router` or `Bridge`. It is read as a port of this class.
fn type_in<'a>(body: &'a Map<String, Value>, class: &str) -> Result<&'a str, Response> {
    let Some(given) = body.get("type").and_then(Value::as_str) else {
        let why = format!(
            "Unexpected token (END_OBJECT), expected FIELD_NAME: missing property 'type' that is to contain type id  \
             (for class {MODELS}.{class})"
        );
        return Err(Response::error(400, &why));
    };
    if given != "Router" && given != "Bridge" {
        let known =
            "[Bridge, ExteriorBridge, ExteriorRouter, InteriorBridge, InteriorRouter, Port, Router, Vxlan]";
        let why = format!(
            "Could not resolve type id '{given}' into a subtype of [simple type, class {MODELS}.{class}]: known type \
             ids = {known}"
        );
        return Err(Response::error(400, &why));
    }
    Ok(given)
}

/// A router's port has its address in its subnet. Before 5.2 it was given as an address and a length, and still may be.
fn with_address(record: &mut Record) -> Result<(), Response> {
    if record.get("portSubnet").and_then(Value::as_array).is_none_or(Vec::is_empty)
        && let Some(address) = record.text("portAddress")
    {
        let subnet = format!("{address}/{}", record.number("networkLength").unwrap_or(0));
        record.set("portSubnet", vec![subnet]);
    }
    let given = record.get("portSubnet").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if given.iter().any(|subnet| subnet.as_str().is_none_or(|text| text.parse::<IpNet>().is_err())) {
        return Err(Response::error(500, "Cannot handle resource RouterPort"));
    }
    if let Some(subnet) = subnets(record).first() {
        record.set("portAddress", subnet.addr().to_string());
        record.set("networkAddress", subnet.network().to_string());
        record.set("networkLength", subnet.prefix_len());
    }
    Ok(())
}

/// A router's port's IPv4 addresses.
fn subnets(record: &Record) -> Vec<Ipv4Net> {
    let given = record.get("portSubnet").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    given.iter().filter_map(|subnet| subnet.as_str()?.parse().ok()).collect()
}

fn view(port: &Port, id: Uuid, base: &str) -> String {
    let (record, path) = (&port.record, format!("/ports/{id}"));
    let (port_type, schema) = port.owner.port_type();
    let mut view = View::default().with("type", port_type).fields(record, schema);
    let device = port.owner.id().to_string();
    view = match port.owner {
        // The type is there twice.
        Owner::Bridge(_) => view.with("type", port_type).to("device", base, "bridges", Some(&device)),
        Owner::Router(_) => view
            .to("device", base, "routers", Some(&device))
            .at("peeringTable", base, &format!("/routers/{device}{path}/peering_table"))
            .to("serviceContainer", base, "service_containers", record.text("serviceContainerId")),
    };
    let host = record.text("hostId");
    view.with("deviceId", device)
        .at("uri", base, &path)
        .to("host", base, "hosts", host)
        .to("peer", base, "ports", record.text("peerId"))
        .at("link", base, &format!("{path}/link"))
        .at("portGroups", base, &format!("{path}/port_groups"))
        .with("hostInterfacePort", host.map(|host| format!("{base}/hosts/{host}{path}")))
        .to("inboundFilter", base, "chains", record.text("inboundFilterId"))
        .to("outboundFilter", base, "chains", record.text("outboundFilterId"))
        .text()
}
