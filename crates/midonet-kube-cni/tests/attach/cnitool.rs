//! The specification's own runtime, `cnitool` on libcni, in front of the plugin.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::node::{Answer, Node, Sandbox};

/// The network's name in every configuration here.
const NETWORK: &str = naming::alias::CLUSTER_NETWORK;

/// A configuration list on a node, and what libcni caches of it.
pub(crate) struct Cnitool<'a> {
    node: &'a Node,
    directory: PathBuf,
}

impl<'a> Cnitool<'a> {
    /// Writes the list of these plugins in that version of the specification.
    pub(crate) fn new(node: &'a Node, version: &str, plugins: &[Value]) -> Self {
        let directory = node.directory.path().join(testkit::unique("list"));
        for name in ["net.d", "bin", "var"] {
            std::fs::create_dir_all(directory.join(name)).unwrap();
        }
        for name in ["midonet-kube-cni", "midonet-kube-ipam"] {
            symlink(env!("CARGO_BIN_EXE_midonet-kube-cni"), directory.join("bin").join(name)).unwrap();
        }
        let list = json!({"cniVersion": version, "name": NETWORK, "plugins": plugins});
        std::fs::write(directory.join("net.d/10-net.conflist"), list.to_string()).unwrap();
        Self { node, directory }
    }

    /// `cnitool VERB`; `more` are variables, such as `CAP_ARGS`.
    pub(crate) fn run(&self, verb: &str, sandbox: &Sandbox, more: &[(&str, &str)]) -> Answer {
        // libcni caches results below /var/lib/cni: the node has its own.
        let script = "mount --bind \"$1\" /var/lib && shift && exec \"$@\"";
        let mut command = self.node.host.command("unshare");
        command.args(["--mount", "sh", "-ec", script, "sh"]).arg(self.directory.join("var"));
        command.arg(testkit::reference("cnitool")).args([verb, NETWORK]).arg(sandbox.netns.path());
        let plugins = testkit::reference("cni/host-local");
        let path =
            format!("{}:{}", self.directory.join("bin").display(), plugins.parent().unwrap().display());
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", sandbox.pod);
        command
            .env("NETCONFPATH", self.directory.join("net.d"))
            .envs([("CNI_PATH", path.as_str()), ("CNI_ARGS", &args)])
            .envs(more.iter().copied());
        let output = command.stdin(Stdio::null()).output().unwrap();
        Answer::of(&output)
    }

    /// A verb that must succeed, and what it printed.
    pub(crate) fn must(&self, verb: &str, sandbox: &Sandbox) -> Value {
        self.run(verb, sandbox, &[]).result()
    }

    /// The file in which libcni keeps an attachment's result.
    pub(crate) fn cached(&self) -> Option<PathBuf> {
        let files = std::fs::read_dir(self.directory.join("var/cni/results")).ok()?;
        files.map(|file| file.unwrap().path()).next()
    }
}
