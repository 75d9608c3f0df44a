//! The whole chain but Kubernetes: real agents, the real plugin, real packets.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use e2e::{DEADLINE, TestLab, pod};
use lab::probe::{EchoServer, ping, tcp_echo, udp_echo};
use lab::{Family, Target};

fn node(name: &str) -> Target {
    Target::Node(name.into())
}

/// `midokube-lab demo` tries every path itself; here it has to say that each works.
fn demo(family: &str) {
    testkit::require_root();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(testkit::bin("midokube-lab"))
        .args(["demo", "--family", family, "--dir"])
        .arg(directory.path().join("lab"))
        .env("CI", "true")
        .env_remove("KEEP")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let verdict = said.lines().last().unwrap_or_default();
    let words: Vec<&str> = verdict.split(' ').collect();
    assert!(
        output.status.success()
            && matches!(words[..], ["demo:", n, "of", m, "paths", "work"] if n == m && n != "0"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // What healthy hosts send besides, such as multicast, is no drop.
    assert!(said.contains("Drops of all nodes: none"), "{said}");
    assert!(!directory.path().join("lab").exists(), "the demo left its lab behind");
}

#[test]
fn every_path_works_dual_stack() {
    demo("46");
}

#[test]
fn every_path_works_with_ipv4_alone() {
    demo("4");
}

#[test]
fn every_path_works_with_ipv6_alone() {
    demo("6");
}

/// `midokube-lab`, as it is typed.
#[test]
fn commands_keep_to_the_namespace_that_is_named() {
    let lab = TestLab::up(1, Family::V4, &[]).unwrap();
    let run = |line: &str| {
        let mut command = Command::new(testkit::bin("midokube-lab"));
        let output = command.arg("--dir").arg(lab.dir()).args(line.split(' ')).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    for line in
        ["pod add node1 a", "pod add node1 a -n other", "pod add -n other node1 b", "pod add node1 third/c"]
    {
        let (added, said) = run(line);
        assert!(added, "{line}: {said}");
    }
    let address = |namespace: &str, name: &str| {
        let key = naming::PodKey::new(namespace, name);
        lab.state().unwrap().pod(&key).unwrap().addresses()[0].to_string()
    };
    for (line, namespace, name) in [
        ("exec -n other a ip address", "other", "a"),
        ("exec --namespace other a ip address", "other", "a"),
        ("exec a -n other ip address", "other", "a"),
        ("exec -n other a -- ip address", "other", "a"),
        ("exec default/a ip address", "default", "a"),
        ("exec b ip address", "other", "b"),
        ("status -n third", "third", "c"),
    ] {
        let (done, said) = run(line);
        assert!(done && said.contains(&address(namespace, name)), "{line}: {said}");
    }
    let (_, said) = run("status -n third -o json");
    assert!(!said.contains("other"), "{said}");
    for (line, want) in [
        ("exec a true", "several Pods called a"),
        ("exec -n default b true", "no Pod default/b"),
        ("exec -n other node1 true", "no Pod other/node1"),
        ("pod delete a", "several Pods called a"),
        ("pod delete -n third b", "no Pod third/b"),
        ("pod delete -n default other/b", "other/b is not in namespace default"),
        ("pod delete node1", "no Pod node1"),
        ("pod add node1 -n default third/x", "third/x is not in namespace default"),
    ] {
        let (done, said) = run(line);
        assert!(!done && said.contains(want), "{line}: {said}");
    }
    assert_eq!(lab.state().unwrap().pods.len(), 4);
    for line in ["pod delete b", "pod delete -n other a", "pod delete default/a", "pod delete c -n third"] {
        let (deleted, said) = run(line);
        assert!(deleted, "{line}: {said}");
    }
    assert!(lab.state().unwrap().pods.is_empty());
}

#[test]
fn pods_work_without_an_agent_and_the_next_one_restores_state() {
    let lab = TestLab::up(2, Family::Dual, &[]).unwrap();
    let a = lab.add_pod("node1", "default", "a").unwrap();
    let b = lab.add_pod("node2", "default", "b").unwrap();
    let before = lab.status("node1").unwrap();
    let netns = lab.netns(&pod(&a)).unwrap();
    let paths_work = |when: &str| {
        for address in b.addresses() {
            ping(&netns, address, DEADLINE).unwrap_or_else(|error| panic!("{when}: {address}: {error:#}"));
        }
    };
    paths_work("before");

    let agent = lab.state().unwrap().nodes[0].agent.unwrap();
    agent.kill(DEADLINE).unwrap();
    paths_work("without an agent");
    let lonely = lab.add_pod("node1", "default", "c").unwrap_err();
    assert!(format!("{lonely:#}").contains("node agent"), "{lonely:#}");

    lab.restart_agent("node1").unwrap();
    paths_work("with the next agent");
    let after = lab.status("node1").unwrap();
    assert_eq!(after.ports.len(), 1);
    assert_eq!(
        (&after.ports[0].port_id, &after.ports[0].mac),
        (&before.ports[0].port_id, &before.ports[0].mac)
    );
    let c = lab.add_pod("node1", "default", "c").unwrap();
    ping(&netns, c.addresses()[0], DEADLINE).unwrap();
    lab.check_pod(&a.key).unwrap();
}

#[test]
fn a_deleted_pod_leaves_nothing_behind() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let links = || lab.stdout(&node("node1"), "ip", &["-br", "link"]).unwrap();
    let empty = links();
    let keys: Vec<_> =
        (0..5).map(|i| lab.add_pod("node1", "default", &format!("p{i}")).unwrap().key).collect();
    assert_eq!(lab.status("node1").unwrap().ports.len(), 5);
    for key in &keys {
        lab.delete_pod(key).unwrap();
    }
    assert!(lab.status("node1").unwrap().ports.is_empty());
    let addresses = lab
        .stdout(&node("node1"), "find", &["/var/lib/cni/networks", "-type", "f", "-name", "[0-9f]*"])
        .unwrap();
    assert_eq!(addresses, "");
    testkit::wait_until(DEADLINE, "the agent deletes retired interfaces", || {
        links().lines().count() == empty.lines().count()
    });
}

#[test]
fn a_second_agent_refuses() {
    let lab = TestLab::up(1, Family::V4, &[]).unwrap();
    let program = testkit::bin("midonet-kube-node");
    let args = ["--node-name", "node1", "--cluster-cidr", "10.244.0.0/16", "--manifests", "/tmp"];
    let output = lab.output(&node("node1"), program.to_str().unwrap(), &args).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("another midonet-kube-node runs on this node"),
        "{said}"
    );
    assert!(lab.status("node1").unwrap().agent.unwrap().ready, "the first one is not disturbed");
}

#[test]
fn a_pod_sends_only_with_its_own_addresses() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let a = lab.add_pod("node1", "default", "a").unwrap();
    let b = lab.add_pod("node1", "default", "b").unwrap();
    let target = b.addresses().into_iter().find(IpAddr::is_ipv4).unwrap().to_string();
    // The gateway is known already: it is not asked for in a false name, which is another reason.
    lab.stdout(&pod(&a), "ping", &["-c1", "-W30", &target]).unwrap();
    let before = lab.counted("node1", "source_ip").unwrap();
    lab.stdout(&pod(&a), "ip", &["addr", "add", "10.244.9.9/32", "dev", "eth0"]).unwrap();
    let forged = lab.output(&pod(&a), "ping", &["-c2", "-i0.2", "-W1", "-I", "10.244.9.9", &target]).unwrap();
    assert!(!forged.status.success());
    assert!(lab.counted("node1", "source_ip").unwrap() >= before + 2);

    let before = lab.counted("node1", "source_mac").unwrap();
    lab.stdout(&pod(&a), "ip", &["link", "set", "eth0", "address", "02:00:00:00:00:99"]).unwrap();
    let gateway = "neigh replace 10.244.1.1 lladdr 02:6d:69:64:6f:01 dev eth0 nud permanent";
    lab.stdout(&pod(&a), "ip", &gateway.split(' ').collect::<Vec<_>>()).unwrap();
    let forged = lab.output(&pod(&a), "ping", &["-c2", "-i0.2", "-W1", &target]).unwrap();
    assert!(!forged.status.success());
    assert!(lab.counted("node1", "source_mac").unwrap() > before);
}

