//! `/healthz`, `/readyz` and `/metrics`.

use std::future::IntoFuture;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::try_join_all;
use tokio::net::TcpListener;

use super::metrics::Page;
use super::text_format;
use crate::agent::{Agent, Readiness};

/// What the pages need.
#[derive(Debug, Clone)]
struct Shared {
    agent: Agent,
    page: Page,
}

/// Takes the address, so that a taken port is known at once; and the same port of 127.0.0.1, where probes look whatever
/// the address is.
///
/// # Errors
/// Names the address and the setting.
pub async fn listen(address: SocketAddr) -> Result<Vec<TcpListener>> {
    let bind = async |address: SocketAddr| {
        TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen at {address}: give another --http-listen if something else uses it")
        })
    };
    let mut listeners = vec![bind(address).await?];
    if !includes_loopback(address.ip()) {
        listeners.push(bind((Ipv4Addr::LOCALHOST, address.port()).into()).await?);
    }
    Ok(listeners)
}

/// Whether connections to 127.0.0.1 arrive there. `[::]` is of both families: the standard library leaves IPV6_V6ONLY
/// as net.ipv6.bindv6only has it, and that is off unless somebody turned it on.
fn includes_loopback(address: IpAddr) -> bool {
    address.is_unspecified() || address == Ipv4Addr::LOCALHOST
}

/// Serves until the future is dropped.
///
/// # Errors
/// The listener broke.
pub async fn serve(listeners: Vec<TcpListener>, agent: Agent) -> Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_page))
        .with_state(Shared { agent, page: Page::default() });
    let servers = listeners.into_iter().map(|listener| axum::serve(listener, router.clone()).into_future());
    try_join_all(servers).await.map(drop).context("the HTTP server ended")
}

async fn ready(State(server): State<Shared>) -> Response {
    match server.agent.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::Waiting(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
    .into_response()
}

async fn metrics_page(State(server): State<Shared>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    match server.page.get(&server.agent).await {
        Ok(page) => {
            let (content_type, body) = if text_format::is_wanted(accepted) {
                (text_format::TEXT, text_format::from_openmetrics(&page))
            } else {
                (text_format::OPENMETRICS, page.to_string())
            };
            ([(header::CONTENT_TYPE, content_type), (header::VARY, "Accept")], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}
