//! What the parts of the running agent share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use anyhow::Result;
use model::{Diff, Model, Peer};
use naming::alias::PortAlias;
use objects::PodRef;
use policy::LocalId;
use tokio::sync::watch;
use tracing::warn;

use crate::annotate::{WorkQueue, port_annotations};
use crate::backend::{Backend, BindError, BindRequest, Elsewhere, Packets, PodPort, PortRecord};
use crate::denials::Totals;
use crate::durations::Durations;
use crate::flows::Flows;
use crate::leak::Report;
use crate::policies::Policies;
use crate::problems::{Origin, Problem, Problems};
use crate::repairs::Repairs;

/// The agent's shared state. Clones are handles on one agent.
#[derive(Debug, Clone)]
pub struct Agent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node_name: String,
    started: Instant,
    backend: Box<dyn Backend>,
    peers: Mutex<BTreeMap<Arc<str>, Peer>>,
    /// Empty until objects are watched.
    model: OnceLock<Arc<Mutex<Model>>>,
    /// Empty if no policy is enforced.
    policies: OnceLock<Policies>,
    /// Empty if no flows are recorded.
    flows: OnceLock<Flows>,
    annotations: WorkQueue,
    /// `None` before there was anything to make a network of.
    readiness: watch::Sender<Option<Readiness>>,
    /// Why the plugin cannot reach this agent.
    unserved: Mutex<Option<String>>,
    repairs: Repairs,
    problems: Problems,
    leaks: Mutex<Report>,
    unauthorized: AtomicU64,
    durations: Durations,
    denials: Totals,
    source: objects::Health,
    source_name: String,
    reservations: Option<PathBuf>,
}

/// Whether Pods can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Everything is in place.
    Ready,
    /// Not yet, for this reason.
    Waiting(String),
}

impl Agent {
    /// An agent that waits for its first objects. `reservations` is the directory of Pods' addresses, if the IPAM
    /// plugin keeps one.
    pub fn new(
        node_name: &str,
        backend: Box<dyn Backend>,
        repairs: Repairs,
        annotations: WorkQueue,
        source_name: String,
        source: objects::Health,
        reservations: Option<PathBuf>,
    ) -> Self {
        Self(Arc::new(Inner {
            node_name: node_name.to_owned(),
            started: Instant::now(),
            backend,
            repairs,
            peers: Mutex::default(),
            model: OnceLock::new(),
            policies: OnceLock::new(),
            flows: OnceLock::new(),
            annotations,
            readiness: watch::Sender::new(None),
            problems: Problems::default(),
            unserved: Mutex::default(),
            leaks: Mutex::default(),
            unauthorized: AtomicU64::new(0),
            durations: Durations::default(),
            denials: Totals::default(),
            source,
            source_name,
            reservations,
        }))
    }

    /// This node's name.
    pub fn node_name(&self) -> &str {
        &self.0.node_name
    }

    /// How long this agent runs.
    pub fn uptime(&self) -> std::time::Duration {
        self.0.started.elapsed()
    }

    /// The network of this node's Pods.
    pub fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    /// What of it carries their packets.
    ///
    /// # Errors
    /// Another program does.
    pub fn packets(&self) -> Result<&dyn Packets, Elsewhere> {
        self.backend().packets().ok_or(Elsewhere)
    }

