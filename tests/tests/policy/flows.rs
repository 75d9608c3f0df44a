//! `midokube flows`: each connection once, with what its ends sent, and what policy said of it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use e2e::{DEADLINE, pod};
use lab::Pod;
use serde_json::{Value, json};

use crate::scene::{Scene, allow_from, app};

/// The servers' port.
const PORT: u16 = 4300;

/// A port that nobody serves.
const UNSERVED: u16 = 9;

/// So many connections are made by each client to each server over each family and protocol.
const EACH: usize = 125;

/// The agents' argument for flows.
const ON: &str = "--flows=on";

/// How long an end waits for the other one.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the two ends of a connection sent: packets, if that is known, and bytes of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    packets: [Option<u64>; 2],
    data: [u64; 2],
}

/// A connection by its client, its server and its protocol.
type Name = (SocketAddr, SocketAddr, &'static str);

/// Answers over both protocols with a hundred bytes more than it gets, for ever.
fn serve(scene: &Scene, server: &Pod) {
    for address in server.addresses() {
        let at = SocketAddr::new(address, PORT);
        let bound = scene.netns(&pod(server)).run(|| (TcpListener::bind(at), UdpSocket::bind(at))).unwrap();
        let (listener, socket) = (bound.0.unwrap(), bound.1.unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut asked = Vec::new();
                stream.read_to_end(&mut asked).unwrap();
                stream.write_all(&vec![1; asked.len() + 100]).unwrap();
            }
        });
        thread::spawn(move || {
            let mut asked = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut asked) {
                socket.send_to(&vec![1; length + 100], from).unwrap();
            }
        });
    }
}

/// The unspecified address of the family of another.
fn any(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() }
}

