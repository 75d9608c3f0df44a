//! What the API says of itself.

use serde_json::Value;

use crate::json;
use crate::media::best;
use crate::message::{Answer, Request, Response};
use crate::types::{JSON, vendor};

/// Names in the root and where they lead. The stand-in has no BGP; it stands here since the real server's list begins so.
const ENTRIES: [(&str, &str); 15] = [
    ("bgpNetworkTemplate", "bgp_networks/{id}"),
    ("bridges", "bridges"),
    ("bridgeTemplate", "bridges/{id}"),
    ("chains", "chains"),
    ("chainTemplate", "chains/{id}"),
    ("hosts", "hosts"),
    ("hostTemplate", "hosts/{id}"),
    ("ports", "ports"),
    ("portTemplate", "ports/{id}"),
    ("routeTemplate", "routes/{id}"),
    ("routers", "routers"),
    ("routerTemplate", "routers/{id}"),
    ("ruleTemplate", "rules/{id}"),
    ("tunnelZones", "tunnel_zones"),
    ("tunnelZoneTemplate", "tunnel_zones/{id}"),
];

pub(crate) fn application(request: &Request) -> Answer {
    let types = [JSON.to_owned(), vendor("Application-v5")];
    let given = best(request, &types).ok_or_else(|| Response::bodiless(405))?;
    let base = &request.base;
    let mut fields = vec![("uri", Value::from(format!("{base}/"))), ("version", "v5.0".into())];
    fields.extend(ENTRIES.map(|(name, path)| (name, Value::from(format!("{base}/{path}")))));
    Ok(Response::ok(given, json::object(fields.iter().map(|(name, value)| (*name, value)))))
}

pub(crate) fn system_state(request: &Request) -> Answer {
    let types = [vendor("SystemState-v2"), JSON.to_owned()];
    let given = best(request, &types).ok_or_else(|| Response::bodiless(406))?;
    let state = r#"{"state":"ACTIVE","availability":"READWRITE","version":"5.0.0","information":null}"#;
    Ok(Response::ok(given, state.into()))
}
