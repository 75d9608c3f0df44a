//! Rules, routes and settings of others that cut Pods off, although everything of the agent's is in place: `midokube
//! status` and `midonet-kube-node check` name them with a command, and that command is a remedy.

use std::time::Duration;

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::ping;
use lab::{Family, Pod, Target};

/// How long an answer from the world is waited for that may not come.
const SHORT: Duration = Duration::from_secs(1);

/// Two nodes with a Pod each.
struct Scene {
    lab: TestLab,
    a: Pod,
    b: Pod,
}

impl Scene {
    fn new(lab: TestLab) -> Self {
        let add = |node: &str, name: &str| lab.add_pod(node, "default", name).unwrap();
        let (a, b) = (add("node1", "a"), add("node2", "b"));
        let scene = Self { lab, a, b };
        scene.nothing_is_wrong("at first");
        scene.other_node_is_reached("at first");
        scene
    }

    /// What status tells of kind `what`: object, problem and remedy.
    fn told(&self, what: &str) -> Option<String> {
        let problems = self.lab.status("node1").unwrap().problems;
        let one = problems.into_iter().find(|problem| problem.what == what)?;
        Some(format!("{}: {}; {}", one.object, one.problem, one.remedy))
    }

    /// Waits until status names this with these words, and sees that `check` does.
    fn is_named(&self, after: &str, what: &str, words: &[&str]) {
        let has = |said: &str| words.iter().all(|word| said.contains(word));
        testkit::wait_until(DEADLINE, &format!("{what} with {words:?} is told after {after:?}"), || {
            self.told(what).is_some_and(|said| has(&said))
        });
        assert!(self.lab.status("node1").unwrap().agent.unwrap().ready, "Pods are served all the same");
        let line = format!(
            "{} check --node-name node1 --cluster-cidr 10.244.0.0/16,fd44::/48 --manifests {}",
            testkit::bin("midonet-kube-node").display(),
            self.lab.manifests().display()
        );
        let said = sh(&self.lab, &node1(), &line);
        assert!(said.lines().any(|line| line.starts_with("warning") && has(line)), "{words:?} in {said}");
    }

    fn nothing_is_wrong(&self, after: &str) {
        testkit::wait_until(DEADLINE, &format!("nothing is wrong after {after:?}"), || {
            self.lab.status("node1").unwrap().problems.is_empty()
        });
    }

    fn is_direct(&self) -> bool {
        self.lab.status("node1").unwrap().network.unwrap().encapsulation == "direct"
    }

    fn other_node_is_reached(&self, after: &str) {
        let netns = self.lab.netns(&pod(&self.a)).unwrap();
        for address in self.b.addresses() {
            ping(&netns, address, DEADLINE).unwrap_or_else(|e| panic!("after {after:?}: {address}: {e:#}"));
        }
    }

    /// Whether the world is reached, over both families.
    fn world(&self) -> [bool; 2] {
        let netns = self.lab.netns(&pod(&self.a)).unwrap();
        ["192.0.2.1", "2001:db8::1"].map(|address| ping(&netns, address.parse().unwrap(), SHORT).is_ok())
    }
}

