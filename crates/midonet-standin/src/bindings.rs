//! `/hosts/H/ports`: ports that are bound to interfaces.

use uuid::Uuid;

use crate::json;
use crate::kinds::BINDING;
use crate::media::{Plain, Takes, best, only};
use crate::message::{Answer, Request, Response};
use crate::state::Host;
use crate::store::{Store, id_of, read};
use crate::types::{JSON, vendor};
use crate::view::View;

impl Store {
    fn host(&self, id: Uuid) -> Result<&Host, Response> {
        self.state.hosts.get(&id).ok_or_else(|| Response::missing("Host", id))
    }

    pub(crate) fn list_bindings(&self, request: &Request, host: Uuid) -> Answer {
        let types = [vendor("collection.HostInterfacePort-v1")];
        let given = best(request, &types).ok_or_else(|| Response::bodiless(406))?;
        let ports = self.host(host)?.ports.iter();
        Ok(Response::ok(
            given,
            json::list(ports.filter_map(|port| self.binding_view(host, *port, &request.base))),
        ))
    }

    pub(crate) fn get_binding(&self, request: &Request, host: Uuid, port: &str) -> Answer {
        let given = match request.accept {
            None => JSON.into(),
            Some(_) => only(request, &["HostInterfacePort-v1"])?,
        };
        let bound = self.host(host)?.ports.iter().find(|known| known.to_string() == port);
        let view = bound.and_then(|port| self.binding_view(host, *port, &request.base));
        let view = view.ok_or_else(|| Response::error(404, "Host interface port not found"))?;
        Ok(Response::ok(given, view))
    }

    pub(crate) fn post_binding(&mut self, request: &Request, host: Uuid) -> Answer {
        let record = read(request, Takes::Listed(&["HostInterfacePort-v1"], Plain::Taken), BINDING)?;
        let ports = &self.host(host)?.ports;
        if !self.state.is_in_zone(host) {
            return Err(Response::error(409, "The specified host is not in any tunnel zone."));
        }
        let id = record.id("portId").ok_or_else(|| Response::error(500, "null"))?;
        if self.port(id)?.record.get("interfaceName").is_some() {
            return Err(Response::error(409, &format!("Port {id} is already bound to an interface")));
        }
        let name = record.text("interfaceName");
        let is_used = |port: &Uuid| {
            self.state.ports.get(port).is_some_and(|port| port.record.text("interfaceName") == name)
        };
        if ports.iter().any(is_used) {
            let name = name.unwrap_or("null");
            return Err(Response::error(409, &format!("Interface {name} is already bound to a port.")));
        }
        if let Some(port) = self.state.ports.get_mut(&id) {
            port.record.set_id("hostId", Some(host));
            port.record.set("interfaceName", name);
        }
        if let Some(host) = self.state.hosts.get_mut(&host) {
            host.ports.push(id);
        }
        Ok(Response::created(Some(format!("{}/hosts/{host}/ports/{id}", request.base))))
    }

    /// Whatever host the path says.
    pub(crate) fn delete_binding(&mut self, port: &str) -> Answer {
        let id = id_of(port, "Port")?;
        self.port(id)?;
        self.state.unbind(id);
        Ok(Response::no_content())
    }

    fn binding_view(&self, host: Uuid, port: Uuid, base: &str) -> Option<String> {
        let record = &self.state.ports.get(&port)?.record;
        let view = View::default()
            .with("portId", port.to_string())
            .with("hostId", host.to_string())
            .with("interfaceName", record.text("interfaceName"))
            .at("host", base, &format!("/hosts/{host}"))
            .at("port", base, &format!("/ports/{port}"))
            .at("uri", base, &format!("/hosts/{host}/ports/{port}"));
        Some(view.text())
    }
}
