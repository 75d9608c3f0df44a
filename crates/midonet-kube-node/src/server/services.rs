//! What `midokube` shows of Services and connections: thin translations between messages, the model and the datapath.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datapath::State;
use model::{EndpointView, Frontend, Model, Policy, PortView, ServicePortKey, ServiceView};
use nodeapi::v1;
use nodeapi::v1::services_server::Services;
use tonic::{Request, Response, Status};

use super::answers::{internal, split};
use super::connections;
use super::near;
use super::status::problem_message;
use super::turn::Turn;
use crate::agent::Agent;
use crate::backend::ServiceRecord;

/// How long a call may wait for others, and then take.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many Services are read before others get the model.
const SLICE: usize = 128;

/// Serves [`Services`]. One call is answered at a time: an answer can take a few MiB.
#[derive(Debug)]
pub struct ServicesService {
    agent: Agent,
    turn: Turn,
}

impl ServicesService {
    /// A service for this agent.
    pub fn new(agent: Agent) -> Self {
        Self { agent, turn: Turn::new("Services and connections", PATIENCE) }
    }

    /// Answers when it is this call's turn; `work` gets the time until when it may take.
    async fn answer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Agent, Instant) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        self.turn.answer(&self.agent, move |agent| work(agent, Instant::now() + PATIENCE)).await
    }
}

#[tonic::async_trait]
impl Services for ServicesService {
    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Result<Response<v1::ListServicesReply>, Status> {
        let request = request.into_inner();
        self.answer(move |agent, _| list(agent, &request)).await
    }

    async fn get_service(
        &self,
        request: Request<v1::GetServiceRequest>,
    ) -> Result<Response<v1::GetServiceReply>, Status> {
        let request = request.into_inner();
        self.answer(move |agent, until| get(agent, &request, until)).await
    }

    async fn list_connections(
        &self,
        request: Request<v1::ListConnectionsRequest>,
    ) -> Result<Response<v1::ListConnectionsReply>, Status> {
        let request = request.into_inner();
        self.answer(move |agent, until| connections::list(agent, &request, until)).await
    }
}

fn list(agent: &Agent, request: &v1::ListServicesRequest) -> Result<v1::ListServicesReply, Status> {
    let v1::ListServicesRequest { namespace, name } = request;
    let is_asked = |asked: &str, has: &str| asked.is_empty() || asked == has;
    let ids: Vec<Arc<str>> = with_model(agent, |model| {
        let all = model.services().filter(|service| service.ignored.is_none());
        let asked = all.filter(|service| {
            let (in_namespace, own) = split(&service.id);
            is_asked(namespace, in_namespace) && is_asked(name, own)
        });
        asked.map(|service| Arc::clone(&service.id)).collect()
    })?;
    let records = records(agent, None)?;
    let mut ports = Vec::new();
    for slice in ids.chunks(SLICE) {
        let views: Vec<ServiceView> =
            with_model(agent, |model| slice.iter().filter_map(|id| model.service_view(id)).collect())?;
        ports.extend(views.iter().flat_map(|view| &view.ports).map(|port| port_message(port, &records)));
    }
    Ok(v1::ListServicesReply { ports })
}

fn get(
    agent: &Agent,
    request: &v1::GetServiceRequest,
    until: Instant,
) -> Result<v1::GetServiceReply, Status> {
    let v1::GetServiceRequest { namespace, name } = request;
    let id = format!("{namespace}/{name}");
    let view = with_model(agent, |model| model.service_view(&id))?;
    let view = view.ok_or_else(|| {
        let near = near::service(agent, &id);
        Status::not_found(format!("there is no Service {id}, or this Node itself is not known yet{near}"))
    })?;
    let records = records(agent, Some(&id))?;
    let active = active(agent, &records, until)?;
    let ServiceView { service, ports, problems } = view;
    let details = |port: &PortView| {
        let number = records.get(&port.key).map(|record| record.number);
        let connections = |one: &EndpointView| {
            let backend = SocketAddr::new(one.address, one.port?);
            active.get(&(number?, backend)).copied()
        };
        let backend = |one| backend_message(one, connections(one).unwrap_or_default());
        v1::ServiceDetails {
            port: Some(port_message(port, &records)),
            backends: port.endpoints.iter().map(backend).collect(),
        }
    };
    Ok(v1::GetServiceReply {
        namespace: namespace.clone(),
        name: name.clone(),
        r#type: service.kind.name().to_owned(),
        ignored: service.ignored.map(|why| why.to_string()).unwrap_or_default(),
        ports: if service.ignored.is_some() { Vec::new() } else { ports.iter().map(details).collect() },
        problems: problems.into_iter().map(problem_message).collect(),
        health_check_node_port: service.health_check_node_port.into(),
    })
}

