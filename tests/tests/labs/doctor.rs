//! `midokube doctor` and `midokube sysdump` on nodes with planted faults.

use std::fs;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use e2e::services::{SERVICE_CIDRS, service};
use e2e::{DEADLINE, TestLab, api, node1, sh};
use lab::{Family, Target};
use plumbing::NetNs;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// Sends what is for other nodes' tunnels into the interface `sink`, of a length or of any.
const DIVERT: &str = "ip link show sink >/dev/null 2>&1 || ip link add sink type veth peer name sink-end; \
    ip link set sink-end up; ip link set sink up; \
    tc qdisc add dev eth0 clsact 2>/dev/null; \
    tc filter add dev eth0 egress protocol ip prio 7 u32 match ip protocol 17 0xff match ip dport 4789 0xffff";
const ALL: &str = "";
const LARGE: &str = "match u16 0x0580 0xff80 at 2";
const TO_SINK: &str = "action mirred egress redirect dev sink";
const CLEAR: &str = "tc filter del dev eth0 egress prio 7";

fn node(name: &str) -> Target {
    Target::Node(name.into())
}

/// What `midokube doctor` says of the agents at these sockets, and its exit status.
fn doctor(sockets: &[PathBuf]) -> (Value, Option<i32>) {
    let output = midokube("doctor", sockets).args(["-o", "json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_slice(&output.stdout);
    (document.unwrap_or_else(|error| panic!("{error}: {said}")), output.status.code())
}

fn midokube(command: &str, sockets: &[PathBuf]) -> Command {
    let mut run = Command::new(testkit::bin("midokube"));
    run.env_remove("MIDONETKUBE_SOCKET").args([command, "--this-node"]).stdin(Stdio::null());
    for socket in sockets {
        run.arg("--socket").arg(socket);
    }
    run
}

fn sockets(lab: &TestLab, count: u8) -> Vec<PathBuf> {
    (1..=count).map(|number| lab.socket(&format!("node{number}")).unwrap()).collect()
}

/// `what: object` of each finding.
fn named(document: &Value) -> Vec<String> {
    let findings = document["findings"].as_array().unwrap().iter();
    let word = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    findings.map(|finding| format!("{}: {}", word(finding, "what"), word(finding, "object"))).collect()
}

/// Asks until a finding of this kind is named with these words.
fn finds(sockets: &[PathBuf], what: &str, words: &[&str]) {
    let end = Instant::now() + DEADLINE;
    loop {
        let (document, code) = doctor(sockets);
        let findings = document["findings"].as_array().unwrap();
        let told = findings
            .iter()
            .filter(|finding| finding["what"] == what)
            .map(Value::to_string)
            .collect::<String>();
        if words.iter().all(|word| told.contains(word)) && !told.is_empty() {
            assert_eq!(code, Some(4), "{document:#}");
            return;
        }
        assert!(Instant::now() < end, "no {what} with {words:?} in {document:#}");
    }
}

fn is_healthy(sockets: &[PathBuf], when: &str) {
    let end = Instant::now() + DEADLINE;
    loop {
        let (document, code) = doctor(sockets);
        if named(&document).is_empty() {
            assert_eq!(code, Some(0), "{document:#}");
            return;
        }
        assert!(Instant::now() < end, "{when}: {document:#}");
    }
}

/// A network device that sends what comes to `sink` out of `eth0` as it is: checksums that are left to it stay undone.
struct Careless {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Careless {
    fn start(node: &NetNs) -> Self {
        let (from, to) = node.run(|| (packets("sink"), packets("eth0"))).unwrap();
        from.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // Past the filter that leads here.
        let bypass: libc::c_int = 1;
        // SAFETY: the pointer and the length are those of one integer that outlives the call.
        let set = unsafe {
            let length = libc::socklen_t::try_from(size_of_val(&bypass)).unwrap();
            libc::setsockopt(
                to.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const bypass).cast(),
                length,
            )
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        let stop = Arc::<AtomicBool>::default();
        let stopping = Arc::clone(&stop);
        let relay = move || {
            let mut frame = [0; 65_536];
            while !stopping.load(Ordering::Relaxed) {
                if let Ok(length) = (&from).read(&mut frame) {
                    to.send(&frame[..length]).unwrap();
                }
            }
        };
        Self { stop, thread: Some(std::thread::spawn(relay)) }
    }
}

impl Drop for Careless {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// All frames of an interface.
fn packets(interface: &str) -> Socket {
    let all = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(all)))).unwrap();
    let index = nix::net::if_::if_nametoindex(interface).unwrap();
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a `sockaddr_ll` is one of the kinds of addresses that the storage has space for.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    address.sll_protocol = all;
    address.sll_ifindex = i32::try_from(index).unwrap();
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
    // SAFETY: it was just filled in, up to this length.
    socket.bind(&unsafe { SockAddr::new(storage, length) }).unwrap();
    socket
}

#[test]
fn what_is_wrong_with_a_path_is_named_with_its_direction() {
    let lab = TestLab::up(2, Family::Dual, &[]).unwrap();
    let sockets = sockets(&lab, 2);
    is_healthy(&sockets, "at first");
    sh(&lab, &node1(), &format!("{DIVERT} {LARGE} {TO_SINK}"));
    finds(&sockets, "path_mtu", &["node1 -> node2", "1450 bytes", "--mtu"]);
    sh(&lab, &node1(), &format!("{CLEAR}; {DIVERT} {ALL} {TO_SINK}"));
    finds(&sockets, "path_filtered", &["node1 -> node2", "UDP 4789 is dropped one way"]);
    {
        let _device = Careless::start(&lab.netns(&node1()).unwrap());
        finds(&sockets, "path_checksum", &["node1 -> node2", "ethtool -K"]);
    }
    sh(&lab, &node1(), CLEAR);
    is_healthy(&sockets, "at last");
}

/// An agent that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = (self.0.kill(), self.0.wait());
    }
}

