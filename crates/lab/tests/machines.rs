//! A lab without agents: machines, underlay, programs inside, and an end that leaves nothing. As root.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::probe::{self, EchoServer};
use lab::{Family, Lab, Options, Target};

mod common;

use common::{options, output, up};

const DEADLINE: Duration = Duration::from_secs(60);

fn node(index: u8) -> Target {
    Target::Node(format!("node{index}"))
}

/// What the host has: mounts, interfaces, and directories that a lab makes inside.
fn host() -> (BTreeSet<String>, BTreeSet<String>, Vec<bool>) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|l| !l.contains("/netns/")).map(str::to_owned).collect();
    let links = fs::read_dir("/sys/class/net").unwrap();
    let links = links.map(|l| l.unwrap().file_name().to_string_lossy().into_owned()).collect();
    let paths = ["/etc/cni/net.d", "/opt/cni/bin", "/var/lib/cni"].map(|p| Path::new(p).exists());
    (mounts, links, paths.to_vec())
}

#[test]
fn the_underlay_carries_every_protocol_in_both_families() {
    let lab = up(2, Family::Dual);
    let state = lab.state().unwrap();
    let (first, second) = (lab.netns(&node(1)).unwrap(), lab.netns(&node(2)).unwrap());
    let outside = lab.netns(&Target::Outside).unwrap();
    let beyond = lab::addresses(&Family::Dual.outside());
    let servers = [
        EchoServer::start(&second, &state.nodes[1].addresses).unwrap(),
        EchoServer::start(&outside, &beyond).unwrap(),
    ];
    for (target, seen) in
        state.nodes[1].addresses.iter().chain(&beyond).zip(state.nodes[0].addresses.iter().cycle())
    {
        assert_eq!(probe::tcp_echo(&first, *target, DEADLINE).unwrap(), *seen);
        assert_eq!(probe::udp_echo(&first, *target, DEADLINE).unwrap(), *seen);
        probe::ping(&first, *target, DEADLINE).unwrap();
    }
    drop(servers);
    let rate =
        probe::throughput(&first, &second, state.nodes[1].addresses[0], Duration::from_millis(200)).unwrap();
    assert!(rate.gigabits() > 0.01, "{rate:?}");
}

#[test]
fn a_probe_without_an_answer_fails_within_its_deadline() {
    let lab = up(1, Family::V4);
    let first = lab.netns(&node(1)).unwrap();
    let (nobody, deadline) = ("172.30.0.99".parse().unwrap(), Duration::from_millis(300));
    let start = std::time::Instant::now();
    assert!(probe::tcp_echo(&first, nobody, deadline).is_err());
    assert!(probe::udp_echo(&first, nobody, deadline).is_err());
    assert!(probe::ping(&first, nobody, deadline).is_err());
    assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
}

#[test]
fn a_machine_has_paths_processes_and_a_name_of_its_own() {
    let lab = up(2, Family::V4);
    assert_eq!(output(&lab, &node(1), "hostname", &[]), "node1\n");
    assert_eq!(output(&lab, &Target::Outside, "hostname", &[]), "outside\n");
    let script = "echo mine >/etc/cni/net.d/x && echo mine >/opt/cni/bin/x && echo mine >/var/lib/cni/x \
                  && echo mine >/run/x && mkdir /sys/fs/bpf/x && ls /sys/class/net && ls /proc | grep -c '^[0-9]'";
    let said = output(&lab, &node(1), "sh", &["-c", script]);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.contains(&"eth0") && lines.contains(&"lo"), "{said}");
    assert!(lines.last().unwrap().parse::<u32>().unwrap() < 8, "a machine sees the host's processes: {said}");
    for path in ["/etc/cni/net.d/x", "/opt/cni/bin/x", "/var/lib/cni/x", "/run/x", "/sys/fs/bpf/x"] {
        assert!(!Path::new(path).exists(), "{path} leaked to the host");
        let there = output(&lab, &node(2), "sh", &["-c", &format!("test -e {path} && echo yes || echo no")]);
        assert_eq!(there, "no\n", "{path} leaked to another node");
    }
    let manifest = lab.manifests().join("node-node2.yaml");
    let text = output(&lab, &node(1), "cat", &[manifest.to_str().unwrap()]);
    assert!(text.contains("podCIDR: 10.244.2.0/24"), "{text}");
}

/// Wherever a machine writes, it is its own, or cannot be written.
#[test]
fn nothing_that_a_machine_writes_reaches_the_host() {
    let lab = up(1, Family::V4);
    let name = format!("midokube-written-{}", std::process::id());
    let own = [
        "/run",
        "/etc/cni/net.d",
        "/opt/cni/bin",
        "/var/lib/cni",
        "/var/lib/midonet-kube-node",
        "/sys/fs/bpf",
    ];
    let others = ["", "/boot", "/etc", "/home", "/mnt", "/opt", "/root", "/srv", "/usr", "/usr/local/bin"];
    let more = ["/var", "/var/lib", "/var/tmp", "/var/log"];
    let paths = |directories: &[&str]| {
        directories.iter().map(|directory| format!("{directory}/{name}")).collect::<Vec<_>>().join(" ")
    };
    for target in [node(1), Target::Outside, Target::Fabric] {
        output(&lab, &target, "sh", &["-c", &format!("mkdir -p {}", paths(&own))]);
        let line = format!("mkdir -p {} 2>/dev/null; true", paths(&[&others[..], &more].concat()));
        output(&lab, &target, "sh", &["-c", &line]);
        let all = [&own[..], &others, &more].concat();
        let leaked: Vec<_> =
            all.iter().filter(|directory| fs::remove_dir(format!("{directory}/{name}")).is_ok()).collect();
        assert!(leaked.is_empty(), "{target:?} made it on the host in {leaked:?}");
    }
    // This is where they exchange files.
    let shared = tempfile::tempdir().unwrap();
    let file = shared.path().join("file");
    output(&lab, &node(1), "touch", &[file.to_str().unwrap()]);
    assert!(file.exists());
}

