//! What becomes of a connection, and why.

use std::collections::BTreeSet;
use std::net::IpAddr;

use datapath::policy::{Direction, Found, Question};
use ipnet::IpNet;
use model::{Backend, Model};
use nodeapi::v1;
use objects::{Key, Protocol};
use policy::{RuleId, SetId};
use tonic::Status;

use crate::agent::Agent;
use crate::backend::PortRecord;
use crate::policies::Policies;
use crate::policies::words::{decision, exempt, verdict_of};
use crate::server::answers::internal;
use crate::server::near;

/// So many endpoints of a Service are explained.
const ENDPOINTS: usize = 16;

/// One end of a connection.
struct End {
    /// In words.
    name: String,
    addresses: Vec<IpAddr>,
    /// The node of a Pod that is another one's.
    node: Option<String>,
}

/// Where a connection leads to.
#[derive(Clone, Copy)]
struct To {
    address: IpAddr,
    port: u16,
    /// Whether a Service chose it.
    by_service: bool,
}

/// What is asked.
struct Asked<'a> {
    agent: &'a Agent,
    policies: &'a Policies,
    source: End,
    destination: End,
    /// `None`: a ping.
    protocol: Option<Protocol>,
    port: u16,
}

/// Answers from the tables as they are now.
///
/// # Errors
/// The request cannot mean anything, there is no such Pod, or neither end is a Pod of this node.
pub(super) fn explain(
    agent: &Agent,
    policies: &Policies,
    request: &v1::ExplainPolicyRequest,
) -> Result<v1::ExplainPolicyReply, Status> {
    let protocol = protocol(&request.protocol)?;
    let port = u16::try_from(request.port).ok().filter(|port| protocol.is_none() == (*port == 0));
    let port = port.ok_or_else(|| {
        Status::invalid_argument(format!(
            "port {}: a ping has none, everything else one from 1 to 65535",
            request.port
        ))
    })?;
    let ports = agent.backend().ports();
    let source = end(agent, policies, &ports, (request.source.as_ref(), "source"))?;
    let destination = end(agent, policies, &ports, (request.destination.as_ref(), "destination"))?;
    let asked = Asked { agent, policies, source, destination, protocol, port };
    let mut paths = Vec::new();
    for source in asked.source.addresses.iter().copied() {
        let same = |other: &&IpAddr| other.is_ipv4() == source.is_ipv4();
        // A Pod has one address of a family.
        for destination in asked.destination.addresses.iter().filter(same).copied() {
            paths.extend(asked.paths(source, destination, &ports)?);
        }
    }
    if paths.is_empty() {
        return Err(Status::failed_precondition(format!(
            "{} and {} have no addresses of one family",
            asked.source.name, asked.destination.name
        )));
    }
    if paths.iter().all(|path| path.egress.is_none() && path.ingress.is_none()) {
        let nodes: BTreeSet<String> =
            [&asked.source, &asked.destination].into_iter().filter_map(|end| end.node.clone()).collect();
        let nodes = nodes.into_iter().collect::<Vec<_>>().join(" or ");
        let there = if nodes.is_empty() { "the node of one of them".to_owned() } else { nodes };
        return Err(Status::failed_precondition(format!(
            "neither {} nor {} is a Pod of this node: ask {there}",
            asked.source.name, asked.destination.name
        )));
    }
    Ok(v1::ExplainPolicyReply { paths })
}

fn protocol(text: &str) -> Result<Option<Protocol>, Status> {
    if text.eq_ignore_ascii_case("icmp") {
        return Ok(None);
    }
    let known = Protocol::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(text));
    known.map(Some).ok_or_else(|| {
        Status::invalid_argument(format!("protocol: {text:?} is none of tcp, udp, sctp and icmp"))
    })
}

