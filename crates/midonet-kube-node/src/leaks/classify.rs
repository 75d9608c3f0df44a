//! What leaked, and what of it can be repaired with certainty. Pure.
//!
//! A [`Snapshot`] is not one moment: reservations are read first, then interfaces, then ports. An ADD makes
//! them in this order and a DEL removes them in the reverse one, so a port that is alive without a reservation
//! has really lost it, but for a DEL that begins just now: who reserves again has to check once more.

use std::time::{Duration, SystemTime};

use ipam::Reserved;
use naming::alias::PortAlias;

use crate::backend::PortRecord;
use crate::leak::{Kind, Leak, owner};

/// What is unfinished for so long, nobody finishes: kubelet and the runtimes give the making of a sandbox 4
/// minutes, and the plugin itself waits 10 seconds for the agent.
pub(super) const ABANDONED: Duration = Duration::from_secs(600);

/// So long an interface that is up may be without a port: a DEL takes away the port first.
const DETACHING: Duration = Duration::from_secs(50);

/// A host interface of a Pod that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) ifindex: u32,
    pub(super) up: bool,
    /// Whose it is; `None` if its alias does not say.
    pub(super) owner: Option<PortAlias>,
    /// For how long it has been seen without a committed port.
    pub(super) portless: Duration,
}

/// What there is on this node.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// `None` if somebody else keeps the addresses.
    pub(super) reserved: Option<Vec<Reserved>>,
    pub(super) interfaces: Vec<Interface>,
    /// The committed ones.
    pub(super) ports: Vec<PortRecord>,
    pub(super) now: SystemTime,
    /// When this node was started: no interface is older.
    pub(super) boot: SystemTime,
}

/// What is to be done about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Classified {
    /// To be released.
    pub(super) release: Vec<Reserved>,
    /// To be reserved again, each address for that port's owner.
    pub(super) reserve: Vec<(std::net::IpAddr, PortRecord)>,
    /// To be removed.
    pub(super) remove: Vec<Interface>,
    /// To be told.
    pub(super) leaks: Vec<Leak>,
}

/// Classifies everything there is.
pub(super) fn classify(snapshot: &Snapshot) -> Classified {
    let mut classified = Classified::default();
    if let Some(reserved) = &snapshot.reserved {
        classify_reservations(snapshot, reserved, &mut classified);
        classify_ports(snapshot, reserved, &mut classified);
    }
    classify_interfaces(snapshot, &mut classified);
    classified
}

/// Addresses without a container.
fn classify_reservations(snapshot: &Snapshot, reserved: &[Reserved], classified: &mut Classified) {
    // One that tells no owner may be anybody's, and so may its addresses.
    let anybodys = snapshot.interfaces.iter().any(|interface| interface.owner.is_none());
    for reserved in reserved {
        let mut owners = snapshot.interfaces.iter().filter_map(|interface| interface.owner.as_ref());
        let in_use = owners.any(|owner| is_held_by(reserved, owner))
            || snapshot.ports.iter().any(|port| port.addresses.contains(&reserved.address));
        if in_use {
            continue;
        }
        if reserved.modified > snapshot.now + ABANDONED {
            classified.leaks.push(Leak {
                kind: Kind::AddressWithoutContainer,
                object: format!("{} of {}", reserved.address, holder(reserved)),
                reason: "its file is dated in the future, so nobody can tell whether an ADD is under way"
                    .into(),
                remedy: "see that the node's clock is right, then `touch` the file".into(),
            });
        } else if !anybodys && is_abandoned(reserved, snapshot) {
            classified.release.push(reserved.clone());
        }
    }
}

fn is_abandoned(reserved: &Reserved, snapshot: &Snapshot) -> bool {
    let age = snapshot.now.duration_since(reserved.modified).unwrap_or_default();
    reserved.modified < snapshot.boot || age > ABANDONED
}

/// Containers without an address of their own.
fn classify_ports(snapshot: &Snapshot, reserved: &[Reserved], classified: &mut Classified) {
    // Another network's addresses are in a directory of its own.
    let is_clusters = |i: &Interface| i.owner.as_ref().is_none_or(|owner| owner.network.is_none());
    let alive = |port: &&PortRecord| {
        snapshot.interfaces.iter().any(|i| i.ifindex == port.host_ifindex && is_clusters(i))
    };
    for port in snapshot.ports.iter().filter(alive) {
        for address in &port.addresses {
            let mut holders = reserved.iter().filter(|r| r.address == *address).peekable();
            // What an interrupted write left is nobody's.
            if holders.peek().is_none_or(|reserved| reserved.container_id.is_empty()) {
                classified.reserve.push((*address, port.clone()));
            } else if let Some(other) = holders.find(|reserved| !is_held_by(reserved, &port.alias())) {
                classified.leaks.push(Leak {
                    kind: Kind::AddressConflict,
                    object: format!("{address} of Pod {} ({})", port.pod(), port.host_ifname),
                    reason: format!("it is reserved for {}", holder(other)),
                    remedy: "delete the Pod; it gets another address".into(),
                });
            }
        }
    }
}

/// Interfaces whose ADD or DEL nobody finished.
fn classify_interfaces(snapshot: &Snapshot, classified: &mut Classified) {
    for interface in &snapshot.interfaces {
        if !interface.up && interface.portless > ABANDONED {
            // It never passed anything: setting it up is the last step of an ADD, committing its port the one before.
            classified.remove.push(interface.clone());
        } else if interface.up && interface.portless > DETACHING {
            let object = |whose| format!("{} of {whose}", interface.name);
            classified.leaks.push(match &interface.owner {
                Some(owner) => Leak {
                    kind: Kind::InterfaceWithoutPort,
                    object: object(format!("Pod {}, container {}", owner.pod, owner.container_id)),
                    reason: "a DEL that nobody finished, or a port that was lost: its packets are dropped".into(),
                    remedy: "delete the Pod".into(),
                },
                None => Leak {
                    kind: Kind::InterfaceWithoutPort,
                    object: object("an unknown Pod".to_owned()),
                    reason: "somebody changed its alias, which said whose it is; no address is given back meanwhile"
                        .into(),
                    remedy: format!(
                        "delete the Pod, or if there is none any more, run `ip link delete {}`",
                        interface.name
                    ),
                },
            });
        }
    }
}

/// An old host-local noted the container alone.
fn is_held_by(reserved: &Reserved, alias: &PortAlias) -> bool {
    match &reserved.owner {
        Some(holder) => *holder == owner(alias),
        None => !reserved.container_id.is_empty() && reserved.container_id == alias.container_id,
    }
}

fn holder(reserved: &Reserved) -> String {
    match &reserved.owner {
        Some(owner) => format!("container {}, interface {}", owner.container_id, owner.ifname),
        None if reserved.container_id.is_empty() => "nobody".to_owned(),
        None => format!("container {}", reserved.container_id),
    }
}
