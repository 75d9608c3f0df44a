//! What becomes of a packet: for `midokube trace`.

mod follow;
mod request;
mod seen;
mod words;

use std::net::IpAddr;
use std::time::Duration;

use datapath::trace::{Entrance, Exit, Packet, Traced};
use nodeapi::v1;
use nodeapi::v1::traces_server::Traces;
use plumbing::{Netlink, underlay};
use tonic::{Request, Response, Status};

use self::follow::Followers;
use self::request::{Asked, EMBEDDED, MIDONET, find};
use self::words::{Words, pod_name};
use super::answers::internal;
use super::remedy::remedy;
use super::turn::Turn;
use crate::agent::Agent;

/// How long a call may wait for others.
const PATIENCE: Duration = Duration::from_secs(10);

/// The programs for tracing are unloaded when nobody asked for them for so long.
const IDLE: Duration = Duration::from_secs(60);

/// How often it is looked whether whoever follows packets still asks.
const LOOK: Duration = Duration::from_secs(1);

/// Serves [`Traces`]. Of packets that are not sent, one call is answered at a time.
#[derive(Debug)]
pub struct TracesService {
    agent: Agent,
    turn: Turn,
    followers: Followers,
    /// Of those who begin to follow.
    beginning: Turn,
}

impl TracesService {
    /// A service for this agent.
    pub fn new(agent: Agent) -> Self {
        Self {
            agent,
            turn: Turn::new("traces", PATIENCE),
            followers: Followers::default(),
            beginning: Turn::new("beginning to follow packets", PATIENCE),
        }
    }
}

/// Ends a follower once nobody asks any more.
async fn watch(agent: Agent, followers: Followers, number: u64) {
    loop {
        tokio::time::sleep(LOOK).await;
        let followers = followers.clone();
        // Unloading takes its time: not on the threads that serve calls.
        match agent.blocking(move |_| Ok(followers.end_if_idle(number))).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the programs that follow packets stay until the next look"),
        }
    }
}

#[tonic::async_trait]
impl Traces for TracesService {
    async fn find_trace_end(
        &self,
        request: Request<v1::FindTraceEndRequest>,
    ) -> Result<Response<v1::FindTraceEndReply>, Status> {
        find(&self.agent, &request.into_inner()).map(Response::new)
    }

    async fn trace_packet(
        &self,
        request: Request<v1::TracePacketRequest>,
    ) -> Result<Response<v1::TracePacketReply>, Status> {
        let request = request.into_inner();
        let done = self.turn.answer(&self.agent, move |agent| trace(agent, &request)).await;
        let agent = self.agent.clone();
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            // A trace may hold it meanwhile, and unloading takes its time: not on the threads that serve calls.
            let rest = |agent: &Agent| {
                if let Ok(packets) = agent.packets() {
                    packets.rest_tracer(IDLE);
                }
                Ok(())
            };
            if let Err(error) = agent.blocking(rest).await {
                tracing::warn!(%error, "the programs for tracing stay loaded until the next trace");
            }
        });
        done
    }

    async fn follow_packets(
        &self,
        request: Request<v1::FollowPacketsRequest>,
    ) -> Result<Response<v1::FollowPacketsReply>, Status> {
        let (request, followers) = (request.into_inner(), self.followers.clone());
        // While it waits for its turn, another call may have begun.
        let turn = if followers.has(request.number) { None } else { Some(self.beginning.wait().await?) };
        let answered = self.agent.blocking(move |agent| {
            let _turn = turn;
            let began = !followers.has(request.number);
            let answer = followers.answer(agent, &request);
            // Here, since whoever asked may be gone by now.
            if began && followers.has(request.number) {
                tokio::spawn(watch(agent.clone(), followers, request.number));
            }
            Ok(answer)
        });
        answered.await.map_err(|error| internal(&error))?.map(Response::new)
    }
}

