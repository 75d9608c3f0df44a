//! The routes that MidoNet makes by itself.
//!
//! For a new router port MidoNet makes a route of the type Local to its address: what arrives for it is the router's own.
//! When the address is replaced, that route stays as it was, so it is moved here. With the port MidoNet deletes all routes
//! that lead to it, those made here too (MidonetBackend.scala: `Port.route_ids` is bound with CASCADE).

use http::{Method, StatusCode};
use midonet::{Kind, Port, Resource, Route, RouteType};
use serde_json::Value;
use std::net::Ipv4Addr;
use uuid::Uuid;

use crate::error::Error;
use crate::found::Found;
use crate::operation::{Operation, call};
use crate::refusal;

/// The media type of a router's routes.
const ROUTES: &str = "application/vnd.org.midonet.collection.Route-v1+json";

impl Operation<'_> {
    /// Moves the Local routes of a router's port that is about to get other addresses. Doing it before that has the
    /// effect that it is done again if one of them fails.
    pub(crate) async fn move_local_routes(
        &mut self,
        resource: &Resource,
        port: &Port,
        found: &Found,
    ) -> Result<(), Error> {
        let Some(router) = resource.parent.filter(|_| found.addresses() != Some(port.port_subnet.clone()))
        else {
            return Ok(());
        };
        let mut missing: Vec<Ipv4Addr> = port.port_subnet.iter().map(ipnet::Ipv4Net::addr).collect();
        for (id, address) in self.local_routes(router, port.id).await? {
            if missing.contains(&address) {
                missing.retain(|wanted| *wanted != address);
            } else {
                self.delete(&format!("/routes/{id}"), Kind::Route).await?;
            }
        }
        for address in missing {
            let route = Resource::of(router, local_route(port.id, address));
            let answer = self.post(&route, None).await?;
            if !answer.status.is_success() && answer.status != StatusCode::CONFLICT {
                return Err(self.not_created(&route, &answer));
            }
        }
        Ok(())
    }

    /// The Local routes of a port: their ids and addresses.
    async fn local_routes(&mut self, router: Uuid, port: Uuid) -> Result<Vec<(Uuid, Ipv4Addr)>, Error> {
        let path = format!("/routers/{router}/routes");
        let mut list = call(Method::GET, &path, Kind::Route, None);
        list.media_type = Some(ROUTES);
        let answer = self.call(&list).await?;
        if !answer.status.is_success() {
            return Err(refusal::of(&list, &answer, &self.inner.session));
        }
        let routes: Vec<Value> = serde_json::from_slice(&answer.body)
            .map_err(|error| refusal::unusable(&list, &answer, &format!("cannot be read: {error}")))?;
        let local = routes.iter().filter_map(|route| {
            let of_port = route.get("nextHopPort")?.as_str()?.parse() == Ok(port);
            let whole = route.get("dstNetworkLength")?.as_u64() == Some(32);
            (of_port && whole && route.get("type")?.as_str()? == "Local").then_some(())?;
            let id = route.get("id")?.as_str()?.parse().ok()?;
            Some((id, route.get("dstNetworkAddr")?.as_str()?.parse().ok()?))
        });
        Ok(local.collect())
    }
}

/// As MidoNet makes it, with an id that follows from the port and the address.
fn local_route(port: Uuid, address: Ipv4Addr) -> Route {
    Route {
        id: Uuid::new_v5(&port, format!("Local Route {address}").as_bytes()),
        dst_network_addr: address,
        dst_network_length: 32,
        next_hop_gateway: None,
        next_hop_port: Some(port),
        src_network_addr: Ipv4Addr::UNSPECIFIED,
        src_network_length: 0,
        route_type: RouteType::Local,
    }
}
