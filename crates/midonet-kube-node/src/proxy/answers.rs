//! The answers to health checks, with the bodies, headers and codes of kube-proxy 1.37 (`pkg/proxy/healthcheck`).

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::http::{HeaderValue, Response, StatusCode, header};
use humantime::format_rfc3339_nanos;
use objects::Family;
use serde::Serialize;

use super::state::{Now, ProxyState};

/// Go's zero time: what kube-proxy says before the first update.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `ProxyHealth` of kube-proxy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    last_updated: String,
    current_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    healthy: bool,
    status: BTreeMap<&'static str, FamilyHealth>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyHealth {
    last_updated: String,
    healthy: bool,
}

/// `/healthz`: 503 if Services are not served as the objects say, or the node leaves the cluster.
pub(super) fn healthz(state: &ProxyState, now: Now) -> Response<String> {
    health(state, now, Some(state.is_eligible()))
}

/// `/livez`: 503 if Services are not served as the objects say.
pub(super) fn livez(state: &ProxyState, now: Now) -> Response<String> {
    health(state, now, None)
}

fn health(state: &ProxyState, now: Now, node_eligible: Option<bool>) -> Response<String> {
    let healthy = state.is_healthy(now);
    let good = healthy && node_eligible.unwrap_or(true);
    let updated = state.updated.map_or_else(|| NEVER.to_owned(), time);
    let of_family =
        |family: &Family| (family.name(), FamilyHealth { last_updated: updated.clone(), healthy });
    let health = Health {
        // Of a good one it is always recent, for who looks at nothing else.
        last_updated: if good { time(now.wall) } else { updated.clone() },
        current_time: time(now.wall),
        node_eligible,
        healthy,
        status: state.families.iter().map(of_family).collect(),
    };
    json(good, serde_json::to_string(&health).unwrap_or_default())
}

/// A Service's port for health checks, whatever the path.
pub(super) fn service(state: &ProxyState, key: &str, now: Now) -> Response<String> {
    let endpoints = state.checks.get(key).map_or(0, |check| check.local_endpoints);
    let healthy = state.is_healthy(now);
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    let (namespace, name) = (serde_json::json!(namespace), serde_json::json!(name));
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": {namespace},\n\t\t\"name\": {name}\n\t}},\n\
         \t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": {healthy}\n}}"
    );
    let mut answer = json(endpoints > 0 && healthy, body);
    answer.headers_mut().insert("x-load-balancing-endpoint-weight", HeaderValue::from(endpoints));
    answer
}

fn json(good: bool, body: String) -> Response<String> {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, "application/json", body)
}

/// An answer whose type nobody is to guess.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Text, and what kube-proxy says of a page that it does not have.
pub(super) fn text(body: &str) -> Response<String> {
    answer(StatusCode::OK, "text/plain; charset=utf-8", body.to_owned())
}

pub(super) fn not_found() -> Response<String> {
    answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".to_owned())
}

fn time(time: SystemTime) -> String {
    format_rfc3339_nanos(time).to_string()
}

#[cfg(test)]
mod tests;