#[test]
fn the_gateway_routes_like_a_router() {
    let lab = TestLab::up(2, Family::Dual, &[]).unwrap();
    let a = lab.add_pod("node1", "default", "a").unwrap();
    let b = lab.add_pod("node2", "default", "b").unwrap();
    let netns = lab.netns(&pod(&a)).unwrap();
    for address in b.addresses() {
        let to = address.to_string();
        // Larger than any MTU: fragmented by the Pod, reassembled by the other.
        lab.stdout(&pod(&a), "ping", &["-c1", "-W30", "-s", "5000", &to]).unwrap();
        // The first hop is the gateway's.
        let expired = lab.output(&pod(&a), "ping", &["-c1", "-W30", "-t1", &to]).unwrap();
        let said = String::from_utf8_lossy(&expired.stdout).into_owned();
        let gateway = if address.is_ipv4() { "10.244.1.1" } else { "fd44:0:0:1::1" };
        assert!(said.contains(gateway) && said.to_lowercase().contains("exceeded"), "{said}");
        // A neighbour that does not exist is answered for at once.
        let nobody = if address.is_ipv4() { "10.244.2.200" } else { "fd44:0:0:2::c8" };
        assert!(ping(&netns, nobody.parse().unwrap(), Duration::from_millis(500)).is_err());
    }
    // A Pod with too large an MTU gets an ICMP error with the right one.
    lab.stdout(&pod(&a), "ip", &["link", "set", "eth0", "mtu", "1500"]).unwrap();
    let outer = naming::pod_host_interface(&a.key);
    lab.stdout(&node("node1"), "ip", &["link", "set", &outer, "mtu", "1500"]).unwrap();
    let before = lab.counted("node1", "too_big").unwrap();
    for address in b.addresses() {
        let _told = lab.output(
            &pod(&a),
            "ping",
            &["-c2", "-i0.2", "-W1", "-M", "do", "-s", "1440", &address.to_string()],
        );
    }
    assert!(lab.counted("node1", "too_big").unwrap() >= before + 2);
}

