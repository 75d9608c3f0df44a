//! The types of the Container Network Interface (<https://www.cni.dev/docs/spec/>), as a plugin needs them: versions,
//! the environment and configuration of a call, results and errors of every version, and the execution of other
//! plugins.
//!
//! Everything but [`delegate`] and [`stdin`] is pure. No crate of this project is needed here.

mod args;
mod call;
mod config;
pub mod delegate;
mod dns;
mod env;
mod error;
pub mod json;
mod result;
mod route;
pub mod stdin;
pub mod version;

pub use args::Args;
pub use call::{Attachment, Call};
pub use config::{NetworkConfig, document, version_of};
pub use dns::{Dns, DnsConfig};
pub use env::{Command, Environment};
pub use error::{Error, Problems, code};
pub use json::Document;
pub use result::{CniResult, Interface, Ip};
pub use route::Route;
pub use version::Version;
