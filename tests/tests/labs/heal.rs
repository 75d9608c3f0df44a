//! Drift: what other programs remove or change on a node is repaired and counted, and packets pass again. The pure
//! parts (how often) are tested in `midonet-kube-node/src/drift`; `make bench ONLY=heal` measures how soon.

use std::time::Duration;

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::{EchoServer, ping, tcp_echo};
use lab::{Family, Pod, Target};

/// Some of the agent's looks, to see that it finds nothing to repair.
const LOOKS: Duration = Duration::from_secs(2);

fn metrics(lab: &TestLab) -> String {
    sh(lab, &node1(), "curl -sf -m30 http://127.0.0.1:9454/metrics")
}

/// How often that kind of thing was put back.
fn repairs(lab: &TestLab, what: &str) -> u64 {
    let line = format!("midonet_kube_node_repairs_total{{what=\"{what}\"}} ");
    metrics(lab).lines().find_map(|l| l.strip_prefix(&line).map(|n| n.parse().unwrap())).unwrap_or(0)
}

/// Two nodes, and a Pod on each.
struct Scene {
    lab: TestLab,
    a: Pod,
    b: Pod,
    c: Pod,
}

impl Scene {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(agent_args: &[&str]) -> Self {
        let lab = TestLab::up(2, Family::Dual, agent_args).unwrap();
        let add = |node: &str, name: &str| lab.add_pod(node, "default", name).unwrap();
        let (a, b, c) = (add("node1", "a"), add("node2", "b"), add("node1", "c"));
        let scene = Self { lab, a, b, c };
        scene.everything_works("at first");
        scene
    }

    fn outer(&self) -> String {
        naming::pod_host_interface(&self.a.key)
    }

    /// Breaks something with a shell line in node1, and waits until it is as `show` showed it before.
    fn heals(&self, what: &str, break_it: &str, show: &str) {
        let show = show.replace("OUTER", &self.outer());
        let break_it = break_it.replace("OUTER", &self.outer());
        let state = || self.lab.output(&node1(), "sh", &["-c", &show]).unwrap().stdout;
        let (before, counted) = (state(), repairs(&self.lab, what));
        sh(&self.lab, &node1(), &break_it);
        testkit::wait_until(DEADLINE, &format!("{break_it:?} is repaired"), || state() == before);
        testkit::wait_until(
            DEADLINE,
            &format!("the repair of {break_it:?} is counted as {what}: {}", metrics(&self.lab)),
            || repairs(&self.lab, what) > counted,
        );
        self.everything_works(&break_it);
    }

    fn everything_works(&self, after: &str) {
        let netns = |target: &Target| self.lab.netns(target).unwrap();
        let a = netns(&pod(&self.a));
        for address in [&self.b, &self.c].into_iter().flat_map(Pod::addresses) {
            ping(&a, address, DEADLINE).unwrap_or_else(|e| panic!("after {after:?}: {address}: {e:#}"));
        }
        for address in self.a.addresses() {
            for from in [node1(), Target::Node("node2".into()), pod(&self.c)] {
                ping(&netns(&from), address, DEADLINE)
                    .unwrap_or_else(|e| panic!("after {after:?}: {from:?} to {address}: {e:#}"));
            }
        }
        // The world, masqueraded.
        ping(&a, "192.0.2.1".parse().unwrap(), DEADLINE).unwrap_or_else(|e| panic!("after {after:?}: {e:#}"));
    }
}

