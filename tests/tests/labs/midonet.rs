//! A node whose network is MidoNet: what the agent makes there and what it tells, and the way from the embedded network and
//! back. No MidoNet runs in a lab: nothing binds the interfaces, and that is told.

use std::process::Output;

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::ping;
use lab::{Family, Pod};
use nodeapi::v1::{Bandwidth, BindPortRequest, PortMapping};
use nodeapi::{Client, call};
use serde_json::{Value, json};

const MIDONET: [&str; 3] =
    ["--network=midonet", "--service-cidr=10.96.0.0/16", "--midonet-host-id=/run/host_id"];

const HOST_ID: &str = "44fb4381-c99d-4389-86c3-fdca765bcbde";

/// Everything that one network has and the other has not.
const LOOK: &str = "ip -br link | awk '{print $1}' | sed 's/@.*//' | sort; ip -br addr show scope global | awk '{print $1, $3}' | sort; ip route; \
    nft list ruleset | sed 's/packets.*bytes [0-9]*//'; tc qdisc show | grep -v noqueue | sed 's/refcnt.*//' | sort; \
    tc filter show block 28009 | grep -o from_endpoint; ls /sys/fs/bpf/midonet-kube/*; cat /sys/class/net/midokube-mido/ifalias";

struct Scene(TestLab);

impl Scene {
    fn new() -> Self {
        Self(TestLab::up(1, Family::V4, &MIDONET).unwrap())
    }

    fn sh(&self, line: &str) -> String {
        sh(&self.0, &node1(), line)
    }

    fn add(&self, name: &str) -> Pod {
        self.0.add_pod("node1", "default", name).unwrap()
    }

    /// Runs one of the product's programs on the node.
    fn run(&self, program: &str, words: &[&str]) -> Output {
        let program = e2e::programs().join(program);
        self.0.output(&node1(), program.to_str().unwrap(), words).unwrap()
    }

    fn metrics(&self) -> String {
        self.sh("curl -sf -m30 http://127.0.0.1:9454/metrics")
    }

    fn repairs(&self, what: &str) -> u64 {
        let line = format!("midonet_kube_node_repairs_total{{what=\"{what}\"}} ");
        self.metrics().lines().find_map(|l| l.strip_prefix(&line).map(|n| n.parse().unwrap())).unwrap()
    }

    /// The annotations that were written for an object.
    fn annotations(&self, file: &str) -> Option<Value> {
        let text = std::fs::read_to_string(self.0.manifests().join("annotations").join(file)).ok()?;
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with("midonet.org/"));
        let pairs = lines.filter_map(|line| line.split_once(": "));
        Some(pairs.map(|(key, value)| (key.to_owned(), Value::from(value.trim_matches('\'')))).collect())
    }

    fn becomes(&self, what: &str, is_so: impl FnMut() -> bool) {
        testkit::wait_until(DEADLINE, what, is_so);
    }

    /// Ends the agent, and starts it with another network.
    fn switch(&self, args: &[&str]) {
        self.0.stop_agent("node1").unwrap();
        self.0.set_agent_args(args).unwrap();
        self.0.start_agent("node1").unwrap();
        // The CNI configuration was there before.
        self.becomes("the agent is ready", || {
            self.0.status("node1").is_ok_and(|status| status.agent.unwrap().ready)
        });
    }
}

fn ports(scene: &Scene) -> Vec<(String, Vec<String>, String)> {
    let ports = scene.0.status("node1").unwrap().ports.into_iter();
    let mut ports: Vec<_> = ports.map(|port| (port.name, port.addresses, port.mac)).collect();
    ports.sort();
    ports
}

