//! The record of a lab: `lab.json` in its directory, changed under a lock.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use atomic_file::Durability;
use ipnet::IpNet;
use naming::{Mac, PodKey};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::process::{self, Process};
use crate::topology::Family;

const FORMAT: u32 = 1;

/// The record of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The format of this record.
    format: u32,
    /// The boot whose process ids these are.
    boot_id: String,
    /// The families of addresses.
    pub family: Family,
    /// The agents' `--cluster-cidr`.
    pub cluster_cidrs: Vec<IpNet>,
    /// The directory with the product's binaries.
    pub binaries: PathBuf,
    /// Further arguments of every agent.
    pub agent_args: Vec<String>,
    /// The underlay: PID 1 of the machine that holds the bridge and routes to the outside.
    pub fabric: Option<Process>,
    /// PID 1 of the outside host.
    pub outside: Option<Process>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The Pods, in the order they were added.
    pub pods: Vec<Pod>,
}

/// A node of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name in the cluster, and its hostname.
    pub name: String,
    /// Its PID 1, as the host counts.
    pub init: Process,
    /// The agent, when it was started.
    pub agent: Option<Process>,
    /// Its addresses on the underlay.
    pub addresses: Vec<IpAddr>,
    /// Its podCIDRs.
    pub pod_cidrs: Vec<IpNet>,
}

/// A Pod of a lab: what the runtime knows of its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// What names it in the cluster.
    pub key: PodKey,
    /// The node it is on.
    pub node: String,
    /// Its Kubernetes UID.
    pub uid: String,
    /// Its sandbox: 64 hexadecimal digits.
    pub container_id: String,
    /// Its addresses, with the prefix lengths of the plugin's result.
    pub ips: Vec<IpNet>,
    /// The MAC address of its interface.
    pub mac: Option<Mac>,
    /// How long ADD took, from starting the plugin to its end, in microseconds.
    pub add_microseconds: u64,
    /// The runtime's arguments for plugins, by capability.
    #[serde(default)]
    pub capability_args: serde_json::Map<String, serde_json::Value>,
    /// Fields of its object besides those that every Pod's has.
    #[serde(default)]
    pub object: serde_json::Value,
    /// The result of ADD, which CHECK and DEL get back as `prevResult`.
    pub result: serde_json::Value,
}

impl Pod {
    /// Its network namespace, as a path in its node.
    pub fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/run/netns/{}", self.container_id))
    }

    /// Its addresses without prefix lengths.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.ips.iter().map(IpNet::addr).collect()
    }
}

impl State {
    /// The record of a lab that has nothing yet.
    pub(crate) fn new(family: Family, binaries: PathBuf, agent_args: Vec<String>) -> Result<Self> {
        Ok(Self {
            format: FORMAT,
            boot_id: process::boot_id()?,
            family,
            cluster_cidrs: family.cluster_cidrs(),
            binaries,
            agent_args,
            fabric: None,
            outside: None,
            nodes: Vec::new(),
            pods: Vec::new(),
        })
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.iter().find(|n| n.name == name).with_context(|| {
            let names: Vec<_> = self.nodes.iter().map(|n| n.name.as_str()).collect();
            format!("the lab has no node {name}; it has {}", names.join(", "))
        })
    }

    pub(crate) fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes.iter_mut().find(|n| n.name == name).with_context(|| format!("the lab has no node {name}"))
    }

    /// The Pod of that key.
    pub fn pod(&self, key: &PodKey) -> Result<&Pod> {
        self.find_pod(key).with_context(|| {
            let others: Vec<_> = self
                .pods
                .iter()
                .filter(|pod| pod.key.name == key.name)
                .map(|pod| pod.key.to_string())
                .collect();
            match others.as_slice() {
                [] => format!("the lab has no Pod {key}; it has {} Pods of other names", self.pods.len()),
                _ => format!("the lab has no Pod {key}; it has {}", others.join(", ")),
            }
        })
    }

    pub(crate) fn find_pod(&self, key: &PodKey) -> Option<&Pod> {
        self.pods.iter().find(|p| p.key == *key)
    }

    /// The agents' processes; those of another boot are gone.
    pub(crate) fn agents(&self) -> Vec<Process> {
        self.of_this_boot(self.nodes.iter().filter_map(|n| n.agent))
    }

    /// Every machine's PID 1; those of another boot are gone.
    pub(crate) fn machines(&self) -> Vec<Process> {
        self.of_this_boot(self.nodes.iter().map(|n| n.init).chain(self.outside).chain(self.fabric))
    }

    fn of_this_boot(&self, processes: impl Iterator<Item = Process>) -> Vec<Process> {
        if process::boot_id().is_ok_and(|id| id == self.boot_id) { processes.collect() } else { Vec::new() }
    }

    /// Reads the record in `dir`; `None` when there is no lab.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>> {
        let path = file(dir);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        Self::parse(&text).map(Some).with_context(|| format!("{} is not a lab's record", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let state: Self = serde_json::from_str(text)?;
        ensure!(
            state.format == FORMAT,
            "format {} is not {FORMAT}: use the midokube-lab that made the lab",
            state.format
        );
        Ok(state)
    }

    /// Replaces the record in `dir` in one step. The caller holds the [`Lock`].
    pub(crate) fn store(&self, dir: &Path) -> Result<()> {
        let write = || -> Result<()> {
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            Ok(atomic_file::replace(&file(dir), &text, 0o600, Durability::Unsynced)?)
        };
        write().with_context(|| format!("cannot write {}", file(dir).display()))
    }
}

/// The lock of a record, across threads and programs.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Lock {
    /// Waits for the lock: others hold it for milliseconds.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, errno)) => bail!("cannot lock {}: {errno}", path.display()),
        }
    }
}

/// The record's file.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join("lab.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut state = State::new(Family::Dual, "/bin".into(), vec!["--mtu=1400".into()]).unwrap();
        state.fabric = Some(Process { pid: 4, start: 5 });
        state.nodes.push(Node {
            name: "node1".into(),
            init: Process { pid: 6, start: 7 },
            agent: None,
            addresses: vec!["172.30.0.11".parse().unwrap()],
            pod_cidrs: Family::Dual.pod_cidrs(1),
        });
        state.pods.push(Pod {
            key: PodKey::new("default", "a"),
            node: "node1".into(),
            uid: "u".into(),
            container_id: "c".into(),
            ips: vec!["10.244.1.3/24".parse().unwrap()],
            mac: Some(naming::GATEWAY_MAC),
            add_microseconds: 900,
            object: serde_json::Value::Null,
            capability_args: serde_json::Map::new(),
            result: serde_json::json!({"cniVersion": "1.1.0"}),
        });
        state
    }

    #[test]
    fn survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(State::load(dir.path()).unwrap(), None);
        state().store(dir.path()).unwrap();
        assert_eq!(State::load(dir.path()).unwrap(), Some(state()));
    }

    #[test]
    fn refuses_another_format_and_says_whose_it_is() {
        let text = serde_json::to_string(&State { format: 99, ..state() }).unwrap();
        assert!(
            State::parse(&text).unwrap_err().to_string().contains("use the midokube-lab that made the lab")
        );
    }

    #[test]
    fn processes_of_another_boot_are_ignored() {
        assert_eq!(state().machines().len(), 2);
        assert!(State { boot_id: "other".into(), ..state() }.machines().is_empty());
    }

    #[test]
    fn an_unknown_node_is_an_error_that_lists_the_known_ones() {
        let error = state().node("node9").unwrap_err().to_string();
        assert_eq!(error, "the lab has no node node9; it has node1");
    }
}
