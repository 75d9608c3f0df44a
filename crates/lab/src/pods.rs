//! Adding and deleting Pods, as kubelet and a container runtime do together.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use naming::{Mac, PodKey};
use serde_json::{Map, Value};

use crate::cni;
use crate::lab::Lab;
use crate::manifests;
use crate::sandbox;
use crate::state::Pod;

impl Lab {
    /// Adds a Pod to a node: its object, a sandbox, and the plugin's ADD. On failure nothing is left.
    pub fn add_pod(&self, node: &str, namespace: &str, name: &str) -> Result<Pod> {
        self.add_pod_with(node, namespace, name, Map::new())
    }

    /// The same, with arguments for plugins that declare these capabilities.
    pub fn add_pod_with(
        &self,
        node: &str,
        namespace: &str,
        name: &str,
        capability_args: Map<String, Value>,
    ) -> Result<Pod> {
        self.add(node, namespace, name, None, capability_args, Value::Null)
    }

    /// The same of a Pod that somebody else made the object of, with this UID.
    pub fn add_pod_of(&self, node: &str, namespace: &str, name: &str, uid: &str) -> Result<Pod> {
        self.add(node, namespace, name, Some(uid), Map::new(), Value::Null)
    }

    /// The same of a Pod whose object has these fields, too: labels, ports of its containers.
    pub fn add_pod_like(&self, node: &str, namespace: &str, name: &str, object: Value) -> Result<Pod> {
        self.add(node, namespace, name, None, Map::new(), object)
    }

    fn add(
        &self,
        node: &str,
        namespace: &str,
        name: &str,
        of: Option<&str>,
        capability_args: Map<String, Value>,
        object: Value,
    ) -> Result<Pod> {
        let key = PodKey::new(namespace, name);
        [namespace, name].into_iter().try_for_each(check_name)?;
        let pod = Pod {
            key: key.clone(),
            node: node.to_owned(),
            uid: of.map_or_else(|| Ok(uid(&random_hex::<16>()?)), |of| anyhow::Ok(of.to_owned()))?,
            container_id: random_hex::<32>()?,
            ips: Vec::new(),
            mac: None,
            add_microseconds: 0,
            capability_args,
            object,
            result: Value::Null,
        };
        // Noted first: a Pod is never unknown to its lab, whatever becomes of this program.
        self.update(|state| {
            state.node(node)?;
            if let Some(other) = state.find_pod(&key) {
                bail!("there is a Pod {key} already, on {}", other.node);
            }
            state.pods.push(pod.clone());
            Ok(())
        })?;
        self.set_up(pod.clone()).map_err(|error| match self.remove(&pod) {
            Ok(()) => error,
            Err(left) => error.context(format!("and its rest could not be removed: {left:#}")),
        })
    }

    fn set_up(&self, mut pod: Pod) -> Result<Pod> {
        let init = self.state()?.node(&pod.node)?.init;
        self.write_pod(&pod)?;
        sandbox::create(init, &pod.netns())?;
        let start = Instant::now();
        let result = cni::add(init, &pod)?;
        pod.add_microseconds = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        (pod.ips, pod.mac) =
            addresses(&result).with_context(|| format!("ADD of Pod {}: {result}", pod.key))?;
        pod.result = result;
        self.update(|state| {
            let noted = state.pods.iter_mut().find(|p| p.container_id == pod.container_id);
            *noted.with_context(|| format!("Pod {} was deleted meanwhile", pod.key))? = pod.clone();
            Ok(())
        })?;
        self.write_pod(&pod)?;
        Ok(pod)
    }

    /// Writes a Pod's object, as kubelet has it by now: with its addresses, once there are any.
    fn write_pod(&self, pod: &Pod) -> Result<()> {
        manifests::write(&manifests::pod_file(&self.manifests(), pod), &manifests::pod(pod))
    }

    /// Changes fields of a Pod's object, as a merge patch (RFC 7386) does.
    pub fn change_pod(&self, key: &PodKey, fields: &Value) -> Result<()> {
        let pod = self.update(|state| {
            let pod = state.pods.iter_mut().find(|pod| pod.key == *key);
            let pod = pod.with_context(|| format!("there is no Pod {key}"))?;
            manifests::merge(&mut pod.object, fields);
            Ok(pod.clone())
        })?;
        self.write_pod(&pod)
    }

