//! A cluster of namespaces on this machine: nodes, an underlay, an outside host, and Pods added by
//! executing the real CNI plugin against the real agent, all at their real paths.
//!
//! A lab is known by its directory: `lab.json` says which processes and Pods there are, `manifests/`
//! holds the objects that the agents read, `logs/` what the agents say. It lives on when the program
//! that made it ends, and goes with [`Lab::down`]. The host gets no link, no mount, no namespace name.

mod agent;
mod cni;
mod enter;
mod fabric;
mod lab;
mod machine;
mod manifests;
mod pods;
pub mod probe;
mod process;
mod sandbox;
mod state;
mod topology;
mod up;
mod wire;

pub use lab::{DEFAULT_DIR, Guard, Lab, Target, command};
pub use process::Process;
pub use state::{Node, Pod, State};
pub use topology::{Family, MAX_NODES, ParseFamilyError, addresses};
pub use up::Options;
