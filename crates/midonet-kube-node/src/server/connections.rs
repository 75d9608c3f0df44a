//! Which tracked connections a caller asked for.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use datapath::State;
use nodeapi::v1;
use objects::did_you_mean;
use tonic::Status;

use super::answers::{internal, split};
use crate::agent::Agent;
use crate::backend::{Connection, PortRecord, ServiceRecord};
use crate::protocols::{PROTOCOLS, protocol_name};

/// How many connections an answer has if the caller does not say, and at most: so that it takes a few MiB.
const LIMIT: u32 = 1000;
const LARGEST_LIMIT: u32 = 16_384;

/// What connections have to match.
#[derive(Debug, Default)]
struct Filter {
    /// Of either end.
    pod: Option<Vec<IpAddr>>,
    /// The numbers of a Service's ports.
    service: Option<HashSet<u32>>,
    /// Of either end, or of the frontend.
    address: Option<IpAddr>,
    port: Option<u16>,
    protocol: Option<u8>,
    state: Option<State>,
}

impl Filter {
    fn matches(&self, connection: &Connection) -> bool {
        let Connection { protocol, client, frontend, source, backend, service, state, .. } = connection;
        let all = [client, frontend, source, backend];
        let is_pod =
            |addresses: &Vec<IpAddr>| [client, backend].iter().any(|end| addresses.contains(&end.ip()));
        self.pod.as_ref().is_none_or(is_pod)
            && self.service.as_ref().is_none_or(|numbers| numbers.contains(service))
            && self.address.is_none_or(|address| all.iter().any(|end| end.ip() == address))
            && self.port.is_none_or(|port| all.iter().any(|end| end.port() == port))
            && self.protocol.is_none_or(|wanted| wanted == *protocol)
            && self.state.is_none_or(|wanted| wanted == *state)
    }
}

/// The connections that were seen last, as many as are wanted.
#[derive(Debug)]
pub(super) struct Latest {
    limit: usize,
    /// How many there were.
    pub(super) matching: u64,
    /// The one on top has been idle longest.
    found: BinaryHeap<Connection>,
}

impl Latest {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, matching: 0, found: BinaryHeap::new() }
    }

    /// Those that were seen last, the latest first.
    pub(super) fn into_sorted(self) -> Vec<Connection> {
        self.found.into_sorted_vec()
    }

    pub(super) fn add(&mut self, connection: Connection) {
        self.matching += 1;
        self.found.push(connection);
        if self.found.len() > self.limit {
            self.found.pop();
        }
    }
}

/// Answers from the tables as they are now.
///
/// # Errors
/// The filter cannot match anything, this node has no such Pod or Service, the tables cannot be read, or reading them takes
/// too long.
pub(super) fn list(
    agent: &Agent,
    request: &v1::ListConnectionsRequest,
    until: Instant,
) -> Result<v1::ListConnectionsReply, Status> {
    let (backend, packets) = (agent.backend(), agent.packets()?);
    let records = packets.services(None).map_err(|error| internal(&error))?;
    let (filter, limit) = read(request, &records, || backend.ports())?;
    let mut latest = Latest::new(limit);
    packets
        .connections(until, &|connection| filter.matches(connection), &mut |connection| {
            latest.add(connection);
        })
        .map_err(|error| internal(&error))?;
    let names: HashMap<u32, &ServiceRecord> = records.iter().map(|record| (record.number, record)).collect();
    let message = |connection| message(connection, &names);
    Ok(v1::ListConnectionsReply {
        matching: latest.matching,
        connections: latest.into_sorted().into_iter().map(message).collect(),
    })
}

