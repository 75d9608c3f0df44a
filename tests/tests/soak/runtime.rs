//! A container runtime's part, lean: threads that live in a node and execute the plugin there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use lab::Process;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};

const PLUGINS: &str = "/opt/cni/bin";

/// More than the plugin's own deadlines: 30 seconds for the lock of addresses, 10 for the agent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Moves this thread into a node: what it starts from now on runs there.
pub(crate) fn enter(node: Process) {
    let open = |kind: &str| File::open(format!("/proc/{}/ns/{kind}", node.pid)).unwrap();
    let [mounts, net, uts, pids] = ["mnt", "net", "uts", "pid"].map(open);
    // A thread that shares its directory with others may not change its mounts.
    unshare(CloneFlags::CLONE_FS).unwrap();
    for (namespace, kind) in [
        (net, CloneFlags::CLONE_NEWNET),
        (uts, CloneFlags::CLONE_NEWUTS),
        (pids, CloneFlags::CLONE_NEWPID),
        (mounts, CloneFlags::CLONE_NEWNS),
    ] {
        setns(namespace, kind).unwrap();
    }
}

/// Makes a network namespace under that name, in the node that this thread is in.
pub(crate) fn make_netns(name: &str) {
    testkit::run(Command::new("ip").args(["netns", "add", name]));
}

/// Lets go of it.
pub(crate) fn drop_netns(name: &str) {
    testkit::run(Command::new("ip").args(["netns", "delete", name]));
}

/// One call of the plugin.
pub(crate) struct Call {
    pub(crate) verb: &'static str,
    /// Empty for GC.
    pub(crate) container_id: String,
    /// The name of the network namespace.
    pub(crate) netns: String,
    /// The Pod's name.
    pub(crate) pod: String,
    pub(crate) config: Value,
}

/// How it ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// With this on its standard output.
    Succeeded(Value),
    /// With an error in the specification's form.
    Failed { code: u64, msg: String },
    /// By SIGKILL, somewhere in the middle.
    Killed,
}

impl Call {
    /// Executes the plugin; kills it after a while, unless it has ended by then.
    pub(crate) fn execute(&self, kill_after: Option<Duration>) -> Outcome {
        let mut command = Command::new(format!("{PLUGINS}/midonet-kube-cni"));
        command.env_clear().env("CNI_COMMAND", self.verb).env("CNI_PATH", PLUGINS);
        if !self.container_id.is_empty() {
            let args = format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=soak;K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={}",
                self.pod, self.container_id
            );
            command
                .env("CNI_CONTAINERID", &self.container_id)
                .env("CNI_IFNAME", "eth0")
                .env("CNI_ARGS", args);
            command.env("CNI_NETNS", format!("/run/netns/{}", self.netns));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // What it says and is told fits a pipe's buffer. One that is killed does not read.
        let _read = child.stdin.take().unwrap().write_all(self.config.to_string().as_bytes());
        if let Some(pause) = kill_after {
            thread::sleep(pause);
            child.kill().unwrap();
        }
        let in_time = has_ended(&child);
        if !in_time {
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        assert!(in_time, "{self:?} takes more than {PATIENCE:?}");
        let (mut said, mut stderr) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        match status.code() {
            None if kill_after.is_some() => Outcome::Killed,
            None => panic!("{self:?}: {status}: {said}{stderr}"),
            Some(0) => Outcome::Succeeded(self.result(&said)),
            Some(_) => self.error(&said),
        }
    }

    /// ADD has a result in the version of its configuration, the others have none.
    fn result(&self, said: &str) -> Value {
        if self.verb != "ADD" {
            assert_eq!(said, "", "{self:?}");
            return Value::Null;
        }
        let result: Value = serde_json::from_str(said).unwrap_or_else(|e| panic!("{self:?}: {e}: {said}"));
        assert_eq!(result["cniVersion"], self.config["cniVersion"], "{self:?}: {said}");
        result
    }

    /// The specification's "Error" (section 5).
    fn error(&self, said: &str) -> Outcome {
        let error: Value = serde_json::from_str(said).unwrap_or_else(|e| panic!("{self:?}: {e}: {said}"));
        let known = ["cniVersion", "code", "msg", "details"];
        assert!(
            error.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())),
            "{self:?}: {said}"
        );
        assert_eq!(error["cniVersion"], self.config["cniVersion"], "{self:?}: {said}");
        let (code, msg) = (error["code"].as_u64(), error["msg"].as_str());
        match (code, msg) {
            (Some(code), Some(msg)) if code > 0 && !msg.is_empty() => {
                Outcome::Failed { code, msg: msg.into() }
            }
            _ => panic!("{self:?}: {said}"),
        }
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} ({}) in {}", self.verb, self.pod, self.container_id, self.netns)
    }
}

/// Waits for a child by its descriptor: this thread's /proc knows other numbers.
fn has_ended(child: &Child) -> bool {
    // SAFETY: plain integers; the child was not waited for, so its number is its own.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(child.id()), 0) };
    // SAFETY: the kernel just gave us this descriptor, nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()) };
    let patience = PollTimeout::try_from(PATIENCE).unwrap();
    loop {
        match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], patience) {
            Err(nix::Error::EINTR) => {}
            ended => return ended.unwrap() > 0,
        }
    }
}

/// The node's configuration for one call, as libcni makes it of the list.
pub(crate) fn config(list: &Value, version: &str, more: &Value) -> Value {
    let mut config = list["plugins"][0].clone();
    let object = config.as_object_mut().unwrap();
    object.insert("name".into(), list["name"].clone());
    object.insert("cniVersion".into(), json!(version));
    object.extend(more.as_object().unwrap().clone());
    config
}
