//! ADD and DEL, executed as a container runtime executes them: wall time from start to exit.

mod crowd;
mod density;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Family, Lab};
use serde_json::{Value, json};

use crate::context::{Bench, reference_plugins};
use crate::results::{Better, Part, Table};
use crate::runtime::Runtime;

/// What a DEL or the end of a namespace leaves to the kernel and to the agent is over by then, and does
/// not fall into the next case's time.
const SETTLE: Duration = Duration::from_millis(100);

/// Where a node's plugins are.
pub(super) const PLUGINS: &str = "/opt/cni/bin";

/// One kind of attachment of a Pod.
struct Case {
    name: &'static str,
    runtime: Runtime,
    plugin: PathBuf,
    path: String,
    config: Value,
}

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("add", "ADD and DEL of a Pod");
    part.note(
        "Wall time from starting the plugin to its exit, with the environment and standard input of a \
         container runtime; a new network namespace each time. Every case runs in a node of its own: network, \
         mount and PID namespaces. Ours talks to the real agent, and leaves the deletion of the \
         interface to it; the others have no agent, no chained plugins and no masquerading.",
    );
    part.note(
        "With IPv6 the Go plugins wait for duplicate address detection, which ours leaves out: on these \
         links nobody else could have the address.",
    );
    part.case("ours", "midonet-kube-cni with its own midonet-kube-ipam, in process");
    part.case("ours-host-local", "midonet-kube-cni executing the Go plugin host-local");
    part.case("ptp", "the Go plugins ptp and host-local");
    part.case("bridge", "the Go plugins bridge (gateway, hairpin: flannel's delegate) and host-local");
    part.tables.push(Table::new("add/version", "VERSION: starting and ending", "ms", Better::Lower, "ptp"));
    for (family, key, rounds) in
        [(Family::V4, "ipv4", bench.rounds * 3), (Family::Dual, "dual", bench.rounds)]
    {
        let title = if family == Family::V4 { "IPv4" } else { "IPv4 and IPv6" };
        for verb in ["ADD", "DEL"] {
            let id = format!("add/{key}-{}", verb.to_lowercase());
            part.tables.push(Table::new(&id, &format!("{verb}, {title}"), "ms", Better::Lower, "ptp"));
        }
        measure(bench, &mut part, family, key, rounds)?;
    }
    crowd::measure(bench, &mut part)?;
    density::measure(bench, &mut part)?;
    Ok(part)
}

fn measure(bench: &Bench, part: &mut Part, family: Family, key: &str, rounds: usize) -> Result<()> {
    bench.progress.step(&format!("add, {key}: nodes"));
    let ours = bench.lab("ours", family, 1, true)?;
    let peers = bench.lab("peers", family, 2, false)?;
    // Declared after the labs: the helpers end first.
    let mut cases = cases(bench, &ours, &peers)?;
    for round in 0..=rounds {
        for case in &mut cases {
            bench.check()?;
            bench.progress.detail(&format!("add, {key}: round {round} of {rounds}, {}", case.name));
            let (add, del) = once(case, &format!("{key}{round}"))
                .with_context(|| format!("case {} of add, {key}", case.name))?;
            let version = case.runtime.call(case.plugin.clone(), version_environment(), &case.config)?;
            // The first round fills caches.
            if round > 0 {
                part.record("add/version", case.name, version.milliseconds)?;
                part.record(&format!("add/{key}-add"), case.name, add)?;
                part.record(&format!("add/{key}-del"), case.name, del)?;
            }
        }
    }
    Ok(())
}

fn cases(bench: &Bench, ours: &Lab, peers: &Lab) -> Result<Vec<Case>> {
    let reference = reference_plugins(&["ptp", "bridge", "host-local"])?;
    let config = own_config(ours, "node1")?;
    let mut executing = config.clone();
    if let Some(kind) = executing.pointer_mut("/ipam/type") {
        *kind = json!("host-local");
    }
    let own = own_plugin(bench);
    let path = reference.display().to_string();
    let (ptp, bridge) = (peer_config(peers, "node1", ptp())?, peer_config(peers, "node2", bridge())?);
    Ok(vec![
        Case::new("ours", ours, "node1", own.clone(), PLUGINS.to_owned(), config)?,
        Case::new("ours-host-local", ours, "node1", own, format!("{PLUGINS}:{path}"), executing)?,
        Case::new("ptp", peers, "node1", reference.join("ptp"), path.clone(), ptp)?,
        Case::new("bridge", peers, "node2", reference.join("bridge"), path, bridge)?,
    ])
}

