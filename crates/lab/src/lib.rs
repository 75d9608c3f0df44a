//! A cluster of namespaces on this machine: nodes, an underlay, an outside host, and Pods added by
//! executing the real CNI plugin against the real agent, all at their real paths.
//!
//! A lab is known by its directory: `lab.json` says which processes and Pods there are, `manifests/`
//! holds the objects that the agents read, `logs/` what the agents say. It lives on when the program
//! that made it ends, and goes with [`Lab::down`]. The host gets no link, no mount, no namespace name.
//!
//! A machine (a node, the underlay, the outside host) sees the host's files, but read-only. `/run`,
//! `/etc/cni/net.d`, `/opt/cni/bin` and `/var/lib/cni` are its own, empty at first, and so is whatever it
//! writes to `/var/lib`, where there is no `midonet-kube-node` at first; the lab's directory and that of temporary files are the host's, and writable.

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

pub use lab::{DEFAULT_DIR, Guard, Lab, PROGRAM, Target, command, pod_key};
pub use process::Process;
pub use state::{Node, Pod, State};
pub use topology::{Family, MAX_NODES, ParseFamilyError, addresses};
pub use up::Options;
