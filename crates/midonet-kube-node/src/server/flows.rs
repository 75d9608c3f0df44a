//! What `midokube flows` shows: the flows that the agent knows, page by page.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use nodeapi::v1;
use nodeapi::v1::flows_server::Flows;
use objects::Key;
use tonic::{Request, Response, Status};

use super::answers::internal;
use super::drops;
use super::turn::Turn;
use crate::agent::Agent;
use crate::clock::Clock;
use crate::flows::{Decision, Flow};
use crate::protocols::protocol_name;

/// How long a call may wait for others.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves [`Flows`]. One call is answered at a time: a page can take some MiB.
#[derive(Debug)]
pub struct FlowsService {
    agent: Agent,
    turn: Turn,
}

impl FlowsService {
    /// A service for this agent.
    pub fn new(agent: Agent) -> Self {
        Self { agent, turn: Turn::new("flows", PATIENCE) }
    }
}

#[tonic::async_trait]
impl Flows for FlowsService {
    async fn list_flows(
        &self,
        request: Request<v1::ListFlowsRequest>,
    ) -> Result<Response<v1::ListFlowsReply>, Status> {
        let request = request.into_inner();
        self.turn.answer(&self.agent, move |agent| list(agent, &request)).await
    }
}

fn list(agent: &Agent, request: &v1::ListFlowsRequest) -> Result<v1::ListFlowsReply, Status> {
    let v1::ListFlowsRequest { after, since_seconds, drops } = *request;
    let flows = agent.flows().ok_or_else(|| {
        Status::failed_precondition("flows are not recorded on this node: start its agent with --flows on")
    })?;
    let since = Some(Duration::from_secs(since_seconds)).filter(|since| !since.is_zero());
    let page = flows.page(after, since);
    let (totals, sizes) = (flows.totals().map_err(|error| internal(&error))?, flows.sizes());
    let clock = Clock::now();
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let drops = if drops { drops::since(agent, since)? } else { Vec::new() };
    Ok(v1::ListFlowsReply {
        flows: page.flows.into_iter().map(|flow| message(flow, clock)).collect(),
        next: page.next,
        more: page.more,
        totals: Some(v1::FlowTotals {
            events: totals.made,
            lost: totals.lost(),
            kept: number(sizes.0),
            space: number(sizes.1),
            dropped: sizes.2,
        }),
        node: agent.node_name().to_owned(),
        drops,
    })
}

/// A flow as a message, as of now.
fn message(flow: Flow, clock: Clock) -> v1::Flow {
    let record = flow.record;
    let milliseconds = |time| {
        let since = clock.at(time).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    };
    let end = |end: SocketAddr, pod: Option<Key>| {
        let pod = pod.map(|key| v1::PodName {
            namespace: key.namespace().unwrap_or_default().to_owned(),
            name: key.name().to_owned(),
        });
        Some(v1::FlowEnd { address: end.ip().to_string(), port: end.port().into(), pod })
    };
    let audited = flow.is_audited();
    let (service, service_port) = match flow.service {
        Some((key, port)) => {
            let namespace = key.namespace().unwrap_or_default().to_owned();
            (Some(v1::ServiceName { namespace, name: key.name().to_owned() }), port.to_string())
        }
        None => (None, String::new()),
    };
    v1::Flow {
        id: format!("{}/{}/{}/{}", record.protocol, record.source, record.backend, record.id),
        protocol: protocol_name(record.protocol),
        client: end(record.client, flow.client),
        frontend: end(record.frontend, None),
        source: end(record.source, None),
        backend: end(record.backend, flow.server),
        service,
        service_port,
        state: record.state.name().to_owned(),
        ended: flow.ended,
        verdict: if audited { "audit" } else { "allow" }.to_owned(),
        ingress: flow.ingress.as_ref().map(decision),
        egress: flow.egress.as_ref().map(decision),
        client_packets: record.client_sent.packets,
        client_bytes: record.client_sent.bytes,
        server_packets: record.server_sent.packets,
        server_bytes: record.server_sent.bytes,
        round_trip_microseconds: record
            .round_trip
            .map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        began: clock.rfc3339(record.began),
        last: clock.rfc3339(record.last),
        last_seconds: clock.since(record.last).as_secs(),
        late: record.late,
        began_milliseconds: milliseconds(record.began),
        last_milliseconds: milliseconds(record.last),
    }
}

fn decision(decision: &Decision) -> v1::FlowDecision {
    let rule = decision.rule.as_deref();
    v1::FlowDecision {
        decided_by: rule.map_or("unknown", |rule| rule.origin.name()).to_owned(),
        policies: rule.iter().flat_map(|rule| rule.policies.iter()).map(ToString::to_string).collect(),
        rule: rule.and_then(|rule| rule.rule),
        rule_name: rule.map(|rule| rule.name.to_string()).unwrap_or_default(),
        audit: decision.audit,
    }
}
