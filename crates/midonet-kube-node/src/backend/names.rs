//! What of Pods does not fit into their interface's alias: a long name, the UID, their hostPorts. A file for each, beside the
//! agent's other files, tells the next agent. They are as old as the interfaces: neither outlives a reboot.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use atomic_file::Durability;
use cni::Attachment;
use model::Protocol;
use naming::alias::PortAlias;
use naming::{PodKey, interface, pod_host_interface};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tracing::warn;

use crate::backend::HostPort;

/// The directory in the agent's own.
pub(crate) fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("names")
}

/// The files that may be there.
pub(crate) fn files(state_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory(state_dir)).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_name().to_str().is_some_and(interface::is_pods));
    files.map(|entry| entry.path()).collect()
}

/// What an alias lacks, by host interface.
#[derive(Debug)]
pub(super) struct Names {
    directory: PathBuf,
    kept: BTreeMap<String, Whole>,
}

/// One Pod, and its sandbox's container id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Whole {
    container_id: String,
    pod: PodKey,
    pod_uid: Option<String>,
    host_ports: Vec<HostPort>,
}

impl Names {
    /// Those that an earlier agent kept.
    pub(super) fn open(state_dir: &Path) -> Self {
        let mut kept = BTreeMap::new();
        for path in files(state_dir) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match read(&path) {
                Ok(whole) if pod_host_interface(&whole.pod) == name => {
                    kept.insert(name, whole);
                }
                Ok(whole) => warn!(file = %path.display(), pod = %whole.pod, "it is of another Pod: ignored"),
                Err(error) => warn!(error = format!("{error:#}"), "a Pod's whole name is not known"),
            }
        }
        Self { directory: directory(state_dir), kept }
    }

    /// Keeps what the interface's own alias lacks.
    pub(super) fn keep(
        &mut self,
        host_ifname: &str,
        whole: &PortAlias,
        own: &PortAlias,
        host_ports: &[HostPort],
    ) {
        if (&own.pod, &own.pod_uid) == (&whole.pod, &whole.pod_uid) && host_ports.is_empty() {
            return self.forget(host_ifname);
        }
        let PortAlias { container_id, pod, pod_uid, .. } = whole.clone();
        let record = json!({
            "namespace": pod.namespace, "name": pod.name, "uid": pod_uid, "containerID": container_id,
            "hostPorts": host_ports.iter().map(written).collect::<Vec<_>>(),
        });
        let path = self.directory.join(host_ifname);
        match atomic_file::replace(&path, record.to_string().as_bytes(), 0o600, Durability::Synced) {
            Ok(()) => {
                let host_ports = host_ports.to_vec();
                self.kept.insert(host_ifname.to_owned(), Whole { container_id, pod, pod_uid, host_ports });
            }
            Err(error) => warn!(
                %pod, file = %path.display(), %error,
                "the Pod's long name and hostPorts are not kept: an agent that starts will not know them"
            ),
        }
    }

    /// Of an interface that is gone.
    pub(super) fn forget(&mut self, host_ifname: &str) {
        if self.kept.remove(host_ifname).is_none() {
            return;
        }
        match fs::remove_file(self.directory.join(host_ifname)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(host_ifname, %error, "cannot remove the name of a Pod that is gone");
            }
            _ => {}
        }
        if self.kept.is_empty() {
            let _others = fs::remove_dir(&self.directory);
        }
    }

    /// Of all interfaces but these.
    pub(super) fn forget_others<'a>(&mut self, host_ifnames: impl Iterator<Item = &'a String>) {
        let mut gone: BTreeSet<String> = self.kept.keys().cloned().collect();
        host_ifnames.for_each(|name| {
            gone.remove(name);
        });
        gone.iter().for_each(|name| self.forget(name));
    }

    /// The owner of an attachment whose interface has lost its alias, if a file of the Pod is kept.
    pub(super) fn owner_of(&self, attachment: &Attachment) -> Option<PortAlias> {
        let whole = self.kept.values().find(|whole| whole.container_id == attachment.container_id)?;
        Some(PortAlias {
            pod: whole.pod.clone(),
            container_id: attachment.container_id.clone(),
            ifname: attachment.ifname.clone(),
            pod_uid: whole.pod_uid.clone(),
            network: None,
        })
    }

    /// The hostPorts of a sandbox.
    pub(super) fn host_ports(&self, container_id: &str) -> Vec<HostPort> {
        let whole = self.kept.values().find(|whole| whole.container_id == container_id);
        whole.map(|whole| whole.host_ports.clone()).unwrap_or_default()
    }

    /// The whole record of a sandbox, of which this is what its interface's alias says.
    pub(super) fn complete(&self, own: PortAlias) -> PortAlias {
        match self.kept.values().find(|whole| whole.container_id == own.container_id) {
            Some(whole) => PortAlias { pod: whole.pod.clone(), pod_uid: whole.pod_uid.clone(), ..own },
            None => own,
        }
    }
}

