//! Which ports are served, and which cannot be.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use model::Problem;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::listen::{self, Answer};

/// What a port is for.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// Whose it is.
    pub(super) object: String,
    /// What to do if something else has it.
    pub(super) remedy: String,
}

/// The servers of all ports.
#[derive(Debug)]
pub(super) struct Ports {
    runtime: Handle,
    failures: Failures,
    /// Those that are served as long as the agent runs.
    own: Mutex<Servers>,
    /// Those of Services, by "namespace/name". What is dropped here listens no more.
    checks: Mutex<BTreeMap<Arc<str>, Running>>,
}

#[derive(Debug)]
struct Running {
    port: u16,
    _servers: Servers,
}

/// Servers, which end with this value.
#[derive(Debug, Default)]
struct Servers {
    tasks: JoinSet<()>,
    /// A server that is ending tells of no failure any more.
    alive: Arc<()>,
}

/// Why addresses cannot be listened at, by whose they are.
#[derive(Debug, Clone)]
struct Failures(Arc<Mutex<Known>>, watch::Sender<Vec<Problem>>);

type Known = BTreeMap<String, (String, BTreeMap<SocketAddr, String>)>;

impl Ports {
    pub(super) fn new(runtime: Handle) -> Self {
        let failures = Failures(Arc::default(), watch::Sender::default());
        Self { runtime, failures, own: Mutex::default(), checks: Mutex::default() }
    }

    /// Serves an address for ever.
    pub(super) fn open(&self, address: SocketAddr, about: &About, answer: &Answer) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        for address in listen::addresses(address) {
            self.spawn(&mut own, address, about, answer);
        }
    }

    /// Has the ports of Services be these, at all addresses of the node: they are open before any address is known to have
    /// NodePorts.
    pub(super) fn follow(
        &self,
        wanted: impl FnOnce() -> BTreeMap<Arc<str>, u16>,
        answer: impl Fn(&Arc<str>) -> Answer,
    ) {
        let mut running = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = wanted();
        let over: Vec<_> =
            running.extract_if(.., |key, running| wanted.get(key) != Some(&running.port)).collect();
        for (key, running) in over {
            drop(running);
            self.failures.forget(&object(&key));
        }
        for (key, port) in &wanted {
            if running.contains_key(key) {
                continue;
            }
            let about = About {
                object: object(key),
                remedy: "end what uses the port, or make the Service anew for another healthCheckNodePort: the agent tries again"
                    .into(),
            };
            let answer = answer(key);
            let mut servers = Servers::default();
            for address in listen::addresses((Ipv4Addr::UNSPECIFIED, *port).into()) {
                self.spawn(&mut servers, address, &about, &answer);
            }
            running.insert(Arc::clone(key), Running { port: *port, _servers: servers });
        }
    }

    pub(super) fn problems(&self) -> watch::Receiver<Vec<Problem>> {
        self.failures.1.subscribe()
    }

    fn spawn(&self, servers: &mut Servers, address: SocketAddr, about: &About, answer: &Answer) {
        let (failures, about, answer) = (self.failures.clone(), about.clone(), Arc::clone(answer));
        let alive = Arc::downgrade(&servers.alive);
        let report = move |why: Option<String>| failures.note(&about, address, why.as_deref(), &alive);
        servers.tasks.spawn_on(listen::serve(address, answer, report), &self.runtime);
    }
}

fn object(service: &str) -> String {
    format!("Service {service}")
}

impl Failures {
    fn note(
        &self,
        About { object, remedy }: &About,
        address: SocketAddr,
        why: Option<&str>,
        alive: &Weak<()>,
    ) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if alive.strong_count() == 0 {
            return;
        }
        let (_, addresses) = known.entry(object.clone()).or_insert_with(|| (remedy.clone(), BTreeMap::new()));
        let before = match why {
            Some(why) => addresses.insert(address, why.to_owned()),
            None => addresses.remove(&address),
        };
        if before.as_deref() != why {
            self.tell(&known);
        }
    }

    fn forget(&self, object: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.remove(object).is_some() {
            self.tell(&known);
        }
    }

    fn tell(&self, known: &Known) {
        let problems = known.iter().filter(|(_, (_, addresses))| !addresses.is_empty());
        let problems = problems.map(|(object, (remedy, addresses))| {
            let each = addresses.iter().map(|(address, why)| format!("cannot listen at {address}: {why}"));
            Problem::new("health_port", object.clone(), each.collect::<Vec<_>>().join(", "), remedy.clone())
        });
        self.1.send_replace(problems.collect());
    }
}
