//! `midonet-kube-node check`, and the agent's start, name everything that a node lacks, and leave no trace.

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

const CHECK: &str = "$NODE check --node-name node1 --cluster-cidr 10.244.0.0/16,fd44::/48";

/// With the Nodes of the lab.
fn check(lab: &TestLab) -> String {
    format!("{CHECK} --manifests {}", lab.manifests().display())
}

#[test]
fn a_good_node_is_good_and_stays_as_it_is() {
    let lab = TestLab::without_agents(1, Family::Dual).unwrap();
    // In a virtual machine temporary files are below /run, those of other tests, too.
    let look = "ip -br link; nft list ruleset; \
        find /sys/fs/bpf /run /var/lib/midonet-kube-node /etc/cni -path /run/tmp -prune -o -print 2>/dev/null; \
        sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding";
    sh(&lab, "until [ $(cat /sys/class/net/eth0/operstate) = up ]; do sleep 0.1; done");
    let before = sh(&lab, look);
    let (good, said) = sh(&lab, &check(&lab));
    assert!(good && said.lines().count() >= 12 && said.lines().all(|line| line.starts_with("ok ")), "{said}");
    assert_eq!(sh(&lab, look), before);
    let (good, said) = sh(&lab, &format!("{} --hook clsact", check(&lab)));
    assert!(good && said.contains("eBPF programs at the overlay and the uplink: clsact filters"), "{said}");
    assert_eq!(sh(&lab, look), before);
    // Beside a running agent nothing is missing either.
    sh(&lab, "$NODE install");
    lab.start_agent("node1").unwrap();
    let (good, said) = sh(&lab, &check(&lab));
    assert!(good && said.lines().all(|line| line.starts_with("ok ")), "{said}");
    lab.stop_agent("node1").unwrap();
}

#[test]
fn everything_missing_is_reported_at_once() {
    let lab = TestLab::without_agents(1, Family::V4).unwrap();
    let break_it = "umount /sys/fs/bpf; mkdir -p /opt/cni/bin; ip link add other type vxlan id 5 dstport 4789 && ip link set other up && \
        mkdir -p /etc/cni/net.d && echo '{}' > /etc/cni/net.d/05-other.conf && \
        echo x > /run/midonet-kube-node";
    assert_eq!(sh(&lab, break_it), (true, String::new()));
    let few = "setpriv --bounding-set=-all,+net_admin,+sys_admin --inh-caps=-all";
    let (good, said) = sh(
        &lab,
        &format!("{few} {CHECK} --service-cidr 10.244.9.0/24 --manifests /nowhere --ipam-type host-local"),
    );
    assert!(!good, "{said}");
    for (what, remedy) in [
        ("INVALID  settings: --service-cidr 10.244.9.0/24 overlaps", ""),
        ("MISSING  capabilities", "CAP_BPF"),
        ("MISSING  the agent's directory /run/midonet-kube-node", "correct --state-dir"),
        ("MISSING  UDP port 4789", "remove that network"),
        (
            "MISSING  the IPAM plugin host-local: there is no program /opt/cni/bin/host-local",
            "install it there",
        ),
        ("MISSING  manifests in /nowhere", "correct --manifests"),
        ("MISSING  eBPF maps, programs and pins", "mount -t bpf bpf /sys/fs/bpf"),
        ("warning  the CNI configuration is the first", "05-other.conf"),
        ("ok       VXLAN devices", ""),
    ] {
        let line = said.lines().find(|line| line.starts_with(what));
        assert!(line.is_some_and(|line| line.contains(remedy)), "{what} ... {remedy} in:\n{said}");
    }
    assert!(said.contains("this node is not ready for the network: 1 invalid, "), "{said}");
    // The agent's start says the same of what it can see at once.
    let start = CHECK.replace(" check", "");
    let (started, said) = sh(&lab, &format!("{few} {start} --manifests /nowhere"));
    assert!(!started);
    for what in ["capabilities", "the agent's directory", "UDP port 4789", "manifests in /nowhere"] {
        assert!(said.contains(&format!("MISSING  {what}")), "{what} in {said}");
    }
    // And what only the kernel knows when it has to.
    sh(&lab, "rm /run/midonet-kube-node; ip link del other");
    let (started, said) = sh(&lab, &format!("{start} --manifests /tmp"));
    assert!(!started && said.contains("MISSING  eBPF maps, programs and pins"), "{said}");
}