#[test]
fn the_node_and_its_pods_are_wired_as_midonet_kubernetes_did_it() {
    let scene = Scene::new();
    let a = scene.add("a");
    // The node's own part.
    assert_eq!(scene.sh("ip -br -4 addr show midokube-node | awk '{print $3}'"), "10.244.1.2/24\n");
    let routes = scene.sh("ip route show proto 109");
    for route in
        ["10.244.1.1 dev midokube-node", "10.244.0.0/16 via 10.244.1.1", "10.96.0.0/16 via 10.244.1.1"]
    {
        assert!(routes.contains(route), "{route} in {routes}");
    }
    assert_eq!(
        scene.sh("cat /sys/class/net/midokube-mido/operstate /proc/sys/net/ipv4/ip_forward"),
        "up\n1\n"
    );
    // The Pod's: MidoNet binds it by this name.
    let host = naming::pod_host_interface(&a.key);
    assert_eq!(
        scene.sh(&format!("cat /sys/class/net/{host}/mtu /sys/class/net/{host}/operstate")),
        "1450\nup\n"
    );
    assert!(sh(&scene.0, &pod(&a), "ip -o link show eth0").contains(&a.mac.unwrap().to_string()));
    assert!(sh(&scene.0, &pod(&a), "ip route").contains("default via 10.244.1.1 dev eth0"));
    // No datapath of ours.
    let nothing = "bpftool net show | grep -i -E 'midokube|mido[0-9a-f]{11}'; ls -d /sys/fs/bpf/midonet-kube 2>/dev/null; nft list tables; \
        ip -br link show type vxlan; tc filter show block 28009";
    assert_eq!(scene.sh(&format!("{nothing}; true")), "");
    let config: Value = serde_json::from_str(&scene.sh("cat /etc/cni/net.d/10-midonet.conflist")).unwrap();
    assert_eq!(config["plugins"][0]["capabilities"], json!({"ips": true, "mac": true}));
    scene.0.check_pod(&a.key).unwrap();
    // What midonet-kube-controllers needs to know.
    let key = |name: &str| format!("midonet.org/{name}");
    let want = json!({
        key("mac-address"): a.mac.unwrap().to_string(), key("ip-addresses"): "10.244.1.3",
        key("port-id"): naming::pod_port_id(&a.key).to_string(),
    });
    scene.becomes("the Pod is annotated", || scene.annotations("default_a.yaml").as_ref() == Some(&want));
    let mac = scene.sh("cat /sys/class/net/midokube-node/address");
    let mut want = json!({key("mac-address"): mac.trim()});
    scene.becomes("the Node is annotated", || scene.annotations("Node_node1.yaml").as_ref() == Some(&want));
    scene.sh(&format!("echo host_uuid={HOST_ID} > /run/host_id"));
    scene.0.restart_agent("node1").unwrap();
    want[key("host-id")] = HOST_ID.into();
    scene.becomes("the Node has its host's id", || {
        scene.annotations("Node_node1.yaml").as_ref() == Some(&want)
    });
}

#[test]
fn the_agent_tells_what_it_knows_and_what_there_is_not() {
    let scene = Scene::new();
    let a = scene.add("a");
    let status = scene.0.status("node1").unwrap();
    let network = status.network.unwrap();
    assert_eq!(
        (network.kind.as_str(), network.mtu, network.overlay_port, network.vni),
        ("midonet", 1450, 0, 0)
    );
    assert_eq!(network.node_port_id, naming::node_port_id("node1").to_string());
    assert_eq!((network.node_port_bound, status.ports[0].bound), (Some(false), Some(false)));
    assert_eq!((status.services, status.policy, status.counters), (None, None, vec![]));
    let text = String::from_utf8(scene.run("midokube", &["status"]).stdout).unwrap();
    assert!(text.contains("midonet: the MidoNet agent") && text.contains("NOT BOUND"), "{text}");
    assert!(scene.metrics().contains("midonet_kube_node_ports 1\n"));
    assert_eq!(scene.sh("curl -s -m30 http://127.0.0.1:9454/readyz"), "ready\n");
    for words in [&["services"][..], &["service", "default/web"], &["connections"], &["drops"], &["policy"]] {
        let output = scene.run("midokube", words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains("MidoNet carries the packets"),
            "{words:?}: {said}"
        );
    }
    testkit::wait_until(3 * DEADLINE, "it is told that nobody binds the interfaces", || {
        let problems = scene.0.status("node1").unwrap().problems;
        let host = naming::pod_host_interface(&a.key);
        problems.iter().any(|one| one.what == "not_bound" && one.problem.contains(&host))
    });
    assert!(scene.0.status("node1").unwrap().agent.unwrap().ready);
    // Somebody gave the Node another host's id.
    scene.sh(&format!("echo host_uuid={HOST_ID} > /run/host_id"));
    let node = scene.0.manifests().join("node-node1.yaml");
    let text = std::fs::read_to_string(&node).unwrap();
    let other = "8b80d6b7-f04b-4075-ab5d-0c4d5c85d15e";
    let annotated = text.replacen(
        "metadata:\n",
        &format!("metadata:\n  annotations: {{midonet.org/host-id: {other}}}\n"),
        1,
    );
    assert_ne!(annotated, text);
    std::fs::write(&node, annotated).unwrap();
    scene.becomes("the wrong host's id is a problem", || {
        let problems = scene.0.status("node1").unwrap().problems;
        problems.iter().any(|one| one.what == "midonet_host" && one.problem.contains(other))
    });
}

