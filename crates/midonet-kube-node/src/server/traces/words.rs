//! What the programs did with a packet, in words.

use std::net::{IpAddr, SocketAddr};

use datapath::drops::Drop;
use datapath::policy::{Direction, Question};
use datapath::records::Record;
use datapath::trace::{Entrance, Exit, Traced, Transport};
use datapath::{Fate, Protocol};
use naming::PodKey;
use nodeapi::v1;
use policy::{RuleId, SetId};
use tonic::Status;

use super::request::Asked;
use crate::agent::Agent;
use crate::backend::{Packets, PortRecord};
use crate::policies::words::{Decision, decision, denied, exempt, verdict_of};
use crate::server::answers::internal;

/// What is known of a traced packet.
pub(super) struct Words<'a> {
    agent: &'a Agent,
    packets: &'a dyn Packets,
    asked: &'a Asked,
    traced: &'a Traced,
    ports: Vec<PortRecord>,
}

fn step(what: &str, detail: impl Into<String>) -> v1::TraceStep {
    v1::TraceStep { what: what.to_owned(), detail: detail.into(), policies: Vec::new() }
}

pub(super) fn pod_name(pod: &PodKey) -> v1::PodName {
    v1::PodName { namespace: pod.namespace.clone(), name: pod.name.clone() }
}

/// The node where a tunnel ends.
pub(super) fn node_at(agent: &Agent, end: IpAddr) -> Option<String> {
    let peers = agent.peers();
    let found = peers.iter().find(|(_, peer)| peer.tunnel_address == end);
    found.map(|(name, _)| name.to_string())
}

impl<'a> Words<'a> {
    pub(super) fn new(
        agent: &'a Agent,
        packets: &'a dyn Packets,
        asked: &'a Asked,
        traced: &'a Traced,
    ) -> Self {
        Self { agent, packets, asked, traced, ports: agent.backend().ports() }
    }

    /// The Pod's port at an interface.
    pub(super) fn port(&self, ifindex: u32) -> Option<&PortRecord> {
        self.ports.iter().find(|port| port.host_ifindex == ifindex)
    }

    /// The node where a tunnel ends.
    pub(super) fn node_at(&self, end: IpAddr) -> Option<String> {
        node_at(self.agent, end)
    }

    /// The steps, in the order of the programs.
    ///
    /// # Errors
    /// The kernel's tables cannot be read.
    pub(super) fn steps(&self) -> Result<Vec<v1::TraceStep>, Status> {
        let mut steps = vec![self.source()];
        if self.traced.shaped {
            steps.push(step("limit", "it waits in the shaper: its Pod has a limit for what it sends"));
        }
        steps.extend(self.connection());
        steps.extend(self.service()?);
        steps.extend(self.policies()?);
        steps.push(self.end());
        Ok(steps)
    }

    fn source(&self) -> v1::TraceStep {
        let detail = match (self.asked.entrance, &self.asked.from) {
            (Entrance::Tunnel(peer), _) => {
                let node = self
                    .node_at(peer)
                    .map_or_else(|| "another node".to_owned(), |node| format!("node {node}"));
                let how = if self.traced.direct {
                    "the uplink's program removes the header"
                } else {
                    "the VXLAN device removes the header"
                };
                format!("it comes from {node} ({peer}) through the tunnel: {how}")
            }
            (Entrance::Port(_), Some(port)) => format!("Pod {} sends it at {}", port.pod(), port.host_ifname),
            _ => format!("a process of node {} sends it", self.agent.node_name()),
        };
        step("source", detail)
    }

    fn is_from_tunnel(&self) -> bool {
        matches!(self.asked.entrance, Entrance::Tunnel(_))
    }

    /// Whether it begins a connection here.
    fn begins(&self) -> bool {
        self.traced.record.is_some_and(|record| !record.late)
    }

