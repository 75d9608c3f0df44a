//! What is denied to Pods is in the deny log, and in Events of the Pods.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::api::{Api, Mood, kubeconfig};
use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::{ECHO_PORT, ping, tcp_echo};
use lab::{Family, Pod};
use serde_json::{Value, json};

use crate::scene::{QUIET, Scene, allow_from, app, deny_ingress, node};

const LOG: &str = "/run/deny.log";

/// The lines of a node's log, the oldest first.
fn lines(scene: &Scene, number: u8) -> Vec<Value> {
    let line = format!("for file in {LOG}.3 {LOG}.2 {LOG}.1 {LOG}; do cat $file 2>/dev/null || true; done");
    let text = sh(&scene.lab, &node(number), &line);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// How many packets are in lines, those that are missing included.
fn logged(scene: &Scene, number: u8) -> u64 {
    let of = |line: &Value| match line["verdict"].as_str() {
        Some("deny") => line["packets"].as_u64().unwrap(),
        Some(_) => 0,
        None => line["missingPackets"].as_u64().unwrap(),
    };
    lines(scene, number).iter().map(of).sum()
}

/// How many packets a node's datapath counted as dropped.
fn denied(scene: &Scene, number: u8) -> u64 {
    let counters = scene.lab.status(&format!("node{number}")).unwrap().counters;
    counters.iter().filter(|counter| counter.verdict == "drop").map(|counter| counter.packets).sum()
}

fn every_packet_is_logged(scene: &Scene, number: u8) {
    let end = Instant::now() + DEADLINE;
    loop {
        let (counted, told) = (denied(scene, number), logged(scene, number));
        if counted > 0 && counted == told {
            return;
        }
        assert!(
            Instant::now() < end,
            "{counted} packets were denied, and {told} are in the log: {:#?}",
            lines(scene, number)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn problem(scene: &Scene) -> Option<String> {
    let problems = scene.lab.status("node1").unwrap().problems;
    problems.into_iter().find(|problem| problem.what == "deny_log").map(|problem| problem.problem)
}

fn metric(scene: &Scene, series: &str) -> u64 {
    let page = sh(&scene.lab, &node1(), "curl -sf -m5 http://127.0.0.1:9454/metrics");
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{series} in {page}")).parse().unwrap()
}

/// Sends a datagram to each of these ports.
fn scan(scene: &Scene, from: &Pod, to: IpAddr, ports: std::ops::Range<u16>) {
    let own = from.addresses().into_iter().find(|own| own.is_ipv4() == to.is_ipv4()).unwrap();
    let send = || {
        let socket = UdpSocket::bind(SocketAddr::new(own, 0)).unwrap();
        for port in ports {
            let _refused = socket.send_to(b"x", SocketAddr::new(to, port));
        }
    };
    scene.netns(&pod(from)).run(send).unwrap();
}

#[test]
fn every_packet_that_is_denied_is_in_the_log() {
    let mut scene = Scene::new(&[&format!("--deny-log={LOG}"), "--deny-log-size=64KiB"]);
    let db = scene.pod("node1", "shop", "db", "db");
    let web = scene.pod("node2", "shop", "web", "web");
    let guest = scene.pod("node2", "other", "guest", "guest");
    scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
    scene.only(&[&web], &[&guest], &db);
    for address in db.addresses() {
        assert!(ping(&scene.netns(&pod(&guest)), address, QUIET).is_err());
    }
    every_packet_is_logged(&scene, 1);
    let all = lines(&scene, 1);
    for (at, address) in db.addresses().into_iter().enumerate() {
        let own = guest.addresses()[at].to_string();
        for (protocol, port) in [("tcp", json!(ECHO_PORT)), ("udp", json!(ECHO_PORT)), ("icmp", Value::Null)]
        {
            let is_it = |line: &&Value| line["source"] == own && line["protocol"] == protocol;
            let line = all.iter().find(is_it).unwrap_or_else(|| panic!("{own} {protocol} in {all:?}"));
            for (key, want) in [
                ("node", json!("node1")),
                ("verdict", json!("deny")),
                ("direction", json!("ingress")),
                ("reason", json!("policy_ingress")),
                ("sourcePod", json!("other/guest")),
                ("destination", json!(address.to_string())),
                ("destinationPod", json!("shop/db")),
                ("port", port.clone()),
                ("decidedBy", json!("networkPolicy")),
                ("policies", json!(["shop/db"])),
                ("rule", Value::Null),
            ] {
                assert_eq!(line[key], want, "{key} of {line}");
            }
            assert_eq!(line["sourcePort"].is_null(), port.is_null(), "{line}");
            assert!(
                line["first"].as_str() <= line["last"].as_str()
                    && line["last"].as_str() <= line["time"].as_str()
            );
        }
    }
    assert!(!all.iter().any(|line| line["sourcePod"] == "shop/web" && line["verdict"] == "audit"), "{all:?}");
    assert_eq!(sh(&scene.lab, &node1(), &format!("stat -c %a {LOG}")).trim(), "600");

    // What a Pod may not send is logged on its own node.
    scene.policy("other", "out", &json!({"podSelector": app("guest"), "policyTypes": ["Egress"]}));
    scene.only(&[], &[&guest], &web);
    every_packet_is_logged(&scene, 2);
    let all = lines(&scene, 2);
    let line = all.iter().find(|line| line["destinationPod"] == "shop/web").unwrap();
    assert_eq!((&line["direction"], &line["policies"]), (&json!("egress"), &json!(["other/out"])), "{line}");
    scene.remove("policy-other-out");

    // What would be denied.
    scene.namespace("shop", json!({"team": "shop"}), &json!({"midonet.org/policy-audit": "true"}));
    scene.is_reached(&pod(&guest), &db);
    testkit::wait_until(DEADLINE, "what is audited is in the log", || {
        let is_it = |line: &Value| line["verdict"] == "audit" && line["sourcePod"] == "other/guest";
        lines(&scene, 1).iter().any(is_it)
    });
    scene.namespace("shop", json!({"team": "shop"}), &json!({}));
    scene.only(&[&web], &[&guest], &db);

    // More than there may be lines: each packet is in one, or said to be missing.
    every_packet_is_logged(&scene, 1);
    let near = scene.silent_pod("node1", "other", "near", "near");
    for from in [&guest, &near] {
        scan(&scene, from, db.addresses()[0], 5000..7000);
        every_packet_is_logged(&scene, 1);
    }
    let all = lines(&scene, 1);
    let missing: u64 = all.iter().filter_map(|line| line["missingLines"].as_u64()).sum();
    assert!(missing >= 1500, "{missing}");
    // And no more rows than one sender may have: the rest of its packets are in one.
    let others = all.iter().filter(|line| line["others"] == true).filter_map(|line| line["packets"].as_u64());
    let others: u64 = others.sum();
    assert!(others >= 900, "{others}");
    assert_eq!(metric(&scene, "midonet_kube_node_deny_log_lines_total{result=\"limited\"}"), missing);
    let written = all.iter().filter(|line| line["missingLines"].is_null()).count();
    assert_eq!(metric(&scene, "midonet_kube_node_deny_log_lines_total{result=\"written\"}"), written as u64);
    assert!(sh(&scene.lab, &node1(), &format!("ls {LOG}*")).contains("deny.log.1"), "it is rotated");
    assert_eq!(problem(&scene), None);
}

#[test]
fn a_log_that_cannot_be_written_is_a_problem_and_nothing_else() {
    let mut scene = Scene::new(&[&format!("--deny-log={LOG}")]);
    let db = scene.pod("node1", "shop", "db", "db");
    let guest = scene.pod("node2", "other", "guest", "guest");
    scene.policy("shop", "db", &deny_ingress(&app("db")));
    scene.only(&[], &[&guest], &db);
    every_packet_is_logged(&scene, 1);
    // Each change is one step: the agent makes the file anew whenever it finds none.
    sh(
        &scene.lab,
        &node1(),
        &format!(
            "echo target >/run/target; ln -s /run/target /run/link; ln {LOG} /run/kept; mv -T /run/link {LOG}"
        ),
    );
    testkit::wait_until(DEADLINE, "a link is a problem", || {
        problem(&scene).is_some_and(|problem| problem.contains("it is a symbolic link"))
    });
    scene.only(&[], &[&guest], &db);
    assert_eq!(sh(&scene.lab, &node1(), "cat /run/target"), "target\n");
    assert!(metric(&scene, "midonet_kube_node_deny_log_lines_total{result=\"failed\"}") > 0);
    sh(&scene.lab, &node1(), &format!("mv -T /run/kept {LOG}"));
    testkit::wait_until(DEADLINE, "it is none any more", || problem(&scene).is_none());
    // What was not written is said to be missing.
    every_packet_is_logged(&scene, 1);
    assert!(lines(&scene, 1).iter().any(|line| line["missingLines"].as_u64() > Some(0)));

    // What the agent before this one wrote stays, and is not written again.
    let before = lines(&scene, 1);
    scene.lab.restart_agent("node1").unwrap();
    scene.only(&[], &[&guest], &db);
    testkit::wait_until(DEADLINE, "the next agent goes on", || lines(&scene, 1).len() > before.len());
    assert_eq!(lines(&scene, 1)[..before.len()], before);
    // What was sent again while no agent looked has no line.
    let (told, counted) = (logged(&scene, 1), denied(&scene, 1));
    assert!(told <= counted, "{told} packets are in the log, and {counted} were denied");
}

/// The Pods of a cluster: nothing may come to those whose names begin with "db".
const PODS: [&str; 3] = ["db", "db-refused", "web"];

/// A cluster of a node, a policy and these Pods, whose namespace has these annotations.
fn cluster(annotations: &Value) -> Mood {
    let metadata = |name: &str| json!({"namespace": "shop", "name": name, "resourceVersion": "1"});
    let mut all = vec![
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1", "uid": "n", "resourceVersion": "1"},
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.11"}]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "shop", "uid": "shop", "resourceVersion": "1", "annotations": annotations},
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata("deny"),
            "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"]},
        }),
    ];
    for name in PODS {
        let mut metadata = metadata(name);
        metadata["labels"] = json!({"app": name.split('-').next()});
        let spec = json!({"nodeName": "node1", "containers": [{"name": "main", "image": "none"}]});
        all.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    }
    Mood::Serves("cluster", all)
}