    /// The plugin's CHECK of a Pod.
    pub fn check_pod(&self, key: &PodKey) -> Result<()> {
        let state = self.state()?;
        let pod = state.pod(key)?;
        cni::check(state.node(&pod.node)?.init, pod)
    }

    /// Deletes a Pod: the plugin's DEL, the sandbox, the object. Can be repeated when it failed.
    pub fn delete_pod(&self, key: &PodKey) -> Result<()> {
        let pod = self.state()?.pod(key)?.clone();
        self.remove(&pod)
    }

    fn remove(&self, pod: &Pod) -> Result<()> {
        let init = self.state()?.node(&pod.node)?.init;
        cni::delete(init, pod)?;
        sandbox::remove(init, &pod.netns())?;
        let file = manifests::pod_file(&self.manifests(), pod);
        match fs::remove_file(&file) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("cannot remove {}", file.display()));
            }
            _ => {}
        }
        self.update(|state| {
            state.pods.retain(|p| p.container_id != pod.container_id);
            Ok(())
        })
    }
}

/// A DNS name as Kubernetes takes it (RFC 1123): it becomes a file's name here.
fn check_name(name: &str) -> Result<()> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = name.as_bytes();
    ensure!(
        bytes.len() <= 253 && bytes.iter().copied().all(inner) && edge(bytes.first()) && edge(bytes.last()),
        "{name:?} is no name for a Pod or namespace: lower-case letters, digits, '-' and '.', \
         beginning and ending with a letter or digit"
    );
    Ok(())
}

/// Addresses and MAC of the Pod's interface in a CNI result (1.0 and later).
fn addresses(result: &Value) -> Result<(Vec<IpNet>, Option<Mac>)> {
    let list = |key: &str| result.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |object: &Value, key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut ips = Vec::new();
    for ip in list("ips") {
        let address = text(&ip, "address").context("the result has an entry of ips without address")?;
        ips.push(address.parse().with_context(|| format!("the result's address {address:?} is none"))?);
    }
    ensure!(!ips.is_empty(), "the result has no addresses");
    let inside = |i: &&Value| text(i, "sandbox").is_some_and(|sandbox| !sandbox.is_empty());
    let mac = list("interfaces").iter().find(inside).and_then(|i| text(i, "mac"));
    Ok((ips, mac.map(|mac| mac.parse()).transpose().context("the result's mac is none")?))
}

fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0u8; N];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// 32 hexadecimal digits as Kubernetes writes a UID.
fn uid(hex: &str) -> String {
    let dash = |at: usize| matches!(at, 8 | 12 | 16 | 20);
    hex.chars().enumerate().flat_map(|(at, c)| dash(at).then_some('-').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_a_result() {
        let result = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "mido1", "mac": "02:6d:69:64:6f:01"},
                           {"name": "eth0", "mac": "0a:00:00:00:00:01", "sandbox": "/run/netns/x"}],
            "ips": [{"address": "10.244.1.3/24", "interface": 1}, {"address": "fd44:0:0:1::3/64"}],
        });
        let (ips, mac) = addresses(&result).unwrap();
        assert_eq!(
            ips.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.244.1.3/24", "fd44:0:0:1::3/64"]
        );
        assert_eq!(mac.unwrap().to_string(), "0a:00:00:00:00:01");
        assert!(addresses(&json!({"ips": []})).is_err());
        assert!(addresses(&json!({"ips": [{"address": "x"}]})).unwrap_err().to_string().contains("\"x\""));
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["", "..", "a/b", "A", "-a", "a-", "a_b", &"a".repeat(254)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["a", "default", "web-0", "a.b"] {
            check_name(good).unwrap();
        }
    }

    #[test]
    fn ids_have_their_form() {
        let hex = random_hex::<16>().unwrap();
        assert_ne!(hex, random_hex::<16>().unwrap());
        assert_eq!(uid("00112233445566778899aabbccddeeff"), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
