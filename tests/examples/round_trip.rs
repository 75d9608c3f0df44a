//! The round trip of a flow beside that of tcpdump, between nodes whose packets take their time, over both families.
//! `tests/kernels/run` runs it under the kernels of Debian: not every machine that the tests run on has netem.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use e2e::{DEADLINE, TestLab, node1, pod};
use lab::{Family, Target};
use serde_json::Value;

const PORT: u16 = 4300;

/// How many connections are made over each family.
const EACH: usize = 5;

/// A SYN, and the answer to it, by the client's port: when tcpdump saw it, in microseconds.
type Seen = BTreeMap<u16, [Option<u64>; 2]>;

/// A line such as `1700000000.000001 IP 10.244.1.3.40000 > 10.244.2.3.4300: Flags [S], seq ...`.
fn see(line: &str, seen: &mut Seen) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [time, _, from, _, to, "Flags", flags, ..] = words[..] else { return };
    let port = |end: &str| end.trim_end_matches(':').rsplit_once('.').unwrap().1.parse::<u16>().unwrap();
    let (seconds, micros) = time.split_once('.').unwrap();
    let time = seconds.parse::<u64>().unwrap() * 1_000_000 + micros.parse::<u64>().unwrap();
    let (client, place) = match flags {
        "[S]," => (port(from), 0),
        "[S.]," => (port(to), 1),
        _ => return,
    };
    // One that is sent again is no measure.
    seen.entry(client).or_default().get_mut(place).unwrap().get_or_insert(time);
}

fn main() {
    let lab = TestLab::up(2, Family::Dual, &["--flows=on"]).unwrap();
    let client = lab.add_pod("node1", "default", "client").unwrap();
    let server = lab.add_pod("node2", "default", "server").unwrap();
    for node in ["node1", "node2"] {
        let delay = ["qdisc", "add", "dev", "eth0", "root", "netem", "delay", "20ms"];
        let output = lab.output(&Target::Node(node.into()), "tc", &delay).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "netem: this kernel has to have the module sch_netem: {said}");
    }
    for address in server.addresses() {
        let bind = || TcpListener::bind(SocketAddr::new(address, PORT)).unwrap();
        let listener = lab.netns(&pod(&server)).unwrap().run(bind).unwrap();
        thread::spawn(move || listener.incoming().for_each(drop));
    }
    let netns = lab.netns(&pod(&client)).unwrap();
    let mut dump = Command::new("tcpdump");
    dump.args(["-i", "eth0", "-n", "-l", "-tt", "tcp", "port", &PORT.to_string()]);
    let mut dump = netns.run(|| dump.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()).unwrap().unwrap();
    // It says so when it listens.
    let mut said = BufReader::new(dump.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "tcpdump does not listen");
    }
    let mut streams = Vec::new();
    for address in server.addresses() {
        for _ in 0..EACH {
            let server = SocketAddr::new(address, PORT);
            let stream = netns.run(|| TcpStream::connect_timeout(&server, DEADLINE)).unwrap().unwrap();
            streams.push(stream);
        }
    }
    let ports: Vec<u16> = streams.iter().map(|stream| stream.local_addr().unwrap().port()).collect();
    drop(streams);
    let mut seen = Seen::new();
    let mut lines = BufReader::new(dump.stdout.take().unwrap()).lines();
    while ports.iter().any(|port| seen.get(port).is_none_or(|both| both.contains(&None))) {
        see(&lines.next().unwrap().unwrap(), &mut seen);
    }
    dump.kill().unwrap();
    dump.wait().unwrap();

    let socket = lab.socket("node1").unwrap();
    let mut told = BTreeMap::<u16, u64>::new();
    testkit::wait_until(DEADLINE, "every connection has a flow with a round trip", || {
        let mut command = Command::new(testkit::bin("midokube"));
        command.args(["flows", "--this-node", "-o", "json", "--limit", "5000", "--socket"]).arg(&socket);
        let output = lab.netns(&node1()).unwrap().run(|| command.output()).unwrap().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        for flow in document["flows"].as_array().unwrap() {
            let port = flow["client"]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
            if let (Some(port), Some(time)) = (port, flow["roundTripMicroseconds"].as_u64()) {
                told.insert(port, time);
            }
        }
        ports.iter().all(|port| told.contains_key(port))
    });
    let mut apart = Vec::new();
    for port in ports {
        let [Some(asked), Some(answered)] = seen[&port] else { panic!("{port}: {:?}", seen[&port]) };
        let (measured, told) = (answered - asked, told[&port]);
        println!("port {port}: tcpdump {measured} us, flow {told} us");
        assert!(measured > 35_000, "netem delays both directions: {measured}");
        apart.push(told.abs_diff(measured) * 1000 / measured);
    }
    // A busy machine may stop anybody for a moment between the Pod, where tcpdump looks, and the node.
    apart.sort_unstable();
    let median = apart[apart.len() / 2];
    assert!(median <= 100, "of the round trips half are more than {median} in 1,000 apart");
}
