//! What a network leaves in the kernel when its agent ends, and its removal: by `uninstall`, and by an agent that is told to use
//! the other network.

use std::path::Path;

use anyhow::{Context, Result};
use naming::interface;
use plumbing::tc::{self, Direction};
use tracing::info;

/// Something that was removed, if it was there.
pub(crate) struct Removal {
    /// What.
    pub(crate) what: String,
    /// Whether it was there.
    pub(crate) removed: Result<bool>,
}

/// Removes what the embedded network alone has: devices, programs, its nftables table, pins. The pins last: as long as they are
/// there, so may be the rest.
pub(crate) fn remove_embedded(bpf_dir: &Path) -> Vec<Removal> {
    let mut all = Vec::new();
    let mut step = |what: &str, removed: Result<bool>| all.push(Removal { what: what.to_owned(), removed });
    for name in [interface::OVERLAY, interface::SHAPER] {
        step(name, delete(name));
    }
    let programs = [(Direction::Ingress, datapath::FROM_UPLINK), (Direction::Egress, datapath::TO_UPLINK)];
    let detached = tc::detach(&programs, &[]);
    step("the programs at the uplinks", detached.map(|had| !had.is_empty()).map_err(Into::into));
    step("the program of Pods' interfaces", tc::clear_block(tc::INGRESS_BLOCK).map_err(Into::into));
    step("the nftables table inet midonet-kube", remove_table());
    let pins = datapath::remove_pins(bpf_dir).map_err(Into::into);
    step(&format!("the pins in {}", bpf_dir.display()), pins);
    all
}

/// Removes the node's own veth pair, with the addresses and routes at it.
pub(crate) fn remove_node_pair() -> Removal {
    Removal { what: interface::MIDO.to_owned(), removed: delete(interface::MIDO) }
}

/// Before the embedded network begins: removes what MidoNet's left, if it did.
///
/// # Errors
/// The kernel refuses.
pub fn leave_midonet() -> Result<()> {
    let pair = plumbing::link::find(interface::MIDO).context("cannot look for the node's veth pair")?;
    if pair.is_some_and(|pair| super::midonet::is_own(&pair.alias)) {
        tell(remove_node_pair())?;
    }
    Ok(())
}

/// Before MidoNet's network begins: removes what the embedded one left, if it did. The node's veth pair goes with it; Pods'
/// interfaces stay.
///
/// # Errors
/// The kernel refuses. It can be repeated.
pub fn leave_embedded(bpf_dir: &Path) -> Result<()> {
    let pair = plumbing::link::find(interface::MIDO).context("cannot look for the node's veth pair")?;
    if pair.is_some_and(|pair| !super::midonet::is_own(&pair.alias)) {
        tell(remove_node_pair())?;
    }
    remove_embedded(bpf_dir).into_iter().try_for_each(tell)
}

fn tell(Removal { what, removed }: Removal) -> Result<()> {
    if removed.with_context(|| format!("cannot remove {what}, which the other network left"))? {
        info!(what, "removed what the other network left");
    }
    Ok(())
}

fn delete(name: &str) -> Result<bool> {
    let there = plumbing::link::find(name)?.is_some();
    plumbing::link::delete_by_name(name)?;
    Ok(there)
}

fn remove_table() -> Result<bool> {
    if plumbing::nft::find()?.is_none() {
        return Ok(false);
    }
    plumbing::nft::delete()?;
    Ok(true)
}
