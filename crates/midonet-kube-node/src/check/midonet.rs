//! What MidoNet as the network needs on this node, as far as it can be seen without asking MidoNet.

use std::path::Path;

use super::Finding;
use crate::backend::midonet::host_id;

/// Where the kernel shows its module of Open vSwitch, which the MidoNet agent works with.
const MODULE: &str = "/sys/module/openvswitch";

/// The id that the MidoNet agent gave this host.
pub(super) fn host_id(path: &Path) -> Finding {
    let what = "the MidoNet agent's host id";
    match host_id::read(path) {
        Ok(Some(_)) => Finding::good(what),
        Ok(None) => Finding::warning(
            what,
            format!(
                "there is no {}: midonet-kube-controllers takes the host whose name in MidoNet is the Node's",
                path.display()
            ),
            "install and start the MidoNet agent (midolman); in a container mount the file and name it with \
             --midonet-host-id",
        ),
        Err(error) => Finding::warning(what, format!("{error:#}"), "correct --midonet-host-id"),
    }
}

/// Whether there is what the MidoNet agent binds interfaces with.
pub(super) fn kernel() -> Finding {
    let what = "the kernel's Open vSwitch";
    if Path::new(MODULE).exists() {
        return Finding::good(what);
    }
    Finding::warning(
        what,
        format!("there is no {MODULE}: no MidoNet agent carries packets on this node"),
        "start the MidoNet agent (midolman), or run `modprobe openvswitch` and see what it says",
    )
}
