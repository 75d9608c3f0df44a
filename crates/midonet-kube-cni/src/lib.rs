//! The CNI plugin: reads a call, plans the attachment, and joins IPAM, the kernel and the node agent.
//!
//! The pure parts ([`env`], [`config`], [`request`], [`plan`], [`result`]) decide; the verbs carry it out.

mod agent;
pub mod config;
pub mod env;
pub mod error;
mod host_ports;
mod ipam_plugin;
pub mod plan;
pub mod request;
pub mod result;
mod run;
pub mod runtime_config;
mod stdin;
mod undo;
mod verbs;
pub mod version;

pub use run::{Output, Role, run};
