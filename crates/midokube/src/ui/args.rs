//! The command line of `midokube ui`.

use std::net::SocketAddr;

use clap::Args;

use crate::nodes::{Cluster, Sockets};

pub(crate) const HELP: &str = "\
Prints the address of the page, with the key that it asks for, and serves it until Ctrl-C. Every node is asked, by the
kubeconfig, through its agent's Pod, with your own rights; with --this-node the agent of this node alone, or those at
each --socket, as in a lab. Nodes are asked only while somebody looks at the page. Nothing can be changed there.
Exit status: 1 when the page cannot be served.
Examples:
  midokube ui
  midokube ui --listen 127.0.0.1:8080 --context production
  midokube ui --this-node";

/// Where the page is, and what it shows.
#[derive(Debug, Args)]
pub(crate) struct UiArgs {
    /// Where the page is: an address of this machine's loopback; port 0: one that is free.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9455", value_parser = loopback)]
    pub(super) listen: SocketAddr,
    #[command(flatten)]
    pub(super) cluster: Cluster,
    #[command(flatten)]
    pub(super) sockets: Sockets,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "an address and a port are expected, for example 127.0.0.1:9455")?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("only this machine may see the page: 127.0.0.1 or [::1] is expected".to_owned())
    }
}
