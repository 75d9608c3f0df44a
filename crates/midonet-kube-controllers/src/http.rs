//! `/healthz`, `/readyz` and `/metrics`.

use std::future::IntoFuture;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// What the pages need.
#[derive(Debug, Clone)]
struct Pages {
    metrics: Metrics,
    readiness: Readiness,
}

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
pub async fn serve(listener: TcpListener, metrics: Metrics, readiness: Readiness) -> Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(page))
        .with_state(Pages { metrics, readiness });
    axum::serve(listener, router).into_future().await.context("the HTTP server ended")
}

async fn ready(State(pages): State<Pages>) -> Response {
    match pages.readiness.get() {
        Ok(what) => (StatusCode::OK, format!("{what}\n")),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
    .into_response()
}

async fn page(State(pages): State<Pages>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], pages.metrics.page()).into_response()
}