    fn connection(&self) -> Option<v1::TraceStep> {
        let record = self.traced.record.filter(|record| record.late)?;
        let Record { client, frontend, .. } = record;
        let (client, frontend) = (self.shown(client), self.shown(frontend));
        Some(step("connection", format!("it belongs to the connection of {client} with {frontend}")))
    }

    /// The Service of a new connection, or what a packet of one is translated to.
    fn service(&self) -> Result<Option<v1::TraceStep>, Status> {
        let (sent, left) = (self.traced.sent, self.traced.packet);
        if !self.begins() && (sent.source, sent.destination) != (left.source, left.destination) {
            let what = format!(
                "its addresses become {} to {}",
                self.shown(left.source),
                self.shown(left.destination)
            );
            return Ok(Some(step("service", what)));
        }
        // What policy denied has no record, but the backend that was chosen.
        let chosen = match (&self.traced.record, self.traced.drops.first()) {
            (Some(record), _) => Some(record.backend),
            (None, Some(drop)) => drop.destination.map(|backend| SocketAddr::new(backend, drop.port)),
            (None, None) => None,
        };
        let number = self.traced.record.map_or(0, |record| record.service);
        let Some(name) = self.service_name(number)? else { return Ok(None) };
        Ok(Some(match chosen.filter(|chosen| *chosen != sent.destination) {
            Some(backend) => {
                let mut detail = format!("Service {name} chooses {}", self.shown(backend));
                if left.source.ip() != sent.source.ip() {
                    detail.push_str(&format!(", who sees {} as the source", self.shown(left.source)));
                }
                step("service", detail)
            }
            None => step("service", format!("Service {name}")),
        }))
    }

    /// The Service of a number; without one, that at the destination.
    fn service_name(&self, number: u32) -> Result<Option<String>, Status> {
        if number != 0 {
            let all = self.packets.services(None).map_err(|error| internal(&error))?;
            let found = all.into_iter().find(|record| record.number == number);
            return Ok(found.map(|record| {
                let key = &record.key;
                if key.port.is_empty() {
                    key.service.to_string()
                } else {
                    format!("{}:{}", key.service, key.port)
                }
            }));
        }
        if self.traced.sent.reply {
            return Ok(None);
        }
        let to = self.traced.sent.destination;
        let at = |model: &model::Model| {
            let is_at = |frontend: &model::Frontend| frontend.address == Some(to.ip());
            let mut rows = model.desired()?.services.iter();
            let row = rows.find(|(_, row)| row.frontends.iter().any(is_at))?;
            Some(row.0.service.to_string())
        };
        Ok(self.agent.with_model(at).flatten())
    }

    /// What policy says, for each end that is a Pod of this node.
    fn policies(&self) -> Result<Vec<v1::TraceStep>, Status> {
        let mut steps = Vec::new();
        for direction in [Direction::Egress, Direction::Ingress] {
            let is_ingress = direction == Direction::Ingress;
            let what = if is_ingress { "ingress policy" } else { "egress policy" };
            let dropped = self.traced.drops.iter().find(|drop| drop.ingress == is_ingress && !drop.audit);
            if let Some(drop) = dropped {
                steps.push(self.denied(what, drop));
                continue;
            }
            let asked = if is_ingress {
                matches!(self.traced.exit, Exit::Port(_))
            } else {
                self.asked.from.is_some()
            };
            if asked && let Some(record) = self.traced.record.filter(|record| !record.late) {
                let said = self.allowed(direction, &record)?;
                steps.push(v1::TraceStep { policies: said.policies, ..step(what, said.why) });
            }
        }
        Ok(steps)
    }

    fn denied(&self, what: &str, drop: &Drop) -> v1::TraceStep {
        let rule = self.agent.policies().and_then(|policies| policies.rule(RuleId(drop.rule)));
        let decided = Decision::of(drop.reason, drop.audit, rule.as_deref());
        let policies = decided.rule.iter().flat_map(|rule| rule.policies.iter()).map(ToString::to_string);
        v1::TraceStep { policies: policies.collect(), ..step(what, decided.why) }
    }