#[test]
fn an_orphan_is_reaped_by_pid_1() {
    let lab = up(1, Family::V4);
    output(&lab, &node(1), "sh", &["-c", "(sleep 0.2 &) ; exit 0"]);
    // While it runs, and as a zombie, it has this name.
    let names = || output(&lab, &node(1), "sh", &["-c", "cat /proc/[0-9]*/comm 2>/dev/null; true"]);
    let end = std::time::Instant::now() + DEADLINE;
    while names().contains("sleep") {
        assert!(std::time::Instant::now() < end, "{}", names());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn down_leaves_nothing_and_can_be_repeated() {
    let (mounts, links, paths) = host();
    let lab = Lab::up(&options(2, Family::Dual), &mut |_| {}).unwrap();
    let state = lab.state().unwrap();
    let processes: Vec<_> =
        state.nodes.iter().map(|n| n.init).chain(state.fabric).chain(state.outside).collect();
    let mut sleeper = lab.enter(&node(1), Command::new("sleep").arg("600")).unwrap();
    let sleeper = std::thread::spawn(move || sleeper.wait());
    let during = host();
    assert_eq!(during.1, links, "the host got an interface");
    assert_eq!(during.2, paths, "the host got a directory");
    assert!(during.0.is_subset(&mounts), "the host got a mount: {:?}", during.0.difference(&mounts));
    lab.down().unwrap();
    assert!(!sleeper.join().unwrap().unwrap().success(), "a process in a node outlived it");
    for process in processes {
        assert!(!process.alive());
        assert!(!Path::new(&format!("/proc/{}", process.pid)).exists(), "a zombie is left");
    }
    assert!(!lab.dir().exists());
    lab.down().unwrap();
    let hint = format!("`midokube-lab --dir {} up`", lab.dir().display());
    let error = Lab::open(lab.dir()).unwrap_err().to_string();
    assert!(error.contains(&hint), "{error}");
}

#[test]
fn a_foreign_process_with_a_recorded_id_is_not_killed() {
    let lab = up(1, Family::V4);
    // Start times count in hundredths of a second; the kernel does not give an id out again so soon.
    std::thread::sleep(Duration::from_millis(50));
    let mut foreign = Command::new("sleep").arg("60").spawn().unwrap();
    let path = lab.dir().join("lab.json");
    let mut record: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let init = lab.state().unwrap().nodes[0].init;
    record["nodes"][0]["init"]["pid"] = foreign.id().into();
    fs::write(&path, record.to_string()).unwrap();
    lab.down().unwrap();
    let lives = matches!(foreign.try_wait(), Ok(None));
    let _ = foreign.kill().and_then(|()| foreign.wait());
    init.kill(DEADLINE).unwrap();
    assert!(lives, "a foreign process was killed");
}

#[test]
fn a_second_lab_in_the_same_directory_is_refused() {
    let options = options(1, Family::V4);
    let lab = Lab::up(&options, &mut |_| {}).unwrap().guarded();
    let error = Lab::up(&options, &mut |_| {}).unwrap_err().to_string();
    let hint = format!("`midokube-lab --dir {} down`", lab.dir().display());
    assert!(error.contains("there is a lab") && error.contains(&hint), "{error}");
    assert_eq!(output(&lab, &node(1), "hostname", &[]), "node1\n");
}

#[test]
fn a_directory_with_other_files_is_refused_and_kept() {
    let options = options(1, Family::V4);
    fs::create_dir(&options.dir).unwrap();
    fs::write(options.dir.join("precious"), "x").unwrap();
    let error = Lab::up(&options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    assert!(options.dir.join("precious").exists());
    fs::remove_dir_all(&options.dir).unwrap();
}

#[test]
fn an_interrupted_up_leaves_nothing() {
    let cancelled = Arc::new(AtomicBool::new(false));
    let options = Options { cancelled: Arc::clone(&cancelled), ..options(3, Family::V4) };
    let error = Lab::up(&options, &mut |step| {
        cancelled.store(step.starts_with("node2"), Ordering::Relaxed);
    })
    .unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error:#}");
    assert!(!options.dir.exists());
}

#[test]
fn missing_binaries_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { agents: true, binaries: Some(dir.path().into()), ..options(1, Family::V4) };
    let error = Lab::up(&options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("midonet-kube-node") && error.contains("make build"), "{error}");
    assert!(!options.dir.exists());
}

#[test]
fn every_machine_has_a_network_of_its_own() {
    let lab = up(2, Family::V6);
    let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
    let state = lab.state().unwrap();
    let inits = state.nodes.iter().map(|n| n.init).chain(state.fabric).chain(state.outside);
    let inodes: BTreeSet<u64> =
        inits.map(|p| fs::metadata(format!("/proc/{}/ns/net", p.pid)).unwrap().ino()).collect();
    assert_eq!(inodes.len(), 4);
    assert!(!inodes.contains(&own));
}
