//! `midonet-kube-node check`, and the agent's start, name everything that a node lacks, and leave no trace.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use e2e::TestLab;
use lab::{Family, Target};

/// Runs a shell line on the node, where `$NODE` is the agent's program: whether it succeeded, what it said.
fn sh(lab: &TestLab, line: &str) -> (bool, String) {
    let program = testkit::bin("midonet-kube-node");
    let line = line.replace("$NODE", program.to_str().unwrap());
    let output = lab.output(&Target::Node("node1".into()), "sh", &["-c", &line]).unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

const CHECK: &str = "$NODE check --node-name node1 --cluster-cidr 10.244.0.0/16";

#[test]
fn a_good_node_is_good_and_stays_as_it_is() {
    let lab = TestLab::without_agents(1, Family::Dual).unwrap();
    let look = "ip -br link; nft list ruleset; find /sys/fs/bpf /run /var/lib/midonet-kube-node /etc/cni 2>/dev/null; \
        sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding";
    let before = sh(&lab, look);
    let (good, said) = sh(&lab, CHECK);
    assert!(good && said.lines().count() >= 12 && said.lines().all(|line| line.starts_with("ok ")), "{said}");
    assert_eq!(sh(&lab, look), before);
    // Beside a running agent nothing is missing either.
    sh(&lab, "$NODE install");
    lab.start_agent("node1").unwrap();
    let (good, said) = sh(&lab, CHECK);
    assert!(good, "{said}");
    lab.stop_agent("node1").unwrap();
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let lab = TestLab::without_agents(1, Family::V4).unwrap();
    let break_it = "umount /sys/fs/bpf; ip link add other type vxlan id 5 dstport 4789 && ip link set other up && \
        mkdir -p /etc/cni/net.d && echo '{}' > /etc/cni/net.d/05-other.conf && \
        echo x > /run/midonet-kube-node";
    assert_eq!(sh(&lab, break_it), (true, String::new()));
    let few = "setpriv --bounding-set=-all,+net_admin,+sys_admin --inh-caps=-all";
    let (good, said) = sh(&lab, &format!("{few} {CHECK} --service-cidr 10.244.9.0/24 --manifests /nowhere"));
    assert!(!good, "{said}");
    for (what, remedy) in [
        ("MISSING  settings: --service-cidr 10.244.9.0/24 overlaps", ""),
        ("MISSING  capabilities", "CAP_BPF"),
        ("MISSING  the agent's folder /run/midonet-kube-node", "correct --state-dir"),
        ("MISSING  UDP port 4789", "remove that network"),
        ("MISSING  manifests in /nowhere", "correct --manifests"),
        ("MISSING  eBPF maps, programs and pins", "mount -t bpf bpf /sys/fs/bpf"),
        ("warning  the CNI configuration is the first", "05-other.conf"),
        ("ok       VXLAN devices", ""),
    ] {
        let line = said.lines().find(|line| line.starts_with(what));
        assert!(line.is_some_and(|line| line.contains(remedy)), "{what} ... {remedy} in:\n{said}");
    }
    assert!(said.contains("things are missing on this node"), "{said}");
    // The agent's start says the same of what it can see at once.
    let start = CHECK.replace(" check", "");
    let (started, said) = sh(&lab, &format!("{few} {start} --manifests /nowhere"));
    assert!(!started);
    for what in ["capabilities", "the agent's folder", "UDP port 4789", "manifests in /nowhere"] {
        assert!(said.contains(&format!("MISSING  {what}")), "{what} in {said}");
    }
    // And what only the kernel knows when it has to.
    sh(&lab, "rm /run/midonet-kube-node; ip link del other");
    let (started, said) = sh(&lab, &format!("{start} --manifests /tmp"));
    assert!(!started && said.contains("MISSING  eBPF maps, programs and pins"), "{said}");
}
