//! What is wrong with policies.

/// One thing that is wrong with a policy or a namespace, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What kind, as metrics name it; all are [`KINDS`].
    pub what: &'static str,
    /// Which object: "ClusterNetworkPolicy a", "NetworkPolicy shop/db".
    pub object: String,
    /// What is wrong with it, and what that does to Pods.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// The kinds of problems that there are.
pub const KINDS: [&str; 3] = [DEFECT, FULL, TIE];

/// A part of an object that cannot be used.
pub(crate) const DEFECT: &str = "policy_defect";

/// A policy that is too much.
pub(crate) const FULL: &str = "policy_full";

/// ClusterNetworkPolicies of one tier and priority.
pub(crate) const TIE: &str = "policy_tie";
