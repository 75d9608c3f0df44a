//! Packets that nodes say they saw, put together.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use anyhow::{Result, anyhow};
use nodeapi::v1::{
    FollowPacketsReply, FollowedPacket, PodName, SeenPacket, TracePacketReply, TracePacketRequest,
    TraceServicePort,
};

use super::ask::{Answer, Follow, Question};
use super::connection::Connection;
use super::judge::{Told, judge};
use super::plan::Plan;
use super::text::{foot, rows};
use crate::trace::args::{Packet, Place, Target};
use crate::trace::embedded::{Ask, Found};

const MS: u64 = 1_000_000;

/// Two nodes, a client on the first, and a Service with an endpoint on the second.
struct Nodes;

impl Ask for Nodes {
    fn home(&mut self, _: &Place) -> Result<(String, Vec<IpAddr>)> {
        Ok(("node1".to_owned(), vec!["10.244.1.3".parse()?, "fd44::3".parse()?]))
    }

    fn find(&mut self, _: &str, to: &Target) -> Result<Found> {
        Ok(match to {
            Target::Service(_) => Found {
                addresses: vec!["10.96.0.10".parse()?],
                node: None,
                ports: [("tcp", 80, 8080), ("udp", 80, 53), ("tcp", 81, 81)]
                    .map(|(protocol, port, endpoint)| TraceServicePort {
                        protocol: protocol.into(),
                        port,
                        endpoint_ports: vec![endpoint],
                        endpoint_nodes: vec!["node1".into(), "node2".into()],
                    })
                    .to_vec(),
            },
            _ => Found {
                addresses: vec!["10.244.2.5".parse()?, "fd44:2::5".parse()?],
                node: Some("node2".to_owned()),
                ports: vec![],
            },
        })
    }

    fn trace(&mut self, node: &str, request: &TracePacketRequest) -> Result<TracePacketReply> {
        assert_eq!(node, "node1");
        let to = request.packet.as_ref().map_or("", |packet| packet.destination.as_str());
        match to {
            "10.244.2.9" => Ok(TracePacketReply { next_node: "node2".into(), ..TracePacketReply::default() }),
            "192.0.2.1" => Ok(TracePacketReply::default()),
            _ => Err(anyhow!("it does not tell")),
        }
    }
}

fn plan(to: &str, port: &str) -> Plan {
    Plan::new(&mut Nodes, &Packet::named("default/client", to, port).unwrap()).unwrap()
}

fn packet_to(to: &str) -> Packet {
    Packet::named("default/client", to, "tcp/80").unwrap()
}

fn packet(from: &str, to: &str, what: &str, digest: u64) -> FollowedPacket {
    let (source, destination): (std::net::SocketAddr, std::net::SocketAddr) =
        (from.parse().unwrap(), to.parse().unwrap());
    FollowedPacket {
        protocol: "tcp".into(),
        source: source.ip().to_string(),
        source_port: source.port().into(),
        destination: destination.ip().to_string(),
        destination_port: destination.port().into(),
        what: what.into(),
        digest,
        ..FollowedPacket::default()
    }
}

const CLIENT: &str = "10.244.1.3:40000";
const VIP: &str = "10.96.0.10:80";
const SERVER: &str = "10.244.2.5:8080";

fn pod(name: &str) -> PodName {
    PodName { namespace: "default".into(), name: name.into() }
}

/// The client sends it, and its node hands it to the other one.
fn sent(time: u64, what: &str, digest: u64) -> SeenPacket {
    SeenPacket {
        time,
        hook: "from_endpoint".into(),
        interface: "mido1".into(),
        pod: Some(pod("client")),
        before: Some(packet(CLIENT, VIP, what, digest)),
        after: Some(packet(CLIENT, SERVER, what, digest)),
        reason: "direct_out".into(),
        exit: "tunnel".into(),
        next_node: "node2".into(),
        ..SeenPacket::default()
    }
}

/// It comes to the other node.
fn comes(time: u64, what: &str, digest: u64) -> SeenPacket {
    SeenPacket {
        time,
        hook: "from_uplink".into(),
        interface: "eth0".into(),
        before: Some(packet(CLIENT, SERVER, what, digest)),
        after: Some(packet(CLIENT, SERVER, what, digest)),
        reason: "direct_in".into(),
        exit: "pod".into(),
        to: Some(pod("web")),
        ..SeenPacket::default()
    }
}