#[test]
fn the_nodes_own_veth_pair() {
    let scene = Scene::new();
    let addresses = "ip -o addr show dev midokube-node scope global | sed 's/ *valid.*//'";
    let routes = "ip route show proto 109; ip -6 route show proto 109";
    let links = "ip -br link show midokube-node | tr -s ' '; ip -br link show midokube-mido | tr -s ' '";
    for (what, break_it, show) in [
        ("address", "ip addr del 10.244.1.2/24 dev midokube-node", addresses),
        ("address", "ip -6 addr flush dev midokube-node", addresses),
        ("route", "ip route del 10.244.0.0/16", routes),
        ("route", "ip route replace 10.244.0.0/16 dev lo", routes),
        ("route", "ip -6 route del fd44::/48", routes),
        ("route", "ip route flush proto 109", routes),
        ("setting", "ip link set midokube-node down", links),
        ("setting", "ip link set midokube-mido down", links),
        ("setting", "ip link set midokube-node address 02:00:00:00:00:01", links),
        ("setting", "ip link set midokube-mido mtu 1300", "cat /sys/class/net/midokube-mido/mtu"),
        ("setting", "ip link set midokube-mido alias nobody", "cat /sys/class/net/midokube-mido/ifalias"),
        ("block", "tc qdisc del dev midokube-mido clsact", "tc qdisc show dev midokube-mido"),
        // Somebody else's. That the repair may come in between is no fault.
        (
            "block",
            "tc qdisc del dev midokube-mido clsact; tc qdisc add dev midokube-mido clsact || true",
            "tc qdisc show dev midokube-mido",
        ),
        ("link", "ip link del midokube-mido", routes),
        // In one step where the kernel renames interfaces that are up (Linux 6.2): a detection in between finds it down.
        (
            "link",
            "ip link set midokube-node name mine 2>/dev/null || \
             { ip link set midokube-node down; ip link set midokube-node name mine; }",
            routes,
        ),
    ] {
        scene.heals(what, break_it, show);
    }
}

#[test]
fn a_repair_of_an_address_or_route_breaks_no_connection() {
    let scene = Scene::new();
    let index = || sh(&scene.lab, &node1(), "cat /sys/class/net/midokube-node/ifindex");
    let before = index();
    scene.heals("address", "ip addr del 10.244.1.2/24 dev midokube-node", "ip -4 route show proto 109");
    scene.heals("route", "ip -6 route del fd44::/48", "ip -6 route show proto 109");
    assert_eq!(index(), before, "the veth pair was made again");
}

#[test]
fn the_overlay_and_the_programs() {
    overlay_and_programs(&Scene::new());
}

#[test]
fn overlay_and_programs_without_tcx() {
    let scene = Scene::with(&["--hook", "clsact"]);
    overlay_and_programs(&scene);
    assert!(sh(&scene.lab, &node1(), &program_at("eth0")).contains("from_uplink"));
    assert!(sh(&scene.lab, &node1(), &program_at("midokube-vxlan")).contains("from_overlay"));
    for device in ["eth0", "midokube-vxlan"] {
        let what = if device == "eth0" { "uplink_program" } else { "overlay_program" };
        scene.heals(what, &format!("tc filter del dev {device} ingress"), &program_at(device));
    }
    // Others' come after it, and stay.
    let foreign = "tc filter add dev eth0 ingress prio 5 protocol ip u32 match ip dst 192.0.2.99 flowid 1:1";
    // The agent may put its own back in between.
    let clear = "tc qdisc del dev eth0 clsact; tc qdisc replace dev eth0 clsact";
    scene.heals("uplink_program", &format!("{clear}; {foreign}"), &program_at("eth0"));
    assert!(sh(&scene.lab, &node1(), "tc filter show dev eth0 ingress").contains("u32"));
}

/// A line of shell that shows the datapath's filter at a device's ingress, and the pins of the links. A link is at its
/// device as long as its pin is there; bpftool before 7.3 shows none.
fn program_at(device: &str) -> String {
    format!(
        "ls /sys/fs/bpf/midonet-kube/links; tc filter show dev {device} ingress | grep -o 'from_[a-z]*' || true"
    )
}

