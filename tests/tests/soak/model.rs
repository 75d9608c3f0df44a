//! What a runtime knows of its Pods, and what the plugin must answer.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock};
use std::time::Duration;

use ipnet::IpNet;
use naming::PodKey;
use serde_json::{Value, json};

use crate::runtime::{Call, Outcome, config, drop_netns, make_netns};
use testkit::Random;

/// Those with CHECK.
const VERSIONS: [&str; 3] = ["0.4.0", "1.0.0", "1.1.0"];

/// How many of hundred calls are killed.
const KILLED: u64 = 20;

/// When, at the latest: about as long as a call takes.
const LATEST_KILL: u64 = 15_000;

/// The specification's "Try again later".
const TRY_AGAIN: u64 = 11;

/// A container of a Pod.
#[derive(Debug, Clone)]
struct Container {
    id: String,
    version: &'static str,
    /// ADD's; null if it gave none.
    result: Value,
    addresses: Vec<IpAddr>,
}

/// What the runtime knows of a Pod's attachment.
#[derive(Debug, Clone)]
enum State {
    /// There is none.
    Free,
    /// ADD succeeded.
    Attached(Container),
    /// ADD or DEL was killed, or GC took it: DEL has to come.
    Unsure(Container),
}

#[derive(Debug)]
struct Pod {
    name: String,
    /// Sandboxes so far: each has its own id and namespace.
    sandbox: u64,
    state: State,
}

/// An attachment that there is.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) interface: String,
    pub(crate) container_id: String,
    pub(crate) addresses: Vec<IpAddr>,
}

#[derive(Debug)]
pub(crate) struct Model {
    list: Value,
    pods: Vec<Mutex<Pod>>,
    /// Containers are independent of each other, garbage collection is alone (specification, "Lifecycle & Ordering").
    order: RwLock<()>,
    /// Who was given an address, and has not begun to give it back.
    holders: Mutex<HashMap<IpAddr, String>>,
    counts: Mutex<BTreeMap<String, u64>>,
    containers: AtomicU64,
}

impl Model {
    pub(crate) fn new(list: Value, pods: usize) -> Self {
        let pod = |n| Mutex::new(Pod { name: format!("p{n}"), sandbox: 0, state: State::Free });
        Self {
            list,
            pods: (0..pods).map(pod).collect(),
            order: RwLock::default(),
            holders: Mutex::default(),
            counts: Mutex::default(),
            containers: AtomicU64::new(0),
        }
    }

    pub(crate) fn make_namespaces(&self) {
        self.pods.iter().for_each(|pod| make_netns(&pod.lock().unwrap().netns()));
    }

    /// Makes one random call.
    pub(crate) fn call(&self, random: &mut Random) {
        if random.below(400) == 0 {
            let _alone = self.order.write().unwrap();
            return self.collect(random);
        }
        let _among_others = self.order.read().unwrap();
        let mut pod = self.any_pod(random);
        match pod.state.clone() {
            State::Free => match random.below(10) {
                0 => self.refused_check(&pod, random),
                1 => {
                    let nobody = self.new_container(random);
                    self.del(&mut pod, &nobody, Some(random));
                }
                _ => self.add(&mut pod, random),
            },
            State::Attached(container) => match random.below(10) {
                0 => self.refused_add(&pod, &container, random),
                1 => {
                    let other = self.new_container(random);
                    self.refused_add(&pod, &other, random);
                }
                2..=4 => self.check(&pod, &container, random),
                _ => self.del(&mut pod, &container, Some(random)),
            },
            State::Unsure(container) => self.del(&mut pod, &container, Some(random)),
        }
    }

    /// DEL for what needs it, as a runtime does until it succeeds, and CHECK for the rest.
    pub(crate) fn tidy_up(&self) {
        for pod in &self.pods {
            let mut pod = pod.lock().unwrap();
            match pod.state.clone() {
                State::Free => {}
                State::Attached(container) => {
                    let call = self.about(&pod, &container, "CHECK");
                    assert_eq!(self.execute(&call, None), Outcome::Succeeded(Value::Null), "{call:?}");
                }
                State::Unsure(container) => self.del(&mut pod, &container, None),
            }
        }
    }

