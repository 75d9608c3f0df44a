//! `/routes` and `/routers/R/routes`.

use std::net::Ipv4Addr;

use uuid::Uuid;

use crate::json;
use crate::kinds::ROUTE;
use crate::media::{Takes, best, only};
use crate::message::{Answer, Request, Response};
use crate::schema::Record;
use crate::state::{Owner, Route};
use crate::store::{Store, id_of, read, valid};
use crate::types::{JSON, vendor};
use crate::view::View;

impl Store {
    /// A router's routes that lead to no port, then those of each of its ports.
    pub(crate) fn list_routes(&self, request: &Request, router: Uuid) -> Answer {
        let types = [vendor("collection.Route-v1"), JSON.into()];
        let given = best(request, &types).ok_or_else(|| Response::bodiless(406))?;
        let device = self.device(Owner::Router(router))?;
        let of_ports = device.ports.iter().filter_map(|port| self.state.ports.get(port));
        let ids = device.routes.iter().chain(of_ports.flat_map(|port| &port.routes));
        let views =
            ids.filter_map(|id| Some(view(self.state.routes.get(id)?, *id, Some(router), &request.base)));
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn get_route(&self, request: &Request, id: &str) -> Answer {
        let given = only(request, &["Route-v1"])?;
        let id = id_of(id, "Route")?;
        let route = self.state.routes.get(&id).ok_or_else(|| Response::missing("Route", id))?;
        let router = self.state.router_of(route).ok_or_else(|| {
            Response::error(500, &format!("Route {id} is missing both router ID and next hop port ID"))
        })?;
        Ok(Response::ok(given, view(route, id, Some(router), &request.base)))
    }

    pub(crate) fn post_route(&mut self, request: &Request, router: Uuid) -> Answer {
        let mut record = read(request, Takes::Checked(&["Route-v1"]), ROUTE)?;
        valid(&record, ROUTE)?;
        let (next_hop, route_type) = (record.id("nextHopPort"), record.text("type").unwrap_or_default());
        if route_type == "Normal" {
            let owner = next_hop.and_then(|port| Some(self.state.ports.get(&port)?.owner));
            if owner.map(Owner::id) != Some(router) {
                let message =
                    "This type of route requires a next hop port that is a port on the same router.";
                return Err(Response::error(400, message));
            }
        }
        let id = record.id("id").unwrap_or_else(|| self.random.id());
        if self.state.routes.contains_key(&id) {
            return Err(Response::taken("Route", id));
        }
        // A route is of its port, or of the router. The latter is so for those two types alone.
        let is_routers = matches!(route_type, "BlackHole" | "Reject") && next_hop.is_none();
        record.set_id("routerId", is_routers.then_some(router));
        record.set_id("id", Some(id));
        match next_hop {
            Some(port) => {
                self.port(port)?;
            }
            None if is_routers => {
                self.device(Owner::Router(router))?;
            }
            None => {}
        }
        self.insert_route(id, Route { record, automatic: false });
        Ok(Response::created(Some(format!("{}/routes/{id}", request.base))))
    }

    pub(crate) fn delete_route(&mut self, id: &str) -> Answer {
        if let Ok(id) = id.parse() {
            self.state.remove_route(id);
        }
        Ok(Response::no_content())
    }

    /// The route that a router's port gets for each of its addresses when it is made: packets for it are the router's.
    pub(crate) fn add_local_route(&mut self, port: Uuid, address: Ipv4Addr) {
        let id = self.random.id();
        let mut record = Record::default();
        record.set_id("id", Some(id));
        record.set_id("nextHopPort", Some(port));
        record.set("dstNetworkAddr", address.to_string());
        record.set("dstNetworkLength", 32);
        record.set("srcNetworkAddr", Ipv4Addr::UNSPECIFIED.to_string());
        record.set("type", "Local");
        self.insert_route(id, Route { record, automatic: true });
    }

    fn insert_route(&mut self, id: Uuid, route: Route) {
        if let Some(port) = route.record.id("nextHopPort").and_then(|port| self.state.ports.get_mut(&port)) {
            port.routes.push(id);
        }
        if let Some(router) =
            route.record.id("routerId").and_then(|router| self.state.routers.get_mut(&router))
        {
            router.routes.push(id);
        }
        self.state.routes.insert(id, route);
    }
}

fn view(route: &Route, id: Uuid, router: Option<Uuid>, base: &str) -> String {
    let router = router.map(|router| router.to_string());
    View::default()
        .fields(&route.record, ROUTE)
        .but("routerId", router.as_deref())
        .at("uri", base, &format!("/routes/{id}"))
        .to("router", base, "routers", router.as_deref())
        .text()
}
