//! The real kube-proxy in nftables mode, on a node of a lab.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::{Lab, Target};
use serde_json::json;

use crate::apiserver;

/// How long the rules of thousands of Services may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// One that runs.
pub(crate) struct KubeProxy<'a> {
    lab: &'a Lab,
    node: &'a str,
    process: Child,
    log: PathBuf,
}

impl<'a> KubeProxy<'a> {
    /// Starts it on a node whose Pods have addresses of this CIDR.
    pub(crate) fn start(
        lab: &'a Lab,
        node: &'a str,
        cidr: &str,
        files: &Path,
        kubeconfig: &Path,
    ) -> Result<Self> {
        let program = apiserver::program("kube-proxy")?;
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": node,
            "clientConnection": {"kubeconfig": kubeconfig},
            // What Pods of this node send is not masqueraded.
            "detectLocalMode": "ClusterCIDR",
            "clusterCIDR": cidr,
            // A setting of the machine, not of a node made of namespaces.
            "conntrack": {"maxPerCore": 0, "min": 0},
        });
        let path = files.join(format!("kube-proxy-{node}.json"));
        fs::write(&path, config.to_string()).context("kube-proxy's configuration")?;
        let log = files.join(format!("kube-proxy-{node}.log"));
        let output = fs::File::create(&log).context("a log")?;
        let mut command = Command::new(program);
        command.arg(format!("--config={}", path.display())).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let process = lab.enter(&Target::Node(node.to_owned()), &mut command)?;
        Ok(Self { lab, node, process, log })
    }

    /// Waits until so many ports of ClusterIPs are in the kernel.
    pub(crate) fn wait(&self, ports: usize) -> Result<()> {
        let begin = Instant::now();
        loop {
            let written = self.written()?;
            if written >= ports {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(5).collect();
                bail!("kube-proxy wrote {written} of {ports} Services: {}", end.join(" <- "));
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    fn written(&self) -> Result<usize> {
        let mut nft = Command::new("nft");
        nft.args(["list", "map", "ip", "kube-proxy", "service-ips"]).stdin(Stdio::null());
        nft.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = self.lab.enter(&Target::Node(self.node.to_owned()), &mut nft)?;
        let output = child.wait_with_output().context("nft")?;
        // There is no map before the first synchronization.
        Ok(String::from_utf8_lossy(&output.stdout).matches(" : goto ").count())
    }
}

impl Drop for KubeProxy<'_> {
    fn drop(&mut self) {
        // Its rules stay, and go with the node.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
