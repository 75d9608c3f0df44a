/// One thing that is wrong on this node or in the cluster, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What kind, as metrics name it; those of this crate are [`KINDS`].
    pub what: &'static str,
    /// Which object: "Node worker3", "eth0".
    pub object: String,
    /// What is wrong with it, and what that does to Pods.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// The kinds of problems that this crate finds.
pub const KINDS: [&str; 3] = [POD_CIDR, SERVICE, TUNNEL_ADDRESS];

/// A podCIDR that a node cannot have.
pub(crate) const POD_CIDR: &str = "pod_cidr";

/// A part of a Service, an EndpointSlice or a ServiceCIDR that cannot be used.
pub(crate) const SERVICE: &str = "service";

/// An address of a node that cannot be used.
pub(crate) const TUNNEL_ADDRESS: &str = "tunnel_address";

impl Problem {
    /// A problem.
    pub fn new(
        what: &'static str,
        object: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { what, object: object.into(), problem: problem.into(), remedy: remedy.into() }
    }
}