#[test]
fn a_firewall_that_drops_what_pods_need_is_named_and_its_command_helps() {
    let scene = Scene::new(TestLab::up(2, Family::Dual, &[]).unwrap());
    for (family, iptables, reached) in
        [("ip", "iptables", [false, true]), ("ip6", "ip6tables", [true, false])]
    {
        let rules = format!(
            "nft 'table {family} filter {{ chain FORWARD {{ type filter hook forward priority 0; policy drop; }}; }}'"
        );
        sh(&scene.lab, &node1(), &rules);
        let commands = [
            format!("{iptables} -I FORWARD -i midokube-node -j ACCEPT"),
            format!(
                "{iptables} -I FORWARD -o midokube-node -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            ),
        ];
        let chain = format!("nftables chain {family} filter FORWARD");
        let words = [&chain, &commands[0], &commands[1]].map(String::as_str);
        scene.is_named(&rules, "forward_dropped", &words);
        assert_eq!(scene.world(), reached, "{family}");
        sh(&scene.lab, &node1(), &commands.join(" && "));
        scene.nothing_is_wrong(&commands[0]);
        assert_eq!(scene.world(), [true, true], "{family}");
    }
    // What restarts the host's firewall takes the agent's own table, too.
    sh(&scene.lab, &node1(), "nft flush ruleset");
    testkit::wait_until(DEADLINE, "masquerading is back", || scene.world() == [true, true]);
    scene.nothing_is_wrong("nft flush ruleset");
}

#[test]
fn tunnels_go_through_a_firewall_that_filters_them() {
    let scene = Scene::new(TestLab::up(2, Family::Dual, &[]).unwrap());
    assert!(scene.is_direct());
    let rules = "nft 'table inet fw { chain in { type filter hook input priority 0; policy drop; \
        ct state established,related accept; iifname lo accept; meta l4proto { icmp, ipv6-icmp } accept; }; }'";
    sh(&scene.lab, &node1(), rules);
    scene.is_named(
        rules,
        "tunnel_dropped",
        &["chain inet fw in", "nft insert rule inet fw in udp dport 4789 accept"],
    );
    scene.is_named(rules, "input_dropped", &["nft insert rule inet fw in iifname midokube-node accept"]);
    assert!(!scene.is_direct(), "the firewall is not passed by");
    sh(&scene.lab, &node1(), "nft insert rule inet fw in udp dport 4789 accept");
    sh(&scene.lab, &node1(), "nft insert rule inet fw in iifname midokube-node accept");
    scene.nothing_is_wrong("both are accepted");
    assert!(!scene.is_direct(), "the firewall still decides");
    scene.other_node_is_reached("tunnels are accepted");
    sh(&scene.lab, &node1(), "nft delete table inet fw");
    testkit::wait_until(DEADLINE, "tunnels are direct again", || scene.is_direct());
    scene.other_node_is_reached("the firewall has gone");
}

/// The setting holds, and its effect is reported.
#[test]
fn tunnels_that_pass_a_firewall_by_are_told_of() {
    let scene = Scene::new(TestLab::up(2, Family::V4, &["--encapsulation", "direct"]).unwrap());
    let rules = "nft 'table inet fw { chain in { type filter hook input priority 0; \
        udp dport 4789 ip saddr != 172.30.0.12 drop; }; }'";
    sh(&scene.lab, &node1(), rules);
    testkit::wait_until(DEADLINE, "it is told", || {
        scene.told("tunnel_past_firewall").is_some_and(|said| said.contains("chain inet fw in"))
    });
    assert!(scene.is_direct());
    scene.other_node_is_reached("rules that are passed by");
    sh(&scene.lab, &node1(), "nft delete table inet fw");
    scene.nothing_is_wrong("the firewall has gone");
}

#[test]
fn routes_and_rules_that_lead_pods_addresses_elsewhere_are_named() {
    let scene = Scene::new(TestLab::up(2, Family::Dual, &[]).unwrap());
    let other = "ip link add other type veth peer name rehto && ip link set other up && ip link set rehto up";
    sh(&scene.lab, &node1(), other);
    for (break_it, mend, words) in [
        (
            "ip route add blackhole 10.244.2.0/26",
            "ip route del blackhole 10.244.2.0/26",
            ["10.244.2.0/26", "blackhole"],
        ),
        (
            "ip -6 route add fd44:0:0:2::/64 dev other",
            "ip -6 route del fd44:0:0:2::/64 dev other",
            ["fd44:0:0:2::/64", "leads out of other"],
        ),
        (
            "ip route add default dev other table 52 && ip rule add lookup 52 priority 5270",
            "ip rule del lookup 52 && ip route flush table 52",
            ["in table 52", "ip rule add to 10.244.0.0/16 lookup main priority 100"],
        ),
    ] {
        sh(&scene.lab, &node1(), break_it);
        scene.is_named(break_it, "foreign_route", &words);
        sh(&scene.lab, &node1(), mend);
        scene.nothing_is_wrong(mend);
    }
    sh(
        &scene.lab,
        &node1(),
        "ip link add cni0 type veth peer name bridged && ip addr add 10.244.1.1/24 dev cni0",
    );
    scene.is_named("a bridge of another network is left", "overlap", &["cni0", "ip link delete cni0"]);
    sh(&scene.lab, &node1(), "ip link delete cni0");
    scene.nothing_is_wrong("it has gone");
}

/// The agent repairs forwarding where it enabled it, and reports it elsewhere.
#[test]
fn forwarding_of_the_uplink_is_repaired_or_told() {
    let break_it = "sysctl -qw net.ipv4.conf.eth0.forwarding=0";
    let setting =
        |lab: &TestLab| sh(lab, &node1(), "sysctl -n net.ipv4.conf.eth0.forwarding").trim().to_owned();
    let scene = Scene::new(TestLab::up(2, Family::V4, &[]).unwrap());
    sh(&scene.lab, &node1(), break_it);
    testkit::wait_until(DEADLINE, "it is repaired", || setting(&scene.lab) == "1");
    scene.nothing_is_wrong(break_it);
    drop(scene);

    let lab = TestLab::without_agents(2, Family::V4).unwrap();
    sh(&lab, &node1(), "sysctl -qw net.ipv4.ip_forward=1");
    for node in ["node1", "node2"] {
        let install = format!("{} install", testkit::bin("midonet-kube-node").display());
        sh(&lab, &Target::Node(node.into()), &install);
        lab.start_agent(node).unwrap();
    }
    let scene = Scene::new(lab);
    sh(&scene.lab, &node1(), break_it);
    scene.is_named(break_it, "forwarding", &["eth0", "sysctl -w net.ipv4.conf.eth0.forwarding=1"]);
    assert_eq!(setting(&scene.lab), "0");
    sh(&scene.lab, &node1(), "sysctl -w net.ipv4.conf.eth0.forwarding=1");
    scene.nothing_is_wrong("the command was run");
    // Its own interface it keeps as it has to be.
    for (break_it, bad) in [
        ("sysctl -qw net.ipv4.conf.midokube-node.forwarding=0", "0"),
        ("sysctl -qw net.ipv4.conf.midokube-node.rp_filter=1", "1"),
    ] {
        let name = break_it.trim_start_matches("sysctl -qw ").split('=').next().unwrap();
        sh(&scene.lab, &node1(), break_it);
        testkit::wait_until(DEADLINE, &format!("{name} is repaired"), || {
            sh(&scene.lab, &node1(), &format!("sysctl -n {name}")).trim() != bad
        });
    }
}

/// Nothing is set up that could not work: no Pod is added that reaches no node.
#[test]
fn addresses_of_the_nodes_own_network_are_refused() {
    let lab = TestLab::without_agents_yet(1, Family::V4, &["--service-cidr", "172.30.0.0/16"]).unwrap();
    let line = format!(
        "{} check --node-name node1 --cluster-cidr 10.244.0.0/16 --service-cidr 172.30.0.0/16 --manifests {}",
        testkit::bin("midonet-kube-node").display(),
        lab.manifests().display()
    );
    let output = lab.output(&Target::Node("node1".into()), "sh", &["-c", &line]).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let text = "the node's own address 172.30.0.11 lies in 172.30.0.0/16";
    assert!(
        !output.status.success()
            && said.lines().any(|line| line.starts_with("INVALID") && line.contains(text)),
        "{said}"
    );
    let started = lab.start_agent("node1");
    let why = started.map_or_else(|error| format!("{error:#}"), |_| "it is ready".to_owned());
    assert!(why.contains(text), "{why}");
    assert_eq!(sh(&lab, &node1(), "ip -o link show type veth | grep -c midokube || true").trim(), "0");
}