/// Makes a connection, and says what was sent.
fn tcp(stream: TcpStream, length: usize) -> (SocketAddr, Sent) {
    let (mut stream, mut answer) = (stream, Vec::new());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = stream.local_addr().unwrap();
    stream.write_all(&vec![2; length]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    (client, Sent { packets: [None; 2], data: [length as u64, answer.len() as u64] })
}

fn udp(socket: &UdpSocket, to: SocketAddr, length: usize, datagrams: u64) -> (SocketAddr, Sent) {
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut data = [0; 2];
    for _ in 0..datagrams {
        data[0] += socket.send(&vec![2; length]).unwrap() as u64;
        data[1] += socket.recv(&mut [0; 2048]).unwrap() as u64;
    }
    (socket.local_addr().unwrap(), Sent { packets: [Some(datagrams); 2], data })
}

/// Waits until a Pod reaches another one. A SYN that is sent before is sent again, and both count.
fn reach(scene: &Scene, from: &Pod, to: &Pod) {
    let netns = scene.netns(&pod(from));
    for address in to.addresses() {
        let nobody = SocketAddr::new(address, UNSERVED);
        testkit::wait_until(DEADLINE, &format!("{} reaches {nobody}", from.key), || {
            let tried = netns.run(|| TcpStream::connect_timeout(&nobody, PATIENCE)).unwrap();
            tried.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
    }
}

/// Makes all connections between two Pods.
fn talk(scene: &Scene, from: &Pod, to: &Pod, made: &mut BTreeMap<Name, Sent>) {
    reach(scene, from, to);
    let netns = scene.netns(&pod(from));
    // Open until the end, so that no other one gets its port.
    let mut sockets = Vec::new();
    for address in to.addresses() {
        let server = SocketAddr::new(address, PORT);
        for number in 0..EACH {
            let stream = netns.run(|| TcpStream::connect_timeout(&server, PATIENCE)).unwrap().unwrap();
            let (client, sent) = tcp(stream, 300 + number);
            assert_eq!(made.insert((client, server, "tcp"), sent), None);
            let socket = netns.run(|| UdpSocket::bind(SocketAddr::new(any(address), 0))).unwrap().unwrap();
            let (client, sent) = udp(&socket, server, 20 + number, 1 + number as u64 % 4);
            assert_eq!(made.insert((client, server, "udp"), sent), None);
            sockets.push(socket);
        }
    }
}

fn socket(end: &Value) -> SocketAddr {
    let address = end["address"].as_str().unwrap().parse().unwrap();
    SocketAddr::new(address, u16::try_from(end["port"].as_u64().unwrap()).unwrap())
}

fn name(flow: &Value) -> Name {
    let protocol = if flow["protocol"] == "tcp" { "tcp" } else { "udp" };
    (socket(&flow["client"]), socket(&flow["backend"]), protocol)
}

/// What a flow says was sent: the data without headers, and of UDP the packets. TCP's first packets have options of 20
/// bytes, all others of 12.
fn sent(flow: &Value, ip: u64) -> Sent {
    let of = |end: &str| {
        let number = |what: &str| flow[format!("{end}{what}")].as_u64().unwrap();
        (number("Packets"), number("Bytes"))
    };
    let is_udp = flow["protocol"] == "udp";
    let data = |(packets, bytes): (u64, u64)| {
        let headers = if is_udp { packets * (14 + ip + 8) } else { packets * (14 + ip + 32) + 8 };
        bytes - headers
    };
    let packets = |(packets, _): (u64, u64)| is_udp.then_some(packets);
    let both = [of("client"), of("server")];
    Sent { packets: both.map(packets), data: both.map(data) }
}

/// The flows that a node lists to the servers' port, each once.
fn flows(scene: &Scene, at: u8, filter: &str) -> Vec<Value> {
    let told = scene.document(at, &format!("flows --this-node --limit 5000 {filter}"));
    let node = &told["nodes"][0];
    assert_eq!((&node["lostEvents"], &node["error"]), (&json!(0), &Value::Null), "{node}");
    told["flows"].as_array().unwrap().iter().filter(|flow| flow["backend"]["port"] == PORT).cloned().collect()
}

#[test]
fn a_thousand_connections_are_a_thousand_flows_with_what_was_sent() {
    let scene = Scene::of(2, &[ON]);
    let web = scene.silent_pod("node1", "shop", "web", "web");
    let near = scene.silent_pod("node1", "shop", "near", "near");
    let far = scene.silent_pod("node2", "shop", "far", "far");
    let guest = scene.silent_pod("node2", "other", "guest", "guest");
    for server in [&near, &far] {
        serve(&scene, server);
    }
    let (mut to_near, mut to_far) = (BTreeMap::new(), BTreeMap::new());
    talk(&scene, &web, &near, &mut to_near);
    talk(&scene, &web, &far, &mut to_far);
    assert_eq!(to_near.len() + to_far.len(), 1000);

    // The client's node sees all of them, the other one those that it has a part in.
    let all: BTreeMap<_, _> = to_near.iter().chain(&to_far).map(|(name, sent)| (*name, *sent)).collect();
    for (at, made) in [(1, &all), (2, &to_far)] {
        // Of TCP events tell the end. What came after the first packet of UDP is told every ten seconds.
        let is_done = |flow: &Value| match flow["protocol"].as_str() {
            Some("tcp") => flow["ended"] == true,
            _ => made.get(&name(flow)).is_none_or(|sent| {
                let count = |end: &str| flow[format!("{end}Packets")].as_u64();
                sent.packets == [count("client"), count("server")]
            }),
        };
        let is_told = || {
            let flows = flows(&scene, at, "shop/web");
            flows.len() >= made.len() && flows.iter().all(is_done)
        };
        testkit::wait_until(DEADLINE, &format!("node{at} tells of all connections"), is_told);
        let found = flows(&scene, at, "shop/web");
        assert_eq!(found.len(), made.len(), "node{at}");
        for flow in found {
            let name = name(&flow);
            let want = made.get(&name).unwrap_or_else(|| panic!("nobody made {flow}"));
            assert_eq!(sent(&flow, if name.0.is_ipv4() { 20 } else { 40 }), *want, "{flow}");
            assert_eq!(
                (&flow["client"]["pod"], &flow["verdict"]),
                (&json!("shop/web"), &json!("allow")),
                "{flow}"
            );
            let server = if to_near.contains_key(&name) { "shop/near" } else { "shop/far" };
            assert_eq!(flow["backend"]["pod"], server, "{flow}");
            let (state, round_trip) = (&flow["state"], flow["roundTripMicroseconds"].as_u64());
            match name.2 {
                "tcp" => {
                    assert!(*state == "closed" && round_trip.is_some_and(|time| time < 1_000_000), "{flow}");
                }
                _ => assert!(*state == "established" && round_trip.is_none(), "{flow}"),
            }
        }
    }
    let groups = scene.document(1, "flows --this-node shop/web --by pod --not port=tcp/9")["groups"].clone();
    let sums: Vec<_> = groups.as_array().unwrap().iter().map(|one| (&one["name"], &one["flows"])).collect();
    let of = |name: &'static str| json!(format!("shop/web -> {name}"));
    assert_eq!(sums, [(&of("shop/far"), &json!(500)), (&of("shop/near"), &json!(500))]);

    // A policy: what it lets pass names it, and what it does not stands beside it.
    scene.policy("shop", "far", &allow_from(&app("far"), &json!([{"podSelector": app("web")}])));
    let to = far.addresses()[0];
    let ask = |from: &Pod| {
        let socket =
            scene.netns(&pod(from)).run(|| UdpSocket::bind(SocketAddr::new(any(to), 0))).unwrap().unwrap();
        socket.send_to(b"hello", SocketAddr::new(to, PORT)).unwrap();
        socket.local_addr().unwrap().port()
    };
    testkit::wait_until(DEADLINE, "a flow names the policy that let it pass", || {
        let port = ask(&web);
        thread::sleep(Duration::from_millis(500));
        let found = flows(&scene, 2, "shop/web --port udp/4300");
        found.iter().any(|flow| {
            flow["client"]["port"] == port
                && flow["ingress"]["policies"] == json!(["shop/far"])
                && flow["ingress"]["rule"] == 0
        })
    });
    testkit::wait_until(DEADLINE, "what it denies is listed, too", || {
        ask(&guest);
        let found = flows(&scene, 2, "-n other --verdict deny --reason policy_ingress");
        found.iter().any(|flow| {
            flow["client"]["pod"] == "other/guest"
                && flow["backend"]["pod"] == "shop/far"
                && flow["state"] == "denied"
        })
    });

    // Another agent finds what is in the kernel; what is over there it does not know.
    scene.lab.restart_agent("node2").unwrap();
    testkit::wait_until(DEADLINE, "the next agent knows connections that go on", || {
        let found = flows(&scene, 2, "--port udp/4300");
        found
            .iter()
            .any(|flow| to_far.contains_key(&(socket(&flow["client"]), socket(&flow["backend"]), "udp")))
    });
}

#[test]
fn what_is_over_is_in_the_file_and_nothing_is_asked_for_where_flows_are_off() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("flows.log");
    let scene = Scene::of(1, &[ON, &format!("--flow-log={}", file.display())]);
    let web = scene.silent_pod("node1", "shop", "web", "web");
    let near = scene.silent_pod("node1", "shop", "near", "near");
    serve(&scene, &near);
    let mut made = BTreeMap::new();
    talk(&scene, &web, &near, &mut made);
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let is_one = |line: &&Value| line["server.port"] == PORT && line["network.transport"] == "tcp";
    testkit::wait_until(DEADLINE, "connections that are over are in the file", || {
        lines().iter().filter(is_one).count() == 2 * EACH
    });
    for line in lines().iter().filter(is_one) {
        let end = |end: &str| {
            let address = line[format!("{end}.address")].as_str().unwrap().parse().unwrap();
            SocketAddr::new(address, u16::try_from(line[format!("{end}.port")].as_u64().unwrap()).unwrap())
        };
        let want = made[&(end("source"), end("server"), "tcp")];
        let flow = json!({
            "protocol": "tcp",
            "clientPackets": line["source.packets"], "clientBytes": line["source.bytes"],
            "serverPackets": line["destination.packets"], "serverBytes": line["destination.bytes"],
        });
        assert_eq!(sent(&flow, if end("source").is_ipv4() { 20 } else { 40 }), want, "{line}");
        assert_eq!(
            (&line["event.name"], &line["k8s.src.name"]),
            (&json!("flow.end"), &json!("web")),
            "{line}"
        );
    }

    drop(scene);
    let off = Scene::of(1, &[]);
    let said = off.midokube(1, "flows --this-node");
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.code() == Some(1) && error.contains("--flows on"), "{error}");
}
