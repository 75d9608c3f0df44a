//! What was dropped, with the names of those who have to do with it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datapath::drops::Drop;
use objects::PodRef;
use plumbing::link;
use policy::{RuleId, RuleName};

use crate::agent::Agent;
use crate::clock::Clock;
use crate::policies::Policies;

/// Packets that were dropped for one reason, or would have been but for an audit.
#[derive(Debug, Clone)]
pub(super) struct Denial {
    pub(super) row: Drop,
    /// How many are told here.
    pub(super) packets: u64,
    /// What decided; `None`: nothing, or a rule that is gone.
    pub(super) rule: Option<Arc<RuleName>>,
    /// The interface where they came in, if it is known and still there.
    pub(super) interface: Option<String>,
    /// The Pod that sent them.
    pub(super) source: Option<PodRef>,
    /// The Pod that they were for.
    pub(super) destination: Option<PodRef>,
    /// When the first of all such packets came.
    pub(super) first: SystemTime,
    /// When the last one came.
    pub(super) last: SystemTime,
}

/// Whose addresses and rules are.
pub(super) struct Names<'a> {
    policies: Option<&'a Policies>,
    /// The Pods of this node, as of now.
    local: HashMap<IpAddr, PodRef>,
    clock: Clock,
}

impl<'a> Names<'a> {
    /// Those that an agent knows.
    pub(super) fn of(agent: &'a Agent, clock: Clock) -> Self {
        let policies = agent.policies();
        let mut local = HashMap::new();
        for port in agent.backend().ports() {
            // Of a name that is cut, or lost, the Pod's object tells.
            let pod = match port.owner.known().filter(|owner| owner.is_whole()) {
                Some(owner) => Some(PodRef {
                    namespace: owner.pod.namespace.clone(),
                    name: owner.pod.name.clone(),
                    uid: owner.pod_uid.clone(),
                }),
                None => port.addresses.first().and_then(|address| known(policies?, *address, clock.uptime)),
            };
            let Some(pod) = pod else { continue };
            local.extend(port.addresses.iter().map(|address| (*address, pod.clone())));
        }
        Self { policies, local, clock }
    }

    /// The Pod of this node that has an address.
    pub(super) fn local(&self, address: IpAddr) -> Option<&PodRef> {
        self.local.get(&address)
    }

    /// So many packets of a row. A Pod is named if the address was its own when the last packet came.
    pub(super) fn denial(&self, row: &Drop, packets: u64) -> Denial {
        let rules = self.policies.map(|policies| policies.rules_of([RuleId(row.rule)])).unwrap_or_default();
        // Without policies nobody knows who had an address at another time.
        let pod = |end: Option<IpAddr>| match self.policies {
            Some(policies) => known(policies, end?, row.last),
            None => self.local(end?).cloned(),
        };
        Denial {
            packets,
            rule: rules.into_iter().next().flatten(),
            interface: link::name_of(row.interface),
            source: pod(row.source),
            destination: pod(row.destination),
            first: self.clock.at(row.first),
            last: self.clock.at(row.last),
            row: *row,
        }
    }
}

/// The Pod that had an address then.
fn known(policies: &Policies, address: IpAddr, time: Duration) -> Option<PodRef> {
    let key = policies.pods_at([(address, time)]).into_iter().next().flatten()?;
    // As long as its object is there.
    let uid = policies.pod(&key).and_then(|pod| pod.uid.as_deref().map(str::to_owned));
    let (namespace, name) = (key.namespace().unwrap_or_default().to_owned(), key.name().to_owned());
    Some(PodRef { namespace, name, uid })
}
