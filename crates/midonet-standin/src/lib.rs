//! A strict stand-in for MidoNet's REST API, for tests: it answers as a real server was observed to answer.
//!
//! [`Store`] is the server without its edge: a [`Request`] in, a [`Response`] out; no I/O, no clock, and random numbers
//! from a seed. `tests/observed.rs` asks it all that a real server was asked, in the same order, and compares.
//!
//! [`Standin`] is its edge: HTTP or HTTPS at a port of 127.0.0.1, that can be stopped and started again, with a [`Log`]
//! of the requests and [`Fault`]s that tests set. [`Topology`] is what is stored, for those who simulate it.
//!
//! Where the real server's answer was not observed, it is as the server's sources have it. What nothing of midonet-kube
//! uses (BGP, load balancers, VTEPs, DHCP, rules of the types `trace` and `l2_transform`, ...) is answered with 501, which
//! the real server never does. A PUT of a port leaves its link and binding alone even if its body names others.
//!
//! Lists of a whole kind are in the order of ids; the real server's are in an order that says nothing.

mod access;
mod bindings;
mod body;
mod chains;
mod devices;
mod faults;
mod hosts;
mod json;
mod kinds;
mod log;
mod media;
mod message;
mod ports;
mod random;
mod root;
mod routes;
mod schema;
mod server;
mod state;
mod store;
mod tables;
mod target;
mod tls;
mod topology;
mod types;
mod view;
mod zones;

pub use access::Access;
pub use faults::{Effect, Fault};
pub use log::{Entry, Log};
pub use message::{Request, Response};
pub use server::Standin;
pub use state::Interface;
pub use store::Store;
pub use target::resource_of;
pub use topology::{HostNode, PortNode, RouteNode, Topology, TopologyError};