#[test]
fn what_midonet_does_not_have_is_refused() {
    let scene = Scene::new();
    let ask = |request: BindPortRequest| {
        let request = BindPortRequest {
            namespace: "default".into(),
            name: "x".into(),
            container_id: "c".into(),
            ifname: "eth0".into(),
            host_ifname: "mido0123456789a".into(),
            mac: "02:00:00:00:00:01".into(),
            addresses: vec!["10.244.1.9".into()],
            ..request
        };
        let socket = scene.0.socket("node1").unwrap();
        let answer = Client::connect(&socket, DEADLINE).unwrap().call(&call::BIND_PORT, &request);
        let status = answer.unwrap_err();
        format!("{:?}: {}", status.code(), status.message())
    };
    let mapping =
        PortMapping { host_port: 80, container_port: 80, protocol: "tcp".into(), host_ip: String::new() };
    let said = ask(BindPortRequest { port_mappings: vec![mapping], ..BindPortRequest::default() });
    assert!(said.starts_with("Unimplemented: Pod default/x asks for hostPorts"), "{said}");
    let limit = Bandwidth { egress_rate: 1, egress_burst: 1, ..Bandwidth::default() };
    let said = ask(BindPortRequest { bandwidth: Some(limit), ..BindPortRequest::default() });
    assert!(said.starts_with("Unimplemented: Pod default/x asks for a limit"), "{said}");
    // What the configuration does not claim is not even asked for.
    let args = json!({"bandwidth": {"egressRate": 8000, "egressBurst": 8000}});
    let b = scene.0.add_pod_with("node1", "default", "b", args.as_object().unwrap().clone()).unwrap();
    assert_eq!(scene.0.status("node1").unwrap().ports[0].bandwidth, None);
    scene.0.delete_pod(&b.key).unwrap();
    // Settings of the other network.
    let run = ["--node-name=n", "--cluster-cidr=10.244.0.0/16,fd44::/48", "--network=midonet"];
    let wrong = ["--services=on", "--policy=on", "--deny-log=/run/log"];
    let output = scene.run("midonet-kube-node", &[&run[..], &wrong[..]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    for part in ["--services on", "--policy on", "--deny-log", "fd44::/48 cannot be with --network midonet"] {
        assert!(!output.status.success() && said.contains(part), "{part} in {said}");
    }
}

#[test]
fn records_of_ports_outlive_the_agent_and_go_with_their_pods() {
    let scene = Scene::new();
    let pods = ["a", "b", "c"].map(|name| scene.add(name));
    let before = ports(&scene);
    assert_eq!(before.len(), 3);
    scene.0.restart_agent("node1").unwrap();
    scene.becomes("the ports are known again", || ports(&scene) == before);
    scene.0.check_pod(&pods[0].key).unwrap();
    // With an agent, and without one.
    scene.0.delete_pod(&pods[0].key).unwrap();
    assert_eq!(ports(&scene), before[1..]);
    scene.0.stop_agent("node1").unwrap();
    scene.0.delete_pod(&pods[1].key).unwrap();
    scene.0.start_agent("node1").unwrap();
    scene.becomes("a port that nobody released is gone", || ports(&scene) == before[2..]);
    let names = "ls /var/lib/cni/networks/midonet-pod-network | grep -c '^10'";
    assert_eq!(scene.sh(names), "1\n");
    scene.becomes("retired interfaces are deleted", || {
        scene.sh("ip -br link | grep -c '^mido[0-9a-f]'") == "1\n"
    });
    // An address that nobody has reserved any more is reserved again, and an interface that just vanishes is noticed.
    let reservation = format!("/var/lib/cni/networks/midonet-pod-network/{}", pods[2].addresses()[0]);
    scene.sh(&format!("rm {reservation}"));
    scene.0.restart_agent("node1").unwrap();
    scene.becomes("the lost reservation is told", || {
        let problems = scene.0.status("node1").unwrap().problems;
        problems
            .iter()
            .any(|one| one.what == "pod_interface" && one.problem.contains("no address is reserved"))
    });
    scene.sh(&format!("ip link del {}", naming::pod_host_interface(&pods[2].key)));
    scene.becomes("the port of a vanished interface is gone", || ports(&scene).is_empty());
    assert_eq!(scene.repairs("port_without_interface"), 1);
}

#[test]
fn what_others_change_is_put_back_and_counted() {
    let scene = Scene::new();
    let a = scene.add("a");
    let outer = naming::pod_host_interface(&a.key);
    let routes = "ip route show proto 109";
    for (what, break_it, show) in [
        ("address", "ip addr del 10.244.1.2/24 dev midokube-node", "ip -br addr show midokube-node"),
        ("route", "ip route del 10.96.0.0/16", routes),
        ("route", "ip route flush proto 109", routes),
        ("setting", "ip link set midokube-mido down", "ip -br link show midokube-mido | tr -s ' '"),
        ("setting", "ip link set midokube-mido alias x", "cat /sys/class/net/midokube-mido/ifalias"),
        ("link", "ip link del midokube-mido", routes),
        ("forwarding", "sysctl -qw net.ipv4.ip_forward=0", "sysctl net.ipv4.ip_forward"),
        ("cni_config", "rm /etc/cni/net.d/10-midonet.conflist", "cat /etc/cni/net.d/10-midonet.conflist"),
        ("pod", "ip link set OUTER down", "ip -br link show OUTER | tr -s ' '"),
        ("pod", "ip link set OUTER alias ''", "cat /sys/class/net/OUTER/ifalias"),
        ("pod", "ip link set OUTER name bugveth0", "ip -br link show OUTER | tr -s ' '"),
    ] {
        let [break_it, show] = [break_it, show].map(|line| line.replace("OUTER", &outer));
        let state = || scene.0.output(&node1(), "sh", &["-c", &show]).unwrap().stdout;
        let (before, counted) = (state(), scene.repairs(what));
        scene.sh(&break_it);
        scene.becomes(&format!("{break_it:?} is repaired"), || state() == before);
        scene.becomes(&format!("{break_it:?} is counted as {what}"), || scene.repairs(what) > counted);
    }
    // The datapath of the MidoNet agent is no bridge of somebody's: what an interface is part of is left alone.
    let counted = scene.repairs("pod");
    scene.sh(&format!("ip link add br7 type bridge; ip link set {outer} master br7"));
    scene.sh("ip link set midokube-node mtu 1400");
    scene.becomes("a repair", || scene.sh("cat /sys/class/net/midokube-node/mtu") == "1450\n");
    assert!(scene.sh(&format!("ip -o link show {outer}")).contains("master br7"));
    assert_eq!(scene.repairs("pod"), counted);
}

#[test]
fn from_the_embedded_network_and_back_nothing_of_the_other_stays() {
    let scene = Scene(TestLab::up(1, Family::V4, &["--service-cidr=10.96.0.0/16"]).unwrap());
    let (a, b) = (scene.add("a"), scene.add("b"));
    let reaches = || {
        let netns = scene.0.netns(&pod(&a)).unwrap();
        for address in [b.addresses()[0], "192.0.2.1".parse().unwrap()] {
            ping(&netns, address, DEADLINE).unwrap();
        }
    };
    reaches();
    let embedded = scene.sh(LOOK);
    let known = ports(&scene);
    let args = json!({
        "bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 8_000_000, "egressRate": 8_000_000, "egressBurst": 8_000_000},
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
    });
    let c = scene.0.add_pod_with("node1", "default", "c", args.as_object().unwrap().clone()).unwrap();

    scene.switch(&MIDONET);
    let nothing = "bpftool net show | grep -i -E 'midokube|from_|to_uplink'; ls -d /sys/fs/bpf/midonet-kube 2>/dev/null; nft list tables; \
        ip -br link | grep -E 'midokube-(vxlan|shape)'; tc filter show block 28009; tc filter show dev eth0 ingress";
    assert_eq!(scene.sh(&format!("{nothing}; true")), "");
    assert_eq!(scene.sh("cat /sys/class/net/midokube-mido/ifalias"), "midonet node node1\n");
    // Pods go on with their interfaces, and what they lose is told.
    assert_eq!(ports(&scene).len(), 3);
    let told = || {
        let problems = scene.0.status("node1").unwrap().problems;
        let one =
            problems.into_iter().find(|one| one.what == "pod_interface" && one.object.contains("default/c"));
        one.map(|one| one.problem).unwrap_or_default()
    };
    scene.becomes("what the Pod keeps of the other network is told", || !told().is_empty());
    let problem = told();
    for part in ["not what it sends", "its hostPorts are not served"] {
        assert!(problem.contains(part), "{part} in {problem}");
    }
    scene.0.delete_pod(&c.key).unwrap();
    let d = scene.add("d");
    scene.0.check_pod(&d.key).unwrap();
    scene.0.delete_pod(&d.key).unwrap();
    assert_eq!(ports(&scene), known);

    scene.switch(&["--service-cidr=10.96.0.0/16"]);
    assert_eq!(ports(&scene), known);
    reaches();
    scene.becomes("all is as it was with the embedded network", || scene.sh(LOOK) == embedded);
    assert_eq!(scene.sh("cat /sys/class/net/midokube-mido/ifalias"), "node node1\n");
}

#[test]
fn check_and_uninstall_know_this_network() {
    let scene = Scene(TestLab::without_agents_yet(1, Family::V4, &MIDONET).unwrap());
    scene.sh("sysctl -q net.ipv4.ip_forward=0");
    let look = format!(
        "({LOOK}) 2>/dev/null; sysctl net.ipv4.ip_forward; find /etc/cni /opt/cni /var/lib/cni -type f; \
        ls -d /run/midonet-kube-node /var/lib/midonet-kube-node 2>/dev/null; true"
    );
    let before = scene.sh(&look);
    let manifests = format!("--manifests={}", scene.0.manifests().display());
    let run = ["check", "--node-name=node1", "--cluster-cidr=10.244.0.0/16", &manifests];
    let checked = scene.run("midonet-kube-node", &[&run[..], &MIDONET[..]].concat());
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    assert!(said.contains("warning  the MidoNet agent's host id: there is no /run/host_id"), "{said}");
    for not in ["eBPF", "VXLAN", "kube-proxy", "UDP port 4789", "nftables"] {
        assert!(!said.contains(not), "{not} in {said}");
    }
    assert_eq!(scene.sh(&look), before);
    assert!(scene.run("midonet-kube-node", &["install"]).status.success());
    scene.0.start_agent("node1").unwrap();
    let a = scene.add("a");
    assert_ne!(scene.sh(&look), before);
    scene.0.delete_pod(&a.key).unwrap();
    scene.0.stop_agent("node1").unwrap();
    let removed = scene.run("midonet-kube-node", &["uninstall"]);
    let said = String::from_utf8(removed.stdout).unwrap();
    assert!(removed.status.success() && said.contains("removed: midokube-mido"), "{said}");
    assert_eq!(scene.sh(&look), before);
}
