//! A network that a MidoNet is: the Translations are read at the API server, and what they tell MidoNet is simulated. MidoNet
//! is not asked.

mod cluster;
mod remedy;
#[cfg(test)]
mod tests;
mod topology;
mod walk;

use anyhow::Result;
use midonet_simulator::Trace;

use super::args::Packet;
use super::view::View;
use crate::nodes::Nodes;

/// Whether it is this cluster's network.
///
/// # Errors
/// The API server does not answer.
pub(super) fn is_there(nodes: &Nodes) -> Result<bool> {
    nodes.with_client(async |client| cluster::is_there(client).await)
}

/// Reads and simulates.
///
/// # Errors
/// The API server does not answer, or there is no such Pod or Service.
pub(super) fn trace(nodes: &Nodes, packet: &Packet) -> Result<View<Trace>> {
    let (snapshot, from, to) =
        nodes.with_client(async |client| cluster::read(client, &packet.from, &packet.to).await)??;
    walk::walk(&snapshot, &from, &to, &packet.port, packet.seed)
}
