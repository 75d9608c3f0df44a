//! What the agent may do: as little as its work needs (capabilities(7)).

use std::collections::HashSet;

use anyhow::{Context, Result};
use caps::{CapSet, Capability};
use tracing::info;

use crate::config::NetworkKind;

/// What the agent needs for a network, and what for.
pub const fn needed(network: NetworkKind) -> &'static [(Capability, &'static str)] {
    const NET_ADMIN: (Capability, &str) =
        (Capability::CAP_NET_ADMIN, "interfaces, routes, nftables, attaching eBPF programs");
    const SYS_ADMIN: (Capability, &str) =
        (Capability::CAP_SYS_ADMIN, "entering a running Pod's namespace to give it another MTU");
    match network {
        NetworkKind::Embedded => &[
            NET_ADMIN,
            (Capability::CAP_BPF, "eBPF maps and programs"),
            (
                Capability::CAP_PERFMON,
                "eBPF programs that compare packet pointers, and those that follow packets",
            ),
            SYS_ADMIN,
        ],
        NetworkKind::Midonet => &[NET_ADMIN, SYS_ADMIN],
    }
}

/// Those that this process does not have.
///
/// # Errors
/// The kernel does not tell.
pub fn missing(network: NetworkKind) -> Result<Vec<(Capability, &'static str)>> {
    let have = caps::read(None, CapSet::Effective).context("cannot read this process's capabilities")?;
    Ok(needed(network).iter().filter(|(capability, _)| !have.contains(capability)).copied().collect())
}

/// Gives up everything else, for good: this thread's, so it has to be called before there are others.
///
/// # Errors
/// The kernel refuses.
pub fn keep_only_needed(network: NetworkKind) -> Result<()> {
    let have = caps::read(None, CapSet::Permitted).context("cannot read this process's capabilities")?;
    let needed: HashSet<Capability> = needed(network).iter().map(|(capability, _)| *capability).collect();
    let keep: HashSet<Capability> = have.intersection(&needed).copied().collect();
    // What is not in the bounding set never comes back. Without this right it is left as it was given.
    if have.contains(&Capability::CAP_SETPCAP) {
        let bounding = caps::read(None, CapSet::Bounding).context("cannot read the bounding set")?;
        for capability in bounding.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *capability)
                .with_context(|| format!("cannot drop {capability} from the bounding set"))?;
        }
    }
    nix::sys::prctl::set_no_new_privs().context("cannot set no_new_privs")?;
    caps::clear(None, CapSet::Ambient).context("cannot clear the ambient capabilities")?;
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &keep).with_context(|| format!("cannot drop {set:?} capabilities"))?;
    }
    caps::clear(None, CapSet::Inheritable).context("cannot clear the inheritable capabilities")?;
    let mut kept: Vec<String> = keep.iter().map(ToString::to_string).collect();
    kept.sort_unstable();
    info!(kept = kept.join(" "), "gave up all other capabilities");
    Ok(())
}
