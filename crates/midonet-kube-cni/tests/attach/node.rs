//! A node in a namespace, with the plugin and Pods on it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use naming::alias::CLUSTER_NETWORK;
use serde_json::{Value, json};
use testkit::Namespace;

/// A node; everything on it goes with this value.
pub(crate) struct Node {
    pub(crate) host: Namespace,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: Value,
}

/// A sandbox of a Pod.
pub(crate) struct Sandbox {
    pub(crate) netns: Namespace,
    pub(crate) container_id: &'static str,
    pub(crate) pod: &'static str,
}

/// What the plugin answered.
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

impl Node {
    pub(crate) fn new(ipam_type: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let range = |subnet: &str, start: &str, gateway: &str| json!([{"subnet": subnet, "rangeStart": start, "gateway": gateway}]);
        let config = json!({
            "cniVersion": "1.1.0", "name": CLUSTER_NETWORK, "type": "midonet-kube-cni",
            "mtu": 1450, "socket": directory.path().join("run/api"),
            "ipam": {
                "type": ipam_type, "dataDir": directory.path().join("ipam"),
                "ranges": [
                    range("10.244.1.0/24", "10.244.1.3", "10.244.1.1"),
                    range("fd44:0:0:1::/64", "fd44:0:0:1::3", "fd44:0:0:1::1"),
                ],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        });
        Self { host: Namespace::new(), directory, config }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("run/api")
    }

    /// Runs the plugin for a sandbox with this configuration and these variables more.
    pub(crate) fn call(
        &self,
        verb: &str,
        sandbox: &Sandbox,
        config: &Value,
        more: &[(&str, &str)],
    ) -> Answer {
        let mut command = self.host.command(env!("CARGO_BIN_EXE_midonet-kube-cni"));
        command.env_clear();
        command.envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", sandbox.container_id),
            ("CNI_NETNS", sandbox.netns.path().to_str().unwrap()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", &format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", sandbox.pod)),
            ("CNI_PATH", &plugins()),
        ]);
        command.envs(more.iter().copied());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that ends before it has read everything says itself why.
        let _early = child.stdin.take().unwrap().write_all(config.to_string().as_bytes());
        Answer::of(&child.wait_with_output().unwrap())
    }

    pub(crate) fn add(&self, sandbox: &Sandbox) -> Answer {
        self.call("ADD", sandbox, &self.config, &[])
    }

    pub(crate) fn del(&self, sandbox: &Sandbox) -> Answer {
        self.call("DEL", sandbox, &self.config, &[])
    }

    /// The addresses that are reserved.
    pub(crate) fn reserved(&self) -> Vec<String> {
        let Ok(directory) = std::fs::read_dir(self.directory.path().join("ipam").join(CLUSTER_NETWORK))
        else {
            return vec![];
        };
        let names = directory.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            names.filter(|n| n != "lock" && !n.starts_with("last_reserved")).collect();
        names.sort();
        names
    }

    /// The host's interfaces but its loopback and what only waits to be deleted.
    pub(crate) fn interfaces(&self) -> Vec<plumbing::Link> {
        let links = self.host.run(plumbing::link::list).unwrap();
        links.into_iter().filter(|l| l.name != "lo" && !l.is_retired()).collect()
    }

    /// Whether nothing of any attachment is left.
    pub(crate) fn assert_clean(&self, sandbox: &Sandbox) {
        self.assert_released();
        assert!(!sandbox.has_interface());
    }

    /// Whether nothing of any attachment is left on the node. The sandbox's end goes with the node's, which the
    /// agent deletes.
    pub(crate) fn assert_released(&self) {
        assert_eq!(self.reserved(), Vec::<String>::new());
        assert_eq!(self.interfaces(), []);
    }
}

impl Sandbox {
    pub(crate) fn new(container_id: &'static str, pod: &'static str) -> Self {
        Self { netns: Namespace::new(), container_id, pod }
    }

    pub(crate) fn has_interface(&self) -> bool {
        self.netns.run(|| plumbing::link::find("eth0")).unwrap().is_some()
    }
}

impl Answer {
    /// What a program that ended had said.
    pub(crate) fn of(output: &Output) -> Self {
        let stdout = str::from_utf8(&output.stdout).unwrap();
        Self {
            ok: output.status.success(),
            json: serde_json::from_str(stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The result of a success.
    pub(crate) fn result(self) -> Value {
        assert!(self.ok, "{} {}", self.json, self.stderr);
        self.json
    }

    /// The code and the text of a failure.
    pub(crate) fn error(self) -> (u64, String) {
        assert!(!self.ok, "{}", self.json);
        (self.json["code"].as_u64().unwrap(), self.json["msg"].as_str().unwrap().to_owned())
    }
}

fn plugins() -> String {
    testkit::reference("cni/host-local").parent().unwrap().to_str().unwrap().to_owned()
}
