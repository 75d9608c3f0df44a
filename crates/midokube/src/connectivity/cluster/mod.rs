//! The cluster: what a test asks of the API server and of agents.

mod agents;
mod choose;
mod leftovers;
mod lookup;
mod rights;
mod setup;

pub(super) use agents::{Agents, agents};
pub(super) use choose::choose;
pub(super) use leftovers::{all, delete, expired, gone, keep};
pub(super) use lookup::{Objects, api_server, nodes, resolver, services};
pub(super) use rights::{missing, needed};
pub(super) use setup::{Pods, Started, make, move_endpoint, policies_in_force, set_policies, start};