fn overlay_and_programs(scene: &Scene) {
    let overlay = "ip -br link show midokube-vxlan | tr -s ' '";
    let program = "tc filter show block 28009 | grep -o 'from_endpoint direct-action' || true";
    let (uplink, over) = (&program_at("eth0"), &program_at("midokube-vxlan"));
    assert!(sh(&scene.lab, &node1(), uplink).contains("uplink"));
    assert!(sh(&scene.lab, &node1(), over).contains("overlay"));
    // A link goes with its pin; the pin of a program is only a pin.
    let shown = "tc filter show dev midokube-vxlan ingress";
    let filters = sh(&scene.lab, &node1(), shown).contains("from_overlay");
    let remove = |pin: &str, device: &str| match filters {
        true => format!("tc qdisc del dev {device} clsact"),
        false => format!("rm /sys/fs/bpf/midonet-kube/links/{pin}"),
    };
    for (what, break_it, show) in [
        ("overlay", "ip link del midokube-vxlan", overlay),
        ("overlay", "ip link set midokube-vxlan down", overlay),
        ("overlay", "ip link set midokube-vxlan mtu 1400", overlay),
        (
            "overlay",
            // The agent may put its own back in between.
            "for i in $(seq 100); do ip link del midokube-vxlan; ip link add midokube-vxlan address 02:6d:69:64:6f:02 \
             mtu 1450 up type vxlan id 7 dstport 4999 && exit 0; done; exit 1",
            "ip -d link show midokube-vxlan | grep -o 'vxlan external' || true",
        ),
        ("program", "tc filter del block 28009", program),
        ("overlay_program", &remove("overlay", "midokube-vxlan"), over),
        ("uplink_program", &remove("uplink-*", "eth0"), uplink),
        ("pin", "rm /sys/fs/bpf/midonet-kube/maps/routes-v*", "ls /sys/fs/bpf/midonet-kube/*"),
        ("pin", "rm /sys/fs/bpf/midonet-kube/programs/*", "ls /sys/fs/bpf/midonet-kube/*"),
        ("pin", "rm -r /sys/fs/bpf/midonet-kube/*", "ls /sys/fs/bpf/midonet-kube/*"),
    ] {
        scene.heals(what, break_it, show);
    }
    // The maps that are pinned again are those at work: the next agent adopts them.
    scene.lab.restart_agent("node1").unwrap();
    assert_eq!(scene.lab.status("node1").unwrap().ports.len(), 2);
    scene.everything_works("a restart");
}

#[test]
fn the_datapaths_tables() {
    let scene = Scene::new();
    let map = |name: &str| {
        format!(
            "bpftool -j map dump pinned $(ls /sys/fs/bpf/midonet-kube/maps/{name}-v*) | tr ',' '\\n' | wc -l"
        )
    };
    let clear = |name: &str| {
        format!(
            "M=$(ls /sys/fs/bpf/midonet-kube/maps/{name}-v*); bpftool -j map dump pinned $M | \
             grep -o '\"key\":\\[[^]]*\\]' | grep -o '0x..' | xargs -n KEYSIZE echo | \
             while read k; do bpftool map delete pinned $M key $k; done"
        )
    };
    scene.heals("datapath_route", &clear("routes").replace("KEYSIZE", "20"), &map("routes"));
    scene.heals("datapath_node", &clear("nodes").replace("KEYSIZE", "16"), &map("nodes"));
    scene.heals("endpoint", &clear("endpoints").replace("KEYSIZE", "16"), &map("endpoints"));
    scene.heals("endpoint", &clear("ports").replace("KEYSIZE", "4"), &map("ports"));
    let size =
        sh(&scene.lab, &node1(), "bpftool map show pinned $(ls /sys/fs/bpf/midonet-kube/maps/config-v*)");
    let size: usize = size.split("value ").nth(1).unwrap().split('B').next().unwrap().parse().unwrap();
    let zeros = vec!["0"; size].join(" ");
    scene.heals(
        "config",
        &format!(
            "bpftool map update pinned $(ls /sys/fs/bpf/midonet-kube/maps/config-v*) key 0 0 0 0 value {zeros}"
        ),
        "bpftool map dump pinned $(ls /sys/fs/bpf/midonet-kube/maps/config-v*)",
    );
}

