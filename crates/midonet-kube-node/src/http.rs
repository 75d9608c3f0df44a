//! `/healthz`, `/readyz` and `/metrics`.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::agent::{Agent, Readiness};
use crate::metrics;

/// Takes the address, so that a taken port is known at once.
///
/// # Errors
/// Names the address and the setting.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen at {address}: give another --http-listen if something else uses it")
    })
}

/// Serves until the future is dropped.
///
/// # Errors
/// The listener broke.
pub async fn serve(listener: TcpListener, agent: Agent) -> Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_page))
        .with_state(agent);
    axum::serve(listener, router).await.context("the HTTP server ended")
}

async fn ready(State(agent): State<Agent>) -> Response {
    match agent.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::Waiting(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
    .into_response()
}

async fn metrics_page(State(agent): State<Agent>) -> Response {
    match metrics::page(&agent) {
        Ok(page) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], page).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}