/// The filter of a request, and how many connections to return.
fn read(
    request: &v1::ListConnectionsRequest,
    services: &[ServiceRecord],
    pods: impl FnOnce() -> Vec<PortRecord>,
) -> Result<(Filter, usize), Status> {
    let invalid = |what: &str, value: &dyn std::fmt::Debug, want: &str| {
        Status::invalid_argument(format!("{what}: {value:?} is no {want}"))
    };
    let mut filter = Filter::default();
    if let Some(v1::PodName { namespace, name }) = &request.pod {
        let wanted = format!("{namespace}/{name}");
        let pods: Vec<_> = pods()
            .into_iter()
            .filter_map(|port| {
                let owner = port.owner.known()?;
                Some((format!("{}/{}", owner.pod.namespace, owner.pod.name), port.addresses))
            })
            .collect();
        let own = pods.iter().filter(|(name, _)| *name == wanted);
        let addresses: Vec<IpAddr> = own.flat_map(|(_, addresses)| addresses).copied().collect();
        if addresses.is_empty() {
            let near = did_you_mean(&wanted, pods.iter().map(|(name, _)| name));
            return Err(Status::not_found(format!(
                "this node has no Pod {wanted}: ask the agent of its node, or filter by its address{near}"
            )));
        }
        filter.pod = Some(addresses);
    }
    if let Some(v1::ServiceName { namespace, name }) = &request.service {
        let id = format!("{namespace}/{name}");
        let numbers: HashSet<u32> =
            services.iter().filter(|record| *record.key.service == id).map(|record| record.number).collect();
        if numbers.is_empty() {
            let near = did_you_mean(&id, services.iter().map(|record| &*record.key.service));
            return Err(Status::not_found(format!(
                "this node serves no Service {id}: `midokube service {id}` says why{near}"
            )));
        }
        filter.service = Some(numbers);
    }
    if !request.address.is_empty() {
        let address = request.address.parse::<IpAddr>();
        let address = address.map_err(|_| invalid("address", &request.address, "IP address"))?;
        filter.address = Some(address.to_canonical());
    }
    if request.port != 0 {
        filter.port = Some(request.port.try_into().map_err(|_| invalid("port", &request.port, "port"))?);
    }
    if !request.protocol.is_empty() {
        let known = PROTOCOLS.iter().find(|(_, name)| *name == request.protocol);
        let (number, _) = known.ok_or_else(|| invalid("protocol", &request.protocol, "tracked protocol"))?;
        filter.protocol = Some(*number);
    }
    if !request.state.is_empty() {
        let all = [State::New, State::Established, State::Closing, State::Closed];
        let known = all.into_iter().find(|state| state.name() == request.state);
        filter.state = Some(known.ok_or_else(|| invalid("state", &request.state, "state of connections"))?);
    }
    Ok((filter, limit(request.limit)?))
}

/// How many connections are wanted; 0: as many as if nobody says.
pub(super) fn limit(limit: u32) -> Result<usize, Status> {
    let limit = match limit {
        0 => LIMIT,
        1..=LARGEST_LIMIT => limit,
        _ => {
            let problem = format!("limit: {limit} is no number up to {LARGEST_LIMIT}");
            return Err(Status::invalid_argument(problem));
        }
    };
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

pub(super) fn message(connection: Connection, services: &HashMap<u32, &ServiceRecord>) -> v1::Connection {
    let Connection { idle, protocol, client, frontend, source, backend, service, state, .. } = connection;
    let end = |end: SocketAddr| v1::Endpoint { address: end.ip().to_string(), port: end.port().into() };
    // The table has host ports, too, which are no Service's.
    let record = services.get(&service).filter(|record| record.key.service.contains('/'));
    let service = record.map(|record| {
        let (namespace, name) = split(&record.key.service);
        v1::ServiceName { namespace: namespace.to_owned(), name: name.to_owned() }
    });
    v1::Connection {
        protocol: protocol_name(protocol),
        client: Some(end(client)),
        frontend: Some(end(frontend)),
        backend: Some(end(backend)),
        translated_client: (source != client).then(|| end(source)),
        service,
        service_port: record.map(|record| record.key.port.to_string()).unwrap_or_default(),
        state: state.name().to_owned(),
        idle_seconds: idle.as_secs(),
    }
}

#[cfg(test)]
#[path = "connections/tests.rs"]
mod tests;