    /// Does what may take long away from the threads that serve calls.
    ///
    /// # Errors
    /// What `work` gives, or that it panicked.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let agent = self.clone();
        tokio::task::spawn_blocking(move || work(&agent)).await?
    }

    /// The other nodes, by name.
    pub fn peers(&self) -> BTreeMap<Arc<str>, Peer> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many other nodes there are.
    pub fn peer_count(&self) -> usize {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Says where Services are looked up. Only the first model counts.
    pub fn set_model(&self, model: &Arc<Mutex<Model>>) {
        self.0.model.get_or_init(|| Arc::clone(model));
    }

    /// Says what is enforced, before the first port is bound.
    pub fn set_policies(&self, policies: &Policies) {
        self.0.policies.get_or_init(|| policies.clone());
    }

    /// What is enforced of NetworkPolicies and ClusterNetworkPolicies; `None`: nothing.
    pub fn policies(&self) -> Option<&Policies> {
        self.0.policies.get()
    }

    /// Says that flows are recorded. Only the first time counts.
    pub fn set_flows(&self, flows: Flows) {
        self.0.flows.get_or_init(|| flows);
    }

    /// What is known of flows; `None`: they are not recorded.
    pub fn flows(&self) -> Option<&Flows> {
        self.0.flows.get()
    }

    /// Looks something up in the model of the cluster's objects; `None` until objects are watched. What takes long waits
    /// outside: reconciling does too.
    pub fn with_model<T>(&self, look_up: impl FnOnce(&Model) -> T) -> Option<T> {
        let model = self.0.model.get()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(look_up(&model))
    }

    /// Takes in how the other nodes changed.
    pub fn change_peers(&self, Diff { upserts, removals }: &Diff<Arc<str>, Peer>) {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.extend(upserts.iter().cloned());
        for name in removals {
            peers.remove(name);
        }
    }

    /// Whether Pods can be served; `None` before there was anything to make a network of.
    pub fn known_readiness(&self) -> Option<Readiness> {
        self.0.readiness.borrow().clone()
    }

    /// Tells of every change of that from now on.
    pub fn watch_readiness(&self) -> watch::Receiver<Option<Readiness>> {
        self.0.readiness.subscribe()
    }

    /// Whether everything was set up once, so that Pods are served as long as the plugin reaches this agent.
    pub fn is_set_up(&self) -> bool {
        *self.0.readiness.borrow() == Some(Readiness::Ready)
    }

    /// Whether Pods can be served.
    pub fn readiness(&self) -> Readiness {
        if let Some(reason) = self.0.unserved.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Readiness::Waiting(reason);
        }
        self.known_readiness().unwrap_or_else(|| {
            Readiness::Waiting(match self.0.source.error() {
                Some(error) => format!("waiting for the first list of Nodes: {error}"),
                None => format!("waiting for the first list of Nodes from {}", self.0.source_name),
            })
        })
    }

    /// Notes whether Pods can be served; says so in the log when that changed.
    pub fn set_readiness(&self, readiness: Readiness) {
        self.0.readiness.send_if_modified(|now| {
            let changed = now.as_ref() != Some(&readiness);
            if changed {
                match &readiness {
                    Readiness::Ready => tracing::info!("ready: Pods can be served"),
                    Readiness::Waiting(reason) => warn!(reason, "not ready"),
                }
                *now = Some(readiness);
            }
            changed
        });
    }

    /// Notes why the plugin cannot reach this agent, if it cannot; says so in the log when that changed.
    pub fn set_unserved(&self, reason: Option<String>) {
        let mut unserved = self.0.unserved.lock().unwrap_or_else(PoisonError::into_inner);
        if *unserved != reason {
            match &reason {
                Some(reason) => warn!(reason, "not ready"),
                None => tracing::info!("the plugin can reach the agent again"),
            }
            *unserved = reason;
        }
    }

    /// Where objects come from, and what is wrong with that.
    pub fn source(&self) -> (&str, Option<String>) {
        (&self.0.source_name, self.0.source.error())
    }

    /// How old the objects on disk are that the agent works with, the source having been away since it started.
    pub fn objects_from_disk(&self) -> Option<std::time::Duration> {
        self.0.source.from_disk().map(|saved| saved.elapsed().unwrap_or_default())
    }

    /// What was repaired of what others removed or changed.
    pub fn repairs(&self) -> &Repairs {
        &self.0.repairs
    }

    /// What is wrong while Pods are served.
    pub fn problems(&self) -> &Problems {
        &self.0.problems
    }

    /// Replaces the problems that one origin found.
    pub fn set_problems(&self, origin: Origin, found: Vec<Problem>) {
        self.0.problems.set(origin, found);
    }

    /// What leaked and is not repaired, as of the last search.
    pub fn leaks(&self) -> Report {
        self.0.leaks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what leaked; says in the log what is new.
    pub fn set_leaks(&self, report: Report) {
        let mut known = self.0.leaks.lock().unwrap_or_else(PoisonError::into_inner);
        report.tell(&known);
        *known = report;
    }

    /// Notes that somebody who is not root connected to the socket, and was refused.
    pub fn refuse_unauthorized(&self, uid: u32) {
        self.0.unauthorized.fetch_add(1, Ordering::Relaxed);
        warn!(uid, "refused a connection to the socket: only root may");
    }

    /// How many connections to the socket were refused.
    pub fn refused_unauthorized(&self) -> u64 {
        self.0.unauthorized.load(Ordering::Relaxed)
    }

    /// The directory of Pods' addresses, if the IPAM plugin keeps one.
    pub fn reservations(&self) -> Option<&Path> {
        self.0.reservations.as_deref()
    }

    /// How long calls of the plugin take.
    pub fn durations(&self) -> &Durations {
        &self.0.durations
    }

    /// What became of lines of the deny log, and of Events about Pods.
    pub fn denials(&self) -> &Totals {
        &self.0.denials
    }

    /// Which requests to the API server failed.
    pub fn api_errors(&self) -> &objects::ApiErrors {
        self.0.source.api_errors()
    }

    /// The annotations that still have to be written.
    pub fn annotations(&self) -> &WorkQueue {
        &self.0.annotations
    }

    /// What this agent is to do of a request; whether it leaves the Pod's hostPorts to others. Where another program carries
    /// packets, nobody serves them.
    pub fn own_part(&self, request: BindRequest) -> (BindRequest, bool) {
        if request.host_ports.is_empty() || self.packets().map_or(true, Packets::serves_services) {
            return (request, false);
        }
        (BindRequest { host_ports: Vec::new(), ..request }, true)
    }

    /// Whether others may serve hostPorts of a port that was released: any that has none here, which an agent before this one
    /// may have left to them. One that is not there was released before.
    pub fn left_host_ports(&self, released: Option<&PortRecord>) -> bool {
        self.packets().is_ok_and(|packets| {
            !packets.serves_services() || released.is_some_and(|port| port.host_ports.is_empty())
        })
    }

    /// Commits a port and sees to it that the Pod is annotated.
    ///
    /// # Errors
    /// Those of [`Backend::bind`].
    pub fn bind(&self, request: &BindRequest) -> Result<(), BindError> {
        let mut bound = self.backend().bind(request);
        // The other port may be one whose DEL found no agent: its addresses were released all the same.
        if matches!(bound, Err(BindError::Taken(_))) && self.sweep() {
            bound = self.backend().bind(request);
        }
        bound?;
        self.annotate(&request.owner, request);
        Ok(())
    }

    /// Releases the ports whose interface is gone or retired without anybody having said so. Whether there were any.
    pub fn sweep(&self) -> bool {
        let released = self.backend().sweep();
        for port in &released {
            self.0.annotations.cancel(&port.pod());
        }
        if let Some(policies) = self.policies() {
            policies
                .retain(|| self.backend().ports().iter().map(|port| LocalId(port.host_ifindex)).collect());
        }
        self.set_problems(Origin::Ports, self.backend().port_problems());
        !released.is_empty()
    }

    /// Takes a port out of the network and forgets what waits for the Pod.
    ///
    /// # Errors
    /// Those of [`Backend::release`].
    pub fn release(&self, host_ifname: &str, container_id: &str) -> Result<Option<PortRecord>> {
        let record = self.backend().release(host_ifname, container_id)?;
        if let Some(record) = &record {
            self.0.annotations.cancel(&record.pod());
            if let Some(policies) = self.policies() {
                policies.unset_local(LocalId(record.host_ifindex));
            }
        }
        Ok(record)
    }

    /// Queues a port's annotations, unless the Pod's whole name or its addresses are not known: it was annotated when it was
    /// added.
    pub fn annotate<O>(&self, owner: &PortAlias, port: &PodPort<O>) {
        if !owner.is_whole() || port.addresses.is_empty() {
            return;
        }
        let pod = PodRef {
            namespace: owner.pod.namespace.clone(),
            name: owner.pod.name.clone(),
            uid: owner.pod_uid.clone(),
        };
        let annotations = port_annotations(&owner.pod, port.mac, &port.addresses);
        // Other nodes' policies wait for its addresses.
        let urgent = self.policies().is_some_and(Policies::are_there);
        if let Err(error) = self.0.annotations.post(pod, annotations, urgent) {
            warn!(pod = %owner.pod, %error, "the Pod will not be annotated");
        }
    }
}