/// The Events of a reason.
fn events(api: &Api, reason: &str) -> Vec<Value> {
    api.events().into_iter().filter(|event| event["reason"] == reason).collect()
}

/// A lab of a node whose agent asks such an API server, once it knows all; and the directory of its kubeconfig.
fn with_api(annotations: &Value) -> (TestLab, Api, PathBuf) {
    let directory = kubeconfig();
    let kubeconfig = format!("--kubeconfig={}", directory.join("config").display());
    let lab = TestLab::without_agents_yet(1, Family::V4, &[&kubeconfig, "--cache-dir=/run/cache"]).unwrap();
    let api = Api::start(&lab, cluster(annotations));
    sh(&lab, &node1(), &format!("{} install", testkit::bin("midonet-kube-node").display()));
    lab.start_agent("node1").unwrap();
    testkit::wait_until(DEADLINE, "all is known", || lab.status("node1").unwrap().policy.unwrap().complete);
    (lab, api, directory)
}

/// As Events name a Pod.
fn about(pod: &Pod) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": pod.key.name, "uid": pod.uid})
}

/// A connection that does not come about.
fn knock(lab: &TestLab, from: &Pod, at: &Pod) {
    let netns = lab.netns(&pod(from)).unwrap();
    tcp_echo(&netns, at.addresses()[0], QUIET).unwrap_err();
}

