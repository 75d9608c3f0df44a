//! `midokube trace --live` beside real packets: through a Service to another node, to a port where nobody listens, to one that a
//! policy denies, and pings, over both families. `tests/kernels/run` runs it under the kernels of Debian: a kernel that is
//! locked down lets nobody watch programs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::services::{CLUSTER_IPS, PORT, SERVICE_CIDRS, TARGET, write_service};
use e2e::{DEADLINE, TestLab, pod};
use lab::{Family, Pod};
use serde_json::{Value, json};

/// Where nobody listens.
const CLOSED: u16 = 4;

/// Answers what each client says, in every family.
fn serve(lab: &TestLab, server: &Pod) {
    for address in server.addresses() {
        let bind = || TcpListener::bind(SocketAddr::new(address, TARGET)).unwrap();
        let listener = lab.netns(&pod(server)).unwrap().run(bind).unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut said = [0; 5];
                let _gone = client.read_exact(&mut said).and_then(|()| client.write_all(&said));
            }
        });
    }
}

/// `midokube trace --live` of what the client sends, with its output.
fn trace(lab: &TestLab, to: &str, port: &str, more: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(testkit::bin("midokube"));
    command.args(["trace", "default/client", to, port, "--live", "--this-node"]).args(more);
    for node in ["node1", "node2"] {
        command.arg("--socket").arg(lab.socket(node).unwrap());
    }
    let command = command.env_remove("MIDONETKUBE_SOCKET").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (child, said)
}

/// The same as text, at work by the time that it is returned.
fn live(lab: &TestLab, to: &str, port: &str, more: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let (mut child, mut said) = trace(lab, to, port, more);
    let mut line = String::new();
    while !line.starts_with("Following on ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended: {:?}", child.wait());
    }
    (child, said)
}

/// The rest of what it says, and its exit status.
fn rest((mut child, mut said): (Child, BufReader<ChildStdout>)) -> (String, i32) {
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    (text, child.wait().unwrap().code().unwrap())
}

/// Says something to a server, and gets it back.
fn say(lab: &TestLab, client: &Pod, to: SocketAddr) {
    let say = || {
        let mut stream = TcpStream::connect_timeout(&to, DEADLINE).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
    };
    lab.netns(&pod(client)).unwrap().run(say).unwrap();
}

fn connects(lab: &TestLab, client: &Pod, to: SocketAddr) -> bool {
    let patience = Duration::from_secs(3);
    lab.netns(&pod(client)).unwrap().run(|| TcpStream::connect_timeout(&to, patience).is_ok()).unwrap()
}

fn assert_all(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Both nodes, the Service's address and the endpoint's, hop by hop.
fn a_connection_is_followed(lab: &TestLab, client: &Pod, server: &Pod) {
    for (family, own) in ["ipv4", "ipv6"].into_iter().zip(CLUSTER_IPS) {
        let own = SocketAddr::new(own.parse().unwrap(), PORT);
        let is_of = |address: &std::net::IpAddr| address.is_ipv4() == own.is_ipv4();
        let backend = SocketAddr::new(server.addresses().into_iter().find(is_of).unwrap(), TARGET);
        let trace = live(lab, "service/default/web", "tcp/80", &["--family", family, "--for", "60s"]);
        say(lab, client, own);
        let (text, status) = rest(trace);
        let there = "node1  from Pod default/client: through the tunnel to node node2, as ";
        let (to_service, to_backend) = (format!("> {own}\n"), format!("> {backend}\n"));
        assert_all(
            &text,
            &["Packet 1: SYN, ", &to_service, there, &to_backend, "SYN/ACK, ", "ACK, 5 bytes, "],
        );
        assert_all(
            &text,
            &[
                "node2  in at eth0: to Pod default/server",
                "node2  from Pod default/server: through the tunnel",
            ],
        );
        assert_all(&text, &["node1  in at eth0: to Pod default/client, as ", "FIN/ACK, "]);
        assert_all(&text, &["Verdict: arrives: packets pass in both directions"]);
        assert_eq!(status, 0, "{text}");
    }
}

fn nobody_listens(lab: &TestLab, client: &Pod, server: &Pod) {
    for address in server.addresses() {
        let trace = live(lab, &address.to_string(), &format!("tcp/{CLOSED}"), &["--for", "20s"]);
        assert!(!connects(lab, client, SocketAddr::new(address, CLOSED)));
        let (text, status) = rest(trace);
        assert_all(&text, &["Packet 1: SYN, ", "RST/ACK, ", "Verdict: arrives"]);
        assert_eq!(status, 0, "{text}");
    }
}

fn a_policy_denies(lab: &TestLab, client: &Pod, server: &Pod) {
    let policy = |app| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": "default", "name": "closed"},
            "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"]},
        })
    };
    lab.write_manifest("closed", &policy("server")).unwrap();
    let began = Instant::now();
    let to: Vec<_> = server.addresses().into_iter().map(|address| SocketAddr::new(address, TARGET)).collect();
    while connects(lab, client, to[0]) {
        assert!(began.elapsed() < DEADLINE, "the policy is not in force");
    }
    for to in to {
        let trace = live(lab, &to.ip().to_string(), &format!("tcp/{TARGET}"), &["--for", "6s"]);
        assert!(!connects(lab, client, to));
        let (text, status) = rest(trace);
        assert_all(&text, &["node2  in at eth0: DROPPED (policy_ingress)", "Reason: policy_ingress"]);
        assert_all(&text, &["Verdict: DOES NOT ARRIVE: packet ", " is dropped on node node2: ", "Remedy: "]);
        assert_eq!(status, 4, "{text}");
    }
    lab.write_manifest("closed", &policy("nobody")).unwrap();
}

