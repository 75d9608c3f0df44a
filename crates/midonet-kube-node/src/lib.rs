//! The node agent: the objects of the cluster in, the network of this node out.
//!
//! `objects` -> [`desired`] (pure) -> [`network`] (the kernel) and, beside it, the gRPC [`service`] for the
//! CNI plugin, the [`annotate`] queue back to the API server, and [`http`] for probes and metrics.
//! [`run`] joins them.

pub mod agent;
pub mod annotate;
pub mod args;
pub mod capabilities;
pub mod check;
pub mod cni_config;
pub mod degraded;
pub mod desired;
pub mod events;
pub mod files;
pub mod follow;
pub mod heal;
pub mod http;
pub mod install;
pub mod leaks;
pub mod lock;
pub mod memory;
pub mod metrics;
pub mod network;
pub mod probe;
pub mod problems;
pub mod repairs;
pub mod run;
pub mod service;
pub mod settings;
pub mod status;
pub mod stdout;
pub mod uninstall;
