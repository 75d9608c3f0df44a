//! Whose addresses, Services and rules are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use datapath::records::{Direction, Record};
use objects::Key;
use policy::RuleId;

use super::flow::{Decision, Flow, ServicePort};
use crate::agent::Agent;

/// How often the table of Services is read for a number that is not known: it can be large.
const PAUSE: Duration = Duration::from_secs(1);

/// So many flows get names before others get the policies.
const SLICE: usize = 256;

/// The names of Services by the datapath's numbers, as they were last read.
#[derive(Debug, Default)]
pub(super) struct Names {
    services: HashMap<u32, Option<ServicePort>>,
    read: Option<Instant>,
}

impl Names {
    /// Records as flows, with the names of now.
    ///
    /// # Errors
    /// The kernel does not tell which Services there are.
    pub(super) fn flows(&mut self, agent: &Agent, records: &[Record]) -> Result<Vec<Flow>> {
        let mut flows = Vec::with_capacity(records.len());
        let unknown = |record: &Record| record.service != 0 && !self.services.contains_key(&record.service);
        if records.iter().any(unknown) && self.read.is_none_or(|read| read.elapsed() >= PAUSE) {
            self.read_services(agent)?;
        }
        for records in records.chunks(SLICE) {
            let mut pods = pods(agent, records).into_iter();
            let rules =
                records.iter().flat_map(|record| [record.ingress.rule, record.egress.rule]).map(RuleId);
            let mut rules = match agent.policies() {
                Some(policies) => policies.rules_of(rules),
                None => rules.map(|_| None).collect(),
            }
            .into_iter();
            for record in records {
                let mut decision = |direction: Direction| {
                    let rule = rules.next().flatten();
                    (direction.rule != 0).then_some(Decision { rule, audit: direction.audited })
                };
                let (ingress, egress) = (decision(record.ingress), decision(record.egress));
                let mut pod = || pods.next().flatten();
                let (client, server) = (pod(), pod());
                let service = self.services.get(&record.service).cloned().flatten();
                let (ended, written) = (false, Duration::ZERO);
                flows.push(Flow {
                    record: *record,
                    client,
                    server,
                    service,
                    ingress,
                    egress,
                    ended,
                    written,
                });
            }
        }
        Ok(flows)
    }

    fn read_services(&mut self, agent: &Agent) -> Result<()> {
        self.read = Some(Instant::now());
        let records = agent.packets()?.services(None)?;
        // The table has host ports, too, which are no Service's.
        let port = |service: &str, port: &str| {
            let (namespace, name) = service.split_once('/')?;
            Some((Key::namespaced(namespace, name), Arc::<str>::from(port)))
        };
        self.services =
            records.iter().map(|one| (one.number, port(&one.key.service, &one.key.port))).collect();
        Ok(())
    }
}

/// The Pods of clients and servers, in turns. Without policies only those of this node are known.
fn pods(agent: &Agent, records: &[Record]) -> Vec<Option<Key>> {
    let ends =
        records.iter().flat_map(|record| [record.client, record.backend].map(|end| (end.ip(), record.last)));
    if let Some(policies) = agent.policies() {
        return policies.pods_at(ends);
    }
    let mut local = HashMap::<IpAddr, Key>::new();
    for port in agent.backend().ports() {
        let Some(owner) = port.owner.known().filter(|owner| owner.is_whole()) else { continue };
        let key = Key::namespaced(&owner.pod.namespace, &owner.pod.name);
        local.extend(port.addresses.iter().map(|address| (*address, key.clone())));
    }
    ends.map(|(address, _)| local.get(&address).cloned()).collect()
}
