//! The node agent: the objects of the cluster in, the network of this node out.
//!
//! `objects` -> [`model`] (pure) -> [`backend`] (the kernel), driven by [`reconcile`]; beside it [`server`] (gRPC for the
//! CNI plugin, HTTP for probes and metrics), [`annotate`] (a work queue back to the API server), [`drift`] and [`leaks`]
//! (what others removed, changed or left behind), [`policies`], [`denials`] (what they deny, told to people), and [`flows`] (who talks to whom). [`run`] joins them; [`cli`] and [`config`] say what it is told.

pub mod agent;
pub mod annotate;
pub mod backend;
pub mod capabilities;
pub mod check;
pub mod cli;
pub mod clock;
pub mod cni_config;
pub mod config;
pub mod degraded;
pub mod denials;
pub mod drift;
pub mod durations;
mod ends;
mod feed;
pub mod flows;
pub mod install;
pub mod kernel_settings;
pub mod leak;
pub mod leaks;
pub mod lock;
pub mod memory;
pub mod outcomes;
pub mod paths;
pub mod policies;
pub mod problems;
mod protocols;
pub mod proxy;
pub mod reconcile;
pub mod repairs;
mod rotated;
pub mod run;
pub mod server;
pub mod source;
pub mod stdout;
mod stream;
pub mod uninstall;