/// The plugin on the disk, where the others are, too, and where a node has it: a lab has its own copy in memory, whose
/// pages are mapped more slowly.
fn own_plugin(bench: &Bench) -> PathBuf {
    bench.binaries.join("midonet-kube-cni")
}

/// What the agent wrote for the runtime, as the runtime hands it to the plugin.
fn own_config(lab: &Lab, node: &str) -> Result<Value> {
    let init = lab.state()?.node(node)?.init;
    let path = format!("/proc/{}/root/etc/cni/net.d/10-midonet.conflist", init.pid);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let list: Value = serde_json::from_str(&text).with_context(|| format!("{path} is not JSON"))?;
    let mut config = list.pointer("/plugins/0").cloned().with_context(|| format!("{path} has no plugin"))?;
    for key in ["name", "cniVersion"] {
        let value = list.get(key).cloned().unwrap_or_default();
        config.as_object_mut().context("a plugin that is no object")?.insert(key.to_owned(), value);
    }
    Ok(config)
}

fn ptp() -> Value {
    json!({"type": "ptp", "name": "bench-ptp"})
}

fn bridge() -> Value {
    json!({"type": "bridge", "name": "bench-bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true})
}

/// A Go plugin's configuration with the node's podCIDRs.
fn peer_config(lab: &Lab, node: &str, mut config: Value) -> Result<Value> {
    let cidrs = lab.state()?.node(node)?.pod_cidrs.clone();
    let ranges: Vec<Value> = cidrs.iter().map(|cidr| json!([{"subnet": cidr}])).collect();
    let routes: Vec<Value> = cidrs
        .iter()
        .map(|cidr| json!({"dst": if cidr.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" }}))
        .collect();
    let object = config.as_object_mut().context("a configuration that is no object")?;
    object.insert("cniVersion".into(), json!("1.0.0"));
    object.insert("mtu".into(), json!(1450));
    object.insert("ipam".into(), json!({"type": "host-local", "ranges": ranges, "routes": routes}));
    Ok(config)
}

/// What a plugin does nothing but answer: the part of every other call that is not the network's.
fn version_environment() -> BTreeMap<String, String> {
    [("CNI_COMMAND".to_owned(), "VERSION".to_owned())].into()
}

/// ADD and DEL of one Pod in a namespace of its own: milliseconds.
fn once(case: &mut Case, id: &str) -> Result<(f64, f64)> {
    let container = case.container(id);
    case.make_namespace(&container)?;
    let add = case.runtime.call(case.plugin.clone(), case.environment("ADD", &container), &case.config)?;
    let mut config = case.config.clone();
    let result: Value = serde_json::from_str(&add.stdout).context("the result of ADD is not JSON")?;
    config.as_object_mut().context("a configuration that is no object")?.insert("prevResult".into(), result);
    let del = case.runtime.call(case.plugin.clone(), case.environment("DEL", &container), &config)?;
    case.runtime.ip(&format!("netns del {container}"))?;
    thread::sleep(SETTLE);
    Ok((add.milliseconds, del.milliseconds))
}

impl Case {
    fn new(
        name: &'static str,
        lab: &Lab,
        node: &str,
        plugin: PathBuf,
        path: String,
        config: Value,
    ) -> Result<Self> {
        Ok(Self { name, runtime: Runtime::start(lab, node)?, plugin, path, config })
    }

    /// A container id with this case's name in it.
    fn container(&self, id: &str) -> String {
        let name = self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        format!("bench-{name}-{id}")
    }

    fn make_namespace(&mut self, container: &str) -> Result<()> {
        self.runtime.ip(&format!("netns add {container}"))?;
        self.runtime.ip(&format!("-n {container} link set lo up"))
    }

    /// What a container runtime sets for this verb.
    fn environment(&self, verb: &str, container: &str) -> BTreeMap<String, String> {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME={container};\
             K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID={container}"
        );
        [
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", container.to_owned()),
            ("CNI_NETNS", format!("/run/netns/{container}")),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", self.path.clone()),
            ("CNI_ARGS", args),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}