#[test]
fn any_protocol_and_both_directions() {
    let lab = TestLab::up(2, Family::Dual, &[]).unwrap();
    let a = lab.add_pod("node1", "default", "a").unwrap();
    let b = lab.add_pod("node2", "default", "b").unwrap();
    let netns = |target: &Target| lab.netns(target).unwrap();
    let _echo = EchoServer::start(&netns(&pod(&b)), &b.addresses()).unwrap();
    for address in b.addresses() {
        for from in [pod(&a), node("node1"), node("node2")] {
            tcp_echo(&netns(&from), address, DEADLINE).unwrap();
            udp_echo(&netns(&from), address, DEADLINE).unwrap();
        }
    }
    // A protocol without ports, here "any private encryption scheme": counted in, not dropped.
    let before = lab.counted("node2", "direct_in").unwrap();
    for address in b.addresses() {
        netns(&pod(&a))
            .run(|| {
                let domain = socket2::Domain::for_address((address, 0).into());
                let socket = socket2::Socket::new(domain, socket2::Type::RAW, Some(99.into())).unwrap();
                socket.send_to(&[0; 64], &std::net::SocketAddr::from((address, 0)).into()).unwrap();
            })
            .unwrap();
    }
    testkit::wait_until(DEADLINE, "protocol 99 arrives", || {
        lab.counted("node2", "direct_in").unwrap() >= before + 2
    });
}

#[test]
fn the_encapsulation_setting_holds() {
    for (encapsulation, out, inward) in
        [("direct", "direct_out", "direct_in"), ("device", "overlay_out", "overlay_in")]
    {
        let lab = TestLab::up(2, Family::Dual, &["--encapsulation", encapsulation]).unwrap();
        let (a, b) =
            (lab.add_pod("node1", "default", "a").unwrap(), lab.add_pod("node2", "default", "b").unwrap());
        assert_eq!(lab.status("node1").unwrap().network.unwrap().encapsulation, encapsulation);
        let from = lab.netns(&pod(&a)).unwrap();
        let _echo = EchoServer::start(&lab.netns(&pod(&b)).unwrap(), &b.addresses()).unwrap();
        for address in b.addresses() {
            tcp_echo(&from, address, DEADLINE).unwrap();
        }
        for (node, reason) in [("node1", out), ("node1", inward), ("node2", out), ("node2", inward)] {
            assert!(lab.counted(node, reason).unwrap() > 4, "{encapsulation}: {reason} of {node}");
        }
    }
}

#[test]
fn the_agent_serves_health_and_metrics() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    lab.add_pod("node1", "default", "a").unwrap();
    let get = |path: &str| {
        let url = format!("http://127.0.0.1:9454{path}");
        lab.stdout(&node("node1"), "curl", &["-sf", "-m30", &url]).unwrap()
    };
    assert_eq!(get("/readyz"), "ready\n");
    assert_eq!(get("/healthz"), "ok\n");
    let page = get("/metrics");
    for line in [
        "midonet_kube_node_ready 1",
        "midonet_kube_node_ports 1",
        "verdict=\"forward\",reason=\"local\"",
        "verdict=\"drop\",reason=\"source_mac\"",
        "verdict=\"ignore\",reason=\"multicast\"",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[test]
fn annotations_are_written_beside_the_manifests() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let a = lab.add_pod("node1", "default", "a").unwrap();
    let file = lab.manifests().join("annotations/default_a.yaml");
    testkit::wait_until(DEADLINE, "the annotation is written", || file.exists());
    let text = std::fs::read_to_string(file).unwrap();
    let port_id = naming::pod_port_id(&a.key).to_string();
    for part in [a.mac.unwrap().to_string(), port_id, a.uid.clone()] {
        assert!(text.contains(&part), "{part} in {text}");
    }
}