#[test]
fn masquerading_forwarding_and_the_cni_configuration() {
    let scene = Scene::new();
    let table = "nft list table inet midonet-kube | sed 's/packets.*bytes [0-9]*//'";
    let config = "cat /etc/cni/net.d/10-midonet.conflist; stat -c %a /etc/cni/net.d/10-midonet.conflist";
    for (what, break_it, show) in [
        ("masquerade", "nft delete table inet midonet-kube", table),
        ("masquerade", "nft flush chain inet midonet-kube postrouting", table),
        ("masquerade", "nft insert rule inet midonet-kube postrouting accept", table),
        ("masquerade", "nft 'chain inet midonet-kube postrouting { policy drop; }'", table),
        ("forwarding", "sysctl -qw net.ipv4.ip_forward=0", "sysctl net.ipv4.ip_forward"),
        ("forwarding", "sysctl -qw net.ipv6.conf.all.forwarding=0", "sysctl net.ipv6.conf.all.forwarding"),
        ("cni_config", "rm /etc/cni/net.d/10-midonet.conflist", config),
        ("cni_config", "echo '{}' > /etc/cni/net.d/10-midonet.conflist", config),
    ] {
        scene.heals(what, break_it, show);
    }
    // Another program's table, and its counters, do not change.
    let before = repairs(&scene.lab, "masquerade");
    sh(
        &scene.lab,
        &node1(),
        "nft add table inet other; nft add chain inet other c; nft delete table inet other",
    );
    scene.everything_works("another's table");
    std::thread::sleep(LOOKS);
    assert_eq!(repairs(&scene.lab, "masquerade"), before);
}

#[test]
fn pods_outer_ends() {
    let scene = Scene::new();
    let link = "ip -br link show OUTER | tr -s ' '";
    for (what, break_it, show) in [
        ("pod", "ip link set OUTER down", link),
        ("pod", "tc qdisc del dev OUTER clsact", "tc qdisc show dev OUTER"),
        ("pod", "ip link set OUTER address 02:00:00:00:00:01", link),
        ("pod", "ip link set OUTER alias ''", "cat /sys/class/net/OUTER/ifalias"),
        ("pod", "ip link set OUTER alias 'the uplink'", "cat /sys/class/net/OUTER/ifalias"),
        ("pod", "ip link set OUTER name bugveth0", link),
        (
            "pod",
            "ip link add br7 type bridge; ip link set OUTER master br7; ip link set OUTER name bugveth0",
            "ip -o link show OUTER | grep -c master",
        ),
    ] {
        scene.heals(what, break_it, show);
    }
    scene.lab.check_pod(&scene.a.key).unwrap();
}

#[test]
fn an_unchanged_node_is_not_repaired() {
    let scene = Scene::new();
    for i in 0..5 {
        let pod = scene.lab.add_pod("node1", "default", &format!("p{i}")).unwrap();
        scene.lab.delete_pod(&pod.key).unwrap();
    }
    std::thread::sleep(LOOKS);
    let page = metrics(&scene.lab);
    let mut repairs = page.lines().filter(|line| line.starts_with("midonet_kube_node_repairs_total{"));
    assert!(repairs.all(|line| line.ends_with(" 0")), "{page}");
}

/// How often the threads of node1's agent stopped waiting.
fn wake_ups(lab: &TestLab) -> u64 {
    let agent = lab.state().unwrap().node("node1").unwrap().agent.unwrap();
    let threads = std::fs::read_dir(format!("/proc/{}/task", agent.pid)).unwrap().flatten();
    // One that ends meanwhile has no files.
    let status = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok());
    let of = |status: String| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
    };
    status.filter_map(of).sum()
}

/// An agent whose own look is an event for it never sleeps. `make bench ONLY=idle` says what an idle one costs.
#[test]
fn an_agent_with_nothing_to_do_sleeps() {
    let scene = Scene::new();
    testkit::wait_until(2 * DEADLINE, "there are ten seconds with less than 50 wake-ups", || {
        let before = wake_ups(&scene.lab);
        std::thread::sleep(Duration::from_secs(10));
        wake_ups(&scene.lab).saturating_sub(before) < 50
    });
}

#[test]
fn a_repair_that_is_undone_repeatedly_is_a_problem() {
    let scene = Scene::new();
    testkit::wait_until(DEADLINE, "the agent complains", || {
        let _gone = scene.lab.output(&node1(), "ip", &["route", "del", "10.244.0.0/16"]).unwrap();
        let status = scene.lab.status("node1").unwrap();
        // Pods that are there go on, and new ones are served.
        assert!(status.agent.unwrap().ready);
        let said = status.problems.iter().find(|problem| problem.what == "repeated_repair");
        said.is_some_and(|said| said.object == "route" && said.problem.contains("undoes the agent's work"))
    });
    assert!(metrics(&scene.lab).contains("midonet_kube_node_problems{what=\"repeated_repair\"} 1"));
    let counted = repairs(&scene.lab, "route");
    assert!((4..20).contains(&counted), "{counted}");
    let _config = sh(&scene.lab, &node1(), "cat /etc/cni/net.d/10-midonet.conflist");
}

