//! `midokube trace` on an agent that knows one packet.

use nodeapi::v1::traces_server::Traces;
use nodeapi::v1::{
    FindTraceEndReply, FindTraceEndRequest, FollowPacketsReply, FollowPacketsRequest, FollowedPacket,
    PodName, SeenPacket, TracePacket, TracePacketReply, TracePacketRequest, TraceStep,
    find_trace_end_request, trace_packet_request,
};
use tonic::{Request, Response, Status, async_trait};

use crate::support::{FakeAgent, text};

/// Delivers every packet to a Pod, and drops its reply.
#[derive(Debug, Default)]
pub(crate) struct FakeTraces;

#[async_trait]
impl Traces for FakeTraces {
    async fn find_trace_end(
        &self,
        request: Request<FindTraceEndRequest>,
    ) -> Result<Response<FindTraceEndReply>, Status> {
        match request.into_inner().end {
            Some(find_trace_end_request::End::Pod(PodName { name, .. })) if name == "gone" => {
                Err(Status::not_found("there is no Pod default/gone"))
            }
            Some(find_trace_end_request::End::Pod(PodName { name, .. })) if name == "far" => {
                let addresses = vec!["10.244.9.1".into()];
                Ok(Response::new(FindTraceEndReply {
                    addresses,
                    node: "node9".into(),
                    network: "embedded".into(),
                    ..FindTraceEndReply::default()
                }))
            }
            _ => {
                let addresses = vec!["10.244.1.3".into(), "fd44:0:0:1::3".into()];
                Ok(Response::new(FindTraceEndReply {
                    addresses,
                    node: "node7".into(),
                    network: "embedded".into(),
                    ..FindTraceEndReply::default()
                }))
            }
        }
    }

    async fn trace_packet(
        &self,
        request: Request<TracePacketRequest>,
    ) -> Result<Response<TracePacketReply>, Status> {
        let TracePacketRequest { entrance, packet, .. } = request.into_inner();
        let mut packet = packet.unwrap_or_default();
        if packet.source.is_empty() {
            "10.244.1.3".clone_into(&mut packet.source);
        }
        if packet.destination.contains(':') {
            return Err(Status::failed_precondition("the Pod has no IPv6 address"));
        }
        let from_a =
            matches!(entrance, Some(trace_packet_request::Entrance::Pod(ref pod)) if pod.name == "a");
        let reply = TracePacketReply {
            network: "embedded".into(),
            node: "node7".into(),
            sent: Some(TracePacket { reply: false, ..packet.clone() }),
            steps: vec![TraceStep {
                what: "egress policy".into(),
                detail: "NetworkPolicy default/p allows it".into(),
                policies: vec!["default/p".into()],
            }],
            reason: if from_a { "local" } else { "policy_egress" }.into(),
            fate: if from_a { "forward" } else { "drop" }.into(),
            help: "the meaning of it".into(),
            exit: if from_a { "pod" } else { "dropped" }.into(),
            remedy: if from_a { "" } else { "change the policy" }.into(),
            packet: from_a.then_some(packet),
            pod: Some(PodName { namespace: "default".into(), name: "b".into() }),
            ..TracePacketReply::default()
        };
        Ok(Response::new(reply))
    }

    /// Each call has seen a SYN from the client, which was dropped.
    async fn follow_packets(
        &self,
        request: Request<FollowPacketsRequest>,
    ) -> Result<Response<FollowPacketsReply>, Status> {
        let FollowPacketsRequest { client, protocol, ports, number, .. } = request.into_inner();
        let before = FollowedPacket {
            protocol,
            source: client,
            source_port: 40_000,
            destination: "10.244.1.3".into(),
            destination_port: ports.first().copied().unwrap_or_default(),
            what: "SYN".into(),
            digest: number,
            ..FollowedPacket::default()
        };
        let seen = SeenPacket {
            time: 1_000_000_000,
            hook: "from_endpoint".into(),
            interface: "mido1".into(),
            pod: Some(PodName { namespace: "default".into(), name: "a".into() }),
            after: Some(before.clone()),
            before: Some(before),
            reason: "policy_egress".into(),
            fate: "drop".into(),
            help: "the meaning of it".into(),
            remedy: "change the policy".into(),
            exit: "dropped".into(),
            ..SeenPacket::default()
        };
        Ok(Response::new(FollowPacketsReply {
            node: "node7".into(),
            packets: vec![seen],
            lost: 0,
            more: false,
        }))
    }
}

#[test]
fn a_trace_ends_with_verdict_reason_and_remedy() {
    let agent = FakeAgent::tracing(FakeTraces);
    let output = agent.run(&["trace", "default/a", "default/b", "tcp/80", "--this-node"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{said}{}", text(&output.stderr));
    for line in [
        "Pod default/a (10.244.1.3) to Pod default/b (10.244.1.3), tcp/80",
        "    egress policy  NetworkPolicy default/p allows it",
        "Verdict: DOES NOT ARRIVE: the reply is dropped on node node7: the meaning of it",
        "Reason: policy_egress",
        "Remedy: change the policy",
    ] {
        assert!(said.contains(&format!("{line}\n")), "{line} in {said}");
    }
}

#[test]
fn unknown_ends_have_a_reason() {
    let agent = FakeAgent::tracing(FakeTraces);
    for (words, why) in [
        (&["default/gone", "default/b", "tcp/80"][..], "there is no Pod default/gone"),
        (&["default/a", "default/gone", "tcp/80"], "there is no Pod default/gone"),
        (
            &["default/far", "default/b", "tcp/80"],
            "Pod default/far is on node node9, whose agent is not asked",
        ),
        (&["node/node8", "default/b", "tcp/80"], "its agent is not asked"),
        (&["default/a", "default/b", "tcp/80", "--family", "ipv6"], "no IPv6 address"),
    ] {
        let words: Vec<_> = ["trace", "--this-node"].into_iter().chain(words.iter().copied()).collect();
        let output = agent.run(&words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(why), "{why} in {said}");
    }
}
