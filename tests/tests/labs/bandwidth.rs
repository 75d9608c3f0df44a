//! CNI's capabilities "bandwidth" and "portMappings": real traffic through a Pod's limits, repair of the limits, and
//! invalid ones, which are refused.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::throughput;
use lab::{Family, Pod};
use plumbing::NetNs;
use serde_json::{Value, json};

/// Bits a second: what the limited Pod gets, and what it sends.
const INGRESS: u64 = 60_000_000;
const EGRESS: u64 = 30_000_000;

/// How often it is measured before a rate is wrong.
const ATTEMPTS: usize = 10;

/// How long each measurement sends.
const WHILE: Duration = Duration::from_millis(1200);

fn add(lab: &TestLab, node: &str, name: &str, bandwidth: &Value) -> anyhow::Result<Pod> {
    let arguments = json!({"bandwidth": bandwidth});
    lab.add_pod_with(node, "default", name, arguments.as_object().unwrap().clone())
}

/// As containerd asks for the annotations kubernetes.io/ingress-bandwidth and egress-bandwidth.
fn both() -> Value {
    json!({
        "ingressRate": INGRESS, "ingressBurst": u32::MAX,
        "egressRate": EGRESS, "egressBurst": u32::MAX,
    })
}

/// A limited Pod, and others on its node and on another.
struct Scene {
    lab: TestLab,
    limited: Pod,
    neighbour: Pod,
    remote: Pod,
}

impl Scene {
    fn new(family: Family) -> Self {
        testkit::require_tool("tc", "apt-get install iproute2");
        let lab = TestLab::up(2, family, &[]).unwrap();
        let limited = add(&lab, "node1", "limited", &both()).unwrap();
        let plain = |node: &str, name: &str| lab.add_pod(node, "default", name).unwrap();
        let (neighbour, remote) = (plain("node1", "neighbour"), plain("node2", "remote"));
        Self { lab, limited, neighbour, remote }
    }

    fn netns(&self, of: &Pod) -> NetNs {
        self.lab.netns(&pod(of)).unwrap()
    }

    /// Bits a second of one TCP connection.
    fn tcp(&self, from: &Pod, to: &Pod, address: IpAddr) -> f64 {
        let through = throughput(&self.netns(from), &self.netns(to), address, WHILE);
        through.unwrap_or_else(|error| panic!("{} to {address}: {error:#}", from.key)).gigabits() * 1e9
    }

    /// That what the limited Pod sends, and what it gets, keeps to its limits, and uses them.
    fn keeps_limits(&self, after: &str, other: &Pod) {
        for (from, to, limit) in [(&self.limited, other, EGRESS), (other, &self.limited, INGRESS)] {
            for address in to.addresses() {
                fits(&format!("{after}: {} to {address}", from.key), limit, || self.tcp(from, to, address));
            }
        }
    }

    fn outer(&self) -> String {
        naming::pod_host_interface(&self.limited.key)
    }

    /// The queues on node1, without their numbers that change.
    fn queues(&self) -> String {
        let outer = self.outer();
        let line = format!(
            "tc qdisc show dev {outer} | grep -o 'tbf.*' | sed 's/tbf [^ ]* //'; \
             tc class show dev midokube-shape | sed 's/leaf [^ ]* //'; tc qdisc show dev midokube-shape | grep -o 'parent .* limit.*'"
        );
        String::from_utf8(self.lab.output(&node1(), "sh", &["-c", &line]).unwrap().stdout).unwrap()
    }
}

/// That the rate keeps to the limit, and uses it. A busy machine gives the two ends their turns unevenly, so that
/// one measurement may be wrong either way: what holds, holds in one of several.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn fits(what: &str, limit: u64, measure: impl Fn() -> f64) {
    let rates = std::iter::repeat_with(measure).take(ATTEMPTS);
    let mut seen = Vec::new();
    for rate in rates {
        if (0.5..=1.15).contains(&(rate / limit as f64)) {
            return;
        }
        seen.push(format!("{:.1}", rate / 1e6));
    }
    panic!("{what}: the limit is {:.1} Mbit/s, and measured were {}", limit as f64 / 1e6, seen.join(", "));
}

