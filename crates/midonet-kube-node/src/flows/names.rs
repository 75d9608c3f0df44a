//! Whose addresses, Services and rules are.

use std::sync::Arc;
use std::time::Duration;

use datapath::records::{Direction, Record};
use model::ServicePortKey;
use objects::Key;
use policy::RuleId;

use super::flow::{Decision, Flow, ServicePort};
use crate::agent::Agent;
use crate::backend::Elsewhere;
use crate::ends::pods_at;

/// So many flows get names before others get the policies.
const SLICE: usize = 256;

/// Records as flows, with the names of now.
///
/// # Errors
/// Another program carries Pods' packets.
pub(super) fn of(agent: &Agent, records: &[Record]) -> Result<Vec<Flow>, Elsewhere> {
    let packets = agent.packets()?;
    let mut flows = Vec::with_capacity(records.len());
    for records in records.chunks(SLICE) {
        let ends = records
            .iter()
            .flat_map(|record| [record.client, record.backend].map(|end| (end.ip(), record.last)));
        let mut pods = pods_at(agent, &ends.collect::<Vec<_>>()).into_iter();
        let services: Vec<_> = records.iter().map(|record| record.service).collect();
        let services = packets.service_ports(&services);
        let rules = records.iter().flat_map(|record| [record.ingress.rule, record.egress.rule]).map(RuleId);
        let mut rules = match agent.policies() {
            Some(policies) => policies.rules_of(rules),
            None => rules.map(|_| None).collect(),
        }
        .into_iter();
        for (record, service) in records.iter().zip(services) {
            let mut decision = |direction: Direction| {
                let rule = rules.next().flatten();
                (direction.rule != 0).then_some(Decision { rule, audit: direction.audited })
            };
            let (ingress, egress) = (decision(record.ingress), decision(record.egress));
            let mut pod = || pods.next().flatten();
            let (client, server) = (pod(), pod());
            let service = service.as_ref().and_then(service_port);
            let (ended, written) = (false, Duration::ZERO);
            flows.push(Flow { record: *record, client, server, service, ingress, egress, ended, written });
        }
    }
    Ok(flows)
}

/// A port of a Service by its key; `None`: it is a host port, which is no Service's.
fn service_port(key: &ServicePortKey) -> Option<ServicePort> {
    let (namespace, name) = key.service.split_once('/')?;
    Some((Key::namespaced(namespace, name), Arc::clone(&key.port)))
}
