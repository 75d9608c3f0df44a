//! Pods' ports survive lost pins and maps, renamed interfaces and a changed podCIDR. What cannot be repaired is reported
//! with its remedy.

use std::fs;
use std::net::IpAddr;

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::ping;
use lab::{Family, Pod, Target};
use nodeapi::v1::Problem;

const PINS: &str = "/sys/fs/bpf/midonet-kube";
const RESERVATIONS: &str = "/var/lib/cni/networks/midonet-pod-network";
/// A host of the world outside.
const OUTSIDE: &str = "192.0.2.1";

fn reaches(lab: &TestLab, from: &Target, to: &[IpAddr], when: &str) {
    let netns = lab.netns(from).unwrap();
    for address in to {
        ping(&netns, *address, DEADLINE).unwrap_or_else(|e| panic!("{when}: {from:?} to {address}: {e:#}"));
    }
}

/// Before Linux 6.2 an interface that is up cannot be renamed. An agent that runs may have its name put back, and set it up,
/// before the next command.
const RENAME: &str = "rename() { ip link set $1 name $2 2>/dev/null || { for _ in $(seq 100); do \
    ip link set $1 down; ip link set $1 name $2 2>/dev/null || continue; ip link set $2 up 2>/dev/null || true; return 0; \
    done; return 1; }; };";

/// Two nodes; two Pods on the first and one on the second.
struct Scene {
    lab: TestLab,
    a: Pod,
    b: Pod,
    far: Pod,
}

impl Scene {
    fn new(agent_args: &[&str]) -> Self {
        let lab = TestLab::up(2, Family::Dual, agent_args).unwrap();
        let add = |node: &str, name: &str| lab.add_pod(node, "default", name).unwrap();
        let (a, b, far) = (add("node1", "a"), add("node1", "b"), add("node2", "far"));
        let scene = Self { lab, a, b, far };
        scene.everything_works("at first");
        scene
    }

    fn everything_works(&self, when: &str) {
        let world = vec![OUTSIDE.parse().unwrap()];
        for to in [self.b.addresses(), self.far.addresses(), world] {
            reaches(&self.lab, &pod(&self.a), &to, when);
        }
        reaches(&self.lab, &pod(&self.far), &self.a.addresses(), when);
        reaches(&self.lab, &node1(), &self.a.addresses(), when);
    }

    fn kill_agent(&self) {
        self.lab.state().unwrap().node("node1").unwrap().agent.unwrap().kill(DEADLINE).unwrap();
        self.lab.stop_agent("node1").unwrap();
    }

    /// What the agent has to tell of Pods' ports.
    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.lab.status("node1").unwrap().problems;
        problems.retain(|problem| problem.what.starts_with("pod_"));
        problems
    }

    /// All is as it was before: the same ports, nothing to tell.
    fn nothing_is_lost(&self, when: &str) {
        self.everything_works(when);
        let ready = || self.lab.status("node1").unwrap().agent.unwrap().ready;
        testkit::wait_until(DEADLINE, &format!("{when}: the agent is ready"), ready);
        let status = self.lab.status("node1").unwrap();
        let mut ports: Vec<_> = status.ports.iter().map(|port| (port.name.as_str(), &port.mac)).collect();
        ports.sort();
        assert_eq!(ports.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "b"], "{when}");
        assert_eq!((self.problems(), status.leaks), (vec![], vec![]), "{when}");
        self.lab.check_pod(&self.a.key).unwrap();
        let new = self.lab.add_pod("node1", "default", "new").unwrap();
        reaches(&self.lab, &pod(&new), &self.far.addresses(), when);
        self.lab.delete_pod(&new.key).unwrap();
    }
}

#[test]
fn without_pins_an_agent_takes_over_what_is_attached() {
    for hook in [&[][..], &["--hook=clsact"]] {
        let scene = Scene::new(hook);
        for (when, lose) in [
            ("another network's clean-up removed the pins", format!("rm -r {PINS}")),
            ("another BPF file system hides them", "mount -t bpf bpf /sys/fs/bpf".to_owned()),
        ] {
            scene.kill_agent();
            sh(&scene.lab, &node1(), &lose);
            // Until there is an agent, what does not depend on a pinned link goes on.
            reaches(&scene.lab, &pod(&scene.a), &scene.b.addresses(), when);
            scene.lab.start_agent("node1").unwrap();
            scene.nothing_is_lost(when);
            let kept = sh(&scene.lab, &node1(), &format!("ls {PINS}"));
            assert_eq!(
                kept.split_whitespace().collect::<Vec<_>>(),
                ["links", "maps", "new", "programs"],
                "{when}"
            );
        }
    }
}

