//! The plugin, the agent and the datapath in labs: nodes as namespaces of this machine.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod api_server;
mod bad_input;
mod bandwidth;
mod chaos;
mod check;
mod conformance;
mod doctor;
mod execve;
mod files;
mod heal;
mod host_ports;
mod install;
mod leaks;
mod metrics;
mod midonet;
mod monitoring;
mod names;
mod nat;
mod offload;
mod ports;
mod probe;
mod responsive;
mod security;
mod services_chaos;
mod traces;
mod tunnels;
mod uninstall;
mod whole;
