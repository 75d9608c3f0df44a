//! What one node needs of the cluster's objects, as tables: no I/O, and nothing of the kernel.
//!
//! A [`Model`] takes objects one by one, as they change, and keeps the tables of [`Desired`]. What
//! [`Model::update`] returns beside them is how they differ from the last time: the work to do. That costs in proportion
//! to what changed, not to the size of the cluster; only a change of this node's own object computes all of it again.
//!
//! Another node's object is not trusted: what would take addresses from others is left out and told as a [`Problem`], and
//! the rest of it holds. Of nodes that claim the same, the oldest has it; when it goes, the next gets it.
//!
//! Services are taken in likewise, and computed once all of them and all of their endpoints are known
//! ([`Model::services_complete`]).
//!
//! A new table is one more row in `desired.rs`.

mod claims;
mod desired;
mod facts;
mod local;
mod model;
mod problem;
mod service;
mod services;
mod solve;
mod table;
#[cfg(test)]
mod tests;
mod validate;

pub use desired::{Changes, Desired, Peer, RouteTarget};
pub use local::{Local, NotYet, Ranges};
pub use model::Model;
pub use objects::{Family, Protocol};
pub use problem::{KINDS, Problem};
pub use service::{Backend, Frontend, FrontendKind, HealthCheck, Policy, ServicePort, ServicePortKey};
pub use services::{EndpointView, PortView, ServiceOptions, ServiceView, Unused};
pub use table::{Diff, Table};