    /// Why it passes: by the rule that the programs found; without one, by what the tables say to the same question.
    fn allowed(&self, direction: Direction, record: &Record) -> Result<v1::PolicyDecision, Status> {
        let (is_ingress, client, server) =
            (direction == Direction::Ingress, record.client.ip(), record.backend.ip());
        let found = if is_ingress { record.ingress } else { record.egress };
        if found.rule != 0 {
            let Some(rule) = self.agent.policies().and_then(|policies| policies.rule(RuleId(found.rule)))
            else {
                return Ok(exempt("a rule that this agent does not know any more allows it"));
            };
            let why = if found.audited { denied(&rule, true) } else { format!("{rule} allows it") };
            let policies = rule.policies.iter().map(ToString::to_string).collect();
            return Ok(v1::PolicyDecision { why, policies, ..v1::PolicyDecision::default() });
        }
        let policy = self.packets.policy();
        if client == server {
            return Ok(exempt("a Pod reaches itself: no NetworkPolicy is asked"));
        }
        if is_ingress && policy.is_own(client) {
            return Ok(exempt("it comes from the Pod's own node, which always passes"));
        }
        let port = match self.traced.sent.transport {
            Transport::Tcp => Some(Protocol::Tcp),
            Transport::Udp => Some(Protocol::Udp),
            Transport::Sctp => Some(Protocol::Sctp),
            Transport::Icmp => None,
        };
        let (pod, other) = if is_ingress { (server, client) } else { (client, server) };
        let port = port.map(|protocol| (protocol, record.backend.port()));
        let found =
            policy.find(&Question { pod, direction, other, port }).map_err(|error| internal(&error))?;
        let Some(found) = found else { return Ok(exempt("no policy is asked")) };
        let direction = if is_ingress { policy::Direction::Ingress } else { policy::Direction::Egress };
        let verdict = found.verdict.map(verdict_of);
        Ok(decision(SetId(found.set), direction, verdict, None))
    }

    /// How it ends on this node.
    fn end(&self) -> v1::TraceStep {
        let reason = self.traced.reason;
        match self.traced.exit {
            Exit::Dropped { answered } => {
                let told =
                    if answered && !reason.help.contains("answered") { "; its sender is told" } else { "" };
                let what = if reason.fate == Fate::Ignore { "ignored" } else { "dropped" };
                step("drop", format!("{what} ({}): {}{told}", reason.name, reason.help))
            }
            Exit::Answered => step("answer", reason.help),
            Exit::Port(ifindex) => {
                let to = self.port(ifindex).map_or_else(
                    || format!("interface {ifindex}"),
                    |port| format!("Pod {} at {}", port.pod(), port.host_ifname),
                );
                step("delivery", format!("to {to}"))
            }
            Exit::Node if self.is_from_tunnel() => {
                step("delivery", format!("to a process of node {}", self.agent.node_name()))
            }
            Exit::Node => step("delivery", reason.help),
            Exit::Outside => step("route", reason.help),
            Exit::Tunnel { end, .. } => {
                let node = self.node_at(end).unwrap_or_else(|| "an unknown node".to_owned());
                step("route", format!("through the tunnel to node {node} ({end}): {}", reason.help))
            }
        }
    }

    /// An end of a connection, with the Pod's name.
    fn shown(&self, end: SocketAddr) -> String {
        let text = match self.traced.sent.transport {
            Transport::Icmp => end.ip().to_string(),
            _ => end.to_string(),
        };
        let of_node = self.ports.iter().find(|port| port.addresses.contains(&end.ip()));
        let pod = of_node.map(|port| port.pod().to_string()).or_else(|| {
            let policies = self.agent.policies()?;
            let key = policies.pods_at([(end.ip(), datapath::uptime())]).into_iter().next().flatten()?;
            Some(key.to_string())
        });
        match pod {
            Some(pod) => format!("{text} (Pod {pod})"),
            None => text,
        }
    }
}
