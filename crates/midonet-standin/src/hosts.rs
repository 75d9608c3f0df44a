//! `/hosts` and their interfaces.

use serde_json::Value;
use uuid::Uuid;

use crate::json;
use crate::kinds::HOST;
use crate::media::{Plain, Takes, best, only};
use crate::message::{Answer, Request, Response};
use crate::schema::Record;
use crate::state::{Host, Interface};
use crate::store::{Store, id_of, read, valid};
use crate::types::{JSON, vendor};
use crate::view::View;

/// The weights: their names, what they are without, and what a PUT without one is told.
const WEIGHTS: [(&str, i64, &str); 3] = [
    ("floodingProxyWeight", 1, "Flooding proxy weight must not be null."),
    ("containerWeight", 1, "Container weight must not be null."),
    ("containerLimit", -1, "Container limit must not be null."),
];
const ENFORCE: &str = "enforceContainerLimit";

impl Store {
    /// A host as an agent would make it: alive, with this name. One with this id is replaced.
    pub fn add_host(&mut self, id: Uuid, name: &str) {
        let mut record = Record::default();
        record.set_id("id", Some(id));
        record.set("name", name);
        self.state.hosts.insert(id, Host { record, alive: true, ..Host::default() });
    }

    /// Whether a host's agent runs. Without such a host nothing happens.
    pub fn set_alive(&mut self, host: Uuid, alive: bool) {
        if let Some(host) = self.state.hosts.get_mut(&host) {
            host.alive = alive;
        }
    }

    /// What a host's agent reports. Without such a host nothing happens.
    pub fn set_interfaces(&mut self, host: Uuid, interfaces: Vec<Interface>) {
        if let Some(host) = self.state.hosts.get_mut(&host) {
            host.interfaces = interfaces;
        }
    }

    pub(crate) fn list_hosts(&self, request: &Request) -> Answer {
        let given = only(request, &["collection.Host-v3"])?;
        if self.state.has_nameless_host {
            let why = "java.lang.NullPointerException: Cannot invoke \"java.util.UUID.toString()\" because \"host.id\" is null";
            return Err(Response::exception(why));
        }
        let hosts = self.state.hosts.iter().map(|(id, host)| view(host, *id, &request.base));
        Ok(Response::ok(given, json::list(hosts)))
    }

    pub(crate) fn get_host(&self, request: &Request, id: &str) -> Answer {
        let given = only(request, &["Host-v3"])?;
        let id = id_of(id, "Host")?;
        let host = self.state.hosts.get(&id).ok_or_else(|| Response::missing("Host", id))?;
        Ok(Response::ok(given, view(host, id, &request.base)))
    }

    pub(crate) fn post_host(&mut self, request: &Request) -> Answer {
        let record = read(request, Takes::Checked(&["Host-v3"]), HOST)?;
        valid(&record, HOST)?;
        let Some(id) = record.id("id") else {
            self.state.has_nameless_host = true;
            return Ok(Response::created(None));
        };
        if self.state.hosts.contains_key(&id) {
            return Err(Response::taken("Host", id));
        }
        self.state.hosts.insert(id, Host { record, ..Host::default() });
        Ok(Response::created(Some(format!("{}/hosts/{id}", request.base))))
    }

    /// Only the weights change.
    pub(crate) fn put_host(&mut self, request: &Request, id: &str) -> Answer {
        let given = read(request, Takes::Listed(&["Host-v3"], Plain::Taken), HOST)?;
        let id = id_of(id, "Host")?;
        let host = self.state.hosts.get_mut(&id).ok_or_else(|| Response::missing("Host", id))?;
        let refused = |message| Response::error(400, message);
        for (name, _, message) in WEIGHTS {
            given.get(name).ok_or_else(|| refused(message))?;
        }
        given.get(ENFORCE).ok_or_else(|| refused("Enforce container limit must not be null."))?;
        for name in WEIGHTS.map(|(name, ..)| name).into_iter().chain([ENFORCE]) {
            host.record.set(name, given.get(name).cloned().unwrap_or_default());
        }
        Ok(Response::bodiless(200))
    }

    pub(crate) fn delete_host(&mut self, id: &str) -> Answer {
        let id = id_of(id, "Host")?;
        let host = self.state.hosts.get(&id).ok_or_else(|| Response::missing("Host", id))?;
        let because = |why: &str| Response::error(403, &format!("Cannot delete host {id} because it {why}."));
        if host.alive {
            return Err(because("is active"));
        }
        if !host.ports.is_empty() {
            return Err(because(&format!("has {} binding(s)", host.ports.len())));
        }
        self.state.remove_host(id);
        Ok(Response::bodiless(200))
    }

    pub(crate) fn list_interfaces(&self, request: &Request, host: Uuid) -> Answer {
        let given = interface_type(request, "collection.Interface-v1")?;
        let interfaces =
            self.state.hosts.get(&host).map(|host| host.interfaces.as_slice()).unwrap_or_default();
        let views = interfaces.iter().map(|interface| interface_view(interface, host, &request.base).text());
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn get_interface(&self, request: &Request, host: Uuid, name: &str) -> Answer {
        let given = interface_type(request, "Interface-v1")?;
        let interfaces =
            self.state.hosts.get(&host).map(|host| host.interfaces.as_slice()).unwrap_or_default();
        let found = interfaces.iter().find(|interface| interface.name == name);
        let interface = found.ok_or_else(|| Response::error(404, "Interface not found"))?;
        Ok(Response::ok(given, interface_view(interface, host, &request.base).text()))
    }
}

fn interface_type(request: &Request, name: &str) -> Result<String, Response> {
    best(request, &[vendor(name), JSON.into()]).ok_or_else(|| Response::bodiless(406))
}

fn view(host: &Host, id: Uuid, base: &str) -> String {
    let addresses = host.interfaces.iter().flat_map(|interface| &interface.addresses);
    let addresses: Vec<_> = addresses.map(|address| Value::from(address.to_string())).collect();
    let interfaces = host.interfaces.iter().map(|interface| interface_view(interface, id, base).value());
    let mut view = View::default()
        .with("id", id.to_string())
        .with("name", host.record.text("name"))
        .with("addresses", addresses)
        .with("hostInterfaces", interfaces.collect::<Vec<_>>())
        .with("alive", host.alive);
    for (name, without, _) in WEIGHTS {
        view = view.with(name, host.record.number(name).unwrap_or(without));
    }
    view.with(ENFORCE, host.record.get(ENFORCE).and_then(Value::as_bool).unwrap_or(false))
        .at("uri", base, &format!("/hosts/{id}"))
        .at("interfaces", base, &format!("/hosts/{id}/interfaces"))
        .at("ports", base, &format!("/hosts/{id}/ports"))
        .text()
}

fn interface_view(interface: &Interface, host: Uuid, base: &str) -> View {
    let addresses: Vec<_> =
        interface.addresses.iter().map(|address| Value::from(address.to_string())).collect();
    View::default()
        .with("hostId", host.to_string())
        .with("name", interface.name.as_str())
        .with("mac", interface.mac.as_str())
        .with("mtu", interface.mtu)
        .with("type", "Physical")
        .with("endpoint", "PHYSICAL")
        .with("portType", Value::Null)
        .with("addresses", addresses)
        .with("status", 3)
        .at("uri", base, &format!("/hosts/{host}/interfaces/{}", interface.name))
}