/// An agent of node3 with these arguments besides, and a secret in its environment.
fn agent(lab: &TestLab, arguments: &[&str]) -> Running {
    let cidrs: Vec<_> = lab.state().unwrap().cluster_cidrs.iter().map(ToString::to_string).collect();
    let mut log = tempfile::tempfile().unwrap();
    let mut command = Command::new(e2e::programs().join("midonet-kube-node"));
    command.args(["--node-name", "node3", "--cluster-cidr", &cidrs.join(",")]).args(arguments);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("OTHER_TOKEN", SECRET);
    command.env("MIDONETKUBE_CACHEDIR", format!("/run/token={SECRET}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.try_clone().unwrap());
    let mut running = Running(lab.enter(&node("node3"), &mut command).unwrap());
    testkit::wait_until(DEADLINE, "the agent of node3 answers", || {
        if running.0.try_wait().unwrap().is_some() {
            let mut said = String::new();
            log.rewind().unwrap();
            log.read_to_string(&mut said).unwrap();
            panic!("the agent of node3 ended: {said}");
        }
        lab.status("node3").is_ok()
    });
    running
}

#[test]
fn what_is_wrong_with_nodes_is_named() {
    let lab = TestLab::up(3, Family::Dual, &[SERVICE_CIDRS, "--max-services=2"]).unwrap();
    let sockets = sockets(&lab, 3);
    is_healthy(&sockets, "at first");
    sh(&lab, &node1(), "echo '{}' >/etc/cni/net.d/00-other.conflist");
    sh(&lab, &node("node2"), "ip link add kube-ipvs0 type veth");
    let twice =
        fs::read_to_string(lab.manifests().join("node-node2.yaml")).unwrap().replace("node2", "node9");
    fs::write(
        lab.manifests().join("node-node9.yaml"),
        twice.replace("172.30.0.12", "172.30.0.99").replace("fd30::c", "fd30::99"),
    )
    .unwrap();
    // Its frontends take all the eight rows that there are for two ports: for each family one of the ClusterIP and two of
    // the NodePort, and two of the external address.
    let mut service = service("TCP");
    service["spec"]["externalIPs"] = json!(["198.51.100.7"]);
    lab.write_manifest("web", &service).unwrap();
    finds(&sockets, "foreign_cni_config", &["00-other.conflist", "node1"]);
    finds(&sockets, "kube_proxy", &["kube-ipvs0", "node2"]);
    finds(&sockets, "pod_cidr", &["node9"]);
    finds(&sockets, "table_full", &["table services of Node node1", "--max-services"]);
    lab.stop_agent("node3").unwrap();
    // Without an API server that names the nodes, an agent that says nothing is known by its socket.
    finds(&sockets, "agent_silent", &["no process listens", &sockets[2].display().to_string()]);
    // Nobody listens there.
    let directory = api::kubeconfig();
    let _agent = agent(&lab, &["--kubeconfig", &directory.join("config").display().to_string()]);
    finds(&sockets, "agent_not_ready", &["Node node3", api::URL]);
    fs::remove_dir_all(directory).unwrap();
}

/// No byte of it may be in an archive.
const SECRET: &str = "hunter2-Tr0ub4dor";

fn sysdump(sockets: &[PathBuf], file: &Path, more: &[&str]) -> Output {
    midokube("sysdump", sockets).arg(file).args(more).output().unwrap()
}

/// The files of an archive, by their names.
fn unpack(archive: &Path) -> Vec<(String, String)> {
    testkit::require_tool("tar", "apt-get install tar");
    let directory = archive.with_extension("d");
    fs::create_dir(&directory).unwrap();
    let line = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(&directory).output().unwrap();
    assert!(line.status.success(), "{line:?}");
    let mut files = Vec::new();
    let mut directories = vec![directory.clone()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(directory.join("midokube-sysdump")).unwrap();
            files.push((name.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    files
}

#[test]
fn an_archive_has_all_but_secrets_and_names_who_does_not_answer() {
    let lab = TestLab::up(3, Family::Dual, &[]).unwrap();
    let sockets = sockets(&lab, 3);
    let directory = tempfile::tempdir().unwrap();
    lab.stop_agent("node2").unwrap();
    lab.stop_agent("node3").unwrap();
    let manifests = lab.manifests().display().to_string();
    let _agent = agent(&lab, &["--manifests", &manifests]);
    sh(
        &lab,
        &node("node3"),
        &format!("echo '{{\"token\": \"{SECRET}\"}}' >/etc/cni/net.d/99-other.conflist"),
    );
    let file = directory.path().join("all.tar.gz");
    let output = sysdump(&sockets, &file, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("3 nodes: at most ") && said.contains("all.tar.gz: "), "the size is told: {said}");
    assert!(said.contains("missing: nodes/"), "who does not answer is named: {said}");
    let files = unpack(&file);
    let text =
        |name: &str| &files.iter().find(|(one, _)| one == name).unwrap_or_else(|| panic!("{name}: {said}")).1;
    for (name, text) in &files {
        assert!(!text.contains(SECRET), "a secret is in {name}");
    }
    for name in [
        "status.json",
        "services.json",
        "connections.json",
        "policies.json",
        "drops.json",
        "facts.json",
        "kernel.txt",
    ] {
        assert!(text(&format!("nodes/node1/{name}")).len() > 10, "{name}");
    }
    let settings = text("nodes/node3/agent.json");
    assert!(settings.contains("OTHER_TOKEN") && settings.contains("[redacted]"), "{settings}");
    assert!(text("nodes/node3/cni.txt").contains("99-other.conflist"));
    assert!(text("doctor.json").contains("agent_silent") && text("index.json").contains("missing"));
    // On a node there is the page of metrics, too.
    let here = directory.path().join("here.tar.gz");
    let program = testkit::bin("midokube");
    let arguments = ["sysdump", "--this-node", here.to_str().unwrap()];
    let output = lab.output(&node1(), program.to_str().unwrap(), &arguments).unwrap();
    let files = unpack(&here);
    let page = files.iter().find(|(name, _)| name == "nodes/node1/metrics.txt");
    assert!(page.is_some_and(|(_, page)| page.contains("midonet_kube_node_")), "{output:?}");
    // What is there is not overwritten, and what fails leaves nothing.
    let before = fs::read(&file).unwrap();
    let output = sysdump(&sockets[..1], &file, &[]);
    assert!(
        output.status.code() == Some(1) && String::from_utf8_lossy(&output.stderr).contains("--force"),
        "{output:?}"
    );
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(sysdump(&sockets[..1], &file, &["--force"]).status.code() != Some(1));
    assert_ne!(fs::read(&file).unwrap(), before);
    let streamed = sysdump(&sockets[..1], Path::new("-"), &[]);
    assert_eq!(streamed.stdout.get(..2), Some(&[0x1f, 0x8b][..]), "{streamed:?}");
}