    pub(crate) fn delete_all(&self) {
        for pod in &self.pods {
            let mut pod = pod.lock().unwrap();
            if let State::Attached(container) = pod.state.clone() {
                self.del(&mut pod, &container, None);
            }
        }
    }

    pub(crate) fn attached(&self) -> Vec<Attached> {
        let attached = |pod: &Mutex<Pod>| {
            let pod = pod.lock().unwrap();
            let State::Attached(container) = &pod.state else { return None };
            Some(Attached {
                interface: naming::pod_host_interface(&PodKey::new("soak", pod.name.clone())),
                container_id: container.id.clone(),
                addresses: container.addresses.clone(),
            })
        };
        self.pods.iter().filter_map(attached).collect()
    }

    /// How often which verb ended in which way.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap().clone()
    }

    pub(crate) fn assert_that_all_was_tried(&self) {
        let counts = self.counts();
        for (what, least) in [
            ("ADD succeeded", 1000),
            ("ADD refused", 100),
            ("ADD killed", 20),
            ("DEL succeeded", 1000),
            ("DEL killed", 20),
            ("CHECK succeeded", 300),
            ("CHECK refused", 100),
            ("GC succeeded", 5),
        ] {
            assert!(counts.get(what).is_some_and(|count| *count >= least), "{what}: {counts:?}");
        }
    }

    /// One that nobody else is busy with.
    fn any_pod(&self, random: &mut Random) -> MutexGuard<'_, Pod> {
        loop {
            let at = usize::try_from(random.below(self.pods.len() as u64)).unwrap();
            if let Ok(pod) = self.pods[at].try_lock() {
                return pod;
            }
        }
    }

    fn new_container(&self, random: &mut Random) -> Container {
        let number = self.containers.fetch_add(1, Ordering::Relaxed);
        let version = VERSIONS[usize::try_from(random.below(3)).unwrap()];
        Container { id: format!("{number:064x}"), version, result: Value::Null, addresses: vec![] }
    }

    fn add(&self, pod: &mut Pod, random: &mut Random) {
        let mut container = self.new_container(random);
        let call = self.about(pod, &container, "ADD");
        pod.state = match self.execute(&call, Some(random)) {
            Outcome::Succeeded(result) => {
                container.addresses = addresses(&result);
                container.result = result;
                let mut holders = self.holders.lock().unwrap();
                for address in &container.addresses {
                    let other = holders.insert(*address, container.id.clone());
                    assert_eq!(other, None, "{call:?}: {address} was given twice");
                }
                State::Attached(container)
            }
            // It waits ten seconds for an agent that starts; a busy machine may need more.
            Outcome::Killed | Outcome::Failed { code: TRY_AGAIN, .. } => State::Unsure(container),
            failed @ Outcome::Failed { .. } => panic!("{call:?}: {failed:?}"),
        };
    }

    /// The interface exists: nothing is done, nothing is harmed.
    fn refused_add(&self, pod: &Pod, container: &Container, random: &mut Random) {
        let call = self.about(pod, &Container { result: Value::Null, ..container.clone() }, "ADD");
        match self.execute(&call, Some(random)) {
            Outcome::Killed => {}
            Outcome::Failed { msg, .. } if msg.contains("exists in the container already") => {}
            wrong => panic!("{call:?}: {wrong:?}"),
        }
        // As a runtime does after a failed ADD of another container.
        if container.addresses.is_empty() {
            let call = self.about(pod, container, "DEL");
            assert_eq!(self.execute(&call, None), Outcome::Succeeded(Value::Null), "{call:?}");
        }
    }

    fn check(&self, pod: &Pod, container: &Container, random: &mut Random) {
        let call = self.about(pod, container, "CHECK");
        match self.execute(&call, Some(random)) {
            // Only the agent's own death is an excuse.
            Outcome::Killed | Outcome::Succeeded(_) | Outcome::Failed { code: TRY_AGAIN, .. } => {}
            failed @ Outcome::Failed { .. } => panic!("{call:?}: {failed:?}"),
        }
    }

    /// There is nothing to compare with.
    fn refused_check(&self, pod: &Pod, random: &mut Random) {
        let call = self.about(pod, &self.new_container(random), "CHECK");
        let outcome = self.execute(&call, Some(random));
        assert!(!matches!(outcome, Outcome::Succeeded(_)), "{call:?}: {outcome:?}");
    }

    fn del(&self, pod: &mut Pod, container: &Container, random: Option<&mut Random>) {
        self.gives_back(container);
        let call = self.about(pod, container, "DEL");
        match (self.execute(&call, random), &pod.state) {
            (Outcome::Succeeded(_) | Outcome::Killed, State::Free) => {}
            // Its namespace can be used again at once.
            (Outcome::Succeeded(_), State::Attached(_)) => pod.state = State::Free,
            // What was not finished ends with its sandbox.
            (Outcome::Succeeded(_), State::Unsure(_)) => {
                drop_netns(&pod.netns());
                pod.sandbox += 1;
                make_netns(&pod.netns());
                pod.state = State::Free;
            }
            (Outcome::Killed, _) => pod.state = State::Unsure(container.clone()),
            (failed, _) => panic!("{call:?}: {failed:?}"),
        }
    }

    /// GC that spares all attachments but a few.
    fn collect(&self, random: &mut Random) {
        let mut valid = Vec::new();
        for pod in &self.pods {
            let mut pod = pod.lock().unwrap();
            let State::Attached(container) = pod.state.clone() else { continue };
            if random.percent(3) {
                self.gives_back(&container);
                pod.state = State::Unsure(container);
            } else {
                valid.push(json!({"containerID": container.id, "ifname": "eth0"}));
            }
        }
        let config = config(&self.list, "1.1.0", &json!({"cni.dev/valid-attachments": valid}));
        let call = Call {
            verb: "GC",
            container_id: String::new(),
            netns: String::new(),
            pod: String::new(),
            config,
        };
        match self.execute(&call, Some(random)) {
            Outcome::Succeeded(_) | Outcome::Killed => {}
            failed => panic!("{call:?}: {failed:?}"),
        }
    }

    /// From now on somebody else may get its addresses.
    fn gives_back(&self, container: &Container) {
        let mut holders = self.holders.lock().unwrap();
        container.addresses.iter().for_each(|address| {
            holders.remove(address);
        });
    }

    /// A call about a container of that Pod.
    fn about(&self, pod: &Pod, container: &Container, verb: &'static str) -> Call {
        let before = Some(&container.result).filter(|result| !result.is_null());
        let before = before.map_or(json!({}), |result| json!({"prevResult": result}));
        Call {
            verb,
            container_id: container.id.clone(),
            netns: pod.netns(),
            pod: pod.name.clone(),
            config: config(&self.list, container.version, &before),
        }
    }

    fn execute(&self, call: &Call, random: Option<&mut Random>) -> Outcome {
        let kill = random.and_then(|random| {
            random.percent(KILLED).then(|| Duration::from_micros(random.below(LATEST_KILL)))
        });
        let outcome = call.execute(kill);
        let how = match outcome {
            Outcome::Succeeded(_) => "succeeded",
            Outcome::Failed { .. } => "refused",
            Outcome::Killed => "killed",
        };
        *self.counts.lock().unwrap().entry(format!("{} {how}", call.verb)).or_default() += 1;
        outcome
    }
}

impl Pod {
    fn netns(&self) -> String {
        format!("{}-{}", self.name, self.sandbox)
    }
}

fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().unwrap();
    ips.iter().map(|ip| ip["address"].as_str().unwrap().parse::<IpNet>().unwrap().addr()).collect()
}