#[test]
fn pods_have_events_of_what_is_denied_to_them() {
    let (lab, api, directory) = with_api(&json!({}));
    let [db, refused, web] = PODS.map(|name| lab.add_pod("node1", "shop", name).unwrap());
    knock(&lab, &web, &db);
    testkit::wait_until(DEADLINE, "the Pod has an Event", || !events(&api, "PolicyDenied").is_empty());
    let event = &events(&api, "PolicyDenied")[0];
    assert_eq!(event["regarding"], about(&db));
    // Of the peer the object is asked, which has no UID in this test.
    assert_eq!((&event["related"]["namespace"], &event["related"]["name"]), (&json!("shop"), &json!("web")));
    assert_eq!((&event["type"], &event["metadata"]["namespace"]), (&json!("Warning"), &json!("shop")));
    let note = event["note"].as_str().unwrap();
    for want in [
        format!("from shop/web ({}), port tcp/{ECHO_PORT}, ", web.addresses()[0]),
        "ingress: ".to_owned(),
        "the default deny of NetworkPolicy shop/deny denies it".to_owned(),
        format!("On node node1: midokube policy explain shop/web shop/db tcp/{ECHO_PORT}"),
    ] {
        assert!(note.contains(&want), "{want} in {note}");
    }
    // The command is right.
    let explain = note.split("On node node1: midokube ").nth(1).unwrap();
    let line = format!("{} {explain} || [ $? = 4 ]", testkit::bin("midokube").display());
    assert!(sh(&lab, &node1(), &line).contains("shop/deny"));

    // Whatever else is denied, the Pod has no other one within a minute.
    let begin = Instant::now();
    while begin.elapsed() < 10 * QUIET {
        knock(&lab, &web, &db);
    }
    assert_eq!(events(&api, "PolicyDenied").len(), 1);
    // What the API server does not take is counted, and not tried again.
    api.set(Mood::Refuses(503, "ServiceUnavailable"));
    let page = || sh(&lab, &node1(), "curl -sf -m5 http://127.0.0.1:9454/metrics");
    knock(&lab, &web, &refused);
    testkit::wait_until(DEADLINE, "the Event of another Pod is refused", || {
        page().contains("midonet_kube_node_policy_events_total{result=\"failed\"} 1")
    });
    assert!(page().contains("midonet_kube_node_policy_events_total{result=\"written\"} 1"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn pods_have_events_of_what_an_audit_lets_pass() {
    let (lab, api, directory) = with_api(&json!({"midonet.org/policy-audit": "true"}));
    let [db, _, web] = PODS.map(|name| lab.add_pod("node1", "shop", name).unwrap());
    // Nobody serves there: the connection is reset.
    testkit::wait_until(DEADLINE, "the Pod has an Event", || {
        knock(&lab, &web, &db);
        !events(&api, "PolicyAudited").is_empty()
    });
    let event = &events(&api, "PolicyAudited")[0];
    assert_eq!((&event["type"], &event["regarding"]), (&json!("Normal"), &about(&db)));
    assert!(event["note"].as_str().unwrap().contains("would have been dropped"), "{event}");
    std::fs::remove_dir_all(directory).unwrap();
}