fn pings_are_documents(lab: &TestLab, client: &Pod, server: &Pod) {
    for address in server.addresses() {
        let words = ["-o", "json", "--packets", "4", "--for", "30s"];
        let (mut child, said) = trace(lab, &address.to_string(), "icmp", &words);
        // A document is one at the end: nothing says when it begins.
        while child.try_wait().unwrap().is_none() {
            let words = ["-c", "10", "-i", "0.2", "-W", "1", &address.to_string()];
            let _lost = lab.output(&pod(client), "ping", &words).unwrap();
        }
        let document: Value = serde_json::from_reader(said).unwrap();
        assert_eq!(document["kind"], "LiveTrace");
        assert_eq!(document["outcome"]["arrives"], true, "{document:#}");
        let packets = document["packets"].as_array().unwrap();
        // The first ones may have come before both nodes were followed.
        let nodes = |packet: &Value| -> Vec<Value> {
            packet["hops"].as_array().unwrap().iter().map(|hop| hop["node"].clone()).collect()
        };
        let is_whole = |packet: &&Value| {
            let is_reply = packet["what"].as_str().unwrap().starts_with("echo reply ");
            let nodes = nodes(packet);
            packet["sender"] == "server"
                && is_reply
                && ["node1", "node2"].iter().all(|node| nodes.contains(&json!(node)))
        };
        assert!(packets.iter().any(|packet| is_whole(&packet)), "{document:#}");
    }
}

/// The programs that watch, by their names.
fn watching() -> usize {
    let output = Command::new("bpftool").args(["prog", "show", "--json"]).output().unwrap();
    let programs: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    programs.iter().filter(|program| program["type"] == "tracing").count()
}

/// Who follows and is killed leaves nothing; nor does more than one keep others from it.
fn nothing_is_left(lab: &TestLab) {
    let one = live(lab, "service/default/web", "tcp/80", &[]);
    let other = live(lab, "service/default/web", "tcp/80", &["--for", "1s"]);
    assert_eq!(rest(other).1, 1);
    assert!(watching() > 0);
    let (mut killed, _) = one;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let began = Instant::now();
    while watching() > 0 {
        assert!(began.elapsed() < DEADLINE, "programs that nobody asks stay");
        thread::sleep(Duration::from_millis(200));
    }
}

fn main() {
    let lab = TestLab::up(2, Family::Dual, &[SERVICE_CIDRS]).unwrap();
    let client = lab.add_pod("node1", "default", "client").unwrap();
    let labels = json!({"metadata": {"labels": {"app": "server"}}});
    let server = lab.add_pod_like("node2", "default", "server", labels).unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
    lab.write_manifest("namespace-default", &namespace).unwrap();
    write_service(&lab, "TCP", std::slice::from_ref(&server)).unwrap();
    serve(&lab, &server);
    let own = SocketAddr::new(CLUSTER_IPS[0].parse().unwrap(), PORT);
    let began = Instant::now();
    while !connects(&lab, &client, own) {
        assert!(began.elapsed() < DEADLINE, "the Service is not served");
    }
    a_connection_is_followed(&lab, &client, &server);
    nobody_listens(&lab, &client, &server);
    a_policy_denies(&lab, &client, &server);
    pings_are_documents(&lab, &client, &server);
    nothing_is_left(&lab);
    println!("live: connections are followed through both nodes");
}
