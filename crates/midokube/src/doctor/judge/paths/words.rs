//! Faults of paths in words.

use std::collections::BTreeSet;

use super::super::super::cluster::Cluster;
use super::super::super::finding::Finding;
use super::super::settings::names;
use super::fault::Fault;

/// A fault of the paths from one node to others, in some families.
pub(super) fn finding(
    cluster: &Cluster,
    fault: &Fault,
    from: &str,
    to: &BTreeSet<&str>,
    families: &BTreeSet<&str>,
) -> Finding {
    let to: Vec<&str> = to.iter().copied().collect();
    let families = families.iter().copied().collect::<Vec<_>>().join(" and ");
    let arrow = if matches!(
        fault,
        Fault::Filtered { arrives: false, returns: false } | Fault::Filtered { arrives: true, .. }
    ) {
        "<->"
    } else {
        "->"
    };
    let object = format!("{from} {arrow} {}", names(&to));
    let nodes = [from].into_iter().chain(to.iter().copied());
    let port = port(cluster);
    let firewall = firewalls(&port);
    let (what, problem, remedy) = match fault {
        Fault::Refused(problem) => (
            "path_refused",
            format!("packets through the tunnel are refused ({families}): {problem}"),
            "correct the route or rule that refuses them".to_owned(),
        ),
        Fault::Filtered { arrives: false, returns: true } => (
            "path_filtered",
            format!(
                "packets in this direction are lost, those in the other one arrive ({families}): {port} is dropped one way"
            ),
            firewall,
        ),
        Fault::Filtered { arrives: true, .. } => (
            "path_filtered",
            format!(
                "packets arrive in both directions, but no answer does ({families}): {port} is dropped now and then"
            ),
            format!("look for what limits or balances {port} on the way"),
        ),
        Fault::Filtered { .. } => (
            "path_filtered",
            format!(
                "no packet comes through the tunnel and back ({families}): {port} is dropped, or the node is away"
            ),
            firewall,
        ),
        Fault::Mtu { large, most } => {
            let takes = most.map_or_else(String::new, |most| format!("; a router says {most} bytes"));
            (
                "path_mtu",
                format!(
                    "small packets come through and those of {large} bytes, which Pods send, do not ({families}){takes}: a link on the way has \
                     a smaller MTU than the uplinks"
                ),
                fitting_mtu(),
            )
        }
        Fault::Checksum => (
            "path_checksum",
            format!(
                "large packets come through without a checksum, and are thrown away with one ({families}): a device on the way \
                 completes it wrongly, or changes packets"
            ),
            sound_device(from),
        ),
        Fault::Large(large) => (
            "path_large",
            format!(
                "small packets come through and those of {large} bytes with a checksum, which Pods send, do not ({families}): a \
                 link on the way has a smaller MTU than the uplinks, or a device completes checksums wrongly; the other node's \
                 agent did not listen, which would tell"
            ),
            format!("ask all agents at once; else {}; or, {}", fitting_mtu(), sound_device(from)),
        ),
    };
    Finding::error(what, object, problem).remedy(remedy).of(nodes)
}

/// What lets tunnels through.
pub(super) fn firewalls(port: &str) -> String {
    format!(
        "let {port} pass between all nodes, in firewalls of the nodes, their hosts and their cloud; and, where a node's own \
         firewall drops what comes from the Pods' network, UDP 9456, at which paths are probed"
    )
}

fn fitting_mtu() -> String {
    "give the uplinks the MTU of the path, or all agents --mtu with what fits: 50 bytes less (IPv6 underlay: 70)"
        .to_owned()
}

fn sound_device(from: &str) -> String {
    format!(
        "on {from} and at its host: `ethtool -K UPLINK tx off`, or update the device's driver or firmware"
    )
}

/// The port of tunnels, as one of the nodes has it.
pub(super) fn port(cluster: &Cluster) -> String {
    let port = cluster.facts().find_map(|facts| facts.overlay_port);
    port.map_or_else(|| "the tunnels' UDP port".to_owned(), |port| format!("UDP {port}"))
}