#[test]
fn findings_are_printed_as_json_and_yaml() {
    let lab = TestLab::without_agents(1, Family::Dual).unwrap();
    let line = format!("{} --mtu 9000 -o json 2>/dev/null", check(&lab));
    let (good, said) = sh(&lab, &line);
    assert!(!good, "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["apiVersion"], "midokube.midonet.org/v1");
    assert_eq!(
        (&report["kind"], &report["node"], &report["ok"]),
        (&"Check".into(), &"node1".into(), &false.into())
    );
    let findings = report["findings"].as_array().unwrap();
    let bad: Vec<_> = findings.iter().filter(|finding| finding["state"] != "ok").collect();
    assert_eq!(bad.len(), 1, "{said}");
    assert_eq!((&bad[0]["what"], &bad[0]["state"]), (&"MTU".into(), &"invalid".into()));
    assert!(bad[0]["problem"].as_str().unwrap().starts_with("--mtu 9000 is too large: the uplink"), "{said}");
    assert!(bad[0]["remedy"].as_str().unwrap().contains("at most 1450"), "{said}");
    let (_, yaml) = sh(&lab, &line.replace("-o json", "-o yaml"));
    assert!(yaml.starts_with("apiVersion: midokube.midonet.org/v1\nkind: Check\n"), "{yaml}");
}

#[test]
fn a_port_that_is_in_use_is_reported() {
    let lab = TestLab::without_agents(1, Family::Dual).unwrap();
    let node = Target::Node("node1".into());
    let taken =
        lab.netns(&node).unwrap().run(|| std::net::TcpListener::bind("127.0.0.1:9454")).unwrap().unwrap();
    let (good, said) = sh(&lab, &check(&lab));
    let want =
        "MISSING  TCP port 9454 at 127.0.0.1 for probes and metrics: somebody else has it; look with `ss";
    assert!(!good && said.contains(want), "{said}");
    drop(taken);
    let (good, said) = sh(&lab, &format!("{} --http-listen 192.0.2.7:9454", check(&lab)));
    assert!(!good && said.contains("INVALID  TCP port 9454 at 192.0.2.7"), "{said}");
}

#[test]
fn an_mtu_that_is_too_large_leaves_the_node_unready() {
    let lab = TestLab::without_agents_yet(1, Family::V4, &["--mtu=9000"]).unwrap();
    let error = format!("{:#}", lab.start_agent("node1").unwrap_err());
    assert!(
        error.contains("--mtu 9000 is too large: the uplink") && error.contains("at most 1450"),
        "{error}"
    );
    lab.stop_agent("node1").unwrap();
}

#[test]
fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one() {
    let lab = TestLab::without_agents(1, Family::Dual).unwrap();
    for command in [check(&lab), "$NODE --help".into(), "$NODE check --help".into(), "$NODE --version".into()]
    {
        // Nobody reads: the pipe is closed before the program starts.
        let line = format!("bash -c '{{ sleep 0.3; {command}; echo ended with $? >&2; }} | true'");
        assert_eq!(sh(&lab, &line), (true, "ended with 0\n".to_owned()), "{command}");
        let (good, said) = sh(&lab, &format!("{command} > /dev/full"));
        let want =
            "midonet-kube-node: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((good, said.as_str()), (false, want), "{command}");
    }
    let (good, said) = sh(&lab, "bash -c '{ sleep 0.3; $NODE install; echo ended with $? >&2; } | true'");
    assert!(good && said == "ended with 0\n", "{said}");
    assert!(sh(&lab, "test -x /opt/cni/bin/midonet-kube-cni").0, "it does its work all the same");
}

#[test]
fn an_agent_outlives_its_log() {
    let lab = TestLab::without_agents(1, Family::Dual).unwrap();
    let agent = check(&lab).replace(" check", "");
    // Its standard error is a pipe that nobody reads any more.
    let (good, said) = sh(
        &lab,
        &format!(
            "bash -c '{{ {agent} & echo $! > /run/pid; }} 2>&1 | true; \
             for i in $(seq 600); do curl -sf -m5 http://127.0.0.1:9454/readyz && break; sleep 0.1; done; \
             kill $(cat /run/pid)'"
        ),
    );
    assert_eq!((good, said.as_str()), (true, "ready\n"));
}

#[test]
fn an_invalid_log_level_is_refused() {
    let lab = TestLab::without_agents(1, Family::Dual).unwrap();
    let (good, said) = sh(&lab, "MIDONETKUBE_LOG_LEVEL=verbose $NODE --node-name node1");
    assert!(
        !good && said.contains("\"verbose\" is no level: give a level (error, warn, info, debug, trace"),
        "{said}"
    );
}