/// The server answers, and the client's node hands it over.
fn answers(time: u64, what: &str, digest: u64) -> [(&'static str, SeenPacket); 2] {
    let back = |hook: &str, exit: &str| SeenPacket {
        time,
        hook: hook.into(),
        interface: "x".into(),
        before: Some(packet(SERVER, CLIENT, what, digest)),
        after: Some(packet(SERVER, CLIENT, what, digest)),
        reason: "direct_out".into(),
        exit: exit.into(),
        next_node: if exit == "tunnel" { "node1".into() } else { String::new() },
        ..SeenPacket::default()
    };
    [
        ("node2", back("from_endpoint", "tunnel")),
        ("node1", SeenPacket { time: time + MS, to: Some(pod("client")), ..back("from_uplink", "pod") }),
    ]
}

/// Both nodes have told all for a long time.
fn told() -> Told {
    let mut told = Told::default();
    ["node1", "node2"].into_iter().for_each(|node| told.all(node, 100));
    told
}

fn connection(seen: impl IntoIterator<Item = (&'static str, SeenPacket)>) -> (Plan, Connection) {
    let plan = plan("service/default/web", "tcp/80");
    let mut connection = Connection::new(&plan, 1000);
    for (node, packet) in seen {
        connection.add(node, packet);
    }
    connection.settle();
    (plan, connection)
}

#[test]
fn a_service_is_followed_on_the_nodes_and_ports_of_its_endpoints() {
    let request = plan("service/default/web", "tcp/80").request("node1");
    assert_eq!((request.client.as_str(), &request.ports[..]), ("10.244.1.3", &[80, 8080][..]));
    assert_eq!(plan("service/default/web", "tcp/80").nodes, ["node1", "node2"]);
    assert_eq!(plan("service/default/web", "udp/80").request("node1").ports, [80, 53]);
    assert_eq!(plan("default/web", "tcp/8080").nodes, ["node1", "node2"]);
    assert_eq!(plan("192.0.2.1", "icmp").request("node1").ports, [0u32; 0]);
    assert_eq!(plan("192.0.2.1", "icmp").nodes, ["node1"]);
    assert_eq!(plan("10.244.2.9", "tcp/80").nodes, ["node1", "node2"]);
    assert_eq!(plan("2001:db8::1", "tcp/443").request("node1").client, "fd44::3");
    let from_node = Packet::named("node/node1", "default/web", "tcp/80").unwrap();
    let refused = Plan::new(&mut Nodes, &from_node).unwrap_err();
    assert!(refused.to_string().contains("follows what a Pod sends"), "{refused}");
}

#[test]
fn hops_of_a_packet_come_together_whatever_the_clocks_say() {
    let [there, back] = answers(7 * MS, "SYN/ACK", 2);
    // The other node's clock is behind.
    let (plan, connection) =
        connection([("node2", comes(4 * MS, "SYN", 1)), ("node1", sent(5 * MS, "SYN", 1)), there, back]);
    let numbers: Vec<_> = connection.rows().iter().map(|row| (row.packet, row.node.as_str())).collect();
    assert_eq!(numbers, [(0, "node2"), (0, "node1"), (1, "node2"), (1, "node1")]);
    assert_eq!(judge(&connection, &plan, &told()).arrives, Some(true));
    let text = rows(&connection, &[1, 0, 2, 3], &mut None);
    let wanted = "
Packet 1: SYN, 10.244.1.3:40000 > 10.96.0.10:80
       1.000 ms  node1  from Pod default/client: through the tunnel to node node2, as 10.244.1.3:40000 > 10.244.2.5:8080
       0.000 ms  node2  in at eth0: to Pod default/web

Packet 2: SYN/ACK, 10.244.2.5:8080 > 10.244.1.3:40000
";
    assert!(text.starts_with(wanted), "{text}");
}

#[test]
fn only_one_connection_is_shown() {
    let mut other = sent(2 * MS, "SYN", 9);
    other.before.as_mut().unwrap().source_port = 40_001;
    let mut elsewhere = sent(MS, "SYN", 8);
    elsewhere.before.as_mut().unwrap().destination = "10.96.0.11".into();
    let (_, connection) =
        connection([("node1", elsewhere), ("node1", sent(2 * MS, "SYN", 1)), ("node1", other)]);
    assert_eq!(connection.packets().len(), 1);
    assert_eq!(connection.rows()[0].seen.time, 2 * MS);
}

#[test]
fn what_came_before_it_was_known_which_connection_it_is_counts() {
    let plan = plan("service/default/web", "tcp/80");
    let mut connection = Connection::new(&plan, 1000);
    let [there, back] = answers(MS, "ACK, 5 bytes", 3);
    connection.add(there.0, there.1);
    connection.add(back.0, back.1);
    assert_eq!(connection.settle(), [0usize; 0]);
    connection.add("node1", sent(3 * MS, "ACK", 4));
    // It had begun before: that is told, with how to follow it.
    assert_eq!(connection.settle(), [0usize; 0]);
    let outcome = judge(&connection, &plan, &told());
    assert_eq!(
        (outcome.arrives, outcome.remedy.as_str()),
        (None, "follow one of them with --source-port 40000")
    );
    connection.add("node1", sent(4 * MS, "SYN", 5));
    assert_eq!(connection.settle(), [0, 1, 2, 3]);
    assert_eq!(connection.packets().len(), 3);
}

#[test]
fn a_translated_port_is_the_same_clients() {
    let mut first = sent(MS, "SYN", 1);
    first.after.as_mut().unwrap().source_port = 24_603;
    let mut second = comes(2 * MS, "SYN", 1);
    second.before.as_mut().unwrap().source_port = 24_603;
    let mut other = second.clone();
    other.before.as_mut().unwrap().source_port = 24_604;
    let (_, connection) = connection([("node2", second), ("node1", first), ("node2", other)]);
    assert_eq!((connection.packets().len(), connection.rows().len()), (1, 2));
    let plan = Plan::new(&mut Nodes, &Packet { source_port: Some(7), ..packet_to("default/web") }).unwrap();
    assert_eq!((plan.request("node1").client_port, plan.request("node2").client_port), (7, 0));
}

#[test]
fn a_packet_that_is_sent_again_is_another_one() {
    let seen = [
        ("node1", sent(MS, "SYN", 1)),
        ("node1", sent(1001 * MS, "SYN", 1)),
        ("node2", comes(1002 * MS, "SYN", 1)),
    ];
    let (_, connection) = connection(seen);
    let rows: Vec<_> = connection.packets().iter().map(|packet| packet.rows.clone()).collect();
    assert_eq!(rows, [vec![0], vec![1, 2]]);
}

#[test]
fn the_verdict_names_where_and_why() {
    let dropped = |time| SeenPacket {
        reason: "policy_ingress".into(),
        fate: "drop".into(),
        help: "a policy does not let it come".into(),
        remedy: "see the policy".into(),
        exit: "dropped".into(),
        told: true,
        to: None,
        ..comes(time, "SYN", 1)
    };
    let verdict = |seen: Vec<(&'static str, SeenPacket)>, is_whole: bool| {
        let (plan, connection) = connection(seen);
        let mut told = told();
        if !is_whole {
            told.partially();
        }
        judge(&connection, &plan, &told)
    };
    let refused = verdict(vec![("node1", sent(MS, "SYN", 1)), ("node2", dropped(2 * MS))], true);
    assert_eq!((refused.arrives, refused.reason.as_str()), (Some(false), "policy_ingress"));
    assert_eq!(
        refused.why,
        "packet 1 is dropped on node node2, and its sender is told: a policy does not let it come"
    );
    assert!(foot(&refused, 0).contains("Remedy: see the policy"));
    // It was changed meanwhile.
    let [there, back] = answers(1003 * MS, "SYN/ACK", 2);
    let mended = vec![
        ("node1", sent(MS, "SYN", 1)),
        ("node2", dropped(2 * MS)),
        ("node1", sent(1001 * MS, "SYN", 1)),
        ("node2", comes(1002 * MS, "SYN", 1)),
        there,
        back,
    ];
    assert_eq!(verdict(mended, true).arrives, Some(true));

    let gone = verdict(vec![("node1", sent(MS, "SYN", 1))], true);
    assert_eq!(gone.arrives, Some(false));
    assert!(
        gone.why.contains("leaves node node1 through the tunnel to node node2, where it is not seen"),
        "{gone:?}"
    );
    // What may be on its way yet, or was told by nobody, is not known to be gone.
    let (plan, connection_) = connection([("node1", sent(MS, "SYN", 1))]);
    for (round, is_lost) in [(0, false), (1, false), (2, true)] {
        let mut told = Told::default();
        told.all("node2", round);
        let why = judge(&connection_, &plan, &told).why;
        assert_eq!(why.contains("where it is not seen"), is_lost, "{why}");
    }
    let unknown = verdict(vec![("node1", sent(MS, "SYN", 1))], false).why;
    assert!(unknown.contains("it is not told what becomes of it"), "{unknown}");
    // Whatever the clock of the other node says, and whoever tells first.
    for behind in [0, 100, 3000] {
        let silent =
            [("node2", comes(4000 * MS - behind * MS, "SYN", 1)), ("node1", sent(4000 * MS, "SYN", 1))];
        let why = verdict(silent.to_vec(), true).why;
        assert!(why.contains("Pod default/web on node node2 gets it"), "{why}");
    }

    let silent = verdict(vec![("node1", sent(MS, "SYN", 1)), ("node2", comes(2 * MS, "SYN", 1))], true);
    assert_eq!(silent.arrives, Some(false));
    assert!(
        silent.why.contains("Pod default/web on node node2 gets it, and no answer is seen"),
        "{silent:?}"
    );
    assert_eq!(verdict(vec![], true).arrives, None);
    let only_back = answers(MS, "ACK", 2).to_vec();
    let (plan, mut connection) = connection([]);
    assert_eq!(judge(&connection, &plan, &told()).arrives, None);
    for (node, packet) in only_back {
        connection.add(node, packet);
    }
    assert!(connection.settle().is_empty(), "nothing says which connection it is");
}

#[test]
fn errors_about_packets_belong_to_the_connection_and_are_no_answers() {
    let mut error = comes(2 * MS, "port unreachable, about SYN", 5);
    error.before = Some(FollowedPacket {
        protocol: "icmp".into(),
        about_source: "10.244.1.3".into(),
        about_source_port: 40_000,
        about_destination: "10.244.2.5".into(),
        about_destination_port: 8080,
        ..packet("10.244.2.5:0", "10.244.1.3:0", "port unreachable, about SYN", 5)
    });
    let mut foreign = error.clone();
    foreign.before.as_mut().unwrap().about_source_port = 40_001;
    let (plan, connection) =
        connection([("node1", sent(MS, "SYN", 1)), ("node1", error), ("node1", foreign)]);
    let forward: Vec<_> = connection.packets().iter().map(|packet| packet.forward).collect();
    assert_eq!(forward, [true, false]);
    let outcome = judge(&connection, &plan, &told());
    assert_eq!(outcome.arrives, Some(false));
    assert_eq!(outcome.why, "10.244.2.5 answers with an ICMP error: port unreachable");
}

#[test]
fn a_reset_is_an_answer_that_is_named() {
    let [there, back] = answers(2 * MS, "RST/ACK", 2);
    let (plan, connection) = connection([("node1", sent(MS, "SYN", 1)), there, back]);
    let outcome = judge(&connection, &plan, &told());
    assert_eq!(outcome.arrives, Some(true));
    assert!(outcome.why.ends_with("the server refuses the connection (RST)"), "{}", outcome.why);
}

#[test]
fn what_is_alike_is_not_the_connections() {
    // Of another protocol, without ports; and between the client's port and the endpoint, but not by the Service.
    let fragment = SeenPacket {
        before: Some(FollowedPacket {
            protocol: "udp".into(),
            without_ports: true,
            ..packet("10.244.1.3:0", "10.96.0.10:0", "a later fragment", 3)
        }),
        ..sent(2 * MS, "", 3)
    };
    let mut translated = sent(MS, "SYN", 1);
    translated.after.as_mut().unwrap().source_port = 61_000;
    let direct = SeenPacket { before: Some(packet(CLIENT, SERVER, "SYN", 4)), ..sent(3 * MS, "SYN", 4) };
    let (_, connection) = connection([("node1", translated), ("node1", fragment), ("node1", direct)]);
    assert_eq!(connection.packets().len(), 1);
}

#[test]
fn a_pod_that_reaches_itself_has_a_reply() {
    let mut there = sent(MS, "SYN", 1);
    there.after = Some(packet("10.244.1.1:40000", "10.244.1.3:8080", "SYN", 1));
    (there.exit, there.next_node) = ("pod".into(), String::new());
    let mut back = there.clone();
    back.before = Some(packet("10.244.1.3:8080", "10.244.1.1:40000", "SYN/ACK", 2));
    back.after = Some(packet(VIP, CLIENT, "SYN/ACK", 2));
    back.time = 2 * MS;
    let (plan, connection) = connection([("node1", there), ("node1", back)]);
    assert_eq!(judge(&connection, &plan, &told()).arrives, Some(true));
}

#[test]
fn no_more_packets_are_kept_than_are_wanted() {
    let plan = plan("service/default/web", "tcp/80");
    let mut connection = Connection::new(&plan, 3);
    for digest in 1..=1000 {
        connection.add("node1", sent(digest * MS, "SYN", digest));
    }
    connection.settle();
    assert!(connection.is_full() && connection.packets().len() == 3);
    // Their other hops still are.
    connection.add("node2", comes(1001 * MS, "SYN", 3));
    assert_eq!(connection.settle().len(), 1);
}

#[test]
fn a_connection_is_over_with_its_last_packets() {
    let over = |packets: Vec<(&'static str, SeenPacket)>| connection(packets).1.is_over();
    let fin = |time, digest| ("node1", sent(time, "FIN/ACK", digest));
    let [there, _] = answers(3 * MS, "FIN/ACK", 7);
    assert!(!over(vec![("node1", sent(MS, "SYN", 1)), fin(2 * MS, 2)]));
    assert!(over(vec![("node1", sent(MS, "SYN", 1)), fin(2 * MS, 2), there]));
    let [reset, _] = answers(3 * MS, "RST/ACK", 7);
    assert!(over(vec![("node1", sent(MS, "SYN", 1)), reset]));
}

/// Answers of each node, round by round.
struct Script(BTreeMap<&'static str, VecDeque<Result<FollowPacketsReply, String>>>);

impl Follow for Script {
    fn ask(&mut self, nodes: &[String], _: Question<'_>) -> Vec<Answer> {
        let next = |node: &String| {
            let answers = self.0.get_mut(node.as_str()).and_then(VecDeque::pop_front);
            (node.clone(), answers.unwrap_or_else(|| Ok(FollowPacketsReply::default())))
        };
        nodes.iter().map(next).collect()
    }
}

#[test]
fn a_node_that_cannot_follow_is_named_and_the_others_go_on() {
    let args = |words: &[&str]| {
        let words = [&["trace"], words].concat();
        <TraceLine as clap::Parser>::try_parse_from(words).unwrap().args
    };
    let live = ["default/client", "default/web", "tcp/8080", "--live", "--for", "100ms", "-o", "json"];
    let broken = || VecDeque::from([Err("it has no BTF".to_owned())]);
    let run = |script: Script| super::run(&args(&live), &mut Nodes, &mut { script });
    assert!(run(Script(BTreeMap::from([("node2", broken())]))).is_ok());
    // One that is gone later keeps nobody waiting, and is told.
    let later = VecDeque::from([Ok(FollowPacketsReply::default()), Ok(FollowPacketsReply::default())]);
    let later = later.into_iter().chain((0..9).map(|_| Err("it is gone".to_owned())));
    assert!(run(Script(BTreeMap::from([("node2", later.collect())]))).is_ok());
    let error = run(Script(BTreeMap::from([("node1", broken())]))).unwrap_err().to_string();
    assert_eq!(error, "packets of node node1 cannot be followed: it has no BTF");
    for bad in [["--for", "10s"], ["--packets", "3"]] {
        let words = [&["trace", "default/client", "default/web", "tcp/80"][..], &bad].concat();
        assert!(<TraceLine as clap::Parser>::try_parse_from(words).is_err(), "{bad:?}");
    }
}

#[derive(Debug, clap::Parser)]
struct TraceLine {
    #[command(flatten)]
    args: crate::trace::args::TraceArgs,
}
