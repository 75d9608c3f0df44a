//! Which version of a policy is in force.

use super::preview::PolicyName;
use super::{Policies, State};

/// A policy, as this node has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Its UID; empty if a manifest leaves it out.
    pub(crate) uid: String,
    /// Its generation; 0 if a manifest leaves it out.
    pub(crate) generation: i64,
    /// Whether it is only audited, of its own: generations do not count annotations.
    pub(crate) audit: bool,
}

impl Policies {
    /// The policy of a name, if there is one, and why that is not in force; `None`: it is.
    pub(crate) fn version(&self, name: &PolicyName) -> (Option<Version>, Option<String>) {
        let state = self.state();
        (state.version(name), state.not_in_force(name))
    }
}

impl State {
    fn version(&self, name: &PolicyName) -> Option<Version> {
        let version = |uid: &Option<Box<str>>, generation, audit| Version {
            uid: uid.as_deref().unwrap_or_default().to_owned(),
            generation,
            audit,
        };
        match name {
            PolicyName::Network(key) => {
                let policy = self.objects.policies.get(key)?;
                Some(version(&policy.uid, policy.generation, policy.audit))
            }
            PolicyName::Cluster(key) => {
                let policy = self.objects.cluster_policies.get(key)?;
                Some(version(&policy.uid, policy.generation, policy.audit))
            }
        }
    }

    /// Taking objects in and saying that they are not in force yet is one step, see [`Policies::settle`].
    fn not_in_force(&self, name: &PolicyName) -> Option<String> {
        if let Some(missing) = self.known.missing() {
            return Some(missing);
        }
        let withheld = match name {
            PolicyName::Network(key) => self.judge.withholds_policy(key),
            PolicyName::Cluster(key) => self.judge.withholds_cluster_policy(key),
        };
        if withheld {
            return Some("its rules overlap too much, or have too many ports: see the problems".to_owned());
        }
        let is_done = self.replaced && self.in_force;
        (!is_done).then(|| "it is being brought into force, or cannot be: see the problems".to_owned())
    }
}

#[cfg(test)]
mod tests;
