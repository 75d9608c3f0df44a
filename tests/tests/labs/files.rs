//! The agent's files on its node: they are restored after they were removed or replaced; what cannot be restored is a
//! problem. The pure parts are tested in `midonet-kube-node/src/drift`.

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::ping;
use lab::{Family, Target};

const SOCKET: &str = "/run/midonet-kube-node/api";

/// Exchanges two files: renameat2 with RENAME_EXCHANGE.
const EXCHANGE: &str = "import ctypes, sys; a, b = (name.encode() for name in sys.argv[1:]); \
    sys.exit(ctypes.CDLL(None).renameat2(-100, a, -100, b, 2))";

fn ready(lab: &TestLab) -> String {
    sh(lab, &node1(), "curl -s -m30 -w '%{http_code}' http://127.0.0.1:9454/readyz")
}

fn metric(lab: &TestLab, name: &str) -> u64 {
    let page = sh(lab, &node1(), "curl -sf -m30 http://127.0.0.1:9454/metrics");
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no metric {name} in {page}"))
}

fn repairs(lab: &TestLab, what: &str) -> u64 {
    metric(lab, &format!("midonet_kube_node_repairs_total{{what=\"{what}\"}}"))
}

fn problems(lab: &TestLab, what: &str) -> u64 {
    metric(lab, &format!("midonet_kube_node_problems{{what=\"{what}\"}}"))
}

#[test]
fn a_socket_that_is_removed_or_replaced_is_served_again() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let first = lab.add_pod("node1", "default", "first").unwrap();
    for (number, harm) in [
        "rm SOCKET",
        "rm -r /run/midonet-kube-node",
        "mv /run/midonet-kube-node /run/elsewhere; rm -r /run/elsewhere",
        "echo x > /run/file; mv -f /run/file SOCKET",
        "ln -s /dev/null /run/file; mv -f /run/file SOCKET",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/file\")'; mv -f /run/file SOCKET",
        "chmod 666 SOCKET",
    ]
    .into_iter()
    .enumerate()
    {
        let counted = repairs(&lab, "socket");
        sh(&lab, &node1(), &harm.replace("SOCKET", SOCKET));
        testkit::wait_until(DEADLINE, &format!("{harm}: the socket is made again"), || {
            repairs(&lab, "socket") > counted
        });
        assert_eq!(sh(&lab, &node1(), &format!("stat -c '%F %a %u' {SOCKET}")), "socket 600 0\n", "{harm}");
        assert_eq!(ready(&lab), "ready\n200", "{harm}");
        let another = lab.add_pod("node1", "default", &format!("p{number}")).unwrap();
        let netns = lab.netns(&pod(&another)).unwrap();
        for address in first.addresses() {
            ping(&netns, address, DEADLINE).unwrap_or_else(|error| panic!("{harm}: {error:#}"));
        }
        lab.delete_pod(&another.key).unwrap();
    }
    assert!(repairs(&lab, "lock") >= 2, "its directory was removed twice");
    // One agent a node, still.
    let program = testkit::bin("midonet-kube-node");
    let words = ["--node-name=node1", "--cluster-cidr=10.244.0.0/16", "--manifests=/run"];
    let second = lab.output(&node1(), program.to_str().unwrap(), &words).unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("another midonet-kube-node runs"), "{said}");
}

#[test]
fn a_socket_that_cannot_be_served_makes_the_node_not_ready() {
    let lab = TestLab::up(1, Family::V4, &[]).unwrap();
    // In one step: the agent is quick.
    sh(&lab, &node1(), &format!("mkdir /run/x; python3 -c '{EXCHANGE}' /run/x {SOCKET}"));
    testkit::wait_until(DEADLINE, "the node is not ready", || ready(&lab).ends_with("503"));
    let said = ready(&lab);
    assert!(said.contains("/api was replaced") && said.contains("no Pod can be added"), "{said}");
    sh(&lab, &node1(), &format!("rmdir {SOCKET}"));
    testkit::wait_until(DEADLINE, "the node is ready again", || ready(&lab) == "ready\n200");
    lab.add_pod("node1", "default", "a").unwrap();
}

#[test]
fn the_plugin_is_installed_again() {
    let lab = TestLab::up(1, Family::V4, &[]).unwrap();
    for harm in [
        "rm /opt/cni/bin/midonet-kube-cni",
        "rm /opt/cni/bin/midonet-kube-cni /opt/cni/bin/midonet-kube-ipam",
        "chmod 644 /opt/cni/bin/midonet-kube-cni",
        ": > /opt/cni/bin/midonet-kube-cni",
        "rm -r /opt/cni/bin/*",
    ] {
        let counted = repairs(&lab, "plugin");
        sh(&lab, &node1(), harm);
        testkit::wait_until(DEADLINE, &format!("{harm}: the plugin is back"), || {
            repairs(&lab, "plugin") > counted
        });
        let pod = lab.add_pod("node1", "default", "a").unwrap();
        lab.delete_pod(&pod.key).unwrap();
        assert_eq!(problems(&lab, "plugin"), 0, "{harm}");
    }
}

#[test]
fn a_configuration_that_sorts_first_and_a_missing_ipam_plugin_are_problems() {
    let lab = TestLab::up(1, Family::V4, &["--ipam-type", "midonet-kube-ipam"]).unwrap();
    assert_eq!(problems(&lab, "foreign_cni_config"), 0);
    sh(&lab, &node1(), "echo '{}' > /etc/cni/net.d/05-other.conflist");
    testkit::wait_until(DEADLINE, "it is told", || problems(&lab, "foreign_cni_config") == 1);
    let told = lab.status("node1").unwrap().problems;
    let about = told.iter().find(|problem| problem.what == "foreign_cni_config").unwrap();
    assert_eq!(about.object, "/etc/cni/net.d/05-other.conflist");
    assert!(about.remedy.contains("remove 05-other.conflist"), "{about:?}");
    // The node serves all the same: the runtime asks for the other network.
    assert_eq!(ready(&lab), "ready\n200");
    sh(&lab, &Target::Node("node1".into()), "rm /etc/cni/net.d/05-other.conflist");
    testkit::wait_until(DEADLINE, "it is over", || problems(&lab, "foreign_cni_config") == 0);
}
