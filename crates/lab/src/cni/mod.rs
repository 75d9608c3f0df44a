//! The container runtime's part: runs the real plugin inside a node, as containerd does.

pub(crate) mod config;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::enter::{self, Namespaces};
use crate::process::Process;
use crate::state::Pod;
use config::{Call, ConfigList};

/// Where a node's configuration lists are, and its plugins.
const CONFIG_DIR: &str = "/etc/cni/net.d";
const PLUGIN_DIR: &str = "/opt/cni/bin";

/// How long one call of a plugin may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The first configuration list of the node, by file name; `None` when it has none (yet).
pub(crate) fn config(init: Process) -> Result<Option<ConfigList>> {
    let dir = format!("/proc/{}/root{CONFIG_DIR}", init.pid);
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))?;
    let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "conflist"));
    paths.sort();
    let Some(path) = paths.first() else { return Ok(None) };
    let read = || ConfigList::parse(&fs::read_to_string(path)?);
    read().map(Some).with_context(|| format!("cannot use CNI configuration {}", path.display()))
}

fn need_config(init: Process) -> Result<ConfigList> {
    config(init)?.with_context(|| {
        format!("the node has no CNI configuration in {CONFIG_DIR}: its agent is not ready, see its log")
    })
}

/// ADD: the last plugin's result.
pub(crate) fn add(init: Process, pod: &Pod) -> Result<Value> {
    let list = need_config(init)?;
    let mut result = None;
    for plugin in list.forward() {
        let call = list.call(plugin, result.as_ref(), &pod.capability_args)?;
        let output = run(init, pod, "ADD", &call)?;
        result = Some(serde_json::from_str(&output).with_context(|| {
            format!("ADD of Pod {}: the result of {} is not JSON: {output:?}", pod.key, call.plugin)
        })?);
    }
    result.context("no plugin gave a result")
}

/// CHECK, with the result that ADD gave.
pub(crate) fn check(init: Process, pod: &Pod) -> Result<()> {
    let list = need_config(init)?;
    list.forward().try_for_each(|plugin| {
        run(init, pod, "CHECK", &list.call(plugin, previous(pod), &pod.capability_args)?).map(drop)
    })
}

/// DEL, with the result that ADD gave, if it gave one.
pub(crate) fn delete(init: Process, pod: &Pod) -> Result<()> {
    let list = need_config(init)?;
    list.backward().try_for_each(|plugin| {
        run(init, pod, "DEL", &list.call(plugin, previous(pod), &pod.capability_args)?).map(drop)
    })
}

fn previous(pod: &Pod) -> Option<&Value> {
    Some(&pod.result).filter(|result| !result.is_null())
}

/// One call of a plugin: its standard output.
fn run(init: Process, pod: &Pod, verb: &str, call: &Call) -> Result<String> {
    let what = || format!("{verb} of Pod {} by {} on {}", pod.key, call.plugin, pod.node);
    let mut command = Command::new(Path::new(PLUGIN_DIR).join(&call.plugin));
    command
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", &pod.container_id)
        .env("CNI_NETNS", pod.netns())
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", PLUGIN_DIR)
        .env("CNI_ARGS", arguments(pod))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Namespaces::open(init, None)?.spawn(&mut command).with_context(what)?;
    // Both fit a pipe's buffer: a plugin that answers more blocks and meets the deadline.
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says itself why; it is to be waited for all the same.
        let _ = stdin.write_all(call.config.to_string().as_bytes());
    }
    let status = enter::wait(&mut child, DEADLINE).with_context(what)?;
    let stdout = text(child.stdout.take()).with_context(what)?;
    let stderr = text(child.stderr.take()).with_context(what)?;
    if !status.success() {
        bail!("{} failed ({status}): {}", what(), config::failure(&stdout, &stderr));
    }
    Ok(stdout)
}

fn text(stream: Option<impl Read>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// CNI_ARGS as kubelet's runtimes send it.
fn arguments(pod: &Pod) -> String {
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        pod.key.namespace, pod.key.name, pod.container_id, pod.uid
    )
}