fn read(path: &Path) -> Result<Whole> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let record: Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
    let word = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
    let need = |name: &str| word(name).with_context(|| format!("{}: {name}: missing", path.display()));
    let pod = PodKey::new(need("namespace")?, need("name")?);
    // An agent before this one kept none.
    let host_ports = record.get("hostPorts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let host_ports = host_ports.iter().map(|port| {
        host_port(port).with_context(|| format!("{}: hostPorts: {port} is none", path.display()))
    });
    let host_ports = host_ports.collect::<Result<_>>()?;
    Ok(Whole { container_id: need("containerID")?, pod, pod_uid: word("uid"), host_ports })
}

fn written(port: &HostPort) -> Value {
    let HostPort { address, protocol, port, container_port } = port;
    json!({"hostIP": address, "protocol": protocol, "hostPort": port, "containerPort": container_port})
}

fn host_port(value: &Value) -> Option<HostPort> {
    let number = |name: &str| u16::try_from(value.get(name)?.as_u64()?).ok();
    let address = match value.get("hostIP")? {
        Value::Null => None,
        address => Some(address.as_str()?.parse().ok()?),
    };
    let protocol = Protocol::deserialize(value.get("protocol")?).ok()?;
    Some(HostPort { address, protocol, port: number("hostPort")?, container_port: number("containerPort")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alias_lacks_is_known_to_the_next_agent() {
        let state = tempfile::tempdir().unwrap();
        let alias = |namespace: String, name: String| PortAlias {
            pod: PodKey::new(namespace, name),
            container_id: "c".repeat(64),
            ifname: "i".repeat(15),
            pod_uid: Some("0e646980-2007-550e-bb96-44dc505bd784".into()),
            network: None,
        };
        // All fits; the UID does not; nor does the name.
        for (namespace, name) in [(7, 60), (7, 140), (63, 253)] {
            let whole = alias("s".repeat(namespace), "n".repeat(name));
            let host = pod_host_interface(&whole.pod);
            let own = PortAlias::parse(&whole.encode()).unwrap();
            let mut names = Names::open(state.path());
            names.keep(&host, &whole, &own, &[]);
            assert_eq!(files(state.path()).len(), usize::from(own != whole));
            let mut next = Names::open(state.path());
            assert_eq!(next.complete(own.clone()), whole);
            // A newer sandbox of the same Pod, whose name nobody kept.
            let newer = PortAlias { container_id: "d".repeat(64), ..own.clone() };
            let known = next.complete(newer.clone());
            assert_eq!(known, newer);
            next.forget_others([&host].into_iter());
            assert_eq!(next.complete(own.clone()), whole);
            next.forget_others([].into_iter());
            assert_eq!(next.complete(own.clone()), own);
            assert!(!directory(state.path()).exists());
        }
    }

    #[test]
    fn a_record_of_another_pod_or_a_damaged_one_is_not_believed() {
        let state = tempfile::tempdir().unwrap();
        let pod = PodKey::new("s".repeat(63), "n".repeat(253));
        let whole =
            PortAlias { pod, container_id: "c".into(), ifname: "eth0".into(), pod_uid: None, network: None };
        let (own, host) = (PortAlias::parse(&whole.encode()).unwrap(), pod_host_interface(&whole.pod));
        Names::open(state.path()).keep(&host, &whole, &own, &[]);
        let path = directory(state.path()).join(&host);
        let text = fs::read_to_string(&path).unwrap();
        for wrong in [text.replace("nnn", "nno"), text.replace("name", "mane"), "{".to_owned(), String::new()]
        {
            fs::write(&path, wrong).unwrap();
            assert_eq!(Names::open(state.path()).complete(own.clone()), own);
        }
    }

    #[test]
    fn host_ports_are_known_to_the_next_agent() {
        let state = tempfile::tempdir().unwrap();
        let pod = PodKey::new("default", "web");
        let host = pod_host_interface(&pod);
        let whole =
            PortAlias { pod, container_id: "c1".into(), ifname: "eth0".into(), pod_uid: None, network: None };
        let port = |address: &str, protocol, port| HostPort {
            address: (!address.is_empty()).then(|| address.parse().unwrap()),
            protocol,
            port,
            container_port: 80,
        };
        let ports = [
            port("", Protocol::Tcp, 8080),
            port("192.0.2.1", Protocol::Udp, 53),
            port("::", Protocol::Sctp, u16::MAX),
        ];
        let mut names = Names::open(state.path());
        names.keep(&host, &whole, &whole, &ports);
        let next = Names::open(state.path());
        assert_eq!(next.host_ports("c1"), ports);
        assert_eq!((next.host_ports("c2"), next.complete(whole.clone())), (vec![], whole.clone()));
        // A damaged file is as none.
        let path = directory(state.path()).join(&host);
        let text = fs::read_to_string(&path).unwrap();
        for (from, to) in
            [("8080", "80800"), ("TCP", "ICMP"), ("192.0.2.1", "192.0.2"), ("hostPort\"", "x\"")]
        {
            let damaged = text.replacen(&from.replace("TCP", "Tcp"), to, 1);
            assert_ne!(damaged, text, "{from}");
            fs::write(&path, damaged).unwrap();
            assert_eq!(Names::open(state.path()).host_ports("c1"), []);
        }
        names.keep(&host, &whole, &whole, &[]);
        assert!(!directory(state.path()).exists(), "a sandbox without any");
    }
}