/// Bits a second of datagrams that arrive, when twice as many are sent as the limit allows. Not more: a flood fills the
/// machine's own queues, which all tests share.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn datagrams(from: &NetNs, to: &NetNs, address: IpAddr, limit: u64) -> f64 {
    const SIZE: usize = 1200;
    let receiver = to.run(|| UdpSocket::bind(SocketAddr::new(address, 0))).unwrap().unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let any: IpAddr = if address.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
    let sender = from.run(|| UdpSocket::bind(SocketAddr::new(any, 0))).unwrap().unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (start, mut sent) = (Instant::now(), 0.0);
            while start.elapsed() < WHILE {
                let due = start.elapsed().as_secs_f64() * 2.0 * limit as f64 / 8.0;
                while sent < due && start.elapsed() < WHILE {
                    let _full = sender.send(&[0; SIZE]);
                    sent += SIZE as f64;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let (mut count, mut first, mut last) = (0u64, None, Instant::now());
        while let Ok(size) = receiver.recv(&mut [0; 2 * SIZE]) {
            assert_eq!(size, SIZE);
            last = Instant::now();
            first.get_or_insert(last);
            count += 1;
        }
        let elapsed = last - first.unwrap();
        // On the wire each has headers besides.
        let headers = if address.is_ipv4() { 42 } else { 62 };
        count as f64 * (SIZE + headers) as f64 * 8.0 / elapsed.as_secs_f64()
    })
}

#[test]
fn limits_hold_for_their_pod_alone() {
    for family in [Family::Dual, Family::V4, Family::V6] {
        let scene = Scene::new(family);
        for other in [&scene.neighbour, &scene.remote] {
            scene.keeps_limits("at first", other);
        }
        for address in scene.remote.addresses() {
            let mut rates =
                std::iter::repeat_with(|| scene.tcp(&scene.neighbour, &scene.remote, address)).take(ATTEMPTS);
            assert!(
                rates.any(|rate| rate > 2e6 * 60.0),
                "an unlimited Pod does not send faster to {address}"
            );
        }
        scene.lab.check_pod(&scene.limited.key).unwrap();
        let ports = scene.lab.status("node1").unwrap().ports;
        let bandwidth = |name: &str| ports.iter().find(|port| port.name == name).unwrap().bandwidth;
        let limits = bandwidth("limited").unwrap();
        assert_eq!(
            (limits.ingress_rate, limits.egress_rate, limits.egress_burst),
            (INGRESS, EGRESS, (1 << 32) - 1)
        );
        assert_eq!(bandwidth("neighbour"), None);
    }
}

#[test]
fn limits_hold_for_udp() {
    let scene = Scene::new(Family::Dual);
    let limited = scene.netns(&scene.limited);
    for other in [&scene.neighbour, &scene.remote] {
        for address in other.addresses() {
            fits(&format!("sent to {address}"), EGRESS, || {
                datagrams(&limited, &scene.netns(other), address, EGRESS)
            });
        }
        for address in scene.limited.addresses() {
            fits(&format!("got at {address}"), INGRESS, || {
                datagrams(&scene.netns(other), &limited, address, INGRESS)
            });
        }
    }
}

#[test]
fn limits_survive_agents_and_are_repaired() {
    let scene = Scene::new(Family::Dual);
    let before = scene.queues();
    assert!(before.contains("rate 60Mbit burst") && before.contains("6d69:1 root"), "{before}");

    scene.lab.restart_agent("node1").unwrap();
    assert_eq!(scene.queues(), before);
    scene.keeps_limits("a restart", &scene.neighbour);

    let outer = scene.outer();
    for break_it in [
        format!("tc qdisc del dev {outer} root"),
        format!("tc qdisc replace dev {outer} root tbf rate 1gbit burst 1mb latency 50ms"),
        "tc class del dev midokube-shape classid 6d69:1".to_owned(),
        "tc class replace dev midokube-shape parent 6d69: classid 6d69:1 htb rate 1gbit".to_owned(),
        "tc qdisc del dev midokube-shape root".to_owned(),
        "ip link set midokube-shaped down".to_owned(),
        "tc qdisc del dev midokube-shaped clsact".to_owned(),
        "ip link del midokube-shape".to_owned(),
    ] {
        sh(&scene.lab, &node1(), &break_it);
        let repaired = || scene.queues() == before && scene.lab.check_pod(&scene.limited.key).is_ok();
        testkit::wait_until(DEADLINE, &format!("{break_it:?} is repaired"), repaired);
    }
    let metrics = sh(&scene.lab, &node1(), "curl -sf -m30 http://127.0.0.1:9454/metrics");
    let limit = "midonet_kube_node_repairs_total{what=\"limit\"} ";
    let repaired = metrics.lines().find_map(|line| line.strip_prefix(limit)).unwrap();
    assert!(repaired.parse::<u64>().unwrap() > 0, "{metrics}");
    scene.keeps_limits("repairs", &scene.neighbour);

    // Also between two checks of the agent; and changes on the container side have no effect.
    scene.lab.stop_agent("node1").unwrap();
    sh(&scene.lab, &node1(), &format!("tc qdisc del dev {outer} root; ip link del midokube-shape"));
    scene.lab.start_agent("node1").unwrap();
    testkit::wait_until(DEADLINE, "a new agent puts the queues back", || scene.queues() == before);
    sh(&scene.lab, &pod(&scene.limited), "tc qdisc replace dev eth0 root pfifo; tc qdisc del dev eth0 root");
    scene.keeps_limits("meddling inside", &scene.remote);
}

