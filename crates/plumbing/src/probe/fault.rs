use std::fmt;

/// Every kind of fault.
pub const KINDS: [&str; 13] = [
    "accept_ra",
    "disable_ipv6",
    "foreign_route",
    "forward_dropped",
    "forwarding",
    "input_dropped",
    "not_forwarded",
    "overlap",
    "peer_route",
    "rp_filter",
    "tunnel_dropped",
    "tunnel_past_firewall",
    "vrf",
];

/// Something that keeps packets from their destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Its kind: one of [`KINDS`].
    pub what: &'static str,
    /// The object.
    pub object: String,
    /// What is wrong with the object, and what this does to Pods.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.object, self.problem, self.remedy)
    }
}
