//! Packets carried between nodes that say what a test has them say.

use std::collections::VecDeque;
use std::net::IpAddr;

use anyhow::{Result, anyhow};
use nodeapi::v1::trace_packet_request::Entrance;
use nodeapi::v1::{PodName, TraceEntry, TracePacket, TracePacketReply, TracePacketRequest, TraceStep};

use super::walk::{Ask, Found, Start, Walked, walk};
use crate::trace::args::{Place, Target};
use crate::trace::text::text;
use crate::trace::view::{End, View};

/// Answers in their order, and what was asked for them.
#[derive(Default)]
struct Script {
    answers: VecDeque<(&'static str, TracePacketReply)>,
    asked: Vec<TracePacketRequest>,
}

impl Ask for Script {
    fn home(&mut self, _: &Place) -> Result<(String, Vec<IpAddr>)> {
        Err(anyhow!("nobody asks"))
    }

    fn find(&mut self, _: &str, _: &Target) -> Result<Found> {
        Err(anyhow!("nobody asks"))
    }

    fn trace(&mut self, node: &str, request: &TracePacketRequest) -> Result<TracePacketReply> {
        self.asked.push(request.clone());
        let (name, answer) = self.answers.pop_front().ok_or_else(|| anyhow!("it is down"))?;
        assert_eq!(node, name);
        Ok(answer)
    }
}

fn pod(name: &str) -> PodName {
    PodName { namespace: "default".into(), name: name.into() }
}

/// From an address and port to another one, `address:port`.
fn packet(from: &str, to: &str) -> TracePacket {
    let (source, destination): (std::net::SocketAddr, std::net::SocketAddr) =
        (from.parse().unwrap(), to.parse().unwrap());
    TracePacket {
        protocol: "tcp".into(),
        source: source.ip().to_string(),
        source_port: source.port().into(),
        destination: destination.ip().to_string(),
        destination_port: destination.port().into(),
        reply: false,
    }
}

fn reply(node: &str, sent: TracePacket, exit: &str, reason: &str) -> TracePacketReply {
    let step = TraceStep {
        what: "delivery".into(),
        detail: format!("{exit} at {node}"),
        policies: vec!["default/p".into()],
    };
    TracePacketReply {
        network: "embedded".into(),
        node: node.into(),
        packet: Some(sent.clone()).filter(|_| exit != "dropped"),
        sent: Some(sent),
        steps: vec![step],
        reason: reason.into(),
        fate: if exit == "dropped" { "drop" } else { "forward" }.into(),
        help: format!("the meaning of {reason}"),
        remedy: if exit == "dropped" { "change it" } else { "" }.into(),
        exit: exit.into(),
        pod: (exit == "pod").then(|| pod(if reason == "back" { "a" } else { "b" })),
        state: vec![TraceEntry { map: node.into(), key: vec![1], value: vec![2] }],
        ..TracePacketReply::default()
    }
}

fn tunnel(node: &str, next: &str, sent: TracePacket, left: TracePacket) -> TracePacketReply {
    TracePacketReply {
        next_node: next.into(),
        tunnel_end: "192.0.2.2".into(),
        tunnel_own: format!("address of {node}"),
        packet: Some(left),
        ..reply(node, sent, "tunnel", "direct_out")
    }
}

fn trace(answers: Vec<(&'static str, TracePacketReply)>) -> (Result<Walked>, Vec<TracePacketRequest>) {
    let mut script = Script { answers: answers.into(), ..Script::default() };
    let start = Start {
        node: "n1".into(),
        pod: Some("default/a".parse().unwrap()),
        destination: [10, 96, 0, 1].into(),
        port: "tcp/80".parse().unwrap(),
        source_port: 0,
    };
    let walked = walk(&mut script, &start);
    (walked, script.asked)
}

const CLIENT: &str = "10.1.1.3:40000";
const VIP: &str = "10.96.0.1:80";
const SERVER: &str = "10.1.2.3:8080";

#[test]
fn a_packet_and_its_reply_are_carried_with_what_each_node_has_to_know() {
    let (walked, asked) = trace(vec![
        ("n1", tunnel("n1", "n2", packet(CLIENT, VIP), packet(CLIENT, SERVER))),
        ("n2", reply("n2", packet(CLIENT, SERVER), "pod", "direct_in")),
        ("n2", tunnel("n2", "n1", packet(SERVER, CLIENT), packet(SERVER, CLIENT))),
        (
            "n1",
            TracePacketReply {
                packet: Some(packet(VIP, CLIENT)),
                ..reply("n1", packet(SERVER, CLIENT), "pod", "back")
            },
        ),
    ]);
    let walked = walked.unwrap();
    assert!(walked.outcome.answered, "{:?}", walked.outcome);
    assert_eq!(
        (walked.source, walked.outcome.why.as_str()),
        (
            [10, 1, 1, 3].into(),
            "at Pod default/b on n2, and a reply would come back; whether a process sends one is not followed"
        )
    );
    let entrances: Vec<_> = asked.iter().map(|request| request.entrance.clone().unwrap()).collect();
    assert_eq!(
        entrances,
        [
            Entrance::Pod(pod("a")),
            Entrance::Tunnel("address of n1".into()),
            Entrance::Pod(pod("b")),
            Entrance::Tunnel("address of n2".into())
        ]
    );
    let states: Vec<_> =
        asked.iter().map(|request| request.state.first().map(|entry| entry.map.as_str())).collect();
    assert_eq!(states, [None, None, Some("n2"), Some("n1")]);
    let sent: Vec<_> = asked.iter().map(|request| request.packet.clone().unwrap()).collect();
    assert_eq!(sent[2], TracePacket { reply: true, ..packet(SERVER, CLIENT) });
    let ends = [("Pod default/a", [10, 1, 1, 3]), ("Service default/web", [10, 96, 0, 1])];
    let ends = ends.map(|(name, address)| End { name: name.into(), address: address.into() });
    let port = "tcp/80".parse().unwrap();
    let view = View::new("embedded", ends, &port, walked.parts, walked.outcome, Vec::new());
    let text = text(&view);
    for line in [
        "The packet",
        "  on node n1",
        "    delivery  tunnel at n1",
        "The reply",
        "Verdict: arrives: at Pod default/b on n2, and a reply would come back; whether a process sends one is not followed",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
    }
}

#[test]
fn a_node_without_a_route_sends_nothing() {
    let there = TracePacketReply {
        no_route: true,
        ..tunnel("n1", "n2", packet(CLIENT, VIP), packet(CLIENT, SERVER))
    };
    let outcome = trace(vec![("n1", there)]).0.unwrap().outcome;
    assert!(
        !outcome.answered && outcome.why.contains("by node n1's network stack: it has no route to 192.0.2.2"),
        "{outcome:?}"
    );
    assert!(
        outcome.why.contains("the tunnel to node n2 ends")
            && outcome.remedy.contains("ip route get 192.0.2.2"),
        "{outcome:?}"
    );

    let there = TracePacketReply {
        no_route: true,
        ..reply("n1", packet(CLIENT, "192.0.2.9:443"), "node", "external")
    };
    let outcome = trace(vec![("n1", there)]).0.unwrap().outcome;
    assert!(!outcome.answered && outcome.why.ends_with("it has no route to 192.0.2.9"), "{outcome:?}");
    assert_eq!(outcome.reason, "external");
}

#[test]
fn what_is_lost_has_its_reason_and_remedy() {
    let dropped =
        TracePacketReply { told: true, ..reply("n1", packet(CLIENT, VIP), "dropped", "no_backend") };
    let lost = trace(vec![("n1", dropped)]).0.unwrap().outcome;
    assert_eq!((lost.answered, lost.unknown), (false, false));
    assert_eq!((lost.reason.as_str(), lost.remedy.as_str()), ("no_backend", "change it"));
    assert!(
        lost.why.contains("dropped on node n1, and its sender is told: the meaning of no_backend"),
        "{lost:?}"
    );

    // The reply is not translated back.
    let lost = trace(vec![
        (
            "n1",
            TracePacketReply {
                packet: Some(packet(CLIENT, SERVER)),
                ..reply("n1", packet(CLIENT, VIP), "pod", "local")
            },
        ),
        ("n1", reply("n1", packet(SERVER, CLIENT), "pod", "back")),
    ]);
    let lost = lost.0.unwrap().outcome;
    assert!(!lost.answered && lost.why.contains("that is no reply to the packet"), "{lost:?}");

    // Nodes that send it to each other.
    let circle = (0..9).map(|number| {
        let [node, next] = if number % 2 == 0 { ["n1", "n2"] } else { ["n2", "n1"] };
        (node, tunnel(node, next, packet(CLIENT, VIP), packet(CLIENT, VIP)))
    });
    let lost = trace(circle.collect()).0.unwrap().outcome;
    assert!(!lost.answered && lost.why.contains("more than 4 times"), "{lost:?}");
}

#[test]
fn what_is_not_known_is_told_apart_from_what_is_lost() {
    assert_eq!(trace(vec![]).0.unwrap_err().to_string(), "it is down");
    let (walked, _) = trace(vec![("n1", tunnel("n1", "n2", packet(CLIENT, VIP), packet(CLIENT, SERVER)))]);
    let walked = walked.unwrap();
    assert!(walked.outcome.unknown && !walked.outcome.answered && walked.parts.len() == 1);
    assert!(walked.outcome.why.contains("node n2, which does not tell: it is down"), "{:?}", walked.outcome);
    let outside =
        trace(vec![("n1", reply("n1", packet(CLIENT, VIP), "node", "external"))]).0.unwrap().outcome;
    assert!(outside.answered && outside.why.contains("leaves the cluster at node n1"), "{outside:?}");
    let midonet =
        TracePacketReply { network: "midonet".into(), node: "n1".into(), ..TracePacketReply::default() };
    assert!(trace(vec![("n1", midonet)]).0.unwrap_err().to_string().contains("MidoNet"));
}
