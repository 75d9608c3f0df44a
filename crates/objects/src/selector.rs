//! Which objects of a kind are asked for.

/// Which objects of a kind an API server is asked for, by its own syntax; all by default. A directory always gives all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Fields, such as `spec.nodeName=worker1`.
    pub fields: Option<String>,
    /// Labels, such as `app=web`.
    pub labels: Option<String>,
}
