//! The real flannel: its own daemon on each of two nodes, with the nodes' objects at a real API server, and Pods on a
//! bridge as its plugin makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::{Lab, Target};
use serde_json::{Value, json};

use super::{Node, bridged, make_bridge};
use crate::apiserver::ApiServer;
use crate::context;
use crate::manifests;
use crate::traffic;

/// How long it may take to give its node a subnet.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster's Pods.
const NETWORK: &str = "10.64.0.0/16";

/// Two nodes with flannel between them.
pub(crate) struct Flannel {
    // The order matters: its clients end before the server.
    daemons: Vec<Child>,
    _server: ApiServer,
}

impl Flannel {
    /// Starts it on the first two of these nodes; on the third runs the API server.
    pub(crate) fn start(lab: &Lab, nodes: [&str; 3], files: &Path) -> Result<Self> {
        let [near, far, control] = nodes;
        let program = program()?;
        let kubeconfig = files.join("kubeconfig");
        let server = ApiServer::start(lab, control, files, &kubeconfig)?;
        let network = files.join("net-conf.json");
        fs::write(&network, json!({"Network": NETWORK, "Backend": {"Type": "vxlan"}}).to_string())
            .context("flannel's configuration")?;
        let mut flannel = Self { daemons: Vec::new(), _server: server };
        for (number, node) in [(1, near), (2, far)] {
            let addresses = lab.state()?.node(node)?.addresses.clone();
            let mut object = manifests::node(node, &[format!("10.64.{number}.0/24")], &addresses);
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                // The controller manager's: flannel adds its own to those that there are, and ends where there are none.
                metadata.insert("annotations".to_owned(), json!({"node.alpha.kubernetes.io/ttl": "0"}));
            }
            flannel._server.create("/api/v1/nodes", &object)?;
            let subnet = files.join(format!("subnet-{node}.env"));
            let log = files.join(format!("flanneld-{node}.log"));
            let output = fs::File::create(&log).context("a log")?;
            let mut command = Command::new(&program);
            command.env("NODE_NAME", node).args(["--kube-subnet-mgr", "--ip-masq", "--iface=eth0"]);
            command.arg(format!("--kubeconfig-file={}", kubeconfig.display()));
            command.arg(format!("--net-config-path={}", network.display()));
            command.arg(format!("--subnet-file={}", subnet.display()));
            command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
            flannel.daemons.push(lab.enter(&Target::Node(node.to_owned()), &mut command)?);
            wait(&subnet, &log).with_context(|| format!("flannel on {node}"))?;
            let node = Node::new(lab, node);
            make_bridge(&node, &format!("10.64.{number}.1/24"))?;
            bridged(&node, "a", &format!("10.64.{number}.2/24"), &format!("10.64.{number}.1"))?;
        }
        Ok(flannel)
    }

    /// Between a Pod of each node.
    pub(crate) fn path(lab: &Lab, near: &str, far: &str) -> Result<traffic::Path> {
        let (near, far) = (Node::new(lab, near).netns("a")?, Node::new(lab, far).netns("a")?);
        Ok(traffic::Path::between(near, far, "10.64.2.2".parse()?))
    }
}

impl Drop for Flannel {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // One that has ended already is what was wanted.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// flannel says in a file what its plugin is to do, once its routes are there.
fn wait(subnet: &Path, log: &Path) -> Result<()> {
    let begin = Instant::now();
    while !subnet.is_file() {
        if begin.elapsed() > PATIENCE {
            let log = fs::read_to_string(log).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(5).collect();
            bail!("it has no subnet after {PATIENCE:?}: {}", end.join(" <- "));
        }
        thread::sleep(Duration::from_millis(50));
    }
    let text = fs::read_to_string(subnet).context("the subnet's file")?;
    let mtu = format!("FLANNEL_MTU={}", super::MTU);
    ensure!(text.lines().any(|line| line == mtu), "its Pods' MTU is not {}: {text}", super::MTU);
    Ok(())
}

fn program() -> Result<PathBuf> {
    let program = context::cache()?.join("flannel/flanneld");
    ensure!(
        program.is_file(),
        "{} is not there: run bench/flannel/build (make bench does)",
        program.display()
    );
    Ok(program)
}
