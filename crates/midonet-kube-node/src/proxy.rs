//! What kube-proxy is to its surroundings, since this agent serves Services in its place: its ports for health checks and
//! metrics, and those of Services with `healthCheckNodePort`. And kube-proxy itself, if it runs beside or left something
//! ([`beside`], [`cleanup`]).
//!
//! The ports are served from the agent's start on, before there are objects: who asks sees what a former agent left in the
//! kernel, which is what serves until the objects are there. That an API server is away changes no answer.

mod answers;
pub mod beside;
pub mod cleanup;
mod leftovers;
mod listen;
mod metrics;
mod pending;
mod ports;
mod processes;
mod record;
mod state;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use axum::http::{Response, StatusCode};
use model::{Changes, Desired, HealthCheck, Problem};
use objects::{Delta, Family, Node};
use tokio::sync::watch;
use tracing::warn;

use crate::config::Config;
use metrics::Metrics;
use pending::{Counted, Pending};
use ports::Ports;
use state::{NodeState, Now, ProxyState};

/// What `/proxyMode` says. Who asks wants to know how packets are translated: as none of kube-proxy's own modes does
/// it, whose names (iptables, ipvs, nftables) promise rules that are not there.
const MODE: &str = "ebpf";

/// The handle on all of this. Clones share it.
#[derive(Debug, Clone)]
pub struct Proxy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: SystemTime,
    state: Mutex<ProxyState>,
    metrics: Metrics,
    ports: Ports,
    record: PathBuf,
    pending: Mutex<(Pending, Counted)>,
}

impl Proxy {
    /// Serves the ports of kube-proxy from now on, as soon as each of them is free. Has to be called inside a runtime.
    pub fn start(args: &Config) -> Self {
        let mut families: Vec<Family> =
            args.cluster_cidr.iter().map(|cidr| Family::of(cidr.addr())).collect();
        families.sort_unstable();
        families.dedup();
        let record = record::path(&args.paths.state_dir);
        let former = record::read(&record);
        let proxy = Self(Arc::new(Inner {
            started: SystemTime::now(),
            metrics: Metrics::new(&families),
            state: Mutex::new(ProxyState::new(families, former)),
            ports: Ports::new(tokio::runtime::Handle::current()),
            record,
            pending: Mutex::default(),
        }));
        let about = |what: &str, flag: &str| ports::About {
            object: format!("port {what}"),
            remedy: format!("end what uses it, or give another {flag}: the agent tries again"),
        };
        let health = about("for the health of Services", "--proxy-health-address");
        let own = proxy.clone();
        let answer: listen::Answer = Arc::new(move |path: &str| own.answer_health(path));
        proxy.0.ports.open(args.proxy_health_address, &health, &answer);
        let metrics = about("for metrics of Services", "--proxy-metrics-address");
        let own = proxy.clone();
        let answer: listen::Answer = Arc::new(move |path: &str| own.answer_metrics(path));
        proxy.0.ports.open(args.proxy_metrics_address, &metrics, &answer);
        proxy.follow_checks();
        proxy
    }

    /// An object changed that the kernel's tables depend on.
    pub fn queued(&self) {
        let now = Now::read();
        self.state().queued(now);
        self.0.metrics.queued(now.wall);
    }

    /// The model's tables changed: these changes are about to be applied.
    pub fn changed(&self, desired: &Desired, changes: &Changes) {
        self.pending().0.take(desired, changes);
    }

    /// Everything that changed is in the kernel's tables; it took so long.
    pub fn applied(&self, took: Duration) {
        let now = Now::read();
        let (complete, checks, durations) = {
            let (pending, counted) = &mut *self.pending();
            (pending.complete, pending.checks.take(), pending.durations(counted, self.0.started, now.wall))
        };
        self.0.metrics.applied(now.wall, took);
        for (family, took) in durations {
            self.0.metrics.programmed(family, took);
        }
        let mut state = self.state();
        state.applied(complete, now);
        if let Some(checks) = checks {
            state.checks = checks;
            drop(state);
            self.follow_checks();
            self.record();
        }
    }

    /// Nodes changed: what this one's object says counts.
    pub fn follow_node(&self, name: &str, delta: &Delta<Node>) {
        let mut state = self.state();
        if delta.deleted.iter().any(|node| node.name == name) {
            state.node = NodeState::Gone;
        }
        for node in delta.upserted.iter().filter(|node| node.name == name) {
            state.node = if node.leaving { NodeState::Leaving } else { NodeState::Staying };
        }
        if delta.synced && state.node == NodeState::Unknown {
            state.node = NodeState::Gone;
        }
    }

    /// The ports that cannot be served yet.
    pub fn problems(&self) -> watch::Receiver<Vec<Problem>> {
        self.0.ports.problems()
    }

    fn follow_checks(&self) {
        let wanted = || {
            let ports = |(key, check): (&Arc<str>, &HealthCheck)| (Arc::clone(key), check.port);
            self.state().checks.iter().map(ports).collect()
        };
        self.0.ports.follow(wanted, |key| {
            let (own, key) = (self.clone(), Arc::clone(key));
            Arc::new(move |_: &str| answers::service(&own.state(), &key, Now::read()))
        });
    }

    /// Has the next agent begin with what this one served.
    fn record(&self) {
        let checks = self.state().checks.clone();
        if let Err(error) = record::write(&self.0.record, &checks) {
            warn!(%error, path = %self.0.record.display(), "the next agent will not know the ports of Services at once");
        }
    }

    fn answer_health(&self, path: &str) -> Response<String> {
        let now = Now::read();
        match path {
            "/healthz" => {
                let answer = answers::healthz(&self.state(), now);
                self.0.metrics.healthz(answer.status().as_u16());
                answer
            }
            "/livez" => {
                let answer = answers::livez(&self.state(), now);
                self.0.metrics.livez(answer.status().as_u16());
                answer
            }
            _ => answers::not_found(),
        }
    }

    fn answer_metrics(&self, path: &str) -> Response<String> {
        match path {
            "/proxyMode" => answers::text(MODE),
            "/healthz" => answers::text("ok"),
            "/metrics" => match self.0.metrics.page() {
                Ok(page) => {
                    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    answers::answer(StatusCode::OK, kind, page)
                }
                Err(error) => {
                    let text = format!("{error}\n");
                    answers::answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text)
                }
            },
            _ => answers::not_found(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, (Pending, Counted)> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why this address, or one of its addresses, cannot be listened at; `None`: it can be.
pub(crate) fn why_taken(address: SocketAddr) -> Option<String> {
    listen::addresses(address).into_iter().find_map(listen::why_taken)
}

/// Has the next agent begin with no Service in the kernel. Of an agent that serves none, and removes those that are there.
///
/// # Errors
/// The record of those before cannot be removed.
pub fn forget(state_dir: &Path) -> io::Result<()> {
    match fs::remove_file(record::path(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The file that an uninstallation removes.
pub(crate) fn record_path(state_dir: &Path) -> PathBuf {
    record::path(state_dir)
}

#[cfg(test)]
mod tests;