#[test]
fn a_deleted_pod_with_limits_leaves_nothing() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let classes = || sh(&lab, &node1(), "tc class show dev midokube-shape");
    let limits = "bpftool -j map dump pinned $(ls /sys/fs/bpf/midonet-kube/maps/limits-v*)";
    let first = add(&lab, "node1", "first", &both()).unwrap();
    let second = add(&lab, "node1", "second", &both()).unwrap();
    assert_eq!(classes().matches("class htb").count(), 2);
    lab.delete_pod(&first.key).unwrap();
    assert!(!classes().contains("6d69:1 ") && classes().contains("6d69:2 "), "{}", classes());
    // One direction alone, and the number that is free.
    let ingress = json!({"ingressRate": INGRESS, "ingressBurst": 800_000});
    let (only, again) =
        (add(&lab, "node1", "only", &ingress).unwrap(), add(&lab, "node1", "again", &both()).unwrap());
    assert_eq!(classes().matches("class htb").count(), 2);
    for pod in [&second, &only, &again] {
        lab.check_pod(&pod.key).unwrap();
        lab.delete_pod(&pod.key).unwrap();
    }
    assert_eq!((classes().as_str(), sh(&lab, &node1(), limits).trim()), ("", "[]"));
    testkit::wait_until(DEADLINE, "interfaces are deleted a moment after DEL", || {
        !sh(&lab, &node1(), "tc qdisc show").contains("tbf")
    });
}

#[test]
fn invalid_limits_are_refused() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    for (bandwidth, want) in [
        (json!({"ingressRate": 1_000_000}), "code 7: runtimeConfig.bandwidth.ingressBurst: missing"),
        (json!({"egressRate": -1, "egressBurst": 8}), "code 7: runtimeConfig.bandwidth.egressRate: -1"),
    ] {
        let error = format!("{:#}", add(&lab, "node1", "refused", &bandwidth).unwrap_err());
        assert!(error.contains(want), "{error}");
    }
    assert!(lab.status("node1").unwrap().ports.is_empty());
}

/// The agent leaves them to others, and there is no plugin `portmap` on this node.
#[test]
fn ports_of_the_node_are_refused_and_leave_nothing() {
    let lab = TestLab::up(1, Family::Dual, &["--services", "off"]).unwrap();
    sh(&lab, &node1(), "ip netns add sandbox");
    let read = "cat /etc/cni/net.d/10-midonet.conflist";
    let list: Value = serde_json::from_str(&sh(&lab, &node1(), read)).unwrap();
    let mut config = list["plugins"][0].clone();
    config["name"] = list["name"].clone();
    config["cniVersion"] = list["cniVersion"].clone();
    config["runtimeConfig"] =
        json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    let call = |verb: &str| {
        let environment =
            "CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/sandbox CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin";
        let line =
            format!("echo '{config}' | {environment} CNI_COMMAND={verb} /opt/cni/bin/midonet-kube-cni");
        let output = lab.output(&node1(), "sh", &["-c", &line]).unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let left = || {
        sh(
            &lab,
            &node1(),
            "ip -br link; ls /var/lib/cni/networks/midonet-pod-network 2>/dev/null | grep :; true",
        )
    };
    let before = left();
    let (ok, answer) = call("ADD");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((ok, &answer["code"]), (false, &json!(2)), "{answer}");
    let msg = answer["msg"].as_str().unwrap();
    for want in ["runtimeConfig.portMappings", "hostPort 8080/tcp", "containerPort 80", "portmap", "Services"]
    {
        assert!(msg.contains(want), "{want} in {msg}");
    }
    assert_eq!(left(), before);
    assert!(lab.status("node1").unwrap().ports.is_empty());
    assert_eq!(call("DEL"), (true, String::new()), "a runtime's DEL after it");
}
