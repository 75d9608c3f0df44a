//! The CNI plugin: reads a call, plans the attachment, and joins IPAM, the kernel and the node agent.
//!
//! The pure parts ([`config`], [`request`], [`plan`]) decide; the verbs carry it out.

mod agent;
pub mod config;
mod error;
mod host_ports;
mod ipam_plugin;
pub mod plan;
pub mod request;
mod run;
pub mod runtime_config;
mod undo;
mod verbs;

pub use run::{Output, Role, run};
