//! The underlay: a machine with a bridge, to which every node is connected, and which routes to the
//! outside host. Links are born between two machines; the host's own network never sees one.

use anyhow::{Context, Result};
use plumbing::NetNs;

use crate::process::Process;
use crate::topology::{Family, addresses};
use crate::wire;

const BRIDGE: &str = "underlay";
const UPLINK: &str = "eth0";

/// The network namespace of a machine.
pub(crate) fn netns(init: Process) -> Result<NetNs> {
    let netns = NetNs::of_process(init.pid)?;
    anyhow::ensure!(init.alive(), "the machine is gone (process {} has ended)", init.pid);
    Ok(netns)
}

/// Makes the bridge with the router's addresses, and the link to the outside host.
pub(crate) fn build(fabric: Process, outside: Process, family: Family) -> Result<()> {
    let (fabric, outside) = (netns(fabric)?, netns(outside)?);
    wire::forwarding(&fabric)?;
    wire::bridge(&fabric, BRIDGE)?;
    wire::configure(&fabric, BRIDGE, &family.router(), &[])?;
    wire::connect(&fabric, "outside", &outside, UPLINK)?;
    wire::configure(&fabric, "outside", &family.outside_router(), &[])?;
    wire::configure(&outside, UPLINK, &family.outside(), &addresses(&family.outside_router()))
}

/// Connects a node: its `eth0`, with its underlay addresses and default routes.
pub(crate) fn connect(fabric: Process, node: Process, name: &str, index: u8, family: Family) -> Result<()> {
    let (fabric, node) = (netns(fabric)?, netns(node)?);
    let connect = || {
        node.run(wire::loopback_up)??;
        wire::connect(&fabric, name, &node, UPLINK)?;
        wire::enslave(&fabric, name, BRIDGE)?;
        wire::configure(&node, UPLINK, &family.underlay(index), &addresses(&family.router()))
    };
    connect().with_context(|| format!("cannot connect {name} to the underlay"))
}