#[test]
fn without_maps_ports_are_made_again_of_aliases_and_reservations() {
    let scene = Scene::new(&[]);
    let lose_everything = || {
        scene.kill_agent();
        let block = "tc filter del block 28009 2>/dev/null || true";
        sh(&scene.lab, &node1(), &format!("rm -r {PINS}; {block}; ip link del midokube-vxlan"));
    };
    lose_everything();
    scene.lab.start_agent("node1").unwrap();
    scene.nothing_is_lost("without maps");

    // Nobody knows b's addresses any more.
    lose_everything();
    for address in scene.b.addresses() {
        sh(&scene.lab, &node1(), &format!("rm {RESERVATIONS}/{address}"));
    }
    scene.lab.start_agent("node1").unwrap();
    reaches(&scene.lab, &pod(&scene.a), &scene.far.addresses(), "without b's reservations");
    let told = |problem: &Problem| {
        problem.what == "pod_interface"
            && problem.object.contains("default/b")
            && problem.problem.contains("no address is reserved")
            && problem.remedy == "delete the Pod"
    };
    testkit::wait_until(DEADLINE, "it is told", || scene.problems().iter().any(told));
    scene.lab.delete_pod(&scene.b.key).unwrap();
    testkit::wait_until(DEADLINE, "the problem is gone with the Pod", || scene.problems().is_empty());
}

#[test]
fn a_pods_interface_is_its_own_by_its_number() {
    let scene = Scene::new(&[]);
    let outer = naming::pod_host_interface(&scene.a.key);
    let other = naming::pod_host_interface(&scene.b.key);
    let all = "for i in /sys/class/net/mido*; do echo $(cat $i/ifindex) ${i##*/}; done | sort";
    let links = || sh(&scene.lab, &node1(), all);
    let before = links();
    for break_it in [
        "ip link set OUTER alias ''",
        "ip link set OUTER alias 'uplink of rack 7'",
        "ip link set OUTER alias ''; rename OUTER bugveth0",
        "rename OUTER swap; rename OTHER OUTER; rename swap OTHER || true",
    ] {
        // While no agent runs, and while one does.
        for running in [false, true] {
            if !running && break_it.contains("alias") {
                continue;
            }
            if !running {
                scene.lab.stop_agent("node1").unwrap();
            }
            sh(
                &scene.lab,
                &node1(),
                &format!("{RENAME} {}", break_it.replace("OUTER", &outer).replace("OTHER", &other)),
            );
            if !running {
                scene.lab.start_agent("node1").unwrap();
            }
            let alias = format!("cat /sys/class/net/{outer}/ifalias 2>/dev/null || true");
            testkit::wait_until(DEADLINE, &format!("{break_it} is repaired"), || {
                links() == before && sh(&scene.lab, &node1(), &alias).contains("default/a ")
            });
            scene.nothing_is_lost(break_it);
        }
    }
}

#[test]
fn an_interface_that_lost_its_alias_while_no_agent_ran_keeps_its_network() {
    let scene = Scene::new(&[]);
    let outer = naming::pod_host_interface(&scene.a.key);
    scene.lab.stop_agent("node1").unwrap();
    sh(&scene.lab, &node1(), &format!("{RENAME} ip link set {outer} alias ''; rename {outer} bugveth0"));
    scene.lab.start_agent("node1").unwrap();
    scene.everything_works("without an alias");
    let told = |problem: &Problem| problem.what == "pod_interface" && problem.problem.contains("bugveth0");
    testkit::wait_until(DEADLINE, "it is told", || scene.problems().iter().any(told));
    // DEL finds it by its container side.
    scene.lab.delete_pod(&scene.a.key).unwrap();
    testkit::wait_until(DEADLINE, "nothing is left of it", || {
        let links = sh(&scene.lab, &node1(), "ip -o link show");
        let status = scene.lab.status("node1").unwrap();
        status.ports.len() == 1 && scene.problems().is_empty() && !links.contains("bugveth0")
    });
}

#[test]
fn del_finds_a_renamed_interface_while_no_agent_runs() {
    let scene = Scene::new(&[]);
    let outer = naming::pod_host_interface(&scene.a.key);
    scene.lab.stop_agent("node1").unwrap();
    sh(&scene.lab, &node1(), &format!("{RENAME} rename {outer} bugveth0"));
    scene.lab.delete_pod(&scene.a.key).unwrap();
    scene.lab.start_agent("node1").unwrap();
    testkit::wait_until(DEADLINE, "nothing is left of it", || {
        let links = sh(&scene.lab, &node1(), "ip -o link show");
        scene.lab.status("node1").unwrap().ports.len() == 1 && !links.contains("bugveth0")
    });
}

