//! NetworkPolicies and ClusterNetworkPolicies between real Pods of a lab, over both families: on one node and across
//! nodes, for connections that are new and for those that live, whatever becomes of the agent.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod denials;
mod drops;
mod fates;
mod flows;
mod kills;
mod life;
mod outage;
mod page;
mod peers;
mod preview;
mod random;
mod reasons;
mod scene;
mod server;
mod starts;
mod tool;
mod traces;