fn trace(agent: &Agent, request: &v1::TracePacketRequest) -> Result<v1::TracePacketReply, Status> {
    let node = agent.node_name().to_owned();
    let Ok(packets) = agent.packets() else {
        return Ok(v1::TracePacketReply { network: MIDONET.into(), node, ..v1::TracePacketReply::default() });
    };
    let asked = Asked::read(agent, request)?;
    let traced =
        packets.trace(asked.entrance, &asked.packet, &asked.state).map_err(|error| match error
            .downcast_ref::<datapath::Error>()
        {
            Some(datapath::Error::Trace(_)) => Status::failed_precondition(error.to_string()),
            _ => internal(&error),
        })?;
    let words = Words::new(agent, packets, &asked, &traced);
    let steps = words.steps()?;
    let mut reply = v1::TracePacketReply {
        network: EMBEDDED.into(),
        node,
        sent: Some(message(&traced.sent)),
        steps,
        reason: traced.reason.name.to_owned(),
        fate: traced.reason.fate.name().to_owned(),
        help: traced.reason.help.to_owned(),
        remedy: remedy(traced.reason.name).to_owned(),
        state: traced.state.0.iter().map(entry).collect(),
        packet: Some(message(&traced.packet)),
        ..v1::TracePacketReply::default()
    };
    leave(&mut reply, agent, &words, (&asked, &traced))?;
    Ok(reply)
}

/// Where it left.
fn leave(
    reply: &mut v1::TracePacketReply,
    agent: &Agent,
    words: &Words<'_>,
    (asked, traced): (&Asked, &Traced),
) -> Result<(), Status> {
    let exit = match traced.exit {
        Exit::Dropped { answered } => {
            reply.told = answered;
            reply.packet = None;
            "dropped"
        }
        Exit::Answered => {
            reply.packet = None;
            "answered"
        }
        Exit::Port(ifindex) => {
            reply.pod = words.port(ifindex).map(|port| pod_name(&port.pod()));
            "pod"
        }
        Exit::Node => {
            let to = traced.packet.destination.ip();
            reply.own_address = agent.packets()?.policy().is_own(to);
            reply.no_route =
                !reply.own_address && is_unrouted(asked, traced).map_err(|error| internal(&error))?;
            "node"
        }
        Exit::Tunnel { end, own } => {
            reply.next_node = words.node_at(end).unwrap_or_default();
            (reply.tunnel_end, reply.tunnel_own) = (end.to_string(), own.to_string());
            reply.no_route = !has_path(own, end).map_err(|error| internal(&error))?;
            "tunnel"
        }
        Exit::Outside => "outside",
    };
    exit.clone_into(&mut reply.exit);
    Ok(())
}

/// Whether the node's network stack has no route for what it gets. Of what came through a tunnel nothing is said: rules may be
/// for the interface alone that it comes from then.
fn is_unrouted(asked: &Asked, traced: &Traced) -> anyhow::Result<bool> {
    let to = traced.packet.destination.ip();
    let forwarded = match asked.entrance {
        Entrance::Port(ifindex) => Some((traced.packet.source.ip(), ifindex)),
        Entrance::Node => None,
        Entrance::Tunnel(_) => return Ok(false),
    };
    // Not found by either: a rule of the node's own may be for one of them.
    Ok(!is_routed(to, None)? && (forwarded.is_none() || !is_routed(to, forwarded)?))
}

/// Whether the kernel has a route from this node's end of a tunnel to the other one.
fn has_path(own: IpAddr, end: IpAddr) -> anyhow::Result<bool> {
    Ok(underlay::path(&mut Netlink::here()?, own, end)?.is_some())
}

/// Whether the kernel has a route to an address.
fn is_routed(to: IpAddr, from: Option<(IpAddr, u32)>) -> anyhow::Result<bool> {
    Ok(plumbing::has_route(&mut Netlink::here()?, to, from)?)
}

fn message(packet: &Packet) -> v1::TracePacket {
    v1::TracePacket {
        protocol: request::protocol_name(packet.transport).to_owned(),
        source: packet.source.ip().to_string(),
        source_port: packet.source.port().into(),
        destination: packet.destination.ip().to_string(),
        destination_port: packet.destination.port().into(),
        reply: packet.reply,
    }
}

fn entry(entry: &datapath::trace::Entry) -> v1::TraceEntry {
    v1::TraceEntry { map: entry.map.clone(), key: entry.key.clone(), value: entry.value.clone() }
}
