//! What runs in Pods: a server that says who it is and whom it sees, and a client that tries what it is asked to.

mod ask;
mod dns;
mod held;
mod options;
mod ping;
mod resolver;
mod serve;
mod tcp;
mod udp;
mod wire;

pub(super) use ask::ask;
pub(super) use serve::serve;
