//! What would be enforced with other policies.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use objects::{ClusterNetworkPolicy, Key, NetworkPolicy, Protocol};
use policy::{Changes, Direction, Judge, LocalId, Origin, Problem, RuleId, RuleName, SetId, Verdict};

use super::Policies;
use super::again::Verdicts;
use super::locals::Local;
use super::objects::Objects;
use super::sets::set_of;
use crate::backend::PolicyTables;

/// Policies that would be applied, and others that would be deleted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    pub(crate) policies: Vec<NetworkPolicy>,
    pub(crate) cluster_policies: Vec<ClusterNetworkPolicy>,
    pub(crate) deleted: Vec<PolicyName>,
}

/// What names a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PolicyName {
    Network(Key),
    Cluster(Key),
}

/// `NetworkPolicy shop/db`.
impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(key) => write!(f, "NetworkPolicy {key}"),
            Self::Cluster(key) => write!(f, "ClusterNetworkPolicy {key}"),
        }
    }
}

/// A copy of what is known. Nothing of it comes into force.
#[derive(Debug)]
pub(crate) struct Snapshot {
    judge: Judge,
    ports: Vec<(LocalId, Local)>,
    objects: Objects,
    sets: BTreeMap<LocalId, SetId>,
    /// Whether all that was known was in force when it was copied.
    pub(crate) in_force: bool,
}

impl Policies {
    /// A copy of what is known.
    ///
    /// # Errors
    /// What is not known yet, in words.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, String> {
        let mut snapshot = {
            let state = self.state();
            if !state.replaced {
                let missing = state.known.missing();
                return Err(missing.unwrap_or_else(|| "what is known is not in force yet".to_owned()));
            }
            let (ports, objects) = (state.locals.copied(), state.objects.without_pods());
            let in_force = state.in_force;
            Snapshot { judge: state.judge.clone(), ports, objects, sets: BTreeMap::new(), in_force }
        };
        // Pods of this node may be new.
        drop(snapshot.judge.update());
        snapshot.settle();
        Ok(snapshot)
    }
}

impl Snapshot {
    /// Applies and deletes policies, as the API server would: each replaces that of its name. Returns how the tables change;
    /// not the sets of Pods.
    pub(crate) fn change(&mut self, candidates: Candidates) -> Changes {
        let Self { judge, objects, .. } = self;
        for policy in candidates.policies.into_iter().map(Arc::new) {
            objects.policies.insert(policy.key.clone(), Arc::clone(&policy));
            judge.upsert_policy(policy);
        }
        for policy in candidates.cluster_policies.into_iter().map(Arc::new) {
            objects.cluster_policies.insert(policy.key.clone(), Arc::clone(&policy));
            judge.upsert_cluster_policy(policy);
        }
        for name in candidates.deleted {
            match name {
                PolicyName::Network(key) => {
                    objects.policies.remove(&key);
                    judge.delete_policy(&key);
                }
                PolicyName::Cluster(key) => {
                    objects.cluster_policies.remove(&key);
                    judge.delete_cluster_policy(&key);
                }
            }
        }
        let changes = judge.update();
        self.settle();
        Changes { pods: Vec::new(), ..changes }
    }

    /// The sets of this node's Pods.
    fn settle(&mut self) {
        let Self { judge, ports, objects, sets, .. } = self;
        *sets = ports.iter().map(|(id, local)| (*id, set_of(judge, objects, *id, local))).collect();
    }

    /// Whether there is such a policy.
    pub(crate) fn has(&self, name: &PolicyName) -> bool {
        match name {
            PolicyName::Network(key) => self.objects.policies.contains_key(key),
            PolicyName::Cluster(key) => self.objects.cluster_policies.contains_key(key),
        }
    }

    /// What is wrong with policies.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.judge.problems()
    }

    /// What a rule's number stands for.
    pub(crate) fn rule(&self, id: RuleId) -> Option<Arc<RuleName>> {
        self.judge.rule(id)
    }
}

/// Why a change would not come into force: it does not fit into the tables; `None`: it does.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn does_not_fit(tables: &dyn PolicyTables, changes: Changes) -> Result<Option<String>> {
    let Err(error) = tables.check_space(changes) else { return Ok(None) };
    match error.downcast_ref::<datapath::Error>() {
        Some(datapath::Error::PolicyFull { table, needed, limit, setting }) => {
            Ok(Some(format!("table {table} has {limit} entries ({setting}), {needed} would be needed")))
        }
        // Something else came into force meanwhile: how full tables are does not change much by that.
        Some(datapath::Error::Policy(_)) => Ok(None),
        _ => Err(error),
    }
}

impl Verdicts for Snapshot {
    fn set_of(&self, ifindex: u32) -> SetId {
        self.sets.get(&LocalId(ifindex)).copied().unwrap_or(SetId::CLOSED)
    }

    fn verdict(
        &self,
        set: SetId,
        direction: Direction,
        other: IpAddr,
        port: Option<(Protocol, u16)>,
    ) -> Option<Verdict> {
        let verdict = self.judge.verdict(set, direction, self.judge.class_of(other), port);
        // A set that is not known has no list.
        (verdict.allow || verdict.origin != Origin::Nothing).then_some(verdict)
    }
}

#[cfg(test)]
mod tests;
