//! `/healthz`, `/readyz` and `/metrics` of a process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Fault, signals};
use crate::broker::nats::Nats;
use crate::telemetry::Metrics;

/// What metrics are written in: without its name a scraper would take counters for numbers of no kind.
const METRICS_FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the status pages tell of.
#[derive(Clone)]
pub(super) struct Status {
    /// Metrics of the process.
    pub(super) metrics: Metrics,
    /// The connection that it needs.
    pub(super) nats: Nats,
    /// Whether all its roles are up.
    pub(super) up: Arc<AtomicBool>,
}

/// Does the work of a process until it ends or is asked to stop, with its status pages where it has them.
pub(super) async fn beside(
    work: impl Future<Output = Result<(), Fault>>,
    listener: Option<TcpListener>,
    status: Status,
    stop: &CancellationToken,
) -> Result<(), Fault> {
    let pages = async {
        match listener {
            Some(listener) => serve(listener, status, stop.clone()).await,
            None => Ok(()),
        }
    };
    tokio::select! {
        result = async { tokio::try_join!(work, pages).map(drop) } => result,
        fault = signals::stop_when_asked(stop.clone()) => fault,
    }
}

/// Takes the port, so that a start fails at once where it is in use.
pub(super) async fn bind(port: u16) -> Result<TcpListener, Fault> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|error| {
        Fault::platform(format!("failed to listen on {address}: {error}"))
            .hint("choose another port with --port, 0 for any")
    })
}

/// Serves the pages until `stop` fires.
pub(super) async fn serve(listener: TcpListener, status: Status, stop: CancellationToken) -> Result<(), Fault> {
    let metrics = status.metrics.clone();
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || std::future::ready(ready(&status))))
        .route("/metrics", get(move || std::future::ready(([(CONTENT_TYPE, METRICS_FORMAT)], metrics.text()))));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    served.map_err(|error| Fault::platform(format!("failed to serve the status pages: {error}")))
}

fn ready(status: &Status) -> (StatusCode, &'static str) {
    if !status.up.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    } else if !status.nats.is_connected() {
        (StatusCode::SERVICE_UNAVAILABLE, "the broker is away\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