/// Looks something up in the model, which takes no long time.
fn with_model<T>(agent: &Agent, look_up: impl FnOnce(&Model) -> T) -> Result<T, Status> {
    if !agent.packets()?.serves_services() {
        return Err(Status::failed_precondition(
            "it leaves Services to another proxy, as the setting --services off says",
        ));
    }
    agent.with_model(look_up).ok_or_else(|| Status::unavailable("it has just started: try again"))
}

/// What the datapath has of one Service, or of all.
fn records(agent: &Agent, service: Option<&str>) -> Result<BTreeMap<ServicePortKey, ServiceRecord>, Status> {
    let records = agent.packets()?.services(service).map_err(|error| internal(&error))?;
    Ok(records.into_iter().map(|record| (record.key.clone(), record)).collect())
}

/// How many connections each backend has, by the number of the Service's port.
fn active(
    agent: &Agent,
    records: &BTreeMap<ServicePortKey, ServiceRecord>,
    until: Instant,
) -> Result<HashMap<(u32, SocketAddr), u64>, Status> {
    let numbers: HashSet<u32> = records.values().map(|record| record.number).collect();
    let mut active = HashMap::new();
    if numbers.is_empty() {
        return Ok(active);
    }
    agent
        .packets()?
        .connections(
            until,
            &|connection| connection.state != State::Closed && numbers.contains(&connection.service),
            &mut |connection| *active.entry((connection.service, connection.backend)).or_default() += 1,
        )
        .map_err(|error| internal(&error))?;
    Ok(active)
}

fn port_message(view: &PortView, records: &BTreeMap<ServicePortKey, ServiceRecord>) -> v1::ServicePort {
    let PortView { key, row, endpoints } = view;
    let (namespace, name) = split(&key.service);
    let mut message = v1::ServicePort {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port: key.port.to_string(),
        protocol: key.protocol.to_string().to_lowercase(),
        family: key.family.to_string().to_lowercase(),
        endpoints: count(endpoints),
        counters: records.get(key).map(|record| v1::ServiceCounters {
            connections: record.counters.connections,
            refused: record.counters.refused,
        }),
        ..v1::ServicePort::default()
    };
    if let Some(row) = row {
        message.frontends = row.frontends.iter().map(frontend_message).collect();
        message.cluster_backends = count(&row.cluster);
        message.local_backends = count(&row.local);
        message.affinity_seconds = row.affinity.unwrap_or_default();
        message.has_source_ranges = row.source_ranges.is_some();
        message.source_ranges =
            row.source_ranges.iter().flat_map(|all| all.iter()).map(ToString::to_string).collect();
    }
    message
}

fn frontend_message(frontend: &Frontend) -> v1::Frontend {
    let policy = |policy| match policy {
        Policy::Cluster => "Cluster".to_owned(),
        Policy::Local => "Local".to_owned(),
    };
    v1::Frontend {
        kind: frontend.kind.name().to_owned(),
        address: frontend.address.map(|address| address.to_string()).unwrap_or_default(),
        port: frontend.port.into(),
        inside: policy(frontend.inside),
        outside: policy(frontend.outside),
    }
}

fn backend_message(view: &EndpointView, active_connections: u64) -> v1::Backend {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    v1::Backend {
        address: view.address.to_string(),
        port: view.port.unwrap_or_default().into(),
        node: text(view.node.as_deref()),
        zone: text(view.zone.as_deref()),
        ready: view.ready,
        serving: view.serving,
        terminating: view.terminating,
        not_in_cluster: view.cluster.map(|why| why.to_string()).unwrap_or_default(),
        not_in_local: view.local.map(|why| why.to_string()).unwrap_or_default(),
        active_connections,
    }
}

fn count<T>(values: &[T]) -> u32 {
    values.len().try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "services/tests.rs"]
mod tests;