fn end(
    agent: &Agent,
    policies: &Policies,
    ports: &[PortRecord],
    (of, what): (Option<&v1::PolicyEnd>, &str),
) -> Result<End, Status> {
    let Some(v1::PolicyEnd { pod, address }) = of else {
        return Err(Status::invalid_argument(format!("{what}: there is none")));
    };
    let Some(v1::PodName { namespace, name }) = pod else {
        let address: IpAddr = address
            .parse()
            .map_err(|_| Status::invalid_argument(format!("{what}: {address:?} is no IP address")))?;
        let address = address.to_canonical();
        return Ok(End { name: address.to_string(), addresses: vec![address], node: None });
    };
    let label = format!("Pod {namespace}/{name}");
    let is_it = |port: &&PortRecord| port.pod().namespace == *namespace && port.pod().name == *name;
    if let Some(port) = ports.iter().find(is_it) {
        return Ok(End { name: label, addresses: port.addresses.clone(), node: None });
    }
    let Some(pod) = policies.pod(&Key::namespaced(namespace, name)) else {
        return Err(Status::not_found(format!(
            "{what}: there is no {label}, or it has ended, or uses its node's addresses (hostNetwork): give an address{}",
            near::pod(agent, namespace, name)
        )));
    };
    if pod.addresses.is_empty() {
        return Err(Status::not_found(format!("{what}: {label} has no address yet")));
    }
    let node = pod.node.as_ref().map(|node| format!("node {node}"));
    Ok(End { name: label, addresses: pod.addresses.to_vec(), node })
}

impl Asked<'_> {
    /// The ways that a connection between two addresses can take: to a Service, one for each endpoint.
    fn paths(
        &self,
        source: IpAddr,
        destination: IpAddr,
        ports: &[PortRecord],
    ) -> Result<Vec<v1::PolicyPath>, Status> {
        let service =
            self.agent.with_model(|model| Service::at(model, destination, self.protocol, self.port));
        match service.flatten() {
            None => {
                let direct = To { address: destination, port: self.port, by_service: false };
                Ok(vec![self.path(source, direct, ports, self.notes(destination))?])
            }
            Some(Service { name, endpoints, port_known }) => {
                let mut note = format!(
                    "{destination} is an address of Service {name}: policies see the endpoint, so that a rule for this \
                     address can never match"
                );
                if !port_known {
                    note = format!("{note}; the Service has no such port");
                } else if endpoints.is_empty() {
                    note = format!("{note}; the Service has no endpoint that can be used");
                }
                if endpoints.is_empty() {
                    return Ok(vec![v1::PolicyPath {
                        source: source.to_string(),
                        destination: self.shown(destination, self.port),
                        notes: vec![note],
                        ..v1::PolicyPath::default()
                    }]);
                }
                let all = endpoints.iter().take(ENDPOINTS);
                let to = |to: &Backend| To { address: to.address, port: to.port, by_service: true };
                all.map(|endpoint| self.path(source, to(endpoint), ports, vec![note.clone()])).collect()
            }
        }
    }

    fn path(
        &self,
        source: IpAddr,
        To { address: destination, port: number, by_service }: To,
        ports: &[PortRecord],
        mut notes: Vec<String>,
    ) -> Result<v1::PolicyPath, Status> {
        let of = |address| ports.iter().find(|port| port.addresses.contains(&address));
        let port = self.protocol.map(|protocol| (protocol_of(protocol), number));
        let is_itself = of(source).is_some_and(|port| port.addresses.contains(&destination));
        let decide = |pod, direction, other| {
            if is_itself && !by_service {
                return Ok(exempt("a Pod reaches itself: no policy is asked"));
            }
            if direction == Direction::Ingress && self.agent.packets()?.policy().is_own(other) {
                return Ok(exempt("it comes from the Pod's own node, which always passes"));
            }
            self.decision(&Question { pod, direction, other, port }, is_itself)
        };
        let egress = of(source).map(|_| decide(source, Direction::Egress, destination)).transpose()?;
        let ingress = of(destination).map(|_| decide(destination, Direction::Ingress, source)).transpose()?;
        for (end, decided, verb) in [
            (&self.source, egress.is_some(), "what it sends"),
            (&self.destination, ingress.is_some(), "what comes to it"),
        ] {
            if let Some(node) = end.node.as_ref().filter(|_| !decided) {
                notes.push(format!("{} is of {node}, which decides about {verb}: ask there, too", end.name));
            }
        }
        let (source, destination) = (source.to_string(), self.shown(destination, number));
        Ok(v1::PolicyPath { source, destination, egress, ingress, notes })
    }

    fn shown(&self, address: IpAddr, port: u16) -> String {
        match self.protocol {
            Some(_) => std::net::SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        }
    }

    fn notes(&self, destination: IpAddr) -> Vec<String> {
        let range = service_ranges(self.agent).into_iter().find(|range| range.contains(&destination));
        let note = |range| {
            format!(
                "{destination} is of the Services' range {range}, and no Service has it: nothing is there, and a rule for \
                 it can never match, since policies see endpoints"
            )
        };
        range.map(note).into_iter().collect()
    }

    /// `hairpin`: a Pod reaches itself through a Service.
    fn decision(&self, question: &Question, hairpin: bool) -> Result<v1::PolicyDecision, Status> {
        let found = self.agent.packets()?.policy().find(question).map_err(|error| internal(&error))?;
        let verdict = found.as_ref().and_then(|found| found.verdict.as_ref());
        let is_cluster =
            |origin| matches!(origin, datapath::policy::Origin::Admin | datapath::policy::Origin::Baseline);
        if hairpin && verdict.is_some_and(|verdict| !is_cluster(verdict.origin)) {
            return Ok(exempt(
                "a Pod reaches itself through a Service: no NetworkPolicy is asked, and no ClusterNetworkPolicy decides",
            ));
        }
        Ok(self.message(found, question.direction))
    }

    fn message(&self, found: Option<Found>, direction: Direction) -> v1::PolicyDecision {
        let Some(Found { set, class, list, verdict, .. }) = found else {
            return exempt("the datapath knows no such Pod");
        };
        let name = verdict.and_then(|verdict| self.policies.rule(RuleId(verdict.rule)));
        let direction = match direction {
            Direction::Ingress => policy::Direction::Ingress,
            Direction::Egress => policy::Direction::Egress,
        };
        let verdict = verdict.map(verdict_of);
        let decided = decision(SetId(set), direction, verdict, name.as_deref());
        v1::PolicyDecision { class, list, ..decided }
    }
}

