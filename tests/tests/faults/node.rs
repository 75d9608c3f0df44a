//! A node with the real agent, and calls of the real plugin on it with an injected fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use e2e::{DEADLINE, TestLab, node1, sh};
use lab::{Family, Process};
use plumbing::{Link, NetNs};
use serde_json::{Value, json};

/// How long a call may take before it hangs: the plugin's own longest wait, for an agent, is 10 seconds.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) const PLUGIN: &str = "/opt/cni/bin/midonet-kube-cni";

/// What befalls a call.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    None,
    /// SIGKILL comes instead of this system call.
    Kill(SystemCall),
    /// This system call fails.
    Error(SystemCall, &'static str),
    /// It may have no more open files than that.
    Files(usize),
    /// None; what it calls is written to this file of the node.
    Trace(&'static str),
}

/// A system call of a process: its name, and the how manieth of that name it is, as strace counts.
#[derive(Debug, Clone)]
pub(crate) struct SystemCall {
    pub(crate) name: String,
    number: usize,
    /// Whether it may make a file.
    pub(crate) creates: bool,
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) json: Value,
}

/// A Pod's sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    pub(crate) name: &'static str,
    pub(crate) netns: NetNsPath,
}

/// The file of a sandbox's namespace, as the node knows it and as this test does.
#[derive(Debug, Clone)]
pub(crate) struct NetNsPath {
    inside: String,
    outside: PathBuf,
}

/// A node; it has one Pod, which nothing must happen to.
pub(crate) struct Node {
    pub(crate) lab: TestLab,
    pub(crate) config: Value,
    pub(crate) living: Sandbox,
    plugins: String,
    root: PathBuf,
    before: BTreeMap<&'static str, String>,
}

impl Fault {
    /// The plugin's command under this fault.
    fn command(&self) -> Command {
        let inject = match self {
            Self::None => return Command::new(PLUGIN),
            Self::Files(most) => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", &format!("ulimit -n {most} && exec {PLUGIN}")]);
                return command;
            }
            Self::Trace(_) => "trace=all".into(),
            Self::Kill(SystemCall { name, number, .. }) => {
                format!("inject={name}:signal=SIGKILL:when={number}")
            }
            Self::Error(SystemCall { name, number, .. }, error) => {
                format!("inject={name}:error={error}:when={number}")
            }
        };
        let file = if let Self::Trace(file) = self { file } else { "/dev/null" };
        let mut command = Command::new("strace");
        command.args(["-qq", "-o", file, "-e", "trace=all", "-e", &inject, PLUGIN]);
        command
    }
}

impl Node {
    pub(crate) fn new(family: Family, ipam: &str) -> Self {
        testkit::require_tool("strace", "apt-get install strace");
        let lab = TestLab::up(1, family, &[]).unwrap();
        let root = PathBuf::from(format!("/proc/{}/root", lab.state().unwrap().nodes[0].init.pid));
        let list = fs::read(root.join("etc/cni/net.d/10-midonet.conflist")).unwrap();
        let list: Value = serde_json::from_slice(&list).unwrap();
        let mut config = list["plugins"][0].clone();
        config["name"] = list["name"].clone();
        config["cniVersion"] = list["cniVersion"].clone();
        config["ipam"]["type"] = json!(ipam);
        let mut plugins = "/opt/cni/bin".to_owned();
        if ipam == "host-local" {
            let reference = testkit::reference("cni/host-local");
            plugins = format!("{plugins}:{}", reference.parent().unwrap().display());
        }
        let netns = NetNsPath { inside: String::new(), outside: PathBuf::new() };
        let living = Sandbox { name: "living", netns };
        let mut node = Self { lab, config, living, plugins, root, before: BTreeMap::new() };
        // One Pod came and went already: its network's directories are there.
        let first = node.sandbox("first");
        node.add(&first);
        node.delete(&first);
        node.living = node.sandbox("living");
        node.add(&node.living);
        node.settle();
        node.before = node.everything();
        node
    }

    pub(crate) fn sandbox(&self, name: &'static str) -> Sandbox {
        self.sh(&format!("ip netns add {name}"));
        let inside = format!("/run/netns/{name}");
        let outside = self.root.join(inside.trim_start_matches('/'));
        Sandbox { name, netns: NetNsPath { inside, outside } }
    }