/// As when a Node is deleted and its kubelet started again: node1 gets another podCIDR, node2 node1's former one.
#[test]
fn a_changed_pod_cidr_is_told_and_hides_no_other_node() {
    let lab = TestLab::up(3, Family::Dual, &[]).unwrap();
    let add = |node: &str, name: &str| lab.add_pod(node, "default", name).unwrap();
    let (old, third) = (add("node1", "old"), add("node3", "third"));
    reaches(&lab, &pod(&old), &third.addresses(), "before");
    let change = |node: &str, from: [&str; 2], to: [&str; 2]| {
        let path = lab.manifests().join(format!("node-{node}.yaml"));
        let text = fs::read_to_string(&path).unwrap();
        let new = text.replace(from[0], to[0]).replace(from[1], to[1]);
        assert_ne!(new, text);
        fs::write(&path, new).unwrap();
    };
    let cidrs = |node: &str| lab.status(node).unwrap().network.unwrap().pod_cidrs;
    let first = ["10.244.1.0/24", "fd44:0:0:1::/64"];
    change("node1", first, ["10.244.9.0/24", "fd44:0:0:9::/64"]);
    let config = "cat /etc/cni/net.d/10-midonet.conflist";
    testkit::wait_until(DEADLINE, "node1 has its new podCIDRs", || {
        cidrs("node1")[0] == "10.244.9.0/24" && sh(&lab, &node1(), config).contains("10.244.9.0/24")
    });

    // As long as nobody has the former range the Pod is found there by its node and by those beside it.
    let beside = add("node1", "beside");
    assert!(beside.addresses()[0].to_string().starts_with("10.244.9."), "{beside:?}");
    let world: Vec<IpAddr> = vec![OUTSIDE.parse().unwrap()];
    reaches(&lab, &pod(&old), &world, "a Pod of the former podCIDR");
    reaches(&lab, &node1(), &old.addresses(), "a Pod of the former podCIDR");
    reaches(&lab, &pod(&beside), &old.addresses(), "a Pod of the former podCIDR");
    testkit::wait_until(DEADLINE, "it is told", || {
        lab.status("node1").unwrap().problems.iter().any(|problem| {
            problem.what == "pod_address"
                && problem.object == "Pod default/old"
                && problem.remedy.contains("delete the Pod")
        })
    });

    change("node2", ["10.244.2.0/24", "fd44:0:0:2::/64"], first);
    testkit::wait_until(DEADLINE, "node2 has node1's former podCIDRs", || {
        cidrs("node2")[0] == first[0] && sh(&lab, &Target::Node("node2".into()), config).contains(first[0])
    });
    testkit::wait_until(DEADLINE, "node1 knows it", || {
        lab.status("node1").unwrap().peers.iter().any(|peer| peer.pod_cidrs.contains(&first[0].to_owned()))
    });
    let new = add("node2", "new");
    assert_eq!(new.addresses(), old.addresses(), "the very same");
    let node2 = Target::Node("node2".into());
    for from in [&pod(&beside), &pod(&third)] {
        reaches(&lab, from, &new.addresses(), "the Pod that has the address now");
    }
    for to in [&beside, &third] {
        reaches(&lab, &pod(&new), &to.addresses(), "the Pod that has the address now");
        reaches(&lab, &node2, &to.addresses(), "its node");
    }
    // The one of before still reaches its node, those beside it and the world.
    reaches(&lab, &pod(&old), &world, "a Pod whose range another node has");
    let own = lab.status("node1").unwrap().network.unwrap();
    let own: Vec<IpAddr> = own.node_addresses.iter().map(|address| address.parse().unwrap()).collect();
    reaches(&lab, &pod(&old), &own, "a Pod whose range another node has");
    // From the node itself, the address is the other node's, too.
    let before = lab.counted("node1", "direct_out").unwrap();
    reaches(&lab, &node1(), &new.addresses(), "node1 to the new Pod");
    assert!(lab.counted("node1", "direct_out").unwrap() > before);

    lab.delete_pod(&old.key).unwrap();
    let told = || lab.status("node1").unwrap().problems.iter().any(|problem| problem.what == "pod_address");
    testkit::wait_until(DEADLINE, "nothing is left to tell", || !told());
    reaches(&lab, &pod(&beside), &new.addresses(), "after the old Pod");
}