#[test]
fn the_uplinks_mtu_is_followed_by_pods_and_by_the_configuration() {
    let scene = Scene::new();
    let a = scene.lab.netns(&pod(&scene.a)).unwrap();
    let _echo = EchoServer::start(&scene.lab.netns(&pod(&scene.b)).unwrap(), &scene.b.addresses()).unwrap();
    let uplink = scene.lab.status("node1").unwrap().network.unwrap().uplink;
    for (underlay, pods) in [("1400", "1350"), ("1500", "1450")] {
        sh(&scene.lab, &node1(), &format!("ip link set {uplink} mtu {underlay}"));
        let mtus = |interfaces: &str| format!("cd /sys/class/net; cat {interfaces}");
        let everywhere = || {
            let outer = scene.outer();
            let host = sh(
                &scene.lab,
                &node1(),
                &mtus(&format!("midokube-node/mtu midokube-mido/mtu midokube-vxlan/mtu {outer}/mtu")),
            );
            let inner = sh(&scene.lab, &pod(&scene.a), "ip link show eth0 | grep -o 'mtu [0-9]*' | cut -c5-");
            let config = sh(&scene.lab, &node1(), "grep -o '\"mtu\": [0-9]*' /etc/cni/net.d/*.conflist");
            (host, inner, config)
        };
        let line = format!("{pods}\n");
        let wanted = (line.repeat(4), line.clone(), format!("\"mtu\": {line}"));
        testkit::wait_until(DEADLINE, &format!("{wanted:?} everywhere, not {:?}", everywhere()), || {
            everywhere() == wanted
        });
        for address in scene.b.addresses() {
            tcp_echo(&a, address, DEADLINE).unwrap();
        }
        scene.lab.check_pod(&scene.a.key).unwrap();
    }
}

/// Tunnels whose headers the datapath writes would leave in the clear.
#[test]
fn ipsec_policies_get_to_see_the_tunnels() {
    let scene = Scene::new();
    let encapsulation = || scene.lab.status("node1").unwrap().network.unwrap().encapsulation;
    assert_eq!(encapsulation(), "direct");
    let policy = "src 192.0.2.7 dst 192.0.2.8 dir out tmpl src 192.0.2.7 dst 192.0.2.8 proto esp";
    for (line, wanted) in
        [(format!("ip xfrm policy add {policy}"), "device"), ("ip xfrm policy flush".to_owned(), "direct")]
    {
        sh(&scene.lab, &node1(), &line);
        testkit::wait_until(DEADLINE, &line, || encapsulation() == wanted);
        scene.everything_works(&line);
    }
}

#[test]
fn a_missing_uplink_is_a_problem_until_it_is_back() {
    let scene = Scene::new();
    let uplink = scene.lab.status("node1").unwrap().network.unwrap().uplink;
    let addresses = sh(&scene.lab, &node1(), &format!("ip -4 -br addr show {uplink}"));
    let address = addresses.split_whitespace().nth(2).unwrap().to_owned();
    sh(&scene.lab, &node1(), &format!("ip addr del {address} dev {uplink}"));
    testkit::wait_until(DEADLINE, "the agent names the address", || {
        let status = scene.lab.status("node1").unwrap();
        assert!(status.agent.unwrap().ready, "Pods of this node do without it");
        let text = "no interface holds this node's tunnel address 172.30.0.11";
        status.problems.iter().any(|one| one.problem.contains(text))
    });
    // Pods of this node do without it.
    let c = scene.lab.netns(&pod(&scene.c)).unwrap();
    ping(&c, scene.a.addresses()[0], DEADLINE).unwrap();
    sh(
        &scene.lab,
        &node1(),
        &format!("ip addr add {address} dev {uplink}; ip route replace default via 172.30.0.1"),
    );
    testkit::wait_until(DEADLINE, "nothing is wrong any more", || {
        scene.lab.status("node1").unwrap().problems.is_empty()
    });
    scene.everything_works("the uplink's return");
}