    pub(crate) fn sh(&self, line: &str) -> String {
        sh(&self.lab, &node1(), line)
    }

    /// A file of the node, as this test sees it.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    pub(crate) fn call(&self, verb: &str, sandbox: &Sandbox, config: &Value, fault: &Fault) -> Answer {
        let what = || format!("{verb} of {} under {fault:?}", sandbox.name);
        let mut command = fault.command();
        command.env_clear().envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", sandbox.name),
            ("CNI_NETNS", &sandbox.netns.inside),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", &format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", sandbox.name)),
            ("CNI_PATH", &self.plugins),
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = self.lab.enter(&node1(), &mut command).unwrap();
        // It may have ended before it has read everything.
        let _cut = child.stdin.take().unwrap().write_all(config.to_string().as_bytes());
        if !Process::of(i32::try_from(child.id()).unwrap()).unwrap().wait(LONGEST).unwrap() {
            let _ended = child.kill();
            panic!("{} hangs", what());
        }
        let status = child.wait().unwrap();
        let mut stdout = String::new();
        child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let json = if stdout.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{}: {error}: {stdout}", what()))
        };
        Answer { status, json }
    }

    /// An ADD that works: the addresses.
    pub(crate) fn add(&self, sandbox: &Sandbox) -> BTreeSet<String> {
        let answer = self.call("ADD", sandbox, &self.config, &Fault::None);
        assert!(answer.status.success(), "{answer:?}");
        let ips = answer.json["ips"].as_array().unwrap();
        let text = |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        ips.iter().map(text).collect()
    }

    /// A DEL that works.
    pub(crate) fn delete(&self, sandbox: &Sandbox) {
        let answer = self.call("DEL", sandbox, &self.config, &Fault::None);
        assert!(answer.status.success(), "{answer:?}");
    }

    /// What the plugin asks the kernel for when all goes well, in order.
    pub(crate) fn system_calls(&self, verb: &str, sandbox: &Sandbox, config: &Value) -> Vec<SystemCall> {
        let file = "/run/trace";
        let answer = self.call(verb, sandbox, config, &Fault::Trace(file));
        assert!(answer.status.success(), "{answer:?}");
        let trace = fs::read_to_string(self.path(file)).unwrap();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let calls = trace.lines().filter_map(|line| line.split_once('(')).map(|(name, arguments)| {
            let count = counts.entry(name).or_default();
            *count += 1;
            SystemCall { name: name.to_owned(), number: *count, creates: arguments.contains("O_CREAT") }
        });
        // The first one starts it.
        let calls = calls.skip(1);
        calls.collect()
    }

    /// The addresses that are reserved for a sandbox.
    pub(crate) fn reserved(&self, sandbox: &Sandbox) -> BTreeSet<String> {
        let directory = self.path("/var/lib/cni/networks/midonet-pod-network");
        let files = fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
        let ours = |path: &PathBuf| {
            name(path).parse::<std::net::IpAddr>().is_ok()
                && fs::read_to_string(path).is_ok_and(|text| text == format!("{}\r\neth0", sandbox.name))
        };
        files.filter(ours).map(|path| name(&path)).collect()
    }

    /// What still passes a sandbox's packets: its interface on the node and the agent's port.
    pub(crate) fn used(&self, sandbox: &Sandbox) -> Vec<String> {
        let is_owner = |alias: &str| alias.split(' ').nth(1) == Some(sandbox.name);
        let living = |link: &Link| !is_retired(link) && is_owner(&link.alias);
        let links = self.links().into_iter().filter(living);
        let mut used: Vec<String> = links.map(|link| format!("interface {}", link.name)).collect();
        let ports = self.ports(sandbox).into_iter();
        used.extend(ports.map(|addresses| format!("port of {addresses:?}")));
        used
    }

    /// The agent's ports of a sandbox, by their addresses: without one nothing passes.
    pub(crate) fn ports(&self, sandbox: &Sandbox) -> Vec<Vec<String>> {
        let ports = self.lab.status("node1").unwrap().ports.into_iter();
        ports.filter(|port| port.container_id == sandbox.name).map(|port| port.addresses).collect()
    }

    /// Nothing is left of what a sandbox had.
    pub(crate) fn assert_released(&self, sandbox: &Sandbox, when: &Fault) {
        assert_eq!(self.reserved(sandbox), BTreeSet::new(), "{when:?}");
        // The agent detects what no call reported.
        let until = Instant::now() + DEADLINE;
        loop {
            let used = self.used(sandbox);
            if used.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "{when:?}: {used:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same, and nothing in the sandbox either.
    pub(crate) fn assert_gone(&self, sandbox: &Sandbox, when: &Fault) {
        self.assert_released(sandbox, when);
        let inner = NetNs::open(&sandbox.netns.outside).unwrap();
        // It may go with its host side, which the agent deletes a moment later.
        testkit::wait_until(DEADLINE, &format!("eth0 is gone after {when:?}"), || {
            let left = inner.run(plumbing::link::list).unwrap().unwrap();
            !left.iter().any(|link| link.name == "eth0")
        });
    }

    /// The sandbox itself goes.
    pub(crate) fn end(&self, sandbox: &Sandbox) {
        self.sh(&format!("ip netns del {}", sandbox.name));
    }

    /// Every address in use is reserved.
    pub(crate) fn assert_held(&self, sandbox: &Sandbox, when: &Fault) {
        let used = self.used(sandbox);
        let families = self.config["ipam"]["ranges"].as_array().unwrap().len();
        let reserved = self.reserved(sandbox);
        assert!(used.is_empty() || reserved.len() == families, "{when:?}: {used:?}, reserved {reserved:?}");
    }

    /// A container that comes now gets no address of one that lives, and leaves nothing.
    pub(crate) fn assert_another_gets_others(&self, another: &Sandbox, living: &[&Sandbox], when: &Fault) {
        let held: BTreeSet<String> = living.iter().flat_map(|sandbox| self.reserved(sandbox)).collect();
        let got = self.add(another);
        assert!(got.is_disjoint(&held), "{when:?}: {got:?} of {held:?}");
        self.delete(another);
        self.assert_gone(another, when);
    }

    /// All is as it was before the faults, and the Pod that lives has kept everything.
    pub(crate) fn assert_as_before(&self) {
        self.settle();
        assert_eq!(self.everything(), self.before);
        let addresses = self.reserved(&self.living);
        assert!(!addresses.is_empty());
        for address in addresses {
            lab::probe::ping(&self.lab.netns(&node1()).unwrap(), address.parse().unwrap(), DEADLINE).unwrap();
        }
    }

    /// Waits until the agent has deleted what the plugin only set down.
    pub(crate) fn settle(&self) {
        testkit::wait_until(DEADLINE, "retired interfaces go", || !self.links().iter().any(is_retired));
    }

    fn links(&self) -> Vec<Link> {
        self.lab.netns(&node1()).unwrap().run(plumbing::link::list).unwrap().unwrap()
    }

    fn everything(&self) -> BTreeMap<&'static str, String> {
        let map = |name: &str| {
            let dump = format!("bpftool -j map dump pinned $(ls /sys/fs/bpf/midonet-kube/maps/{name}-v*)");
            self.sh(&dump).matches("\"key\"").count().to_string()
        };
        BTreeMap::from([
            ("interfaces", self.sh("ls /sys/class/net")),
            ("directories", self.sh("ls /sys/fs/bpf/midonet-kube/* /etc/cni/net.d /run/midonet-kube-node")),
            // Which address was given last is no state of a Pod's, nor is the index.
            (
                "files",
                self.sh("find /var/lib/cni ! -name 'last_reserved_ip.*' ! -path '*/.owners/*/*' | sort"),
            ),
            ("endpoints", map("endpoints")),
            ("ports", map("ports")),
        ])
    }
}

impl Answer {
    /// Whether the fault killed it.
    pub(crate) fn killed(&self) -> bool {
        self.status.signal() == Some(9)
    }

    /// It is a success, or an error in the specification's form; whether it is a success.
    pub(crate) fn is_success(&self, what: &dyn std::fmt::Debug) -> bool {
        if self.status.success() {
            return true;
        }
        let error = &self.json;
        let code = error["code"].as_u64().unwrap_or_default();
        let says = error["msg"].as_str().is_some_and(|msg| !msg.is_empty());
        assert!(
            error["cniVersion"] == "1.1.0"
                && code != 0
                && code != 999
                && says
                && self.status.code() == Some(1),
            "{what:?}: {self:?}"
        );
        false
    }
}

/// What is down for good and waits for the agent to delete it.
fn is_retired(link: &Link) -> bool {
    link.is_retired() && !link.up
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
