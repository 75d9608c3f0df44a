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
mod ports;
mod processes;
mod record;
mod state;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{Response, StatusCode};
use model::Problem;
use objects::{Delta, Node};
use plumbing::Family;
use tokio::sync::watch;
use tracing::warn;

use crate::config::Config;
use metrics::Metrics;
use ports::Ports;
use state::{NodeState, Now, ProxyState};

pub use state::HealthCheck;

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
    /// The newest change of each Service's endpoints that was counted.
    counted: Mutex<BTreeMap<(Arc<str>, Family), i64>>,
}

/// What an update of the kernel's tables brought of one Service and family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programmed {
    /// "namespace/name".
    pub service: Arc<str>,
    /// Which of its families.
    pub family: Family,
    /// When its endpoints changed last, as the endpoint slice controller says (`endpoints.kubernetes.io/last-change-trigger-time`),
    /// in milliseconds since 1970; `None`: the Service is gone, or nothing says so.
    pub triggered: Option<i64>,
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
            counted: Mutex::default(),
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

    /// All that changed is in the kernel's tables; it took so long. `complete`: all Services of the cluster are.
    pub fn applied(&self, complete: bool, took: Duration, programmed: impl IntoIterator<Item = Programmed>) {
        let now = Now::read();
        self.state().applied(complete, now);
        self.0.metrics.applied(now.wall, took);
        let mut counted = self.0.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for one in programmed {
            if let Some(took) = news(&mut counted, one, self.0.started, now.wall) {
                self.0.metrics.programmed(took.0, took.1);
            }
        }
        drop(counted);
        if complete {
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

    /// The Services with a port for health checks changed: these are new or others, those are gone.
    pub fn change_checks(
        &self,
        upserts: impl IntoIterator<Item = (Arc<str>, HealthCheck)>,
        removals: impl IntoIterator<Item = Arc<str>>,
    ) {
        let mut state = self.state();
        for key in removals {
            state.checks.remove(&key);
        }
        state.checks.extend(upserts);
        drop(state);
        self.follow_checks();
    }

    /// Replaces all Services with a port for health checks: a former agent's record may have had others.
    pub fn set_checks(&self, checks: impl IntoIterator<Item = (Arc<str>, HealthCheck)>) {
        self.state().checks = checks.into_iter().collect();
        self.follow_checks();
    }

    /// Where the ports of Services for health checks are, from now on; empty: at all addresses of the node.
    pub fn set_check_addresses(&self, addresses: &[IpAddr]) {
        self.0.ports.set_check_addresses(addresses);
        self.follow_checks();
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

    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why this address, or one of its addresses, cannot be listened at; `None`: it can be.
pub(crate) fn why_taken(address: SocketAddr) -> Option<String> {
    listen::addresses(address).into_iter().find_map(listen::why_taken)
}

/// The file that an uninstallation removes.
pub(crate) fn record_path(state_dir: &Path) -> PathBuf {
    record::path(state_dir)
}

/// How long a change took until it was programmed, if it is one that was not counted yet: not of before this agent's start,
/// nor a deletion.
fn news(
    counted: &mut BTreeMap<(Arc<str>, Family), i64>,
    Programmed { service, family, triggered }: Programmed,
    started: SystemTime,
    now: SystemTime,
) -> Option<(Family, Duration)> {
    let key = (service, family);
    let Some(triggered) = triggered else {
        counted.remove(&key);
        return None;
    };
    let at = UNIX_EPOCH + Duration::from_millis(triggered.try_into().ok()?);
    if at <= started || counted.insert(key, triggered).is_some_and(|last| last >= triggered) {
        return None;
    }
    // The controller manager's clock may be ahead.
    Some((family, now.duration_since(at).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