fn protocol_of(protocol: Protocol) -> datapath::Protocol {
    match protocol {
        Protocol::Tcp => datapath::Protocol::Tcp,
        Protocol::Udp => datapath::Protocol::Udp,
        Protocol::Sctp => datapath::Protocol::Sctp,
    }
}

/// Where Services' addresses are from.
pub(super) fn service_ranges(agent: &Agent) -> Vec<IpNet> {
    let ranges = |model: &Model| Some(model.desired()?.service_cidrs.keys().copied().collect());
    agent.with_model(ranges).flatten().unwrap_or_default()
}

/// A Service that has an address.
struct Service {
    name: String,
    /// Whether it has the port that is asked about.
    port_known: bool,
    endpoints: Vec<Backend>,
}

impl Service {
    fn at(model: &Model, address: IpAddr, protocol: Option<Protocol>, port: u16) -> Option<Self> {
        let rows = model
            .desired()?
            .services
            .iter()
            .filter(|(_, row)| row.frontends.iter().any(|frontend| frontend.address == Some(address)));
        let mut found: Option<Self> = None;
        for (key, row) in rows {
            let is_at =
                |frontend: &model::Frontend| frontend.address == Some(address) && frontend.port == port;
            let is_asked = protocol == Some(key.protocol) && row.frontends.iter().any(is_at);
            let service = found.get_or_insert_with(|| Self {
                name: key.service.to_string(),
                port_known: false,
                endpoints: Vec::new(),
            });
            if is_asked {
                service.port_known = true;
                service.endpoints = row.cluster.to_vec();
            }
        }
        found
    }
}
